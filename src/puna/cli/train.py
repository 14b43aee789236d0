"""`puna train`: pre-training."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

import puna
from puna.api.recipes import run_of
from puna.cli.arguments import (
    DataSource,
    ForceRun,
    Overrides,
    RecipeOrRun,
    Resume,
    RunPath,
    ScheduleName,
    Show,
    StopAt,
    resolve,
)
from puna.cli.sweep import sweep
from puna.core.errors import ConfigError

if TYPE_CHECKING:
    from puna.config.recipe import Schedule


class InitialOptimizer(StrEnum):
    """What the optimizer of a run begins with."""

    FRESH = "fresh"
    KEEP = "keep"


def train(
    recipe: RecipeOrRun = None,
    overrides: Overrides = None,
    data: DataSource = None,
    run: RunPath = None,
    resume: Resume = False,
    extend: Annotated[
        str | None,
        typer.Option(
            "--extend",
            metavar="LENGTH",
            help="Make the run longer and go on: 1.5x or 300M tokens in all, or +100M on top.",
            show_default=False,
        ),
    ] = None,
    branch_from: Annotated[
        str | None,
        typer.Option(
            "--branch-from",
            metavar="RUN@STEP",
            help="Begin a new run at a moment of another one, with all of its state; RECIPE is then that run's if left "
            "out.",
            show_default=False,
        ),
    ] = None,
    schedule: ScheduleName = None,
    init_from: Annotated[
        str | None,
        typer.Option(
            "--init-from",
            metavar="MODEL",
            help="Begin with the weights and the shape of a run, RUN@STEP, or a model in any format.",
            show_default=False,
        ),
    ] = None,
    optimizer: Annotated[
        InitialOptimizer | None,
        typer.Option(
            "--optimizer",
            help="Of --init-from RUN@STEP: whether its state is kept.  \\[default: fresh]",
            show_default=False,
        ),
    ] = None,
    stop_at: StopAt = None,
    show: Show = False,
    force: ForceRun = False,
) -> None:
    """Pre-train the recipe's model on its data build; under torchrun on as many devices as it starts.

    Ctrl-C, SIGTERM and SIGHUP save the state first; --resume then ends with the same weights, bit for bit.
    Several values, such as optim.lr=1e-3,2e-3, are a sweep: a run of each, over one data build, and a comparison.
    """
    from puna.config.grid import split

    changes = list(overrides or [])
    if recipe is not None and branch_from is not None and "=" in recipe:
        recipe, changes = None, [recipe, *changes]
    changes, several = split(changes)
    if branch_from is not None:
        from puna.api.start import parents_recipe

        recipe = recipe or parents_recipe(branch_from)
    elif recipe is not None and run is None and (own := run_of(recipe, goes_on=resume or extend is not None)):
        run = own.root
    if recipe is None:
        raise ConfigError(["which recipe is to be trained was not said"], hint="`puna recipes` lists those that ship")
    if several:
        if branch_from is not None or extend is not None or schedule is not None:
            raise ConfigError(
                ["several values of a key are new runs, which --extend, --branch-from and --schedule do not begin"]
            )
        if optimizer is not None:
            changes.append(f"train.init_optimizer={optimizer.value}")
        sweep(
            recipe, changes, several, data, run, init_from=init_from, resume=resume, force=force, stop_at=stop_at,
            explained=show,
        )  # fmt: skip
        return
    puna.train(
        resolve(recipe, changes, show), data, run, resume=resume, force=force, stop_at=stop_at, extend=extend,
        schedule=None if schedule is None else cast("Schedule", schedule.value), branch_from=branch_from,
        init_from=init_from, optimizer=None if optimizer is None else cast("Literal['fresh', 'keep']", optimizer.value),
    )  # fmt: skip

"""Where a training run begins: at its first step, at its newest checkpoint made longer, or at another run's moment."""

import os
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from puna.api.recipes import PathLike, as_recipe, run_dir, run_of
from puna.core.errors import CheckpointError, ConfigError, TrainError
from puna.core.layout import RunDir
from puna.core.reference import Moment, find_moment, is_run
from puna.core.schema.train_state import list_checkpoints, read_header

if TYPE_CHECKING:
    from puna.api.initial import InitialModel
    from puna.config.recipe import Recipe, Schedule
    from puna.train.branch import Branch
    from puna.train.extend import Extension


@dataclass(frozen=True, kw_only=True)
class Start:
    """What is to be trained, and from where."""

    recipe: "Recipe"
    run: RunDir
    state: "Extension | Branch | None" = None
    """How the run is made longer, or begins at a moment of another one."""
    initial: "InitialModel | None" = None
    """The model that it begins with."""


def find_start(
    recipe: "Recipe | PathLike | None",
    run: PathLike | None,
    *,
    resume: bool,
    force: bool,
    extend: str | None,
    schedule: "Schedule | None",
    branch_from: PathLike | None,
    init_from: PathLike | None,
    optimizer: "Literal['fresh', 'keep'] | None",
) -> Start:
    """Where training begins; nothing is written. The arguments are those of `puna.train`.

    Raises:
        ConfigError: There is no such recipe, or problems in its values.
        CheckpointError: There is no such moment, or no checkpoint to go on from.
        TrainError: Arguments contradict each other, or the new length is not one.
    """
    from puna.config.recipe import Schedule as Schedules

    if schedule is not None and schedule not in get_args(Schedules):  # as Python's users may write it
        raise TrainError(f"--schedule {schedule}: is none of {', '.join(get_args(Schedules))}")
    if schedule is not None and extend is None and branch_from is None:
        raise TrainError(
            "--schedule is for what --extend and --branch-from add to a run",
            hint=f"a new run has the schedule of its recipe: optim.schedule={schedule}",
        )
    if init_from is not None and (extend is not None or branch_from is not None):
        raise TrainError(
            "--init-from begins a run with a model's weights alone, and --extend and --branch-from go on with a run's "
            "whole state; give one of them"
        )
    if branch_from is not None:
        return _branch(recipe, run, branch_from, extend, schedule)
    if recipe is None:
        raise ConfigError(["which recipe is to be trained was not said"], hint="`puna recipes` lists those that ship")
    resolved = pre_training(as_recipe(recipe))
    own = run_of(recipe, goes_on=resume or extend is not None) if isinstance(recipe, str | os.PathLike) else None
    start = Start(recipe=resolved, run=own if run is None and own is not None else run_dir(run, resolved))
    if extend is None:
        return _with_initial(start, init_from, optimizer, resume=resume)
    if force:
        raise TrainError("--extend goes on with a run and --force deletes it; give one of them")
    from puna.train.extend import plan_extension

    extension = plan_extension(start.run, resolved, extend, schedule)
    return replace(start, recipe=extension.recipe, state=extension)


def pre_training(recipe: "Recipe") -> "Recipe":
    """The recipe, which is one of pre-training.

    Raises:
        ConfigError: It tunes a model on examples.
    """
    from puna.config.commands import train_command

    if recipe.finetune is not None:
        raise ConfigError(
            [f"recipe {recipe.name!r} has a section [finetune], so it tunes a model that is there"],
            hint=f"`{train_command(recipe)}` does that",
        )
    return recipe


def _with_initial(
    start: Start, init_from: PathLike | None, optimizer: "Literal['fresh', 'keep'] | None", *, resume: bool
) -> Start:
    """The start with the model that it begins with, if there is one, and with its shape.

    Raises:
        TrainError: The optimizer of no model is to be kept.
        UserError: The model cannot be read, or the recipe does not fit it.
    """
    from puna.api.initial import open_initial, with_shape
    from puna.config.load import load_recipe

    train = {} if init_from is None else {"init_from": os.fspath(init_from)}
    if optimizer is not None:
        train["init_optimizer"] = optimizer
    recipe = start.recipe.model_copy(update={"train": start.recipe.train.model_copy(update=train)})
    place = recipe.train.init_from
    if place is None:
        if recipe.train.init_optimizer == "keep":
            raise TrainError("--optimizer keep is for --init-from RUN@STEP, whose optimizer it keeps")
        return start
    forced = init_from is not None
    if resume and start.run.config.is_file() and list_checkpoints(start.run):
        # The run has begun: it has the shape, and needs the model no more.
        saved = load_recipe(str(start.run.config)).recipe
        if saved.train.init_from == place:
            return replace(start, recipe=with_shape(recipe, saved.model, place, forced=forced))
    initial = open_initial(place)
    return replace(start, recipe=with_shape(recipe, initial.config, place, forced=forced), initial=initial)


def _branch(
    recipe: "Recipe | PathLike | None",
    run: PathLike | None,
    place: PathLike,
    extend: str | None,
    schedule: "Schedule | None",
) -> Start:
    """The start of a branch."""
    moment = _moment(place)
    resolved = pre_training(as_recipe(parents_recipe(place) if recipe is None else recipe))
    directory = _branch_dir(run, resolved, moment)
    from puna.train.branch import plan_branch

    branch = plan_branch(moment, os.fspath(place), resolved, extend, schedule)
    return Start(recipe=branch.recipe, run=directory, state=branch)


def _branch_dir(run: PathLike | None, recipe: "Recipe", moment: Moment) -> RunDir:
    """Where a branch goes: a directory of its own, beside its parent where it goes by the same name.

    Raises:
        TrainError: It is the parent's.
    """
    beside = RunDir(Path(f"{moment.run}-from-{moment.step}"))
    named = read_header(moment.directory)[0].recipe.get("name")
    directory = beside if run is None and recipe.name == named else run_dir(run, recipe)
    if os.path.realpath(directory) == os.path.realpath(moment.run):
        raise TrainError(
            f"--run-dir {directory}: is the run that is branched from, which stays as it is",
            hint=f"`--run-dir {shlex.quote(str(beside))}` is another",
        )
    return directory


def parents_recipe(place: PathLike) -> str:
    """The path of the recipe of the run that a branch begins at.

    Raises:
        CheckpointError: There is no such moment, or the run has no recipe beside its checkpoints.
    """
    run = _moment(place).run
    if not run.config.is_file():
        raise CheckpointError(
            f"{run}: has no config.toml, so the recipe of a branch is not known",
            hint="name the recipe, too, before --branch-from: a shipped one, or a path that ends in .toml",
        )
    return str(run.config)


def _moment(place: PathLike) -> Moment:
    """The checkpoint that a run branches from; of a finished run its last one.

    Raises:
        CheckpointError: There is none.
    """
    if (moment := find_moment(place)) is not None:
        return moment
    if is_run(RunDir(Path(place))) and (moment := find_moment(f"{os.fspath(place)}@last")) is not None:
        return moment
    raise CheckpointError(
        f"--branch-from {os.fspath(place)}: is not a moment of a run",
        hint="name a checkpoint, such as RUN@step-400, RUN@last or RUN@best; a model has no training state to branch "
        "from, `--init-from` begins with its weights",
    )

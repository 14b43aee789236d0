"""`puna finetune`: instruction tuning."""

import sys
from pathlib import Path
from typing import Annotated

import typer

import puna
from puna.api.recipes import run_of
from puna.cli.arguments import DataPath, ForceRun, Overrides, RecipeOrRun, Resume, RunPath, Show, StopAt, resolve
from puna.core.errors import ConfigError


def finetune(
    recipe: RecipeOrRun = None,
    overrides: Overrides = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="What is tuned: a run, RUN@step-400, or a model in any format or on the hub.  \\[default: the "
            "recipe's train.init_from]",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data",
            metavar="FILE",
            help="Examples: JSON lines, a JSON list, Parquet or Arrow. Several may be given.",
            show_default=False,
        ),
    ] = None,
    build: DataPath = None,
    run: RunPath = None,
    resume: Resume = False,
    stop_at: StopAt = None,
    show: Show = False,
    show_batch: bool = typer.Option(
        False,
        "--show-batch",
        help="Print a batch as the model would be given it: tokens with their loss weight, documents, positions; and "
        "stop.",
    ),
    batch: Annotated[
        int | None,
        typer.Option(
            "--batch", min=0, help="Which one --show-batch prints, counted from 0.  \\[default: 0]", show_default=False
        ),
    ] = None,
    force: ForceRun = False,
) -> None:
    """Tune a model on examples: conversations, tasks, pairs of answers; under torchrun on as many devices as it starts.

    The examples are cleaned and deduplicated first, as `puna data build` does it. Ctrl-C, SIGTERM and SIGHUP save the
    state; --resume then ends with the same weights, bit for bit.
    """
    if recipe is None:
        raise ConfigError(
            ["by which recipe is to be tuned was not said"],
            hint="`puna finetune chat --model MODEL --data talks.jsonl` tunes any model; `puna recipes` lists others",
        )
    if batch is not None and not show_batch:
        raise ConfigError(["--batch names a batch to print"], hint=f"print it: `--show-batch --batch {batch}`")
    own = run_of(recipe, goes_on=resume)
    if run is None and own is not None:
        run = own.root
    resolved = resolve(recipe, overrides, show)
    if show_batch:
        text = puna.show_batch(
            resolved, data, run, model=model, build=build, resume=resume or own is not None, number=batch or 0,
            colours=sys.stdout.isatty(),
        )  # fmt: skip
        print(text, end="")
        return
    puna.finetune(resolved, data, run, model=model, build=build, resume=resume, force=force, stop_at=stop_at)

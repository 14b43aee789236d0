"""`puna train`: pre-training."""

import json
from pathlib import Path
from typing import Annotated

import typer

import puna
from puna.cli.arguments import DataSource, Overrides, RecipeName, RunPath, Show, resolve
from puna.cli.sweep import sweep


def train(
    recipe: RecipeName,
    overrides: Overrides = None,
    data: DataSource = None,
    run: RunPath = None,
    resume: bool = typer.Option(False, "--resume", help="Go on from the newest checkpoint, if there is one, exactly."),
    init_from: Annotated[
        Path | None,
        typer.Option("--init-from", help="Begin with the weights of a run, a checkpoint or a model directory."),
    ] = None,
    stop_at: Annotated[
        int | None, typer.Option("--stop-at", min=1, help="Save and leave after this step of the run.")
    ] = None,
    show: Show = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Delete the run that is there, with its checkpoints, model and exports, and start again."
        ),
    ] = False,
) -> None:
    """Pre-train the recipe's model on its data build; under torchrun on as many devices as it starts.

    Ctrl-C, SIGTERM and SIGHUP save the state first; --resume then ends with the same weights, bit for bit.
    Several values, such as optim.lr=1e-3,2e-3, are a sweep: a run of each, over one data build, and a comparison.
    """
    from puna.config.grid import split

    begins = [f"train.init_from={json.dumps(str(init_from))}"] if init_from else []
    changes, several = split([*(overrides or []), *begins])
    if several:
        sweep(recipe, changes, several, data, run, resume=resume, force=force, stop_at=stop_at, explained=show)
        return
    resolved = resolve(recipe, changes, show)
    puna.train(resolved, data, run, resume=resume, force=force, stop_at=stop_at)

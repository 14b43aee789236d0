"""`puna train`: pre-training."""

import typer

from puna.cli.arguments import DataPath, Force, Overrides, RecipeName, RunPath, Show, data_dir, resolve, run_dir


def train(
    recipe: RecipeName,
    overrides: Overrides = None,
    data: DataPath = None,
    run: RunPath = None,
    resume: bool = typer.Option(False, "--resume", help="Go on from the newest checkpoint, exactly."),
    show: Show = False,
    force: Force = False,
) -> None:
    """Pre-train the recipe's model on its data build.

    Ctrl-C and SIGTERM save the state first; --resume then ends with the same weights, bit for bit.
    """
    resolved = resolve(recipe, overrides, show)
    from puna.cli.stages import train_model

    train_model(resolved, data_dir(data, resolved), run_dir(run, resolved), resume=resume, force=force)

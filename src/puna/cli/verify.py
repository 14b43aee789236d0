"""`puna verify-resume`: proof on the user's own machine that a run resumes exactly."""

from pathlib import Path
from typing import Annotated

import typer

from puna.cli.arguments import DataSource
from puna.core.user_path import user_path


def verify_resume(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's directory, such as runs/demo.")],
    data: DataSource = None,
    steps: Annotated[int, typer.Option("--steps", min=2, help="Steps to compare.")] = 6,
    processes: Annotated[int, typer.Option("--processes", min=1, help="Processes that train, by torchrun.")] = 1,
) -> None:
    """Train some steps of a run twice from a checkpoint, once killed with SIGKILL in the middle, and compare all bits.

    The run itself is only read. The exit code is 2 if a bit differs.
    """
    from puna.api.recipes import data_source
    from puna.api.stages import check_build
    from puna.config.load import load_recipe
    from puna.core.reference import whole_run

    recipe = load_recipe(str(whole_run(user_path(run), "puna verify-resume {}").config)).recipe
    if recipe.finetune is None or data is not None:  # a run of tuning has its examples with it
        check_build(recipe, data_source(data, recipe))  # before copies of the run look for it
    from puna.train.verify import verify

    verify(user_path(run), data, steps, processes)

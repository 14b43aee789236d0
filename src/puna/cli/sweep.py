"""`puna train` with several values of a key: a sweep, which ends in a comparison."""

from collections.abc import Sequence
from pathlib import Path

import puna
from puna.cli.compare import show
from puna.core.errors import TrainError


def sweep(
    recipe: str,
    overrides: Sequence[str],
    several: dict[str, list[str]],
    data: str | None,
    run: Path | None,
    *,
    init_from: str | None,
    resume: bool,
    force: bool,
    stop_at: int | None,
    explained: bool,
) -> None:
    """Train the runs, print their comparison, and say at the end which have failed.

    Args:
        recipe: Its name or path.
        overrides: Values of all runs.
        several: Values by key, of which every combination is a run.
        data: The data build.
        run: What the runs' directories begin with.
        init_from: The model that all runs begin with.
        resume: Go on with the runs that are there.
        force: Delete the runs that are there and start again.
        stop_at: Save and leave each run after this step.
        explained: Print the resolved recipe of every run instead.

    Raises:
        TrainError: A run has failed; the others are there.
    """
    if explained:
        _explain(recipe, overrides, several)
        return
    made = puna.sweep(
        recipe, several, overrides=overrides, data=data, run=run, init_from=init_from, resume=resume, force=force,
        stop_at=stop_at,
    )  # fmt: skip
    if made.comparison is not None:
        show(made.comparison)
    if made.failed:
        count = f"{len(made.failed)} of {len(made.runs)} runs"
        raise TrainError(
            f"{count} ended with an error, which is printed above: {', '.join(map(str, made.failed))}",
            hint="the same command with --resume goes on with these, and leaves the finished ones as they are",
        )


def _explain(recipe: str, overrides: Sequence[str], several: dict[str, list[str]]) -> None:
    from puna.config.explain import show as resolved
    from puna.config.grid import points
    from puna.config.load import load_recipe

    for point in points(several):
        print(f"# {point.name}")
        print(resolved(load_recipe(recipe, [*overrides, *point.overrides])))

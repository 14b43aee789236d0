"""`puna report`: one page from a run's records."""

from typing import Annotated

import typer

import puna


def report(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run, also an unfinished one, or a moment of it: runs/demo@step-400.")
    ],
) -> None:
    """Write RUN/report.html: data, curves, samples, speed, energy, exports, lineage; one file that works offline."""
    puna.report(run)

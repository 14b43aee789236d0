"""`puna report`: one page from a run's records."""

from pathlib import Path
from typing import Annotated

import typer

import puna


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory such as runs/demo.")],
) -> None:
    """Write RUN/report.html: data, curves, samples, speed, energy, exports, lineage; one file that works offline."""
    puna.report(run)

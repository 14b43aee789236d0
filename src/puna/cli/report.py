"""`puna report`: one page from a run's records."""

from pathlib import Path
from typing import Annotated

import typer


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory such as runs/demo.")],
) -> None:
    """Write RUN/report.html: data, curves, samples, speed, energy, exports, lineage; one file that works offline."""
    from puna.cli.stages import write_report
    from puna.core.layout import RunDir

    write_report(RunDir(run))

"""`puna compare`: runs side by side, at the terminal and as one page."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import puna
from puna.cli.json_output import json_line

if TYPE_CHECKING:
    from puna.report.comparison import Comparison

PAGE = Path("comparison.html")
"""The page where none is named."""


def compare(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN RUN...", help="Runs, finished or not, or moments: runs/demo@step-400.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The page.  \\[default: comparison.html; with --json none]", show_default=False),
    ] = None,
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Compare runs: differences of recipes, held-out figures, curves over tokens, time and energy, samples.

    Prints the comparison and writes it as one page that works offline. An older comparison there is replaced.
    """
    found = puna.compare(runs, out if out is not None or as_json else PAGE)
    if as_json:
        print(json_line(found.as_dict()))
    else:
        show(found)


def show(comparison: "Comparison") -> None:
    """Print a comparison for people."""
    from rich.console import Console

    from puna.report.compare_text import describe

    console = Console(highlight=False, emoji=False, markup=False)
    for part in describe(comparison, console):
        console.print(part)

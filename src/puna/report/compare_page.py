"""`comparison.html`: several runs on one page that works offline, on a phone, in the dark and on paper."""

import shlex
from pathlib import Path

from puna.core.errors import DataError
from puna.core.files import write_text
from puna.core.units import format_count, format_duration, format_energy
from puna.core.version import VERSION
from puna.report.compare_charts import axes, charts, colour, dash
from puna.report.comparison import Comparison
from puna.report.template import render_page

GENERATOR = "Puna, comparison of runs"
"""In the head of every page, which tells it from other files."""

_HEAD_BYTES = 1000


def write_comparison(comparison: Comparison, path: Path) -> None:
    """Write the page; an older comparison at the path is replaced.

    Raises:
        DataError: The path has another kind of file.
        StorageError: The disk is full or not writable.
    """
    check_page(path)
    write_text(path, render(comparison))


def check_page(path: Path) -> None:
    """Refuse to replace what is not a comparison.

    Raises:
        DataError: The path has another kind of file, or is a directory.
    """
    try:
        with path.open("rb") as file:
            ours = GENERATOR.encode() in file.read(_HEAD_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return
    except IsADirectoryError:
        raise DataError(f"{path}: is a directory", hint="--out names a file, such as comparison.html") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    if not ours:
        raise DataError(f"{path}: is there already and is not a comparison", hint="choose another file with --out")


def render(comparison: Comparison) -> str:
    """The whole page as HTML, with style, scripts and figures in it."""
    return render_page(
        "compare.html",
        styles=["page.css", "compare.css"],
        script="compare.js",
        filters={
            "count": format_count, "duration": format_duration, "energy": format_energy, "quote": shlex.quote,
        },
        comparison=comparison,
        runs=comparison.runs,
        best=comparison.best(),
        axes=axes(comparison),
        charts=charts(comparison),
        prompts=list(dict.fromkeys(prompt for run in comparison.runs for prompt in run.samples)),
        colour=colour,
        dash=dash,
        generator=GENERATOR,
        version=VERSION,
    )  # fmt: skip

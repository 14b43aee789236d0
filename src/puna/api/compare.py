"""Several runs side by side: as figures, and as one page."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from puna.core.console import say
from puna.core.user_path import user_path

if TYPE_CHECKING:
    from puna.api.recipes import PathLike
    from puna.report.comparison import Comparison


def compare(runs: "Sequence[PathLike]", out: "PathLike | None" = None) -> "Comparison":
    """Compare training runs: their recipes, held-out figures, curves, speed, energy and samples. No torch is needed.

    Runs may be unfinished, even at work. Those with other data or another tokenizer are compared by bits per byte.

    Args:
        runs: Directories of two runs or more, or moments of runs such as `runs/demo@step-400`.
        out: Where to write one page with the curves, which works offline; None writes none.

    Returns:
        The figures by run; `as_dict()` has them all.

    Raises:
        DataError: There are fewer than two runs, one is not a run or is damaged, or `out` is another kind of file.
        CheckpointError: A run has no such moment.
        ConfigError: A run's recipe is damaged.
        StorageError: A path is empty or cannot be looked up, or the disk is full or not writable.
    """
    from puna.report.read_compared import read_comparison

    if out is None:
        return read_comparison(runs)
    from puna.report.compare_page import check_page, write_comparison

    page = user_path(out)
    check_page(page)
    comparison = read_comparison(runs)
    write_comparison(comparison, page)
    say(f"comparison: {page}")
    return comparison

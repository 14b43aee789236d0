"""Output for people while a command works: messages and progress on stderr; stdout stays free for data."""

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING

from puna.core.errors import escaped, shown
from puna.core.units import format_count, format_duration

if TYPE_CHECKING:
    from rich.console import Console

_NARROW = 70
"""In fewer columns, progress is shown without a bar."""
_BESIDE_LABEL, _SHORTEST_LABEL = 56, 16
"""Columns that the rest of a progress line takes, and the fewest that are left for its label."""
_QUIET_INTERVAL_S = 10.0
"""Seconds between progress lines where stderr is a file and a bar would not be seen."""


@cache
def console() -> "Console":
    """The one console, on stderr. It shows text as it is: no colon in a file's name becomes an emoji."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


def say(message: str) -> None:
    """Print one line for the user on stderr."""
    console().print(shown(message), markup=False)


def warn(message: str) -> None:
    """Print a warning on stderr: something worked, but not as the user may think."""
    console().print(f"warning: {shown(message)}", style="yellow", markup=False)


def print_text(text: str) -> None:
    """Write a part of a model's text to standard output, at once; at a terminal, what would steer it is escaped."""
    at_terminal = sys.stdout is not None and sys.stdout.isatty()
    print(escaped(text) if at_terminal else text, end="", flush=True)


@contextlib.contextmanager
def muted(on: bool) -> Iterator[None]:
    """Say nothing meanwhile, as where another process says the same; errors, which come after, are shown."""
    before = on and console().quiet
    if on:
        console().quiet = True
    try:
        yield
    finally:
        if on:
            console().quiet = before


@contextlib.contextmanager
def libraries_muted() -> Iterator[None]:
    """Keep warnings that libraries log, such as of parts of theirs that do not load here, out of the terminal."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def progress(label: str, total: float | None, unit: str, *, visible: bool = True) -> Iterator[Callable[[float], None]]:
    """Show rate and time left of a piece of work; yields a function to call with each amount done.

    On a terminal it is a bar; where stderr is a file it is a line every ten seconds.

    Args:
        label: The name of the work: `tokenize prose`.
        total: How much there is in all, in `unit`; None if unknown.
        unit: What is counted: `documents`, `bytes`, `tokens`.
        visible: Whether anything is shown; of several processes one shows it.
    """
    if not visible:
        yield lambda amount: None
        return
    if not sys.stderr.isatty():
        yield _quiet_progress(label, total, unit)
        return
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.table import Column
    from rich.text import Text

    # On one line whatever its width: where a line breaks, rich moves the cursor back too little, and pieces stay.
    def one_line() -> Column:
        return Column(no_wrap=True, overflow="ellipsis")

    class Amount(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.percentage:>3.0f}%" if task.total else f"{format_count(task.completed)} {unit}")

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{format_count(speed)} {unit}/s" if speed else "")

    width = console().width
    drawn = [BarColumn(bar_width=min(40, width // 4), table_column=one_line())] if width >= _NARROW else []
    bar = Progress(
        TextColumn("{task.description}", markup=False, table_column=one_line()), *drawn, Amount(one_line()),
        Rate(one_line()), TimeRemainingColumn(table_column=one_line()), console=console(), transient=True,
    )  # fmt: skip
    with bar:
        task = bar.add_task(_cut(label, max(_SHORTEST_LABEL, width - _BESIDE_LABEL)), total=total)
        yield lambda amount: bar.update(task, advance=amount)


def _cut(label: str, most: int) -> str:
    """The label on one line, with an ellipsis for its middle where it is longer than `most` characters."""
    label = " ".join(shown(label).split())
    return label if len(label) <= most else f"{label[: most // 2]}…{label[len(label) - (most - most // 2 - 1) :]}"


def _quiet_progress(label: str, total: float | None, unit: str) -> Callable[[float], None]:
    started = last = time.monotonic()
    done = 0.0

    def advance(amount: float) -> None:
        nonlocal done, last
        done += amount
        now = time.monotonic()
        if now - last < _QUIET_INTERVAL_S:
            return
        last = now
        rate = done / (now - started)
        line = f"{label}: {format_count(done)} {unit}, {format_count(rate)} {unit}/s"
        if total and rate:
            line += f", {format_duration(max(0.0, total - done) / rate)} left"
        say(line)

    return advance

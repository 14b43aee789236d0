"""The picture of a run on a terminal: a panel that is as wide as the terminal, and stays legible in a narrow one."""

import math
import re
import time

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from puna.config.recipe import Recipe
from puna.core.schema.lines import EvaluationLine, SampleLine, TrainLine, ValidationLine
from puna.core.units import format_bytes, format_count, format_duration

_LEVELS = "▁▂▃▄▅▆▇█"
_LOSSES = 60
"""Points of the loss that are drawn, the newest ones."""
_EVENTS = 4
_SAMPLE_LINES = 2
_FIRST_TO_GO = ("sample", "sources", "events", "figures")
"""Sections that a terminal of few lines does without, in this order."""
_BESIDE = 4
"""Lines for the frame, the progress of a validation and the cursor."""
_NARROW = 56
"""In fewer columns, the table of sources leaves out what follows from the share and the loss."""


class Dashboard:
    """The state of a run, drawn again whenever rich asks for it.

    A thread of rich's may ask at any moment, so what it reads is replaced as a whole and never changed in place.
    """

    def __init__(self, recipe: Recipe, step: int) -> None:
        self._recipe = recipe
        self.step = step
        """Optimizer steps done."""
        self.seconds_left: float | None = None
        """None until it is known."""
        self._line: TrainLine | None = None
        self._losses: tuple[float, ...] = ()
        self._bits: dict[str, float] = {}
        self._sample: tuple[str, str] | None = None
        self._events: tuple[str, ...] = ()

    def log(self, line: TrainLine) -> None:
        """Take in a `train` line of the metrics."""
        self._losses = (*self._losses, line.loss)[-_LOSSES:]
        self._line = line

    def validated(self, line: ValidationLine) -> None:
        """Take in a `validation` line of the metrics."""
        self._bits = line.bits_per_byte
        unit, found = ("bits per byte", line.bits_per_byte) if line.bits_per_byte else ("loss", line.loss)
        figures = ", ".join(f"{source} {figure:.3f}" for source, figure in found.items())
        self.event(f"step {line.step}: held-out {unit}: {figures}")

    def evaluated(self, line: EvaluationLine) -> None:
        """Take in an `evaluation` line of the metrics."""
        mains = ((task.title, task.main[1].value) for task in line.tasks)
        figures = ", ".join(f"{title} {_number(value, 3)}" for title, value in mains)
        self.event(f"step {line.step}: benchmarks: {figures}")

    def sampled(self, line: SampleLine) -> None:
        """Take in a `sample` line of the metrics."""
        self._sample = printable(line.prompt), printable(line.text)

    def event(self, text: str) -> None:
        """Add a line to the latest events."""
        self._events = (*self._events, f"{time.strftime('%H:%M')}  {printable(text)}")[-_EVENTS:]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the panel, as wide as the terminal."""
        width = max(1, options.max_width - 4)
        sections: dict[str, list[RenderableType]] = {
            "progress": self._progress(width),
            "figures": self._figures(width, options.ascii_only),
            "sources": self._sources(width),
            "sample": self._shortened_sample(console, width),
            "events": [Text(event, style="dim", no_wrap=True, overflow="ellipsis") for event in self._events],
        }
        sections = {name: parts for name, parts in sections.items() if parts}
        for name in _FIRST_TO_GO:
            if sum(map(_height, sections.values())) > console.height - _BESIDE:
                sections.pop(name, None)
        parts = [part for section in sections.values() for part in (Text(), *section)][1:]
        yield Panel(Group(*parts), title=Text(self._recipe.name, style="bold"), title_align="left", border_style="dim")

    def _progress(self, width: int) -> list[RenderableType]:
        total, batch = self._recipe.total_steps, self._recipe.train.batch_tokens
        bar = Table.grid(expand=True, padding=(0, 0, 0, 1))
        bar.add_column(ratio=1)
        bar.add_column(no_wrap=True)
        bar.add_row(ProgressBar(total=total, completed=self.step), f"{self.step / total:.1%}")
        facts = [
            _fact(f"{self.step:,}", f"of {total:,} steps"),
            _fact(format_count(self.step * batch), f"of {format_count(total * batch)} tokens"),
        ]
        if self.seconds_left is not None:
            facts.append(_fact(format_duration(self.seconds_left), "left"))
        return [bar, *_packed(facts, width)]

    def _figures(self, width: int, ascii_only: bool) -> list[RenderableType]:
        line = self._line
        if not line:
            return []
        loss = Text.assemble(("batch loss ", "dim"), (f"{line.loss:.3f}", "bold"), "  ")
        if not ascii_only:
            loss.append(sparkline(self._losses[-max(0, width - loss.cell_len) :]), style="cyan")
        loss.no_wrap, loss.overflow = True, "crop"
        facts = [
            _fact(f"{line.lr:.2e}", "learning rate"),
            _fact(f"{line.grad_norm:.2f}", "gradient norm"),
            _fact(format_count(line.tokens_per_second), "tokens/s"),
        ]
        if line.tokens_per_second_overall is not None:
            facts.append(_fact(format_count(line.tokens_per_second_overall), "overall"))
        if line.mfu:
            facts.append(_fact(f"{line.mfu['causal']:.1%}", "MFU"))
        if line.data_wait is not None:
            facts.append(_fact(f"{line.data_wait:.1%}", "data wait"))
        if line.memory_bytes is not None:
            facts.append(_fact(format_bytes(line.memory_bytes), "memory"))
        return [loss, *_packed(facts, width)]

    def _sources(self, width: int) -> list[RenderableType]:
        if self._line is None or not self._line.source_tokens:
            return []
        tokens, epochs, losses = self._line.source_tokens, self._line.epochs, self._line.source_loss
        narrow = width < _NARROW
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        table.add_column("source", overflow="ellipsis", vertical="bottom")  # the only one that may shrink
        # The loss above is of the last batch alone; these are means over all batches since the line before.
        for name in ("share", *(() if narrow else ("tokens", "epochs")), "mean\nloss", "held-out\nbits/byte"):
            table.add_column(name, justify="right", no_wrap=True, vertical="bottom")
        whole = sum(tokens.values())
        for source, count in tokens.items():
            amounts = () if narrow else (format_count(count), _number(epochs.get(source), 2))
            share = f"{count / whole:.1%}" if whole else "-"
            figures = _number(losses.get(source), 3), _number(self._bits.get(source), 3)
            table.add_row(Text(printable(source)), share, *amounts, *figures)
        return [table]

    def _shortened_sample(self, console: Console, width: int) -> list[RenderableType]:
        if self._sample is None:
            return []
        lines = Text.assemble((self._sample[0], "bold"), self._sample[1]).wrap(console, width)
        shown = list(lines[:_SAMPLE_LINES])
        if len(lines) > len(shown):
            shown[-1].truncate(width - 1)
            shown[-1].rstrip()
            shown[-1].append("…")
        return [*shown]


def sparkline(values: tuple[float, ...]) -> str:
    """One bar for each value, from the lowest to the highest of them; a blank where a value is not finite."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return " " * len(values)
    low, high = min(finite), max(finite)
    # Halved, because the difference of two floats need not be one.
    span = high / 2 - low / 2
    return "".join(
        _LEVELS[round((value / 2 - low / 2) / span * (len(_LEVELS) - 1)) if span else 0]
        if math.isfinite(value)
        else " "
        for value in values
    )


def printable(text: str) -> str:
    """The text on one line, without what could move the cursor or colour the terminal."""
    return re.sub(" +", " ", "".join(letter if letter.isprintable() else " " for letter in text))


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _fact(value: str, label: str) -> Text:
    return Text.assemble(value, (f" {label}", "dim"), no_wrap=True, overflow="ellipsis")


def _packed(facts: list[Text], width: int) -> list[Text]:
    """The facts in as few lines as they need; none is broken in two."""
    lines: list[Text] = []
    for fact in facts:
        if lines and lines[-1].cell_len + 3 + fact.cell_len <= width:
            lines[-1].append("   ").append_text(fact)
        else:
            lines.append(fact)
    return lines


def _height(section: list[RenderableType]) -> int:
    """Lines of a section and of the empty one before it."""
    return 1 + sum(
        part.row_count + part.show_header * (1 + max(str(column.header).count("\n") for column in part.columns))
        if isinstance(part, Table)
        else 1
        for part in section
    )

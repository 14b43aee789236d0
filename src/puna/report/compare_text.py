"""A comparison of runs for a terminal: figures, a plot, differences of the recipes, samples side by side."""

from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from puna.core.errors import escaped
from puna.core.units import format_count, format_duration, format_energy
from puna.report.comparison import ComparedRun, Comparison
from puna.report.plot_text import Curve, plot

STYLES = ["blue", "yellow", "green", "magenta", "red", "cyan"]
"""Of the runs in their order; which of them is meant is also said by names."""

_PLOT_LINES = 12
_NARROWEST_SAMPLE = 24
"""Characters; where the runs' samples would be narrower side by side, they stand one below the other."""
_LONGEST_VALUE = 60


def describe(comparison: Comparison, console: Console) -> Iterator[RenderableType]:
    """The parts of the comparison, as wide as the console."""
    for note in comparison.notes:
        yield Text(escaped(note))
    if comparison.notes:
        yield Text("")
    yield _figures(comparison, console)
    if lines := _plot(comparison, console):
        yield Text("held-out bits per byte" + (", mean of the sources" if len(comparison.sources) > 1 else ""))
        yield Group(*lines, Text(""))
    yield _differences(comparison)
    for prompt in dict.fromkeys(prompt for run in comparison.runs for prompt in run.samples):
        yield Text("")
        yield from _samples(comparison, prompt, console.width)


def _figures(comparison: Comparison, console: Console) -> RenderableType:
    """A table; two where that is wider than the console; else a paragraph for each run, so that no figure is broken."""
    with_mean = len(comparison.weights) > 1
    measured = [*(["mean"] if with_mean else []), *map(escaped, comparison.sources)]
    if comparison.common_tokens is not None:
        measured.append(f"at {format_count(comparison.common_tokens)} tokens")
    if comparison.with_pairs:
        measured.append("told apart")
    head = [*measured, "tokens", "tokens/s", "MFU", "time", "energy"]
    rows = [_row(comparison, run, with_mean) for run in comparison.runs]
    whole, split = [(0, len(head))], [(0, len(measured)), (len(measured), len(head))]
    for parts in (whole, split):
        tables = [_table(comparison, head[begin:end], [row[begin:end] for row in rows]) for begin, end in parts]
        if all(_width(table, console) <= console.width for table in tables):
            return Group(*(part for table in tables for part in (table, Text(""))))
    lines: list[RenderableType] = []
    for number, (run, row) in enumerate(zip(comparison.runs, rows, strict=True)):
        figures = ", ".join(f"{title} {figure}" for title, figure in zip(head, row, strict=True))
        lines += [Text(escaped(run.name), style=_style(number)), Padding(Text(figures), (0, 0, 0, 2))]
    return Group(*lines, Text(""))


def _table(comparison: Comparison, head: list[str], rows: list[list[str]]) -> Table:
    best = comparison.best()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("run", no_wrap=True)
    for title in head:
        table.add_column(Text(title), justify="right", no_wrap=True)
    for number, (run, row) in enumerate(zip(comparison.runs, rows, strict=True)):
        name = Text(escaped(run.name), style=_style(number))
        table.add_row(name, *row, style="bold" if number == best else None)
    return table


def _width(table: Table, console: Console) -> int:
    return Measurement.get(console, console.options.update(max_width=10_000), table).maximum


def _row(comparison: Comparison, run: ComparedRun, with_mean: bool) -> list[str]:
    bits = run.last.bits_per_byte if run.last else {}
    figures = [comparison.heldout(run)] if with_mean else []
    figures += [bits.get(source) for source in comparison.sources]
    if comparison.common_tokens is not None:
        figures.append(comparison.at_common_tokens(run))
    shown = ["-" if figure is None else f"{figure:.4f}" for figure in figures]
    if comparison.with_pairs:
        shown.append("-" if run.told_apart is None else f"{run.told_apart:.1%}")
    return shown + _costs(run)


def _costs(run: ComparedRun) -> list[str]:
    return [
        format_count(run.tokens),
        "-" if run.rate is None else format_count(run.rate),
        "-" if run.mfu is None else f"{run.mfu:.1%}",
        "-" if run.seconds is None else format_duration(run.seconds),
        "-" if run.kwh is None else format_energy(run.kwh),
    ]


def _plot(comparison: Comparison, console: Console) -> list[Text]:
    curves = []
    for number, run in enumerate(comparison.runs):
        # The last validation is of more text than those before it, so it is not on their line where there are any.
        lines = run.during or run.validations
        values = [(float(line.tokens), comparison.mean(line)) for line in lines]
        points = [(tokens, value) for tokens, value in values if value is not None]
        curves.append(Curve(escaped(run.name), _style(number), points))
    if not any(len(curve.points) > 1 for curve in curves):
        return []
    braille = console.encoding.lower().startswith("utf")
    return plot(
        curves, width=min(console.width, 100), height=max(_PLOT_LINES, len(curves)), across="tokens", braille=braille
    )


def _differences(comparison: Comparison) -> RenderableType:
    """The values of the keys that differ."""
    if not comparison.differences:
        return Text("the recipes are the same")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    names = [Text(escaped(run.name), style=_style(number)) for number, run in enumerate(comparison.runs)]
    keys = [Text(escaped(difference.key)) for difference in comparison.differences]
    values = [[_cut(text) for text in difference.texts] for difference in comparison.differences]
    if comparison.keys_are_columns:
        head, rows, cells = ["run", *keys], names, [list(row) for row in zip(*values, strict=True)]
    else:
        head, rows, cells = ["key", *names], keys, values
    for title in head:
        table.add_column(title, overflow="fold")
    for row, texts in zip(rows, cells, strict=True):
        table.add_row(row, *texts)
    return table


def _samples(comparison: Comparison, prompt: str, width: int) -> Iterator[RenderableType]:
    """What each run wrote after the prompt."""
    yield Text(f"after {prompt!r}:" if prompt.isprintable() else f"after {prompt!a}:")
    texts = [run.samples.get(prompt) for run in comparison.runs]
    shown = [Text("-" if text is None else escaped(text.strip())) for text in texts]
    names = [Text(escaped(run.name), style=_style(number)) for number, run in enumerate(comparison.runs)]
    if width >= len(names) * _NARROWEST_SAMPLE:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for name in names:
            table.add_column(name, ratio=1, overflow="fold")
        table.add_row(*shown)
        yield table
    else:
        for name, text in zip(names, shown, strict=True):
            yield name
            yield Padding(text, (0, 0, 0, 2))


def _style(number: int) -> str:
    return STYLES[number % len(STYLES)]


def _cut(text: str) -> Text:
    return Text(escaped(text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."))

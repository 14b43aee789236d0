"""Tables of results: our column beside the published ones, with what limits each figure in a footnote.

A cell of ours has the figure, half its 95 % interval and the number of documents. A dash has a footnote that says why.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from puna.core.schema.evaluation import Metric, Results, TaskResult
from puna.evaluate.aggregates import mean_of_tasks, pooled
from puna.evaluate.figure import Figure
from puna.evaluate.published.tables import DIGITS, PublishedTable, find_models, published_tables
from puna.evaluate.registry import is_outdated
from puna.evaluate.scorer import KINDS
from puna.evaluate.suites import Averaged, Measured, Sheet, Suite, rows_beside

DASH = "-"
_PLAIN_DIGITS = 4
_SIZE = re.compile(r"(?<=\s)(\d+(?:\.\d+)?)B\b")
"""The size in a published model's name, in billions of parameters: `LLaMA 7B`."""
_JUDGED = {metric for kind in KINDS.values() for metric in kind.unknown}
"""Metrics that a scorer of texts gives."""


@dataclass(frozen=True, kw_only=True)
class TableCell:
    """What one field of a table shows."""

    text: str
    """The figure in the table's unit, or a dash."""
    half: str = ""
    """Half of the 95 % interval, in the same unit; empty where there is none, as where all values are equal."""
    n: int | None = None
    """Documents, or for a mean of rows the rows; None in columns of others."""
    notes: tuple[int, ...] = ()
    """Numbers of the table's notes, from 1."""
    best: bool = False
    """Whether it is better than every published figure of its row by more than half its interval."""


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """One thing that was measured."""

    name: str
    cells: tuple[TableCell, ...]
    """One for each column."""


@dataclass(frozen=True, kw_only=True)
class ResultTable:
    """One table, ready to be written in any form."""

    title: str
    source: str
    """Where the published columns are from; empty where there are none."""
    note: str
    """How the published figures were measured."""
    unit: str
    """As `PublishedTable.unit`, or `metric` where rows are metrics of all kinds."""
    ours: tuple[str, ...]
    """The first columns: the models that were evaluated."""
    others: tuple[str, ...]
    """The columns after them, of the source."""
    rows: tuple[TableRow, ...]
    notes: tuple[str, ...]
    """Footnotes in their order."""
    nearest: tuple[str, ...] = ()
    """The columns of the source, those first that are nearest to our model in size; where it is unknown, the last."""
    own: str = ""
    """Protocols of our columns with their versions, and what these settle where the source leaves it open."""


@dataclass(kw_only=True)
class _Notes:
    """Footnotes of one table; equal ones are one."""

    texts: list[str] = field(default_factory=list)

    def add(self, texts: Sequence[str]) -> tuple[int, ...]:
        for text in texts:
            if text not in self.texts:
                self.texts.append(text)
        return tuple(sorted({self.texts.index(text) + 1 for text in texts}))


def suite_tables(suite: Suite, results: Sequence[Results], against: Sequence[str] = ()) -> list[ResultTable]:
    """The suite's tables with a column for each evaluation.

    Args:
        suite: Whose tables they are.
        results: The evaluations, one for each column of ours.
        against: Names of published models; only their columns are shown then, and tables without any have none. All
            where empty.

    Raises:
        EvaluateError: No table of the suite has one of these models.
    """
    picked = find_models(against, [sheet.published for sheet in suite.sheets])
    return [_sheet_table(sheet, results, picked) for sheet in suite.sheets]


def _sheet_table(sheet: Sheet, results: Sequence[Results], picked: Sequence[str]) -> ResultTable:
    published = sheet.published
    others = tuple(model for model in published.models if not picked or model in picked)
    notes = _Notes()
    rows = []
    for name in sheet.rows:
        theirs = [_published_cell(published, name, model, notes) for model in others]
        figures = [published.figure(name, model) for model in others] if name in published.rows else []
        known = [figure for figure in figures if figure is not None]
        ours = [_cell(sheet, name, result, known, notes) for result in results]
        rows.append(TableRow(name=name, cells=(*ours, *theirs)))
    own_number = "" if published.number == published.title else f"{published.number}: "
    return ResultTable(
        title=own_number + published.title, source=published.source, note=published.note, unit=published.unit,
        ours=tuple(result.model.title for result in results), others=others, rows=tuple(rows), notes=tuple(notes.texts),
        nearest=_nearest(others, results), own=" ".join(filter(None, [_protocols(sheet, results), sheet.own])),
    )  # fmt: skip


def _nearest(models: Sequence[str], results: Sequence[Results]) -> tuple[str, ...]:
    """Published models in the order of `ResultTable.nearest`; of those equally near the last first."""
    ours = next((result.model.parameters for result in results if result.model.parameters), None)

    def key(place: int) -> tuple[float, int]:
        size = _SIZE.search(models[place])
        return abs(math.log(float(size[1]) * 1e9 / ours)) if size and ours else math.inf, -place

    return tuple(models[place] for place in sorted(range(len(models)), key=key))


def _protocols(sheet: Sheet, results: Sequence[Results]) -> str:
    """The protocols that the figures of a sheet are by, as a sentence; empty where it has none."""
    ids = {id for row in sheet.rows.values() if isinstance(row, Measured) for id in (row.task, row.instead)}
    found = {
        f"{task.protocol} (version {task.protocol_version})"
        for result in results
        for task in result.tasks
        if task.id in ids
    }
    return f"Protocol {', '.join(sorted(found))}." if found else ""


def _published_cell(table: PublishedTable, row: str, model: str, notes: _Notes) -> TableCell:
    figure = table.figure(row, model) if row in table.rows else None
    if figure is None:
        return TableCell(text=DASH)
    mark = table.marks.get((row, model))
    return TableCell(text=f"{figure:.{DIGITS[table.unit]}f}", notes=notes.add([mark] if mark else []))


def _cell(sheet: Sheet, row: str, result: Results, published: Sequence[float], notes: _Notes) -> TableCell:
    """Our figure of one row."""
    figure, remarks = _figure(sheet, row, result)
    if figure.value is None:
        return TableCell(text=DASH, notes=notes.add(remarks))
    scale = 100.0 if sheet.published.unit == "percent" else 1.0
    digits = DIGITS[sheet.published.unit]
    half = _half(figure, scale)
    return TableCell(
        text=f"{scale * figure.value:.{digits}f}", half="" if half is None else f"{half:.{digits}f}", n=figure.n,
        notes=notes.add(remarks), best=_is_best(scale * figure.value, half, published, sheet.published.better),
    )  # fmt: skip


def _half(figure: Figure, scale: float) -> float | None:
    """Half of the interval; None of equal values, whose standard error of 0 says nothing about others."""
    if figure.interval is None or figure.value is None or not figure.stderr:
        return None
    return scale * (figure.interval[1] - figure.value)


def _is_best(value: float, half: float | None, published: Sequence[float], better: str) -> bool:
    if half is None or not published or better == "neither":
        return False
    return value - half > max(published) if better == "higher" else value + half < min(published)


def _figure(sheet: Sheet, row: str, result: Results) -> tuple[Figure, list[str]]:
    """Our figure of a row, and what is to be said of it."""
    measured = sheet.rows[row]
    if isinstance(measured, Measured):
        return _measured(measured, result)
    figures = [_figure(sheet, name, result)[0] for name in measured.rows]
    without = sum(figure.value is None for figure in figures)
    remarks = [f"the mean of {len(figures)} rows, of which {without} have no figure"] if without else []
    return mean_of_tasks(figures, independent=_independent(sheet, measured)), remarks


def _independent(sheet: Sheet, averaged: Averaged) -> bool:
    """Whether no two of the rows are about one set of documents."""
    rows = [sheet.rows[name] for name in averaged.rows]
    sets = [row.task.partition("@")[0] for row in rows if isinstance(row, Measured)]
    return len(set(sets)) == len(averaged.rows)


def _measured(measured: Measured, result: Results) -> tuple[Figure, list[str]]:
    tasks = {task.id: task for task in result.tasks}
    task = tasks.get(measured.task) or tasks.get(measured.instead)
    nothing = Figure(value=None, n=0)
    if task is None:
        return nothing, [result.missing.get(measured.task, "not part of this evaluation")]
    metric = _metric_of(task, measured.metric)
    if metric is None:
        return nothing, [f"{task.id} has no metric {measured.metric!r}"]
    if measured.categories:
        found = [task.categories[name] for name in measured.categories if name in task.categories]
        figure = pooled([_as_figure(metrics[metric]) for metrics in found if metric in metrics])
        of_categories = f" of these categories among the {task.n:,} that were asked" if task.n < task.of else ""
        reason = [] if figure.n or figure.missing else [f"no documents{of_categories}"]
    else:
        figure, reason = _as_figure(task.metrics[metric]), []
    return figure, [*reason, *_remarks(task, figure, metric, measured)]


def _metric_of(task: TaskResult, wanted: str) -> str | None:
    """The metric by its name, or the same one with another number of samples, as maj1@20 for maj1@256."""
    if not wanted:
        return task.main[0]
    if wanted in task.metrics:
        return wanted
    family = wanted.rpartition("@")[0]
    return next((name for name in task.metrics if family and name.rpartition("@")[0] == family), None)


def _as_figure(metric: Metric) -> Figure:
    return Figure(value=metric.value, n=metric.n, missing=metric.missing, stderr=metric.stderr)


def _remarks(task: TaskResult, figure: Figure, metric: str, measured: Measured) -> list[str]:
    """What distinguishes a figure from the published ones, one sentence each."""
    said = [measured.note] if measured.note else []
    if measured.instead and task.id == measured.instead:
        said.append(f"on other data, {task.title} ({task.id})")
    if task.n < task.of:
        # Without numbers, so that it is one note for all rows: a cell has its own.
        drawn = "the first" if task.limit_seed is None else f"drawn with seed {task.limit_seed}"
        said.append(f"a part of the documents, {drawn}")
    if measured.metric and metric != measured.metric:
        said.append(f"{metric}, where the source has {measured.metric}")
    if figure.missing:
        why = "; no scorer of texts was named" if metric in _JUDGED and task.scorer is None else ""
        said.append(f"{figure.missing:,} of {figure.missing + figure.n:,} documents have no score{why}")
    if figure.value is None:
        return said
    if is_outdated(task.id, task.protocol_version, task.task_version):
        said.append("by an earlier version of the task, whose figures are other quantities")
    if task.cut.documents:
        said.append(
            f"documents whose context was longer than the model's and lost its beginning: {task.cut.documents:,}"
        )
    if task.contamination == "not compared":
        said.append("the model's training data was not compared with this set")
    if task.contamination == "contaminated":
        said.append("documents with text of this set are in the model's training data")
    return said


def plain_table(results: Sequence[Results], against: Sequence[str] = ()) -> ResultTable:
    """All figures of evaluations, a row for each task and metric, beside published figures of the same ones.

    Args:
        results: The evaluations, one for each column of ours.
        against: Names of published models; none where empty.

    Raises:
        EvaluateError: No table has one of these models.
    """
    picked = find_models(against, published_tables().values())
    notes = _Notes()
    rows = []
    for task, metric in dict.fromkeys(_figures(results)):
        ours = [_plain_cell(result, task, metric, notes) for result in results]
        is_main = any(found.id == task and found.main[0] == metric for result in results for found in result.tasks)
        theirs = [_theirs(task, metric, model, is_main=is_main) for model in picked]
        rows.append(TableRow(name=f"{task} {metric}", cells=(*ours, *theirs)))
    return ResultTable(
        title="All figures", source="", note="", unit="metric", ours=tuple(result.model.title for result in results),
        others=picked, rows=tuple(rows), notes=tuple(notes.texts), nearest=_nearest(picked, results),
    )  # fmt: skip


def _figures(results: Sequence[Results]) -> Iterator[tuple[str, str]]:
    for result in results:
        for task in result.tasks:
            yield from ((task.id, metric) for metric in task.metrics)


def _plain_cell(result: Results, task: str, metric: str, notes: _Notes) -> TableCell:
    figure, remarks = _measured(Measured(task=task, metric=metric), result)
    if figure.value is None:
        return TableCell(text=DASH, notes=notes.add(remarks))
    half = _half(figure, 1.0)
    return TableCell(
        text=f"{figure.value:.{_PLAIN_DIGITS}f}", half="" if half is None else f"{half:.{_PLAIN_DIGITS}f}", n=figure.n,
        notes=notes.add(remarks),
    )  # fmt: skip


def _theirs(task: str, metric: str, model: str, *, is_main: bool) -> TableCell:
    """A published figure as a fraction, with the decimals that its source prints."""
    for table, row in rows_beside(task, metric, is_main=is_main):
        figure = table.figure(row, model) if model in table.models else None
        if figure is not None:
            percent = table.unit == "percent"
            return TableCell(text=f"{figure / 100 if percent else figure:.{DIGITS[table.unit] + 2 * percent}f}")
    return TableCell(text=DASH)

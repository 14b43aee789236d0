"""`index.html` of an evaluation: one page that works offline, on a phone, in the dark and on paper."""

from collections.abc import Sequence
from importlib import resources
from typing import Any

from puna.core.files import write_text
from puna.core.layout import EvaluationDir
from puna.core.page_style import page_style, script_json
from puna.core.schema.evaluation import Metric, Results, TaskResult, read_results
from puna.core.units import format_count
from puna.core.version import VERSION
from puna.evaluate.page.packs import LARGEST, Packed, pack_documents
from puna.evaluate.tables import DASH, ResultTable


def write_page(evaluation: EvaluationDir, tables: Sequence[ResultTable] = ()) -> None:
    """Write the page of a finished evaluation; an older one is replaced.

    Args:
        evaluation: Its directory, with results and documents.
        tables: The papers' tables with our column.

    Raises:
        DataError: A file is missing or damaged.
        StorageError: The disk is full or not writable.
    """
    results = read_results(evaluation.results)
    write_text(evaluation.page, render(results, _packs(results, evaluation), tables))


def render(results: Results, packs: list[Packed], tables: Sequence[ResultTable] = ()) -> str:
    """The page as HTML. Everything that a model or a data set says is escaped: a document may well be `<script>`."""
    import jinja2
    from markupsafe import Markup

    folder = resources.files("puna.evaluate.page")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"figure": figure, "position": position, "measured": _is_measured}
    template = environment.from_string((folder / "page.html").read_text(encoding="utf-8"))
    shown = [{"task": one.task, "packs": len(one.packs), "documents": one.documents} for one in packs]
    page = template.render(
        style=Markup(page_style("puna.evaluate.page", "page.css")),  # noqa: S704
        script=Markup((folder / "viewer.js").read_text(encoding="utf-8")),  # noqa: S704
        tasks_json=Markup(script_json({"tasks": shown, "details": list(map(_details, results.tasks))})),  # noqa: S704
        results=results, packs=packs, tables=tables, version=VERSION, facts=_facts(results),
        notes=_notes(results, packs),
    )  # fmt: skip
    # JSON can hold half of a surrogate pair, UTF-8 cannot.
    return page.encode("utf-8", "replace").decode()


def figure(metric: Metric) -> str:
    """A figure with half the width of its 95 % interval: `0.2534 ± 0.0085`; equal values have none."""
    if metric.value is None:
        return "not measured"
    if metric.low is None or metric.high is None or metric.low == metric.high:
        return f"{metric.value:.4f}"
    return f"{metric.value:.4f} ± {(metric.high - metric.low) / 2:.4f}"


def position(value: float) -> str:
    """Where a share from 0 to 1 lies on a line, in percent of its width."""
    return f"{100 * min(max(value, 0.0), 1.0):.2f}%"


def _is_measured(table: ResultTable) -> bool:
    """Whether a column of ours has a figure."""
    return any(cell.text != DASH for row in table.rows for cell in row.cells[: len(table.ours)])


def _packs(results: Results, evaluation: EvaluationDir) -> list[Packed]:
    """The documents of all tasks; each has an equal part of the room, and what earlier ones have left."""
    packs: list[Packed] = []
    room = LARGEST
    for place, task in enumerate(results.tasks):
        packs.append(pack_documents(task.id, evaluation.documents_of(task.id), room // (len(results.tasks) - place)))
        room = max(room - packs[-1].size, 0)
    return packs


def _facts(results: Results) -> list[str]:
    """What was evaluated and what computed it."""
    model, engine = results.model, results.engine
    return [
        *([f"{format_count(model.parameters)} parameters"] if model.parameters else []),
        *([f"{format_count(model.tokens)} tokens of training"] if model.tokens is not None else []),
        *([f"step {model.step:,}"] if model.step is not None else []),
        f"{engine.title}{f', weights {engine.weights}' if engine.weights else ''}",
        *(["a score's bits depend on its own text alone"] if engine.exact else []),
    ]


def _details(task: TaskResult) -> dict[str, Any]:
    """What the viewer says about a task and its metrics."""
    return {"id": task.id, "title": task.title, "metrics": list(task.metrics), "chance": task.chance}


def _notes(results: Results, packs: list[Packed]) -> list[str]:
    """What a reader must know before comparing the figures with others."""
    notes = [f"{name}: {reason}" for name, reason in results.missing.items()]
    for task in results.tasks:
        if task.n < task.of:
            drawn = "the first ones" if task.limit_seed is None else f"drawn with seed {task.limit_seed}"
            notes.append(f"{task.id}: {task.n:,} of {task.of:,} documents, {drawn}")
        if task.cut.documents:
            notes.append(
                f"{task.id}: {task.cut.documents:,} contexts were longer than the model's and lost {task.cut.tokens:,} "
                "tokens of their beginnings"
            )
        if task.moved:
            notes.append(
                f"{task.id}: of {task.moved:,} pairs a token of the context is scored too, as it spans the join"
            )
        for name, metric in task.metrics.items():
            if metric.missing:
                notes.append(f"{task.id}: {name} of {metric.missing:,} documents could not be measured")
    notes += [
        f"{one.task}: this page has the first {one.documents:,} documents, {one.left_out:,} more are in documents/"
        for one in packs
        if one.left_out
    ]
    return notes

"""Tables of the guide that show figures of evaluations, from the records of bench/evaluated.py."""

from collections.abc import Callable
from typing import Any

from puna.core.schema.evaluation import Results
from puna.core.schema.part import parse
from puna.evaluate.suites import find_suite
from puna.evaluate.table_forms import markdown
from puna.evaluate.tables import DASH, ResultTable, suite_tables

Newest = Callable[[str], dict[str, Any]]
Origin = Callable[[dict[str, Any]], str]

BESIDE = {"llama": ["LLaMA 7B"], "openllama": ["LLaMA 7B"], "openlm": ["OpenLM-1B"]}
"""The published column of each suite that stands beside ours."""


def tables(newest: Newest, origin: Origin) -> dict[str, Callable[[], str]]:
    """The tables by name; arguments as for each of them."""
    return {"protocols": lambda: protocols(newest, origin), "suites": lambda: suites(newest, origin)}


def protocols(newest: Newest, origin: Origin) -> str:
    """One model's scores on each benchmark, by protocol and metric."""
    (record,) = newest("evaluated_protocols")["evaluations"]
    scores: dict[str, dict[str, str]] = {}
    columns: dict[str, None] = {}
    titles: dict[str, str] = {}
    for task in _results(record).tasks:
        name = task.id.partition("@")[0].partition("/")[2]
        titles.setdefault(name, f"{task.title}, {task.n:,} documents")
        for metric, figure in task.metrics.items():
            column = f"`{task.protocol}`" + (f" {metric}" if task.protocol == "harness" else "")
            columns[column] = None
            if figure.value is not None and figure.high is not None:
                half = 100 * (figure.high - figure.value)
                scores.setdefault(name, {})[column] = f"{100 * figure.value:.1f} ± {half:.1f}"
    lines = ["| percent |" + "".join(f" {column} |" for column in columns), "|---|" + "--:|" * len(columns)]
    for name, row in scores.items():
        lines.append(f"| {titles[name]} |" + "".join(f" {row.get(column, '')} |" for column in columns))
    return "\n".join([*lines, "", origin(record)])


def suites(newest: Newest, origin: Origin) -> str:
    """The sources' tables with a column for each model that was evaluated, and one of the source."""
    records = newest("evaluated_suites")["evaluations"]
    parts = []
    for name, beside in BESIDE.items():
        ours = [record for record in records if record["results"]["suite"] == name]
        tables = suite_tables(find_suite(name), [_results(record) for record in ours], beside)
        parts.append(markdown([table for table in tables if _is_shown(table)]).strip())
        parts += [origin(record) for record in ours]
    # Commands in notes are code on this page.
    return "\n\n".join(parts).replace("\\`", "`")


def _results(record: dict[str, Any]) -> Results:
    return parse(Results, record["results"], "results")


def _is_shown(table: ResultTable) -> bool:
    """Whether a column of ours has a figure, and the table is not MMLU's 57 subjects."""
    ours = [cell for row in table.rows for cell in row.cells[: len(table.ours)]]
    return len(table.rows) < 50 and any(cell.text != DASH for cell in ours)

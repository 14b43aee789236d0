"""Results as lines of text, a line for each metric of each task."""

from puna.core.schema.evaluation import Metric, Results, TaskResult


def describe(results: Results) -> str:
    """All figures: value, standard error, 95 % interval, and of how many documents.

    Args:
        results: Of one evaluation.
    """
    rows = [row for task in results.tasks for row in _rows(task)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)] if rows else []
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, *(f"{id}: not done, {reason}" for id, reason in results.missing.items())])


def _rows(task: TaskResult) -> list[tuple[str, ...]]:
    return [
        (task.id if place == 0 else "", name, *_figure(metric), _documents(task, metric))
        for place, (name, metric) in enumerate(task.metrics.items())
    ]


def _figure(metric: Metric) -> tuple[str, str]:
    if metric.value is None:
        return "-", ""
    if metric.low is None or metric.high is None:
        return f"{metric.value:.4f}", ""
    return f"{metric.value:.4f}", f"{metric.low:.4f} to {metric.high:.4f}"


def _documents(task: TaskResult, metric: Metric) -> str:
    """Of how many documents a figure is."""
    of = f"{metric.n:,}" if metric.n == task.of else f"{metric.n:,} of {task.of:,}"
    return f"{of} documents" + (f", {metric.missing:,} could not be measured" if metric.missing else "")

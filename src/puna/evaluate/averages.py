"""Averages over the categories of a task's documents."""

from collections.abc import Sequence
from dataclasses import replace

from puna.evaluate.aggregates import mean_of_tasks
from puna.evaluate.example import Judged
from puna.evaluate.figure import Figure, mean


def mean_of_categories(judged: Sequence[Judged], metric: str) -> Figure:
    """The mean of the categories' means, each with the same weight however many documents it has.

    The standard error is that of a mean of independent means; None where a category has one document only. Categories
    of which nothing could be measured are left out.
    """
    groups: dict[str, list[Judged]] = {}
    for document in judged:
        groups.setdefault(document.example.category, []).append(document)
    figures = [mean(group, metric) for group in groups.values()]
    found = [figure for figure in figures if figure.value is not None]
    missing = sum(figure.missing for figure in figures)
    return replace(mean_of_tasks(found, independent=True), n=sum(figure.n for figure in found), missing=missing)

"""Two evaluations of the same tasks, document by document: is the difference more than chance?

Both models have answered the same documents, so the differences per document say more than the two figures and their
intervals: what makes a document hard for both cancels out. Where every value is 0 or 1 the test is McNemar's, exact: of
the documents that only one of the models has right, is each model's share what a fair coin would give? Otherwise it is
Student's t test of the mean difference. P values are adjusted for the number of tasks by Holm's method.
"""

import math
from dataclasses import dataclass, field, replace

from puna.core.errors import EvaluateError
from puna.core.layout import EvaluationDir
from puna.core.schema.evaluation import Results, TaskResult, read_documents, read_results
from puna.evaluate.figure import CONFIDENCE, mean_of, student_t, two_tails

_SAME = (
    "protocol_version", "task_version", "data_sha256", "split", "shots", "shot_split", "samples", "bos", "n",
    "limit_seed", "scorer", "isolation",
)  # fmt: skip
"""What must be equal for scores to be comparable; the id has the protocol."""
_MEAN = 1e-9
"""A metric whose figure is this near to the mean of its documents' values is that mean."""
_NAME = 36
"""Characters of a task's name in the table."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One metric of one task in both evaluations."""

    task: str
    title: str
    metric: str
    first: float
    second: float
    n: int
    """Documents that both have a value for."""
    low: float | None = None
    """Of the mean difference, second less first: the 95 % interval by Student's t; None of what is not a mean."""
    high: float | None = None
    p: float | None = None
    """The probability of a difference at least as large where there is none; None where the metric is not a mean."""
    adjusted: float | None = None
    """The same for all tasks together (Holm 1979)."""
    test: str = ""
    more: int = 0
    """Documents whose value is larger in the second evaluation."""
    less: int = 0
    """Documents whose value is smaller in the second evaluation."""
    changed: tuple[tuple[str, float, float], ...] = field(default=(), repr=False)
    """Ids of documents whose values differ, with both of them."""

    @property
    def difference(self) -> float:
        """The second figure less the first one."""
        return self.second - self.first


@dataclass(frozen=True, kw_only=True)
class PairedComparison:
    """Two evaluations side by side; `print` shows it as `puna evaluate --compare` does."""

    titles: tuple[str, str]
    differences: list[Difference]
    left_out: dict[str, str]
    """Tasks that only one of them has, or that cannot be compared, each with the reason."""

    def __str__(self) -> str:
        first, second = self.titles
        lines = [f"first   {first}", f"second  {second}", ""]
        head = ("task", "metric", "n", "first", "second", "difference", "95 % interval", "p", "p, all", "more/less")
        lines += _aligned([head, *map(_row, self.differences)])
        if any(one.p is None for one in self.differences):
            lines.append("a metric without an interval is not a mean of documents")
        lines += [f"{task}: not compared: {reason}" for task, reason in self.left_out.items()]
        return "\n".join(lines)


def compare(first: EvaluationDir, second: EvaluationDir) -> PairedComparison:
    """The differences of every metric of every task that both evaluations have.

    Raises:
        DataError: A file is missing or damaged.
        EvaluateError: No task can be compared.
    """
    results = read_results(first.results), read_results(second.results)
    tasks = [{task.id: task for task in one.tasks} for one in results]
    differences: list[Difference] = []
    left_out: dict[str, str] = {}
    for name in dict.fromkeys((*tasks[0], *tasks[1])):
        pair = tasks[0].get(name), tasks[1].get(name)
        if pair[0] is None or pair[1] is None:
            left_out[name] = f"only {first if pair[1] is None else second} has it"
        elif reason := _unlike(pair[0], pair[1]):
            left_out[name] = reason
        elif (found := _of_task(pair[0], pair[1], first, second)) is None:
            left_out[name] = "they have asked about different documents"
        else:
            differences += found
    if not differences:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise EvaluateError(f"{first} and {second} have no task that can be compared ({reasons or 'no tasks'})")
    return PairedComparison(titles=_titles(results), differences=_holm(differences), left_out=left_out)


def mcnemar(more: int, less: int) -> float:
    """The two-sided p value of McNemar's exact test.

    Args:
        more: Pairs of which only the second is right.
        less: Pairs of which only the first is right.
    """
    n, smaller = more + less, min(more, less)
    term = total = 1
    for k in range(1, smaller + 1):
        term = term * (n - k + 1) // k
        total += term
    return min(1.0, 2 * total / 2**n) if n < 1000 else min(1.0, math.exp(math.log(2 * total) - n * math.log(2)))


def _titles(results: tuple[Results, Results]) -> tuple[str, str]:
    first, second = (one.model.title for one in results)
    return (first, second) if first != second else (results[0].model.path, results[1].model.path)


def _unlike(first: TaskResult, second: TaskResult) -> str:
    """What makes the two incomparable, as a sentence; empty if nothing does."""
    for name in _SAME:
        one, other = getattr(first, name), getattr(second, name)
        if one != other:
            return f"{name} is {one!r} in the first and {other!r} in the second"
    return ""


def _of_task(
    first: TaskResult, second: TaskResult, one: EvaluationDir, other: EvaluationDir
) -> list[Difference] | None:
    """The differences of every metric; None where the documents are not the same ones."""
    values = [{line.id: line.values for line in read_documents(where.documents_of(first.id))} for where in (one, other)]
    if values[0].keys() != values[1].keys():
        return None
    found = []
    for metric, figure in first.metrics.items():
        opposite = second.metrics.get(metric)
        if figure.value is None or opposite is None or opposite.value is None:
            continue
        pairs = [
            (id, a, b)
            for id, of_first in values[0].items()
            if (a := of_first.get(metric)) is not None and (b := values[1][id].get(metric)) is not None
        ]
        made = Difference(
            task=first.id, title=first.title, metric=metric, first=figure.value, second=opposite.value, n=len(pairs)
        )  # fmt: skip
        is_mean = all(
            (mean := mean_of([v.get(metric) for v in side.values()]).value) is not None and abs(mean - value) < _MEAN
            for side, value in zip(values, (figure.value, opposite.value), strict=True)
        )
        found.append(_tested(made, pairs) if is_mean else made)
    return found


def _tested(made: Difference, pairs: list[tuple[str, float, float]]) -> Difference:
    """The difference with its interval and p value; its two figures are of the documents that both have."""
    changed = tuple((id, a, b) for id, a, b in pairs if a != b)
    more = sum(b > a for _, a, b in changed)
    mean = mean_of([b - a for _, a, b in pairs])
    if mean.value is None or mean.stderr is None:
        return made
    half = student_t(CONFIDENCE, mean.n - 1) * mean.stderr
    if all({a, b} <= {0.0, 1.0} for _, a, b in pairs):
        test, p = "McNemar, exact", mcnemar(more, len(changed) - more)
    else:
        test = "Student's t, paired"
        p = two_tails(abs(mean.value) / mean.stderr, mean.n - 1) if mean.stderr else float(mean.value == 0)
    first, second = math.fsum(a for _, a, _ in pairs) / len(pairs), math.fsum(b for _, _, b in pairs) / len(pairs)
    return replace(
        made, first=first, second=second, low=mean.value - half, high=mean.value + half, p=p, test=test, more=more,
        less=len(changed) - more, changed=changed,
    )  # fmt: skip


def _holm(differences: list[Difference]) -> list[Difference]:
    """Adjusted p values: the smallest times the number of tests, the next times one less, never falling."""
    tested = sorted((one.p, place) for place, one in enumerate(differences) if one.p is not None)
    adjusted: dict[int, float] = {}
    largest = 0.0
    for rank, (p, place) in enumerate(tested):
        largest = adjusted[place] = max(largest, min(1.0, p * (len(tested) - rank)))
    return [replace(one, adjusted=adjusted.get(place)) for place, one in enumerate(differences)]


def _row(one: Difference) -> tuple[str, ...]:
    task = one.task if len(one.task) <= _NAME else one.task[: _NAME - 1] + "…"
    start = (task, one.metric, f"{one.n:,}", f"{one.first:.4f}", f"{one.second:.4f}", f"{one.difference:+.4f}")
    if one.p is None or one.adjusted is None:
        return (*start, "", "", "", "")
    interval = f"{one.low:+.4f} to {one.high:+.4f}"
    return (*start, interval, _p(one.p), _p(one.adjusted), f"{one.more:,}/{one.less:,}")


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.0005 else "<0.001"


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]

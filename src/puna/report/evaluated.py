"""How a run does on benchmarks: what was evaluated while it was trained, and its saved steps afterwards."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from puna.core.layout import EvaluationDir, RunDir
from puna.core.schema.evaluation import Metric, TaskResult, read_results
from puna.core.schema.lines import EvaluationLine
from puna.core.units import counted


@dataclass(frozen=True, kw_only=True)
class Point:
    """A task's result at some point of the run."""

    step: int
    tokens: int
    result: TaskResult

    @property
    def main(self) -> Metric:
        """The figure of the task's main metric."""
        return self.result.main[1]


@dataclass(frozen=True, kw_only=True)
class Series:
    """Results of one task that can be compared with each other: of the same documents, asked and scored in one way."""

    during: bool
    """Whether they were made while the run was trained."""
    points: list[Point] = field(default_factory=list)
    """In the order of the tokens."""

    @property
    def documents(self) -> str:
        """How many documents it is about: `100 of 10,042 documents`, and the number alone where these are all."""
        last = self.points[-1].result
        whole = counted(last.of, "document")
        return whole if last.n == last.of else f"{last.n:,} of {whole}"


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A task with all that the run's directory has of it."""

    series: list[Series]
    """Those made during training first, then in the order in which they begin."""

    @property
    def newest(self) -> Point:
        """The newest result, of several at one step that of the most documents."""
        points = [point for one in self.series for point in one.points]
        return max(points, key=lambda point: (point.tokens, point.result.n))


@dataclass(frozen=True, kw_only=True)
class Row:
    """A task's newest result as a table has it."""

    id: str
    title: str
    metric: str
    value: str
    interval: str
    chance: str
    documents: str
    step: int
    before: str
    """The same figure before the first step, with its interval; a dash where none was measured in the same way."""


def row_of(benchmark: Benchmark) -> Row:
    """The newest result of a task in figures of four decimals; a dash where there is none."""
    newest = benchmark.newest
    result, (name, metric) = newest.result, newest.result.main
    return Row(
        id=result.id, title=result.title, metric=name, step=newest.step, value=_figure(metric.value),
        interval=_interval(metric) or "-", chance=_figure(result.chance),
        before=_before(benchmark),
        documents=f"{result.n:,}" if result.n == result.of else f"{result.n:,} of {result.of:,}",
    )  # fmt: skip


def _before(benchmark: Benchmark) -> str:
    """The figure at step 0 of the series that has the newest one."""
    newest = benchmark.newest
    own = next(series for series in benchmark.series if newest in series.points)
    first = own.points[0]
    if first.step != 0 or first is newest:
        return "-"
    interval = _interval(first.main)
    return _figure(first.main.value) + (f" ({interval})" if interval else "")


def _interval(metric: Metric) -> str:
    if metric.low is None or metric.high is None:
        return ""
    return f"{_figure(metric.low)} to {_figure(metric.high)}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def read_evaluations(
    run: RunDir, lines: Iterable[EvaluationLine], *, batch_tokens: int, until: int | None = None
) -> list[Benchmark]:
    """All tasks that the run was evaluated on, in alphabetical order.

    Args:
        run: Its directory; evaluations of saved steps lie there.
        lines: Of its metrics, one for each step.
        batch_tokens: Tokens of a step.
        until: Leave out what is of later steps; None takes all.

    Raises:
        DataError: The results of an evaluation are damaged.
    """
    found: dict[str, dict[tuple[object, ...], Series]] = {}

    def add(point: Point, *, during: bool) -> None:
        key = (during, *comparable(point.result))
        found.setdefault(point.result.id, {}).setdefault(key, Series(during=during)).points.append(point)

    for line in lines:
        for result in line.tasks:
            add(Point(step=line.step, tokens=line.tokens, result=result), during=True)
    for path in sorted(run.evaluations.glob("*/results.json")):
        results = read_results(EvaluationDir(path.parent).results)
        step = results.model.step
        if step is None or (until is not None and step > until):
            continue
        for result in results.tasks:
            add(Point(step=step, tokens=step * batch_tokens, result=result), during=False)
    return [Benchmark(series=_sorted(found[task].values())) for task in sorted(found)]


def comparable(result: TaskResult) -> tuple[object, ...]:
    """What must be equal for two results of one task to be of one curve, or to stand beside each other."""
    return (
        result.protocol_version, result.task_version, result.data_sha256, result.n, result.limit_seed, result.samples,
        result.bos, result.scorer, result.main[0],
    )  # fmt: skip


def _sorted(series: Iterable[Series]) -> list[Series]:
    for one in series:
        one.points.sort(key=lambda point: point.tokens)
    return sorted(series, key=lambda one: (not one.during, one.points[0].tokens, one.points[0].result.n))

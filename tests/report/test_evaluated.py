import json
from pathlib import Path
from typing import Any

import pytest
from made_results import made_results, made_task

from puna.core.errors import DataError
from puna.core.layout import EvaluationDir, RunDir
from puna.core.schema.evaluation import TaskResult
from puna.core.schema.lines import EvaluationLine
from puna.report.evaluated import Benchmark, read_evaluations, row_of


def line(step: int, *tasks: TaskResult) -> EvaluationLine:
    return EvaluationLine(step=step, tokens=256 * step, tasks=list(tasks))


def part(right: int, **changes: Any) -> TaskResult:
    """100 of 1,000 documents, as an evaluation during training asks them."""
    return made_task("harness/piqa@0", right, 100, **{"of": 1000, "limit_seed": 0, **changes})


def saved(run: RunDir, step: int | None, *tasks: TaskResult, name: str = "") -> None:
    """An evaluation of a moment as `puna evaluate` leaves it."""
    results = made_results(*tasks)
    results = results.model_copy(update={"model": results.model.model_copy(update={"step": step})})
    place = EvaluationDir(run.evaluations / (name or f"step-{step:08d}"))
    place.root.mkdir(parents=True)
    place.results.write_text(json.dumps(results.as_dict()))


def read(run: RunDir, *lines: EvaluationLine, until: int | None = None) -> list[Benchmark]:
    return read_evaluations(run, lines, batch_tokens=256, until=until)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path)


def test_tasks_have_their_points_in_the_order_of_the_tokens(run: RunDir) -> None:
    (benchmark,) = read(run, line(20, part(60)), line(10, part(50)))
    (series,) = benchmark.series
    assert [(point.tokens, point.main.value) for point in series.points] == [(2560, 0.5), (5120, 0.6)]
    assert series.during
    assert series.documents == "100 of 1,000 documents"
    assert benchmark.newest.step == 20


def test_results_of_saved_steps_are_a_series_of_their_own(run: RunDir) -> None:
    whole = [made_task("harness/piqa@0", right, 1000, metric="acc") for right in (520, 600)]
    saved(run, 20, whole[1])
    saved(run, 10, whole[0])
    (benchmark,) = read(run, line(10, part(50)), line(20, part(61)))
    during, afterwards = benchmark.series
    assert (during.during, afterwards.during) == (True, False)
    assert [(point.step, point.tokens, point.main.value) for point in afterwards.points] == [
        (10, 2560, 0.52), (20, 5120, 0.6),
    ]  # fmt: skip
    assert afterwards.documents == "1,000 documents"
    assert benchmark.newest.result.n == 1000


@pytest.mark.parametrize(
    "change",
    [
        {"data_sha256": "1" * 64}, {"limit_seed": 1}, {"task_version": 2}, {"protocol_version": 2}, {"bos": "none"},
        {"metric": "acc_norm"},
    ],
)  # fmt: skip
def test_no_line_joins_results_that_do_not_compare(run: RunDir, change: dict[str, Any]) -> None:
    (benchmark,) = read(run, line(10, part(50)), line(20, part(60, **change)))
    assert [len(series.points) for series in benchmark.series] == [1, 1]


def test_a_moment_has_only_what_came_before_it_and_models_that_are_not_the_runs_are_left_out(run: RunDir) -> None:
    saved(run, 10, part(50))
    saved(run, 30, part(60))
    saved(run, None, part(70), name="another")
    (benchmark,) = read(run, until=20)
    assert [point.step for series in benchmark.series for point in series.points] == [10]


def test_tasks_are_in_alphabetical_order(run: RunDir) -> None:
    other = made_task("harness/arc_easy@0", 1, 2)
    assert [one.newest.result.id for one in read(run, line(1, part(1), other))] == [
        "harness/arc_easy@0",
        "harness/piqa@0",
    ]


def test_a_run_without_evaluations_has_none(run: RunDir) -> None:
    assert read(run) == []


def test_a_damaged_evaluation_is_named(run: RunDir) -> None:
    saved(run, 10, part(50))
    path = EvaluationDir(run.evaluations / "step-00000010").results
    path.write_text(path.read_text().replace('"metrics"', '"metrix"'))
    with pytest.raises(DataError, match=r"step-00000010/results.json: 'tasks.0.metrics' is missing"):
        read(run)


def test_a_row_of_the_table_has_the_newest_result(run: RunDir) -> None:
    (benchmark,) = read(run, line(10, part(50)), line(20, part(60, title="PIQA", chance=0.5)))
    row = row_of(benchmark)
    assert (row.title, row.metric, row.value, row.chance, row.step) == ("PIQA", "acc", "0.6000", "0.5000", 20)
    # Of 100 documents, 60 right: 0.6 ± 1.9842 (Student's t, 99 degrees of freedom) x sqrt(0.24 / 99).
    assert (row.interval, row.documents) == ("0.5023 to 0.6977", "100 of 1,000")
    (unknown,) = read(run, line(10, made_task("harness/piqa@0", 0, 0)))
    assert (row_of(unknown).value, row_of(unknown).interval, row_of(unknown).chance) == ("-", "-", "-")

from typing import Any

from made_results import made_metric, made_task

from puna.core.schema.evaluation import GOLD, TaskResult
from puna.evaluate.figure import mean_of
from puna.report.curves import Chart
from puna.report.evaluated import Benchmark, Point, Series
from puna.report.evaluation_charts import evaluation_charts


def points(*results: TaskResult) -> list[Point]:
    return [Point(step=step, tokens=256 * step, result=result) for step, result in enumerate(results, 1)]


def task(right: int, n: int = 100, **changes: Any) -> TaskResult:
    return made_task("harness/piqa@5", right, n, title="PIQA", chance=0.5, **changes)


def visible(chart: Chart) -> list[dict[str, Any]]:
    return [trace for trace in chart.figure["data"] if trace.get("showlegend", True)]


def test_a_chart_has_the_line_its_interval_and_chance() -> None:
    series = Series(during=True, points=points(task(50, of=1000), task(60, of=1000)))
    (chart,) = evaluation_charts([Benchmark(series=[series])], 1024)
    assert chart.title == "PIQA (harness, 5-shot)"
    low, high, line, chance = chart.figure["data"]
    assert (line["name"], line["x"], line["y"]) == ("while training, 100 of 1,000 documents", [256, 512], [0.5, 0.6])
    figures = [point.main for point in series.points]
    assert (low["y"], high["y"]) == ([one.low for one in figures], [one.high for one in figures])
    assert high["fill"] == "tonexty"
    assert (chance["x"], chance["y"], chance["line"]["dash"]) == ([0, 1024], [0.5, 0.5], "dot")
    assert [trace["name"] for trace in visible(chart)] == [line["name"], "chance"]
    assert chart.figure["layout"]["xaxis"]["range"][1] > 1024


def test_measurements_of_other_documents_are_other_lines_in_one_chart() -> None:
    during = Series(during=True, points=points(task(50, of=1000)))
    afterwards = [
        Series(during=False, points=points(task(500, 1000))),
        Series(during=False, points=points(task(5, 10))),
    ]
    (chart,) = evaluation_charts([Benchmark(series=[during, *afterwards])], 256)
    drawn = visible(chart)
    assert [trace["name"] for trace in drawn[:3]] == [
        "while training, 100 of 1,000 documents", "saved steps, 1,000 documents", "saved steps, 10 documents",
    ]  # fmt: skip
    assert len({trace["line"]["color"] for trace in drawn}) == 4
    assert [trace["marker"]["symbol"] for trace in drawn[:3]] == ["circle", "diamond", "diamond"]


def test_a_task_without_chance_or_interval_is_drawn_without_them() -> None:
    one = made_task("harness/lambada@0", 1, 1)
    (chart,) = evaluation_charts([Benchmark(series=[Series(during=True, points=points(one))])], 256)
    assert [trace["name"] for trace in visible(chart)] == ["while training, 1 document"]
    assert chart.figure["data"][0]["y"] == [None]
    assert "guessing" not in chart.sentence


def test_surprise_at_right_answers_is_one_chart_of_all_tasks_that_have_it() -> None:
    def with_gold(id: str, bits: float) -> TaskResult:
        result = made_task(id, 1, 2)
        return result.model_copy(update={"metrics": result.metrics | {GOLD: made_metric(mean_of([bits]))}})

    benchmarks = [
        Benchmark(series=[Series(during=True, points=points(with_gold("harness/arc_easy@0", 3), task(1, 2)))]),
        Benchmark(series=[Series(during=True, points=points(with_gold("harness/piqa@0", 2)))]),
        Benchmark(series=[Series(during=True, points=points(task(1, 2)))]),
    ]
    *_, chart = evaluation_charts(benchmarks, 512)
    assert (chart.title, chart.figure["layout"]["yaxis"]["title"]["text"]) == (
        "Surprise at right answers",
        "bits per byte",
    )
    assert [(trace["name"], trace["x"], trace["y"]) for trace in chart.figure["data"]] == [
        ("harness/arc_easy@0", [256], [3.0]), ("harness/piqa@0", [256], [2.0]),
    ]  # fmt: skip


def test_names_of_tasks_are_not_markup() -> None:
    hostile = made_task("harness/<b>@0", 1, 2, title="<b>")
    gold = hostile.model_copy(update={"metrics": hostile.metrics | {GOLD: made_metric(mean_of([1.0]))}})
    for chart in evaluation_charts([Benchmark(series=[Series(during=True, points=points(gold))])], 256):
        assert not any("<" in trace["name"] for trace in chart.figure["data"])


def test_no_benchmarks_have_no_charts() -> None:
    assert evaluation_charts([], 0) == []

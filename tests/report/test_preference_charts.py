"""The curves of a run on pairs: the figures of each source, held-out ones apart, and rewards over all pairs."""

from dataclasses import replace

import pytest

from puna.core.layout import RunDir
from puna.core.schema.lines import PreferenceFigures, PreferenceLine
from puna.report.charts import charts
from puna.report.curves import Style
from puna.report.preference_charts import over_all, preference_charts
from puna.report.read import RunRecords, read_run

STYLES = {"polite": Style("#111111"), "short": Style("#222222")}


def figures(pairs: int, accuracy: float, chosen: float, rejected: float) -> PreferenceFigures:
    return PreferenceFigures(
        pairs=pairs, loss=0.5, accuracy=accuracy, chosen_reward=chosen, rejected_reward=rejected,
        chosen_log_prob=-10.0, rejected_log_prob=-12.0,
    )  # fmt: skip


@pytest.fixture
def lines() -> list[PreferenceLine]:
    both = {"polite": figures(3, 0.5, 1.0, 0.0), "short": figures(1, 1.0, 5.0, -4.0)}
    return [
        PreferenceLine(step=0, tokens=0, split="heldout", sources={"polite": figures(2, 0.5, 0.0, 0.0)}),
        PreferenceLine(step=1, tokens=100, split="train", sources=both),
        PreferenceLine(step=2, tokens=200, split="train", sources={"polite": figures(3, 0.75, 2.0, -1.0)}),
        PreferenceLine(step=2, tokens=200, split="heldout", final=True, sources={"polite": figures(2, 1.0, 3.0, 1.0)}),
    ]


def test_each_source_has_a_curve_and_held_out_pairs_are_marks_of_their_own(lines: list[PreferenceLine]):
    accuracy, _ = preference_charts(lines, STYLES)
    found = [
        (trace["name"], trace["mode"], trace["x"], trace["y"])
        for trace in accuracy.figure["data"]
        if trace["name"] in STYLES
    ]
    assert found == [
        ("polite", "lines", [100, 200], [50.0, 75.0]),
        ("polite", "markers", [0, 200], [50.0, 100.0]),
        ("short", "lines+markers", [100], [100.0]),
    ]
    assert "50 % is chance" in accuracy.sentence


def test_rewards_are_means_over_the_pairs_of_all_sources(lines: list[PreferenceLine]):
    _, rewards = preference_charts(lines, STYLES)
    found = [(trace["name"], trace["y"]) for trace in rewards.figure["data"]]
    assert found == [
        ("preferred answers", [2.0, 2.0]), ("preferred answers", [0.0, 3.0]),
        ("the others", [-1.0, -1.0]), ("the others", [0.0, 1.0]),
    ]  # fmt: skip
    mean = over_all(lines[1])
    assert (mean.pairs, mean.accuracy, mean.margin) == (4, 0.625, 3.0)


def test_runs_without_pairs_have_none_of_these_charts_and_runs_with_them_do(
    report_run: RunDir, lines: list[PreferenceLine]
):
    run: RunRecords = read_run(report_run)
    titles = ["Pairs told apart", "Rewards"]
    assert not {*titles} & {chart.title for chart in charts(run)}
    with_pairs = replace(run, preferences=lines)
    assert [chart.title for chart in charts(with_pairs) if chart.title in titles] == titles


def test_lines_on_pairs_are_read_from_a_run(report_run: RunDir, lines: list[PreferenceLine]):
    with report_run.metrics.open("a") as file:
        for line in lines:
            file.write('{"kind": "preferences", ' + line.model_dump_json()[1:] + "\n")
    assert read_run(report_run).preferences == lines

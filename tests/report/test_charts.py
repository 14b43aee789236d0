"""The curves: what is smoothed is said and does not lag, colours can be told from both backgrounds."""

import re
from importlib import resources
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.core.layout import RunDir
from puna.report.charts import COLOURS, Chart, charts, smooth
from puna.report.read import RunRecords, read_run
from puna.report.schema import TrainLine


@pytest.fixture
def run(report_run: RunDir) -> RunRecords:
    return read_run(report_run)


def traces(chart: Chart) -> dict[str, dict[str, Any]]:
    return {trace["name"]: trace for trace in chart.figure["data"]}


def with_steps(run: RunRecords, steps: int) -> RunRecords:
    lines = [
        TrainLine(step=step, tokens=step, loss=9 - step / 100, lr=1e-3, grad_norm=1.0, tokens_per_second=5.0)
        for step in range(steps)
    ]
    return RunRecords(run.record, lines, [], [], None, {}, "")


@given(st.lists(st.floats(-1e3, 1e3), max_size=40), st.integers(0, 50))
def test_smoothed_value_is_the_mean_of_a_centred_window(values: list[float], radius: int):
    expected = []
    for index in range(len(values)):
        reach = min(radius, index, len(values) - 1 - index)
        window = values[index - reach : index + reach + 1]
        expected.append(sum(window) / len(window))
    assert smooth(values, radius) == pytest.approx(expected, abs=1e-8)


def test_smoothing_does_not_lag_behind_a_slope():
    slope = [9 - step / 10 for step in range(60)]
    assert smooth(slope, 7) == pytest.approx(slope)


def test_smoothed_loss_says_over_how_many_steps_and_stands_beside_the_raw_one(run: RunRecords):
    loss = charts(with_steps(run, 200))[0]
    assert list(traces(loss)) == ["each logged step", "mean of 9 logged steps"]
    raw, mean = loss.figure["data"]
    assert raw["y"][7] == 9 - 7 / 100
    assert raw["line"]["width"] < mean["line"]["width"]


def test_short_run_is_not_smoothed(run: RunRecords):
    assert list(traces(charts(with_steps(run, 49))[0])) == ["each logged step"]


def test_measurements_of_a_part_and_of_all_of_the_text_are_drawn_apart(run: RunRecords):
    bits = traces(charts(run)[0])
    assert bits["prose"]["y"] == [3.5, 3.0]
    assert bits["prose, all of it"]["y"] == [2.8]
    assert bits["prose, all of it"]["mode"] == "markers"
    assert bits["prose, token frequencies"]["x"] == [0, 6144]
    assert bits["prose, token frequencies"]["y"] == [2.5, 2.5]
    assert {bits[name]["line"]["color"] for name in bits if name.startswith("prose")} == {COLOURS[0]}


def test_source_that_a_resumed_run_added_has_a_gap_before_it(run: RunRecords):
    before = run.validations[0].model_copy(update={"bits_per_byte": {"prose": 3.5}})
    changed = RunRecords(run.record, [], [before, *run.validations[1:]], [], None, {}, "")
    assert traces(charts(changed)[0])["code"]["y"] == [None, 4.0]


def test_chart_says_in_words_where_its_curves_begin_and_end(run: RunRecords):
    summaries = {chart.title: chart.summary for chart in charts(run)}
    assert "prose from 3.5 to 3; prose, all of it 2.8; prose, token frequencies 2.5; code from" in next(
        iter(summaries.values())
    )
    assert summaries["Training loss"] == "each logged step from 5.9 to 3.6"
    assert summaries["Learning rate and gradient norm"] == "learning rate 0.001; gradient norm 1"


def test_every_axis_is_named(run: RunRecords):
    for chart in charts(run):
        axes = [value for key, value in chart.figure["layout"].items() if key.startswith(("xaxis", "yaxis"))]
        assert len(axes) >= 2
        assert all(axis["title"]["text"] for axis in axes), chart.title


def test_name_of_a_source_is_no_markup(run: RunRecords):
    line = run.validations[-1].model_copy(update={"bits_per_byte": {'<a href="https://x">': 2.0}})
    chart = charts(RunRecords(run.record, [], [line], [], None, {}, ""))[0]
    assert "<" not in "".join(traces(chart))
    assert '<a href="https://x">' in chart.summary


def test_run_that_logged_nothing_has_no_charts(run: RunRecords):
    assert charts(RunRecords(run.record, [], [], [], None, {}, "")) == []


@pytest.mark.parametrize("colour", COLOURS)
def test_curves_stand_out_from_both_backgrounds(colour: str):
    style = (resources.files("puna.report") / "page.css").read_text(encoding="utf-8")
    backgrounds = re.findall(r"--card: (#\w{6})", style)
    assert len(backgrounds) == 2
    for background in backgrounds:
        assert contrast(colour, background) >= 3


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's contrast ratio."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

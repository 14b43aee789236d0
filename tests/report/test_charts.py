"""The curves: what is smoothed is said and does not lag, colours can be told from both backgrounds."""

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.core.layout import RunDir
from puna.core.page_style import page_style
from puna.core.schema.lines import RollbackLine, SkippedLine, TrainLine
from puna.report.charts import charts, smooth
from puna.report.curves import COLOURS, Chart
from puna.report.read import RunRecords, read_run


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
    return replace(run, train=lines, validations=[], samples=[], card=None)


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
    changed = replace(run, validations=[before, *run.validations[1:]])
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


def test_name_of_a_source_is_not_markup(run: RunRecords):
    line = run.validations[-1].model_copy(update={"bits_per_byte": {'<a href="https://x">': 2.0}})
    chart = charts(replace(run, validations=[line]))[0]
    assert "<" not in "".join(traces(chart))
    assert '<a href="https://x">' in chart.summary


def named(run: RunRecords, title: str) -> Chart:
    [chart] = [chart for chart in charts(run) if chart.title == title]
    return chart


def test_loss_of_each_source_has_the_colour_that_it_has_elsewhere_and_no_points_where_it_was_not_read(run: RunRecords):
    loss = traces(named(run, "Training loss by source"))
    assert list(loss) == ["prose", "code"]
    assert loss["prose"]["y"] == pytest.approx([5 - step / 10 for step in range(1, 25)])
    assert loss["code"]["x"] == [256 * step for step in range(1, 25, 2)]
    bits = traces(named(run, "Held-out bits per byte"))
    mixture = traces(named(run, "The mixture as trained"))
    for name in loss:
        assert loss[name]["line"]["color"] == bits[name]["line"]["color"] == mixture[name]["line"]["color"]
    assert loss["prose"]["line"]["color"] != loss["code"]["line"]["color"]


def test_smoothed_loss_of_a_source_says_over_how_many_steps(run: RunRecords):
    lines = [
        line.model_copy(update={"source_loss": {"prose": 9 - line.step / 100}}) for line in with_steps(run, 200).train
    ]
    chart = named(replace(run, train=lines), "Training loss by source")
    assert "over 9 of them" in chart.sentence
    assert traces(chart)["prose"]["y"] == pytest.approx([9 - step / 100 for step in range(200)])


def test_mixture_shows_tokens_and_epochs_of_each_source(run: RunRecords):
    chart = named(run, "The mixture as trained")
    mixture = traces(chart)
    assert mixture["prose"]["y"][-1] == 192 * 24
    assert mixture["prose, epochs"]["y"][-1] == 2.4
    assert mixture["prose, epochs"]["yaxis"] == "y2"
    assert mixture["prose, epochs"]["legendgroup"] == mixture["prose"]["legendgroup"] != mixture["code"]["legendgroup"]
    assert "code, epochs from 0.05 to 1.2" in chart.summary


def test_use_of_the_device_is_in_percent(run: RunRecords):
    device = traces(named(run, "Use of the device"))
    assert device["MFU, causal attention"]["y"][0] == pytest.approx(40)
    assert device["MFU, full attention"]["y"][0] == pytest.approx(50)
    assert device["waiting for data"]["y"][0] == pytest.approx(1)


def test_throughput_is_shown_with_and_without_what_lies_between_the_steps(run: RunRecords):
    rates = named(run, "Throughput").figure["data"]
    assert [trace["y"][0] for trace in rates] == [1000.0, 900.0]


def test_run_of_an_older_version_has_the_charts_that_its_lines_allow(run: RunRecords):
    titles = [chart.title for chart in charts(with_steps(run, 30))]
    assert titles == ["Training loss", "Learning rate and gradient norm", "Throughput"]
    assert len(charts(with_steps(run, 30))[-1].figure["data"]) == 1


def test_what_was_left_out_is_marked_on_the_loss_with_its_reason(run: RunRecords):
    skipped = [SkippedLine(step=7, tokens=7 * 256, reason="<b>inf</b>"), SkippedLine(step=30, tokens=9999, reason="")]
    rollbacks = [RollbackLine(step=5, tokens=5 * 256, from_step=9, reason="a spike")]
    chart = named(replace(run, skipped=skipped, rollbacks=rollbacks), "Training loss")
    left_out, returns = chart.figure["data"][-2:]
    assert (left_out["x"], left_out["y"]) == ([7 * 256, 9999], [6 - 7 / 10, 6 - 24 / 10])
    assert left_out["text"][0] == "&lt;b&gt;inf&lt;/b&gt;"
    assert (returns["x"], returns["y"], returns["text"]) == ([5 * 256], [5.5], ["from step 9: a spike"])
    assert {left_out["mode"], returns["mode"]} == {"markers"}
    assert chart.summary.endswith("; batches left out: 2; returns to a checkpoint: 1")
    assert "Marks" in chart.sentence
    assert "Marks" not in named(run, "Training loss").sentence


def test_mark_before_the_first_logged_step_stands_at_its_loss(run: RunRecords):
    skipped = [SkippedLine(step=1, tokens=256, reason="")]
    chart = named(replace(run, train=run.train[9:], skipped=skipped), "Training loss")
    assert chart.figure["data"][-1]["y"] == [5.0]
    assert len([trace for trace in chart.figure["data"] if trace["mode"] == "markers"]) == 1


def test_long_run_is_thinned_but_not_its_loss_and_keeps_its_end(run: RunRecords):
    lines = [line.model_copy(update={"source_tokens": {"prose": line.step}}) for line in with_steps(run, 5000).train]
    found = {chart.title: chart.figure["data"][0] for chart in charts(replace(run, train=lines))}
    assert len(found["Training loss"]["x"]) == 5000
    for title in ("Throughput", "The mixture as trained"):
        assert 1000 < len(found[title]["x"]) <= 2000
        assert found[title]["x"][-1] == 4999


def test_the_only_logged_step_is_a_mark(run: RunRecords):
    """A line of one point cannot be seen."""
    found = {chart.title: chart.figure["data"] for chart in charts(replace(run, train=run.train[:1]))}
    assert found["Training loss"][0]["mode"] == found["Throughput"][0]["mode"] == "lines+markers"
    assert charts(run)[1].figure["data"][0]["mode"] == "lines"


def test_run_that_logged_nothing_has_no_charts(run: RunRecords):
    assert charts(replace(run, train=[], validations=[])) == []


@pytest.mark.parametrize("colour", COLOURS)
def test_curves_stand_out_from_both_backgrounds(colour: str):
    style = page_style("puna.report")
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

"""The curves of several runs: their places on the three axes, and which charts there are."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from compared_runs import compared_run
from made_results import made_task

from puna.config.load import load_recipe
from puna.config.recipe import Recipe
from puna.report.compare_charts import COLOURS, axes, charts, dash
from puna.report.read_compared import read_comparison


def test_every_curve_has_places_on_every_axis(tiny: Recipe, tmp_path: Path):
    runs = [
        compared_run(tmp_path / "one", tiny, seconds_per_step=10),
        compared_run(tmp_path / "two", tiny, seconds_per_step=5),
    ]
    found = read_comparison(runs)
    assert [axis.title for axis in axes(found)] == [
        "tokens trained on", "time in optimizer steps, min", "energy of optimizer steps, estimated, Wh",
    ]  # fmt: skip
    heldout = charts(found)[0]
    assert heldout.title == "Held-out bits per byte, mean of the sources"
    assert heldout.runs == [0, 0, 1, 1]
    assert heldout.places["tokens"] == [[2560, 5120], [6144], [2560, 5120], [6144]]
    assert heldout.places["time"][0] == pytest.approx([100 / 60, 200 / 60])
    assert heldout.places["time"][3] == pytest.approx([2])
    assert heldout.places["energy"][0] == pytest.approx([100 / 3600 * 200 * 1.5, 200 / 3600 * 200 * 1.5])
    assert [trace["x"] for trace in heldout.figure["data"]] == heldout.places["tokens"]
    assert heldout.figure["data"][0]["y"] == pytest.approx([0.75 * 3.5 + 0.25 * 4.5, 0.75 * 3.0 + 0.25 * 4.0])
    assert heldout.summary.startswith("one ends at 3.25; one ends at 3.05;")


def test_charts_are_those_that_there_is_something_for(tiny: Recipe, tmp_path: Path):
    runs = [compared_run(tmp_path / "one", tiny), compared_run(tmp_path / "two", tiny, steps=5)]
    assert [chart.title for chart in charts(read_comparison(runs))] == [
        "Held-out bits per byte, mean of the sources", "Training loss", "Held-out bits per byte, prose",
        "Held-out bits per byte, code", "Learning rate", "Throughput",
    ]  # fmt: skip
    empty = [compared_run(tmp_path / name, tiny, steps=0) for name in ("three", "four")]
    assert charts(read_comparison(empty)) == []
    assert [axis.name for axis in axes(read_comparison(empty))] == ["tokens"]


def test_losses_per_token_are_not_drawn_together_where_tokenizers_differ(tiny: Recipe, tmp_path: Path):
    found = read_comparison([compared_run(tmp_path / name, tiny) for name in ("one", "two")])
    assert "Training loss" in [chart.title for chart in charts(found)]
    other = replace(found, runs=[found.runs[0], replace(found.runs[1], tokenizer="another")])
    assert "Training loss" not in [chart.title for chart in charts(other)]
    assert charts(other)[0].title == "Held-out bits per byte, mean of the sources"


def test_a_swept_number_has_a_chart_of_its_own(tiny_toml: Path, tmp_path: Path):
    rates = {"high": 0.03, "low": 0.003, "middle": 0.01}
    runs = [
        compared_run(tmp_path / name, load_recipe(str(tiny_toml), {"optim.lr": rate}).recipe, level=4 + rate)
        for name, rate in rates.items()
    ]
    chart = charts(read_comparison(runs))[1]
    assert chart.title == "Held-out bits per byte by optim.lr"
    assert chart.figure["data"][0]["x"] == [0.003, 0.01, 0.03]
    assert chart.figure["data"][0]["y"] == sorted(chart.figure["data"][0]["y"])
    assert chart.runs == [-1, 1, 2, 0]
    assert chart.places == {}
    assert chart.figure["layout"]["xaxis"]["type"] == "log"


def test_a_run_that_failed_is_not_in_the_chart_of_the_swept_number(tiny_toml: Path, tmp_path: Path):
    runs = [
        compared_run(tmp_path / f"r{rate}", load_recipe(str(tiny_toml), {"optim.lr": rate}).recipe, steps=steps)
        for rate, steps in ((0.1, 24), (9.0, 3), (0.2, 24), (0.3, 24))
    ]
    chart = charts(read_comparison(runs))[1]
    assert (chart.title, chart.runs) == ("Held-out bits per byte by optim.lr", [-1, 0, 2, 3])
    assert chart.sentence == "The newest figure of each finished run. Lower is better."


def test_a_switch_or_two_numbers_have_no_chart_of_their_own(tiny_toml: Path, tmp_path: Path):
    for key, values in (("optim.lr", [0.1, 0.2]), ("optim.schedule", ["cosine", "linear", "constant"])):
        recipes = [load_recipe(str(tiny_toml), {key: value}).recipe for value in values]
        runs = [
            compared_run(tmp_path / f"{key}-{value}", recipe) for value, recipe in zip(values, recipes, strict=True)
        ]
        assert all(" by " not in chart.title for chart in charts(read_comparison(runs)))


def test_more_runs_than_colours_differ_by_dashes():
    assert [dash(number) for number in (0, len(COLOURS) - 1, len(COLOURS))] == ["solid", "solid", "dash"]


def test_benchmarks_of_two_runs_stand_beside_each_other_where_they_asked_the_same(tiny: Recipe, tmp_path: Path):
    runs = [compared_run(tmp_path / name, tiny) for name in ("one", "two", "three")]
    piqa = [made_task("harness/piqa@0", right, 100, title="PIQA", of=1838, limit_seed=0) for right in (50, 60)]
    other = made_task("harness/piqa@0", 9, 10, title="PIQA", of=1838, limit_seed=0)
    alone = made_task("harness/copa@0", 1, 2)
    for run, results in zip(runs, ([piqa[0], alone], [piqa[1]], [other]), strict=True):
        tasks = [result.model_dump(exclude_unset=True) for result in results]
        with run.metrics.open("a") as file:
            for step in (20, 10):
                line = {"kind": "evaluation", "step": step, "tokens": 256 * step, "tasks": tasks}
                file.write(json.dumps(line) + "\n")
    found = [chart for chart in charts(read_comparison(runs)) if "harness" in chart.title]
    assert [(chart.title, chart.runs) for chart in found] == [("PIQA, harness/piqa@0", [0, 1])]
    (chart,) = found
    assert chart.sentence == "While training, on the same 100 documents each time."
    assert chart.places["tokens"] == [[2560, 5120]] * 2
    assert [trace["y"] for trace in chart.figure["data"]] == [[0.5, 0.5], [0.6, 0.6]]
    assert chart.figure["layout"]["yaxis"]["title"]["text"] == "acc"

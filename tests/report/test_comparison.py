"""What runs have in common and what not: means, places on the axes, differences, notes."""

from pathlib import Path

import pytest
from compared_runs import compared_run

from puna.config.load import load_recipe
from puna.config.recipe import Recipe
from puna.report.comparison import Comparison
from puna.report.read_compared import read_comparison


@pytest.fixture
def low(tiny_toml: Path) -> Recipe:
    return load_recipe(str(tiny_toml), {"optim.lr": 3e-3}).recipe


@pytest.fixture
def found(tiny: Recipe, low: Recipe, tmp_path: Path) -> Comparison:
    one = compared_run(tmp_path / "one", tiny)
    two = compared_run(tmp_path / "two", low, level=3.9)
    return read_comparison([one, two])


def test_the_mean_is_weighted_by_the_mixture(found: Comparison):
    assert found.weights == {"prose": 0.75, "code": 0.25}
    one, two = found.runs
    assert found.heldout(one) == pytest.approx(0.75 * (4 - 1.2) + 0.25 * (5 - 1.2))
    assert found.heldout(two) == pytest.approx(0.75 * (3.9 - 1.2) + 0.25 * (4.9 - 1.2))
    assert found.best() == 1


def test_of_runs_that_are_equal_none_is_called_the_lowest(tiny: Recipe, tmp_path: Path):
    found = read_comparison([compared_run(tmp_path / "one", tiny), compared_run(tmp_path / "two", tiny)])
    assert len(found.ranked()) == 2
    assert found.best() is None


def test_only_what_differs_is_a_difference(found: Comparison):
    assert [(difference.key, difference.values) for difference in found.differences] == [("optim.lr", [0.01, 0.003])]
    assert found.differences[0].texts == ["0.01", "0.003"]
    assert found.notes == []


def test_a_name_alone_is_not_a_difference(tiny_toml: Path, tiny: Recipe, tmp_path: Path):
    renamed = load_recipe(str(tiny_toml), {"name": "other", "description": "another"}).recipe
    runs = [compared_run(tmp_path / "a", tiny), compared_run(tmp_path / "b", renamed)]
    assert read_comparison(runs).differences == []


def test_a_key_that_only_one_recipe_has_is_a_dash_in_the_other(tiny_toml: Path, tiny: Recipe, tmp_path: Path):
    scaled = {"model.rope_scaling": {"kind": "linear", "factor": 2.0}}
    runs = [
        compared_run(tmp_path / "a", tiny),
        compared_run(tmp_path / "b", load_recipe(str(tiny_toml), scaled).recipe),
    ]
    texts = {difference.key: difference.texts for difference in read_comparison(runs).differences}
    assert texts["model.rope_scaling.factor"] == ["-", "2.0"]


def test_runs_that_got_differently_far_are_compared_where_all_of_them_were(
    tiny_toml: Path, tiny: Recipe, tmp_path: Path, found: Comparison
):
    assert found.common_tokens is None
    twice = load_recipe(str(tiny_toml), {"train.batch_tokens": 384, "train.tokens": 9216}).recipe
    runs = [
        compared_run(tmp_path / "short", tiny, steps=14),
        compared_run(tmp_path / "long", tiny, level=3.0),
        compared_run(tmp_path / "late", twice),
    ]
    other = read_comparison(runs)
    assert other.common_tokens == 10 * 256
    assert [other.at_common_tokens(run) for run in other.runs] == [
        pytest.approx(0.75 * 3.5 + 0.25 * 4.5), pytest.approx(0.75 * 2.5 + 0.25 * 3.5), None,
    ]  # fmt: skip
    between = read_comparison([compared_run(tmp_path / "cut", twice, steps=14), runs[1]])
    assert between.common_tokens == 10 * 384
    assert between.at_common_tokens(between.runs[1]) == pytest.approx(0.75 * 2.25 + 0.25 * 3.25)


def test_time_between_two_logged_steps_lies_on_a_straight_line(found: Comparison):
    run = found.runs[0]
    assert [run.seconds_at(tokens) for tokens in (0, 256, 384, 6144)] == [0, 2, 3, 48]
    assert run.seconds == 48


def test_energy_is_that_of_all_devices_in_the_optimizer_steps(found: Comparison):
    assert found.runs[0].kwh == pytest.approx(48 / 3600 * (2 * 100) * 1.5 / 1000)


def test_what_cannot_be_compared_is_said(tiny_toml: Path, tiny: Recipe, tmp_path: Path):
    other = load_recipe(str(tiny_toml), {"mixture.code": 3.0}).recipe
    runs = [compared_run(tmp_path / "one", tiny), compared_run(tmp_path / "two", other, steps=14)]
    notes = read_comparison(runs).notes
    assert notes == [
        "two is not finished: step 14 of 24.",
        "The held-out figures of finished runs are of all held-out text, the others' of a part of it.",
        "The mixtures differ; every mean is weighted by the shares of one.",
    ]


def test_sources_that_not_all_runs_have_are_left_out_of_the_mean(tiny: Recipe, tmp_path: Path):
    one, two = compared_run(tmp_path / "one", tiny), compared_run(tmp_path / "two", tiny)
    two.metrics.write_text(two.metrics.read_text().replace('"code"', '"poems"'))
    found = read_comparison([one, two])
    assert found.weights == {"prose": 1.0}
    assert found.sources == ["prose", "code", "poems"]
    assert "The mean leaves out what not all runs have: code, poems." in found.notes
    two.metrics.write_text(two.metrics.read_text().replace('"prose"', '"verse"'))
    found = read_comparison([one, two])
    assert found.weights == {}
    assert found.best() is None
    assert "No source is common to all runs, so there is no mean to compare." in found.notes
    assert not any("every mean is weighted" in note for note in found.notes)


def test_runs_before_their_first_line_are_compared_by_what_is_there(tiny: Recipe, tmp_path: Path):
    runs = [compared_run(tmp_path / name, tiny, steps=0) for name in ("one", "two")]
    found = read_comparison(runs)
    assert [run.step for run in found.runs] == [0, 0]
    assert found.as_dict()["runs"][0]["mean_bits_per_byte"] is None
    assert (found.sources, found.best(), found.runs[0].rate, found.runs[0].seconds) == ([], None, None, None)

"""The search for the fastest setting."""

import math
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from puna.config.recipe import Recipe
from puna.core.errors import TrainError
from puna.train import tune as tuning
from puna.train.tune import Setting, describe, fastest, micro_batches, tune


def test_micro_batches_double_and_divide_the_batch(tiny: Recipe):
    assert list(micro_batches(tiny)) == [32, 64, 128, 256]
    odd = tiny.model_copy(update={"train": tiny.train.model_copy(update={"batch_tokens": 96})})
    assert list(micro_batches(odd)) == [32]


def test_one_setting_is_measured_for_real(tiny: Recipe, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tuning, "_NOISY", math.inf)  # Once, however busy the machine is.
    small = tiny.model_copy(update={"train": tiny.train.model_copy(update={"batch_tokens": 32})})
    (setting,) = tune(small, ["llama"], steps=1)
    assert setting.tokens_per_second is not None
    assert setting.tokens_per_second > 0
    assert setting.peak_memory_bytes > 50 * 2**20
    line = describe(setting, setting.peak_flops)
    assert line.startswith("recompute llama, micro-batch 32 tokens: ")
    assert 0 < setting.flops <= setting.peak_flops
    assert setting.spread >= 0 <= setting.other_cores


def test_search_goes_on_while_it_pays_and_stops_where_memory_ends(tiny: Recipe, monkeypatch: pytest.MonkeyPatch):
    speeds = {("none", 32): 100.0, ("none", 64): 150.0, ("none", 128): None, ("full", 32): 90.0, ("full", 64): 91.0}

    def measured(recipe: Recipe, policy: str, micro: int, steps: int) -> Setting:
        return Setting(micro, policy, speeds[policy, micro], micro * 10, 5.0, 10.0)

    monkeypatch.setattr(tuning, "_try", measured)
    settings = tune(tiny, ["none", "full"], steps=1)
    assert [(setting.recompute, setting.micro_batch_tokens) for setting in settings] == list(speeds)
    assert (fastest(settings).recompute, fastest(settings).micro_batch_tokens) == ("none", 64)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[str, int]]]:
    """Gives the settings of a list one after the other; returns what was measured."""

    def script(*settings: Setting) -> list[tuple[str, int]]:
        left, asked = list(settings), []

        def one(recipe: Recipe, policy: str, micro: int, steps: int) -> Setting:
            asked.append((policy, micro))
            return replace(left.pop(0), recompute=policy, micro_batch_tokens=micro)

        monkeypatch.setattr(tuning, "_try", one)
        return asked

    return script


def at(rate: float, **others: Any) -> Setting:
    """A setting with this many tokens per second."""
    return Setting(0, "", rate, 1, rate, 1000.0, **others)


def test_one_slow_measurement_does_not_end_the_search(tiny: Recipe, measured: Callable[..., list[tuple[str, int]]]):
    asked = measured(at(100), at(60), at(150), at(200), at(300))
    assert [setting.tokens_per_second for setting in tune(tiny, ["none"], steps=1)] == [100, 150, 200, 300]
    assert asked == [("none", 32), ("none", 64), ("none", 64), ("none", 128), ("none", 256)]


@pytest.mark.parametrize("noise", [{"spread": 0.2}, {"other_cores": 1e3}])
def test_a_noisy_measurement_is_made_again_and_the_faster_one_counts(
    tiny: Recipe, measured: Callable[..., list[tuple[str, int]]], noise: dict[str, float]
):
    small = tiny.model_copy(update={"train": tiny.train.model_copy(update={"batch_tokens": 32})})
    for first, second in ((100, 130), (130, 100)):
        asked = measured(at(first, **noise), at(second, **noise))
        assert [setting.tokens_per_second for setting in tune(small, ["none"], steps=1)] == [130]
        assert len(asked) == 2


def test_the_search_counts_and_tells_of_other_programs(
    tiny: Recipe, measured: Callable[..., list[tuple[str, int]]], capsys: pytest.CaptureFixture[str]
):
    measured(at(100), at(90), at(80), at(100, other_cores=1e3), at(100, other_cores=1e3), at(90), at(80))
    tune(tiny, ["none", "full"], steps=1)
    first, *lines, warning = capsys.readouterr().err.splitlines()
    assert first == "tune: at most 8 settings, each in a process of its own"
    assert [line.split(": ")[0].split(", about")[0] for line in lines] == [
        "1 of at most 8", "2 of at most 8", "3 of at most 6", "4 of at most 6",
    ]  # fmt: skip
    assert all(" left: recompute" in line for line in lines)
    assert lines[2].endswith("; other programs took 1000.0 cores")
    assert warning.startswith("warning: other programs took up to 1000.0 of ")


def test_no_setting_is_faster_than_the_peak(
    tiny: Recipe, measured: Callable[..., list[tuple[str, int]]], capsys: pytest.CaptureFixture[str]
):
    small = tiny.model_copy(update={"train": tiny.train.model_copy(update={"batch_tokens": 32})})
    measured(replace(at(1460), peak_flops=1000.0), replace(at(1460), peak_flops=1000.0))
    tune(small, ["none"], steps=1)
    assert "100% of the peak rate" in capsys.readouterr().err


def test_of_equally_fast_ones_the_smallest_wins():
    settings = [Setting(32, "none", 99.0, 10, 5.0, 10.0), Setting(64, "none", 100.0, 20, 5.0, 10.0)]
    assert fastest(settings).micro_batch_tokens == 32


@pytest.mark.parametrize(("code", "words"), [(-9, ""), (1, "RuntimeError: CUDA out of memory")])
def test_setting_that_does_not_fit_is_none(tiny: Recipe, monkeypatch: pytest.MonkeyPatch, code: int, words: str):
    done = subprocess.CompletedProcess([], code, "", words)
    monkeypatch.setattr(tuning.subprocess, "run", lambda *_, **__: done)
    with pytest.raises(TrainError, match="nothing fits"):
        tune(tiny, ["none"], steps=1)


def test_defect_is_not_taken_for_a_lack_of_memory(tiny: Recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    done = subprocess.CompletedProcess([], 1, "", "ValueError: what")
    monkeypatch.setattr(tuning.subprocess, "run", lambda *_, **__: done)
    with pytest.raises(TrainError, match="ValueError: what"):
        tune(tiny, ["none"], steps=1)


@pytest.mark.parametrize("policy", ["nonsense", "", "every-0", "budget=2"])
def test_unknown_policy_is_refused_before_anything_is_measured(
    tiny: Recipe, measured: Callable[..., list], policy: str
):
    asked = measured()
    with pytest.raises(TrainError, match=f"--policies '{policy}': is not a policy") as caught:
        tune(tiny, ["none", policy], steps=1)
    assert "every-2" in caught.value.hint
    assert asked == []

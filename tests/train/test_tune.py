"""The search for the fastest setting."""

import subprocess
from pathlib import Path

import pytest

from puna.config.recipe import Recipe
from puna.core.errors import TrainError
from puna.train import tune as tuning
from puna.train.tune import Setting, describe, fastest, micro_batches, tune


def test_micro_batches_double_and_divide_the_batch(tiny: Recipe):
    assert list(micro_batches(tiny)) == [32, 64, 128, 256]
    odd = tiny.model_copy(update={"train": tiny.train.model_copy(update={"batch_tokens": 96})})
    assert list(micro_batches(odd)) == [32]


def test_one_setting_is_measured_for_real(tiny: Recipe):
    small = tiny.model_copy(update={"train": tiny.train.model_copy(update={"batch_tokens": 32})})
    (setting,) = tune(small, ["llama"], steps=1)
    assert setting.tokens_per_second is not None
    assert setting.tokens_per_second > 0
    assert setting.peak_memory_bytes > 50 * 2**20
    assert "recompute llama" in describe(setting)


def test_search_goes_on_while_it_pays_and_stops_where_memory_ends(tiny: Recipe, monkeypatch: pytest.MonkeyPatch):
    speeds = {("none", 32): 100.0, ("none", 64): 150.0, ("none", 128): None, ("full", 32): 90.0, ("full", 64): 91.0}

    def measured(recipe: Recipe, policy: str, micro: int, steps: int) -> Setting:
        return Setting(micro, policy, speeds[policy, micro], micro * 10, 0.5)

    monkeypatch.setattr(tuning, "_try", measured)
    settings = tune(tiny, ["none", "full"], steps=1)
    assert [(setting.recompute, setting.micro_batch_tokens) for setting in settings] == list(speeds)
    assert (fastest(settings).recompute, fastest(settings).micro_batch_tokens) == ("none", 64)


def test_of_equally_fast_ones_the_smallest_wins():
    settings = [Setting(32, "none", 99.0, 10, 0.5), Setting(64, "none", 100.0, 20, 0.5)]
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

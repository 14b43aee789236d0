"""What a run says before its first step."""

from pathlib import Path

import pytest

from puna.api.stages import train
from puna.config.recipe import Recipe
from puna.core.layout import DataDir, RunDir


def test_a_run_says_what_it_trains_on_what_and_how(
    tiny: Recipe, tiny_data: DataDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens = tiny.total_tokens + 7
    longer = tiny.model_copy(update={"train": tiny.train.model_copy(update={"tokens": tokens})})
    train(longer, tiny_data, RunDir(tmp_path / "run"), stop_at=1)
    said = capsys.readouterr().err
    assert f"tiny: {_parameters(said)} parameters" in said
    assert f"in {tiny.total_steps} steps of {tiny.train.batch_tokens} tokens, fp32" in said
    assert f"train.tokens = {tokens}: the last 7 do not fill a batch and are left out" in said
    assert "GFLOP/s at best (" in said
    assert f"of {tiny.train.micro_batch_tokens} tokens per device and step; recompute none" in said
    assert "attention: " in said


def _parameters(said: str) -> str:
    return said.partition("tiny: ")[2].split()[0]

"""The tokens of the data and the rows of the model's embedding."""

from pathlib import Path

import pytest

from puna.api.stages import train as train_model
from puna.config.load import load_recipe
from puna.config.recipe import Recipe, TokenizerConfig
from puna.core.errors import TrainError
from puna.core.layout import DataDir, RunDir


def test_tokenizer_of_another_size_is_refused(tiny: Recipe, tiny_data: DataDir, tmp_path: Path):
    recipe = tiny.model_copy(update={"model": tiny.model.model_copy(update={"vocab_size": 600})})
    with pytest.raises(TrainError, match="has 512 tokens"):
        train_model(recipe, tiny_data, RunDir(tmp_path / "run"), resume=False, force=False)


def test_model_may_have_more_rows_than_an_existing_tokenizer_has_tokens(
    tiny: Recipe, tiny_data: DataDir, tmp_path: Path
):
    named = TokenizerConfig.model_validate({"from": str(tiny_data)})
    padded = tiny.model_copy(update={"tokenizer": named, "model": tiny.model.model_copy(update={"vocab_size": 520})})
    train_model(padded, tiny_data, run := RunDir(tmp_path / "run"), resume=False, force=False, stop_at=1)
    assert load_recipe(str(run.config)).recipe == padded

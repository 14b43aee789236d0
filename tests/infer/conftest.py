"""A small tokenizer and a random model that fits it."""

import inspect

import pytest

from puna.config.recipe import ModelConfig
from puna.model.init import init_weights
from puna.model.llama import Llama
from puna.tokenizer.tokenizer import Tokenizer
from puna.tokenizer.train import train_tokenizer


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """512 pieces, learned from a module of Python's library."""
    return train_tokenizer(
        [inspect.getsource(inspect)], vocab_size=512, character_coverage=0.9999, config={}, inputs={},
        out=tmp_path_factory.mktemp("tokenizer") / "tokenizer",
    )  # fmt: skip


@pytest.fixture(scope="session")
def model() -> Llama:
    """Grouped heads and random weights, large enough for a clear favourite among the tokens."""
    config = ModelConfig(
        dim=64, n_layers=2, n_heads=4, n_kv_heads=2, ffn_dim=96, vocab_size=512, context=32, init_std=0.2
    )
    model = Llama(config)
    init_weights(model, 0)
    return model

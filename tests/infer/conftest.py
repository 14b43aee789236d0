"""A small tokenizer and a random model that fits it."""

import pytest

from puna.config.recipe import ModelConfig
from puna.model.init import init_weights
from puna.model.llama import Llama


@pytest.fixture(scope="session")
def model() -> Llama:
    """Grouped heads and random weights, large enough for a clear favourite among the tokens."""
    config = ModelConfig(
        dim=64, n_layers=2, n_heads=4, n_kv_heads=2, ffn_dim=96, vocab_size=512, context=32, init_std=0.2
    )
    model = Llama(config)
    init_weights(model, 0)
    return model

"""Small decoders of every kind: full and grouped heads, tied and untied, odd sizes, another rotary base."""

import pytest

from puna.config.recipe import ModelConfig

SHAPES = {
    "full heads": {"dim": 64, "n_heads": 4, "n_kv_heads": 4},
    "grouped heads": {"dim": 64, "n_heads": 4, "n_kv_heads": 2},
    "one key head, tied": {"dim": 64, "n_heads": 4, "n_kv_heads": 1, "tie_embeddings": True},
    "head width 20, another base": {"dim": 60, "n_heads": 3, "n_kv_heads": 3, "rope_theta": 5e5, "norm_eps": 1e-5},
    "head width 20, grouped, tied": {"dim": 120, "n_heads": 6, "n_kv_heads": 2, "tie_embeddings": True},
}


@pytest.fixture(params=SHAPES.values(), ids=SHAPES.keys())
def config(request: pytest.FixtureRequest) -> ModelConfig:
    """Each shape in turn; the weights make logits of about one, so that 1e-5 is some hundred roundings of float32."""
    return ModelConfig(n_layers=3, ffn_dim=88, vocab_size=301, context=48, init_std=0.1, **request.param)

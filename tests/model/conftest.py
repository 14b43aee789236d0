"""Small decoders of every kind: full and grouped heads, tied and untied, odd sizes, other norms and rotary angles."""

import pytest

from puna.config.recipe import ModelConfig

LLAMA_3_1 = {"kind": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_context": 24}

LLAMA = {
    "full heads": {"dim": 64, "n_heads": 4, "n_kv_heads": 4},
    "grouped heads": {"dim": 64, "n_heads": 4, "n_kv_heads": 2},
    "one key head, tied": {"dim": 64, "n_heads": 4, "n_kv_heads": 1, "tie_embeddings": True},
    "head width 20, another base": {"dim": 60, "n_heads": 3, "n_kv_heads": 3, "rope_theta": 5e5, "norm_eps": 1e-5},
    "head width 20, grouped, tied": {"dim": 120, "n_heads": 6, "n_kv_heads": 2, "tie_embeddings": True},
    "heads wider than the stream": {"dim": 64, "n_heads": 4, "n_kv_heads": 2, "head_dim": 20},
    "linear scaling": {"dim": 64, "n_heads": 4, "n_kv_heads": 2, "rope_scaling": {"kind": "linear", "factor": 3.0}},
    "Llama 3.1's scaling": {"dim": 64, "n_heads": 2, "n_kv_heads": 1, "rope_theta": 100.0, "rope_scaling": LLAMA_3_1},
}
"""What transformers' LlamaForCausalLM computes too."""

OTHERS = {
    "LayerNorm": {"dim": 64, "n_heads": 4, "n_kv_heads": 4, "norm": "layer", "norm_eps": 1e-5},
    "LayerNorm with biases": {"dim": 64, "n_heads": 4, "n_kv_heads": 4, "norm": "layer-bias", "norm_eps": 1e-5},
    "LayerNorm with biases, normalised queries and keys": {
        "dim": 64, "n_heads": 4, "n_kv_heads": 2, "norm": "layer-bias", "norm_eps": 1e-5, "qk_norm": True
    },
    "LayerNorm, normalised queries and keys": {
        "dim": 64, "n_heads": 4, "n_kv_heads": 2, "norm": "layer", "norm_eps": 1e-5, "qk_norm": True, "init": "openlm"
    },
    "RMSNorm, normalised queries and keys": {"dim": 60, "n_heads": 3, "n_kv_heads": 3, "qk_norm": True},
    "turned by the head's number": {
        "dim": 60, "n_heads": 6, "n_kv_heads": 6, "norm": "layer", "norm_eps": 1e-5, "rotary": "head"
    },
    "turned by the head's number, normalised, heads narrower than the stream": {
        "dim": 68, "n_heads": 3, "n_kv_heads": 3, "head_dim": 22, "norm": "layer", "norm_eps": 1e-5, "qk_norm": True,
        "rotary": "head",
    },
}  # fmt: skip
"""What it does not: OpenLM's."""


def build(shape: dict[str, object]) -> ModelConfig:
    """The weights make logits of about one, so that 1e-5 is some hundred roundings of float32."""
    return ModelConfig.model_validate(
        {"n_layers": 3, "ffn_dim": 88, "vocab_size": 301, "context": 48, "init_std": 0.1, **shape}
    )


@pytest.fixture(params=(LLAMA | OTHERS).values(), ids=(LLAMA | OTHERS).keys())
def config(request: pytest.FixtureRequest) -> ModelConfig:
    """Each shape in turn."""
    return build(request.param)


@pytest.fixture(params=LLAMA.values(), ids=LLAMA.keys())
def llama_config(request: pytest.FixtureRequest) -> ModelConfig:
    """Each shape that LlamaForCausalLM has."""
    return build(request.param)


@pytest.fixture(params=OTHERS.values(), ids=OTHERS.keys())
def other_config(request: pytest.FixtureRequest) -> ModelConfig:
    """Each shape that it has not."""
    return build(request.param)

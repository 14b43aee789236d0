import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from puna.config.recipe import ModelConfig
from puna.core.errors import FormatError
from puna.formats.checkpoint import Hints
from puna.formats.gguf.keys import config_of, frequency_factors, metadata_of

FILE = Path("model.gguf")
SHAPE: dict[str, Any] = {
    "dim": 80, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "ffn_dim": 96, "vocab_size": 512, "context": 64,
}  # fmt: skip
LLAMA3 = {"kind": "llama3", "factor": 8.0}


def config(**changes: Any) -> ModelConfig:
    return ModelConfig.model_validate(SHAPE | changes)


def read(
    metadata: dict[str, Any], *, factors: Tensor | None = None, hints: Hints | None = None
) -> tuple[ModelConfig, list[str]]:
    return config_of(FILE, metadata, vocab_size=512, tied=False, factors=factors, hints=hints or Hints())


def as_stored(metadata: dict[str, Any]) -> dict[str, Any]:
    """Floats as they come back from the file."""
    return {
        key: torch.tensor(value, dtype=torch.float32).item() if isinstance(value, float) else value
        for key, value in metadata.items()
    }


@settings(max_examples=60)
@given(
    kv=st.sampled_from([1, 2, 4]),
    head_dim=st.sampled_from([0, 16, 20, 64]),
    eps=st.sampled_from([1e-6, 1e-5, 3e-5]),
    theta=st.sampled_from([1e4, 5e5, 123456.0]),
    scaling=st.one_of(
        st.none(),
        st.builds(lambda factor: {"kind": "linear", "factor": factor}, st.sampled_from([1.1, 2.0, 2.5])),
        st.builds(
            lambda factor, low, context: {
                "kind": "llama3", "factor": factor, "low_freq_factor": low, "high_freq_factor": 4.5,
                "original_context": context,
            },
            st.sampled_from([1.3, 8.0, 32.0]), st.sampled_from([1.0, 1.7]), st.sampled_from([32, 8192]),
        ),
    ),
)  # fmt: skip
def test_a_decoder_comes_back_from_its_keys(
    kv: int, head_dim: int, eps: float, theta: float, scaling: dict[str, Any] | None
) -> None:
    ours = config(n_kv_heads=kv, head_dim=head_dim, norm_eps=eps, rope_theta=theta, rope_scaling=scaling)
    factors = frequency_factors(ours)
    found, notes = read(as_stored(metadata_of(ours, "F32", "name")), factors=factors)
    assert found.model_dump() == ours.model_dump()
    assert notes == []


def test_factors_are_those_of_llama_3_1_as_transformers_computes_them() -> None:
    transformers = pytest.importorskip("transformers")
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    parameters = {
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192, "rope_theta": 5e5,
    }  # fmt: skip
    theirs = transformers.LlamaConfig(hidden_size=4096, num_attention_heads=32, rope_parameters=parameters)
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](theirs, device=torch.device("cpu"))
    plain = 1 / 5e5 ** (torch.arange(0, 128, 2, dtype=torch.float32) / 128)
    ours = config(dim=4096, n_heads=32, n_kv_heads=8, rope_theta=5e5, rope_scaling=LLAMA3)
    torch.testing.assert_close(frequency_factors(ours), plain / scaled, rtol=1e-5, atol=0)


@pytest.mark.parametrize(("factor", "dim"), [(8.0, 4096), (32.0, 2048)])
def test_llama_3_1s_factors_are_recognised_without_our_key(factor: float, dim: int) -> None:
    ours = config(dim=dim, n_heads=32, n_kv_heads=8, rope_theta=5e5, rope_scaling=LLAMA3 | {"factor": factor})
    metadata = metadata_of(ours, "F32", None)
    del metadata["puna.rope_scaling"]
    assert read(metadata, factors=frequency_factors(ours))[0] == ours


def test_factors_of_another_kind_are_refused() -> None:
    ours = config(rope_scaling=LLAMA3)
    factors = frequency_factors(ours)
    assert factors is not None
    for wrong, metadata in [
        (factors * 1.01, metadata_of(ours, "F32", None)),
        (torch.linspace(1, 7, 10), metadata_of(config(), "F32", None)),
        (torch.full((10,), 0.5), metadata_of(config(), "F32", None)),
        (torch.full((10,), math.nan), metadata_of(config(), "F32", None)),
        (factors, metadata_of(ours, "F32", None) | {"puna.rope_scaling": "[["}),
        (factors, metadata_of(ours, "F32", None) | {"puna.rope_scaling": "[]"}),
        (factors, metadata_of(ours, "F32", None) | {"puna.rope_scaling": "[" * 100_000}),
        (factors, metadata_of(ours, "F32", None) | {"puna.rope_scaling": [1, 2]}),
        (factors, metadata_of(config(rope_scaling={"kind": "linear", "factor": 2.0}), "F32", None)),
    ]:
        with pytest.raises(FormatError, match=r"not those of a rotary scaling of Llama 3\.1's kind"):
            read(metadata, factors=wrong)
    with pytest.raises(FormatError, match=r"is \[7\], but a head has 10 pairs"):
        read(metadata_of(ours, "F32", None), factors=factors[:7])


def test_factors_of_one_are_not_a_scaling() -> None:
    assert read(metadata_of(config(), "F32", None), factors=torch.ones(10))[0] == config()


def test_what_an_old_file_leaves_unsaid_is_assumed_and_noted() -> None:
    metadata = metadata_of(config(), "F32", None)
    for key in ("context_length", "rope.freq_base", "rope.dimension_count", "vocab_size"):
        del metadata[f"llama.{key}"]
    for key in ("key_length", "value_length", "head_count_kv"):
        del metadata[f"llama.attention.{key}"]
    found, notes = read(metadata)
    assert found == config(n_kv_heads=4, context=2048)
    assert notes == [
        "model.gguf does not say llama.rope.freq_base; 10000 is assumed",
        "model.gguf does not say llama.context_length; 2048 is assumed",
    ]
    found, notes = read(metadata, hints=Hints(context=32, rope_theta=5e5))
    assert (found.context, found.rope_theta, notes) == (32, 5e5, [])


def test_hints_do_not_overrule_the_file() -> None:
    for hints in (Hints(n_heads=8), Hints(context=128), Hints(rope_theta=5e5), Hints(norm_eps=1e-5)):
        with pytest.raises(FormatError, match="was given"):
            read(metadata_of(config(), "F32", None), hints=hints)
    ours = Hints(n_heads=4, n_kv_heads=2, context=64, norm_eps=1e-6, rope_theta=1e4)
    assert read(as_stored(metadata_of(config(), "F32", None)), hints=ours)[0] == config()


@pytest.mark.parametrize("key", ["embedding_length", "block_count", "feed_forward_length", "attention.head_count"])
def test_a_missing_key_is_named(key: str) -> None:
    metadata = metadata_of(config(), "F32", None)
    del metadata[f"llama.{key}"]
    with pytest.raises(FormatError, match=rf"model.gguf: llama.{key} is missing"):
        read(metadata)


def test_the_epsilon_must_be_said_by_the_file_or_the_user() -> None:
    metadata = metadata_of(config(), "F32", None)
    del metadata["llama.attention.layer_norm_rms_epsilon"]
    with pytest.raises(FormatError, match="layer_norm_rms_epsilon"):
        read(metadata)
    assert read(metadata, hints=Hints(norm_eps=1e-5))[0].norm_eps == 1e-5


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("embedding_length", "80", "llama.embedding_length is 80, expected a whole number"),
        ("block_count", True, "llama.block_count is True, expected a whole number"),
        ("block_count", 0, "n_layers: Input should be greater than 0, found 0"),
        ("block_count", 2**60, "layers, more than the 10000 that Puna accepts"),
        ("attention.head_count", 0, "n_heads"),
        ("attention.head_count", 7, "n_heads"),
        ("attention.head_count_kv", 0, "n_kv_heads"),
        ("attention.head_count_kv", [2, 1], "llama.attention.head_count_kv differs between layers"),
        ("attention.head_count_kv", [], "llama.attention.head_count_kv differs between layers"),
        ("attention.head_count_kv", 3, "not a multiple of n_kv_heads = 3"),
        ("attention.value_length", 24, "llama.attention.value_length is 24, but the heads are 20 wide"),
        ("rope.dimension_count", 10, "llama.rope.dimension_count is 10, but the heads are 20 wide"),
        ("rope.freq_base", math.inf, "llama.rope.freq_base is inf, expected a number"),
        ("rope.freq_base", math.nan, "llama.rope.freq_base is nan, expected a number"),
        ("rope.freq_base", 1e300, "llama.rope.freq_base is 1e+300, expected a number"),
        ("rope.freq_base", "no", "llama.rope.freq_base is no, expected a number"),
        ("rope.scaling.type", "yarn", "llama.rope.scaling.type is 'yarn', expected 'none' or 'linear'"),
        ("rope.scaling.type", 3, "llama.rope.scaling.type is 3, expected a string"),
        ("rope.scaling.factor", 0.5, "rope_scaling.factor"),
        ("expert_count", 8, "llama.expert_count is 8, which a LLaMA decoder does not have"),
        ("logit_scale", 0.5, "llama.logit_scale is 0.5, which a LLaMA decoder does not have"),
        ("attention.causal", False, "llama.attention.causal is False, which a LLaMA decoder does not have"),
        ("rope.scaling.attn_factor", 1.2, "llama.rope.scaling.attn_factor is 1.2, which a LLaMA decoder does not"),
        ("rope.scaling.attn_factor", "1", "llama.rope.scaling.attn_factor is '1', which a LLaMA decoder does not"),
        ("attention.scale", 0.1, "llama.attention.scale is 0.1"),
        ("attention.sliding_window", 63, "llama.attention.sliding_window is 63"),
        ("embedding_scale", 12.0, "llama.embedding_scale is 12"),
        ("expert_count", [0], "llama.expert_count is [0]"),
        ("rope.scaling.yarn_ext_factor", 1.0, "has the key 'llama.rope.scaling.yarn_ext_factor', which Puna does not"),
        ("rope.dimension_sections", [1, 2], "has the key 'llama.rope.dimension_sections', which Puna does not know"),
        ("never.seen\x1b[31m", 0, "has the key 'llama.never.seen\\x1b[31m', which Puna does not know"),
    ],
)  # fmt: skip
def test_keys_of_no_llama_decoder_are_refused(key: str, value: Any, sentence: str) -> None:
    with pytest.raises(FormatError) as refused:
        read(metadata_of(config(), "F32", None) | {f"llama.{key}": value})
    assert sentence in refused.value.message
    assert "\n" not in refused.value.message


def test_what_is_not_a_whole_model_is_refused() -> None:
    with pytest.raises(FormatError, match=r"general\.type is 'adapter', and Puna reads a 'model'"):
        read(metadata_of(config(), "F32", None) | {"general.type": "adapter"})


def test_one_number_for_each_layer_is_taken_where_they_agree() -> None:
    metadata = metadata_of(config(), "F32", None)
    metadata["llama.attention.head_count_kv"] = [2, 2]
    metadata["llama.feed_forward_length"] = [96, 96]
    assert read(metadata)[0] == config()


def test_a_linear_factor_of_one_and_no_experts_are_nothing_special() -> None:
    others = {
        "llama.rope.scaling.factor": 1.0, "llama.expert_count": 0, "llama.attention.causal": True,
        "llama.rope.scaling.attn_factor": 1.0, "llama.tensor_data_layout": "Meta AI original pth",
        "llama.rope.scaling.original_context_length": 8192, "general.license": "mit", "clip.attention.causal": False,
        "llama.embedding_scale": 1.0, "llama.logit_scale": 0.0, "llama.attention.sliding_window": 64,
    }  # fmt: skip
    assert read(metadata_of(config(), "F32", None) | others)[0] == config()

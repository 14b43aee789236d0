from pathlib import Path
from typing import Any

import pytest

from puna.core.errors import FormatError
from puna.formats.hf.keys import check_keys

PATH = Path("dir/config.json")

FINE_TUNED = {
    "_name_or_path": "meta-llama/Llama-2-7b-hf", "_flash_attn_2_enabled": True, "_attn_implementation": "sdpa",
    "transformers_version": "4.44.0", "unsloth_version": "2024.9", "unsloth_fixed": True, "model_name": "mine",
    "pretraining_tp": 2, "use_cache": False, "attention_dropout": 0.1, "hidden_dropout": 0.1, "resid_pdrop": 0.1,
    "tokenizer_padding_side": "right", "id2label": {"0": "LABEL_0"}, "max_length": 20, "do_sample": True,
    "temperature": 0.7, "torchscript": False, "is_decoder": False, "head_dim": 128, "rope_interleaved": False,
    "neftune_noise_alpha": 5, "eos_token": "</s>", "chat_template": "{{ messages }}", "license": "llama2",
    "keys_to_ignore_at_inference": ["past_key_values"], "use_cache_quantization": False, "trust_remote_code": True,
}  # fmt: skip
"""What fine-tunes and their tools leave in the file."""


def test_what_tools_and_fine_tunes_leave_changes_nothing() -> None:
    check_keys(PATH, FINE_TUNED)


@pytest.mark.parametrize("kind", ["LlamaConfig", "MistralConfig"])
def test_every_key_that_transformers_writes_for_these_models_is_known(kind: str) -> None:
    transformers = pytest.importorskip("transformers")
    fields = getattr(transformers, kind)().to_dict()
    check_keys(PATH, fields)
    check_keys(
        PATH, {name: value if value is not None else "x" for name, value in fields.items() if name[-3:] == "_id"}
    )


@pytest.mark.parametrize("nothing", [None, "", [], {}])
def test_a_key_that_says_nothing_passes_whatever_it_is(nothing: Any) -> None:
    check_keys(PATH, {"rope_factors": nothing, "pruned_heads": nothing, "quantization_config": nothing})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("is_causal", False), ("logit_scale", 0.5), ("logits_scaling", 8.0), ("residual_multiplier", 0.22),
        ("embedding_multiplier", 12), ("use_sliding_window", True), ("num_local_experts", 8), ("hidden_act", "gelu"),
        ("attention_bias", True), ("attention_bias", 1), ("partial_rotary_factor", 0.5), ("rotary_pct", 0.25),
        ("use_alibi", True), ("scale_depth", 1.4), ("use_rms_norm", False), ("is_encoder_decoder", True),
        ("layer_types", ["full_attention", "sliding_attention"]), ("layer_types", "full_attention"),
    ],
)  # fmt: skip
def test_a_key_with_the_value_of_another_decoder_is_refused(name: str, value: Any) -> None:
    with pytest.raises(FormatError, match=rf"dir/config.json: {name} = .*, and a LLaMA decoder has"):
        check_keys(PATH, {name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("attn_logit_softcapping", 50.0), ("final_logit_softcapping", 30.0), ("query_pre_attn_scalar", 256),
        ("attention_multiplier", 0.0078125), ("no_rope_layers", [1, 1, 1, 0]), ("dim_model_base", 256),
        ("pruned_heads", {"1": [2]}), ("rope_local_base_freq", 1e4), ("layer_norm_eps", 1e-5), ("never_seen", False),
        ("per_layer_config", {"1": {}}), ("cross_attention_layers", [3]),
    ],
)  # fmt: skip
def test_an_unknown_key_is_refused_by_name_with_a_way_out(name: str, value: Any) -> None:
    with pytest.raises(FormatError, match=rf"has '{name}' = .*, which no LLaMA has") as refused:
        check_keys(PATH, FINE_TUNED | {name: value})
    assert refused.value.hint == "if you know that it changes nothing, remove it from the file"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("quantization_config", {"quant_method": "awq"}, "'awq'"),
        ("quantization_config", {"load_in_4bit": True}, "''"),
        ("quantization", {"group_size": 64, "bits": 4}, "''"),
        ("compression_config", {"quant_method": "compressed-tensors"}, "'compressed-tensors'"),
    ],
)
def test_quantized_models_are_named(name: str, value: Any, said: str) -> None:
    with pytest.raises(FormatError, match=rf"has {name} \({said}\), and Puna reads float32, bfloat16 and float16 only"):
        check_keys(PATH, {name: value})

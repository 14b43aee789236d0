import json
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puna.config.load import load_recipe
from puna.config.recipe import ModelConfig
from puna.core.errors import ExportError, FormatError
from puna.formats.checkpoint import Hints
from puna.formats.hf.config import check_huggingface, huggingface_config, read_huggingface_config

transformers = pytest.importorskip("transformers")

PATH = Path("dir/config.json")

LLAMA_3_1_SCALING = {
    "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
}  # fmt: skip

# What the released files say, in the fields of their time.
DECAPODA_7B = {
    "architectures": ["LLaMAForCausalLM"], "model_type": "llama", "bos_token_id": 0, "eos_token_id": 1,
    "pad_token_id": -1, "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 11008,
    "initializer_range": 0.02, "max_sequence_length": 2048, "num_attention_heads": 32, "num_hidden_layers": 32,
    "rms_norm_eps": 1e-06, "torch_dtype": "float16", "use_cache": True, "vocab_size": 32000,
}  # fmt: skip
OPENLLAMA_3B = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "bos_token_id": 1, "eos_token_id": 2,
    "pad_token_id": 0, "hidden_act": "silu", "hidden_size": 3200, "intermediate_size": 8640,
    "initializer_range": 0.02, "max_position_embeddings": 2048, "num_attention_heads": 32, "num_hidden_layers": 26,
    "rms_norm_eps": 1e-06, "tie_word_embeddings": False, "torch_dtype": "float16", "use_cache": True,
    "vocab_size": 32000,
}  # fmt: skip
OPENLLAMA_7B = OPENLLAMA_3B | {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32}
OPENLLAMA_13B = OPENLLAMA_3B | {
    "hidden_size": 5120, "intermediate_size": 13824, "num_hidden_layers": 40, "num_attention_heads": 40,
}  # fmt: skip
LLAMA_2_7B = OPENLLAMA_7B | {
    "max_position_embeddings": 4096, "num_key_value_heads": 32, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
    "rope_scaling": None,
}  # fmt: skip
LLAMA_2_70B = LLAMA_2_7B | {
    "hidden_size": 8192, "intermediate_size": 28672, "num_attention_heads": 64, "num_hidden_layers": 80,
    "num_key_value_heads": 8,
}  # fmt: skip
TINYLLAMA = LLAMA_2_7B | {
    "hidden_size": 2048, "intermediate_size": 5632, "max_position_embeddings": 2048, "num_hidden_layers": 22,
    "num_key_value_heads": 4,
}  # fmt: skip
LLAMA_3_1_8B = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "attention_bias": False, "attention_dropout": 0.0,
    "bos_token_id": 128000, "eos_token_id": [128001, 128008, 128009], "hidden_act": "silu", "hidden_size": 4096,
    "initializer_range": 0.02, "intermediate_size": 14336, "max_position_embeddings": 131072, "mlp_bias": False,
    "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8, "pretraining_tp": 1,
    "rms_norm_eps": 1e-05, "rope_scaling": LLAMA_3_1_SCALING | {"rope_type": "llama3"}, "rope_theta": 500000.0,
    "tie_word_embeddings": False, "torch_dtype": "bfloat16", "use_cache": True, "vocab_size": 128256,
}  # fmt: skip
LLAMA_3_2_1B = LLAMA_3_1_8B | {
    "head_dim": 64, "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
    "rope_scaling": LLAMA_3_1_SCALING | {"factor": 32.0, "rope_type": "llama3"}, "tie_word_embeddings": True,
}  # fmt: skip
SMOLLM2_135M = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "attention_bias": False, "attention_dropout": 0.0,
    "bos_token_id": 0, "eos_token_id": 0, "hidden_act": "silu", "hidden_size": 576, "initializer_range": 1 / 24,
    "intermediate_size": 1536, "is_llama_config": True, "max_position_embeddings": 8192, "mlp_bias": False,
    "num_attention_heads": 9, "num_hidden_layers": 30, "num_key_value_heads": 3, "pretraining_tp": 1,
    "rms_norm_eps": 1e-05, "rope_interleaved": False, "rope_scaling": None, "rope_theta": 100000,
    "tie_word_embeddings": True, "torch_dtype": "bfloat16", "use_cache": True, "vocab_size": 49152,
}  # fmt: skip
MISTRAL_7B_V3 = {
    "architectures": ["MistralForCausalLM"], "model_type": "mistral", "attention_dropout": 0.0, "bos_token_id": 1,
    "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02,
    "intermediate_size": 14336, "max_position_embeddings": 32768, "num_attention_heads": 32, "num_hidden_layers": 32,
    "num_key_value_heads": 8, "rms_norm_eps": 1e-05, "rope_theta": 1000000.0, "sliding_window": None,
    "tie_word_embeddings": False, "torch_dtype": "bfloat16", "use_cache": True, "vocab_size": 32768,
}  # fmt: skip
MISTRAL_7B_V1 = MISTRAL_7B_V3 | {"rope_theta": 10000.0, "sliding_window": 4096, "vocab_size": 32000}
MISTRAL_NEMO = MISTRAL_7B_V3 | {
    "head_dim": 128, "hidden_size": 5120, "max_position_embeddings": 131072, "num_hidden_layers": 40,
    "vocab_size": 131072,
}  # fmt: skip

RELEASED = {
    "decapoda 7B": DECAPODA_7B, "OpenLLaMA 3B": OPENLLAMA_3B, "OpenLLaMA 7B": OPENLLAMA_7B,
    "OpenLLaMA 13B": OPENLLAMA_13B, "Llama 2 7B": LLAMA_2_7B, "Llama 2 70B": LLAMA_2_70B, "TinyLlama": TINYLLAMA,
    "Llama 3.1 8B": LLAMA_3_1_8B, "Llama 3.2 1B": LLAMA_3_2_1B, "SmolLM2 135M": SMOLLM2_135M,
    "Mistral 7B v0.3": MISTRAL_7B_V3, "Mistral NeMo": MISTRAL_NEMO,
}  # fmt: skip


def read(fields: dict[str, Any], **hints: Any) -> ModelConfig:
    return read_huggingface_config(PATH, fields, Hints(**hints))[0]


def notes(fields: dict[str, Any], **hints: Any) -> list[str]:
    return read_huggingface_config(PATH, fields, Hints(**hints))[1]


def without(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}


@pytest.mark.parametrize(
    ("fields", "recipe"),
    [
        (DECAPODA_7B, "llama-7b"),
        (OPENLLAMA_3B, "openllama-3b"),
        (OPENLLAMA_7B, "openllama-7b"),
        (OPENLLAMA_13B, "openllama-13b"),
        (LLAMA_2_7B, "llama2-7b"),
        (LLAMA_2_70B, "llama2-70b"),
        (LLAMA_3_1_8B, "llama3.1-8b"),
    ],
)
def test_released_models_are_those_of_the_shipped_recipes(fields: dict[str, Any], recipe: str) -> None:
    assert read(fields) == load_recipe(recipe).recipe.model


@pytest.mark.parametrize("fields", RELEASED.values(), ids=RELEASED)
def test_released_models_are_read_as_transformers_reads_them(fields: dict[str, Any]) -> None:
    config = read(fields)
    kind = transformers.MistralConfig if fields["model_type"] == "mistral" else transformers.LlamaConfig
    theirs = kind.from_dict(fields)
    assert config.dim == theirs.hidden_size
    assert config.n_layers == theirs.num_hidden_layers
    assert config.n_heads == theirs.num_attention_heads
    assert config.n_kv_heads == theirs.num_key_value_heads
    assert config.head_dim == theirs.head_dim
    assert config.ffn_dim == theirs.intermediate_size
    assert config.vocab_size == theirs.vocab_size
    assert config.context == theirs.max_position_embeddings
    assert config.norm_eps == theirs.rms_norm_eps
    assert config.tie_embeddings == theirs.tie_word_embeddings
    assert config.init_std == theirs.initializer_range
    rope = huggingface_config(config, "float32", 1, 2)["rope_parameters"]
    assert rope == theirs.rope_parameters


def test_models_without_a_recipe_are_read_right() -> None:
    tiny, smol = read(TINYLLAMA), read(SMOLLM2_135M)
    assert (tiny.n_kv_heads, tiny.head_dim, tiny.rope_theta, tiny.tie_embeddings) == (4, 64, 10_000, False)
    assert (smol.n_kv_heads, smol.head_dim, smol.rope_theta, smol.tie_embeddings) == (3, 64, 100_000, True)
    assert read(MISTRAL_NEMO).head_dim == 128
    scaling = read(LLAMA_3_2_1B).rope_scaling
    assert scaling is not None
    assert (scaling.kind, scaling.factor, scaling.original_context) == ("llama3", 32, 8192)


def test_what_no_file_says_is_noted() -> None:
    theta = "config.json has no rope_theta; 10000 is assumed, as transformers does"
    assert notes(OPENLLAMA_3B) == notes(DECAPODA_7B) == [theta]
    assert notes(LLAMA_3_1_8B) == notes(SMOLLM2_135M) == notes(MISTRAL_7B_V3) == []
    assert notes(OPENLLAMA_3B, rope_theta=10_000.0) == []
    bare = without(OPENLLAMA_3B, "max_position_embeddings", "rms_norm_eps")
    assert [note.split(";")[0] for note in notes(bare)] == [
        "config.json has no max_position_embeddings",
        "config.json has no rms_norm_eps",
        "config.json has no rope_theta",
    ]
    assert notes(LLAMA_3_1_8B | {"auto_map": {"AutoModel": "modeling.Model"}}) == [
        "config.json names program code of its own for this model; it was not run"
    ]


def test_hint_says_what_the_file_does_not() -> None:
    config = read(OPENLLAMA_3B, rope_theta=5e5, n_kv_heads=8, n_heads=32)
    assert (config.rope_theta, config.n_kv_heads) == (5e5, 8)
    bare = without(OPENLLAMA_3B, "max_position_embeddings", "rms_norm_eps")
    config = read(bare, context=4096, norm_eps=1e-5)
    assert (config.context, config.norm_eps) == (4096, 1e-5)


@pytest.mark.parametrize(
    "hints", [{"n_heads": 16}, {"n_kv_heads": 16}, {"context": 1024}, {"norm_eps": 1e-6}, {"rope_theta": 5e5}]
)
def test_hint_that_contradicts_the_file_is_refused(hints: dict[str, Any]) -> None:
    with pytest.raises(FormatError, match=f"has {next(iter(hints))} = .*, but .* was given"):
        read(LLAMA_2_7B | {"rope_theta": 10_000}, **hints)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "qwen2"}, "model_type = 'qwen2', expected one of llama, mistral"),
        ({"model_type": ["llama"]}, r"model_type = \['llama'\]"),
        ({"architectures": ["LlamaForTokenClassification"]}, r"architectures = \['LlamaForTokenClassification'\]"),
        ({"architectures": "Llama"}, "architectures = 'Llama', expected LlamaForCausalLM or MistralForCausalLM"),
        ({"hidden_act": "gelu"}, "hidden_act = 'gelu', and a LLaMA decoder has 'silu'"),
        ({"hidden_act": ["silu"]}, "hidden_act = "),
        ({"attention_bias": True}, "attention_bias = True, and a LLaMA decoder has False"),
        ({"mlp_bias": True}, "mlp_bias = True"),
        ({"bias": True}, "bias = True"),
        ({"rope_interleaved": True}, "rope_interleaved = True"),
        ({"use_qk_norm": True}, "use_qk_norm = True"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor = 0.5, and a LLaMA decoder has 1"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "rope_parameters.partial_rotary_factor = 0.5"),
        ({"is_causal": False}, "is_causal = False, and a LLaMA decoder has True"),
        ({"residual_multiplier": 0.22}, "residual_multiplier = 0.22"),
        ({"attn_logit_softcapping": 30.0}, "has 'attn_logit_softcapping' = 30.0, which no LLaMA has"),
        ({"rope_parameters": {"attention_factor": 1.2}}, "rope_parameters.attention_factor = 1.2"),
        ({"rope_scaling": {"factor": 4.0}}, "rope_scaling.factor = 4.0, and a LLaMA decoder has 1 for 'default'"),
        ({"rope_scaling": {"type": "linear", "factor": 2, "mscale": 1.1}}, "rope_scaling.mscale = 1.1, which LLaMA's"),
        (
            {"rope_scaling": {"rope_type": "llama3"} | LLAMA_3_1_SCALING, "original_max_position_embeddings": 4096},
            "original_max_position_embeddings = 4096, but the rotary scaling has 8192",
        ),
        ({"quantization_config": {"quant_method": "gptq"}}, r"has quantization_config \('gptq'\)"),
        ({"quantization_config": "fp8"}, r"has quantization_config \('fp8'\)"),
        ({"hidden_size": None}, "has no hidden_size"),
        ({"hidden_size": "4096"}, "hidden_size = '4096', expected a number"),
        ({"hidden_size": True}, "hidden_size = True, expected a number"),
        ({"hidden_size": 4095}, "dim = 4095 is not a multiple of n_heads = 32"),
        ({"hidden_size": -32}, "dim: .*found -32"),
        ({"hidden_size": 2**70}, "hidden_size = 11.*, expected a number of less than 64 bits"),
        ({"num_attention_heads": 0}, "n_heads: .*found 0"),
        ({"num_key_value_heads": 5}, "n_heads = 32 is not a multiple of n_kv_heads = 5"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps = nan, expected a finite number"),
        ({"rms_norm_eps": {}}, "rms_norm_eps = {}, expected a number"),
        ({"tie_word_embeddings": "yes"}, "tie_embeddings: .*found 'yes'"),
        ({"rope_theta": [1]}, r"rope_theta = \[1\], expected a number"),
        ({"rope_theta": 0}, "rope_theta: .*found 0"),
        ({"rope_scaling": 2.0}, "rope_scaling = 2.0, expected one table for all layers"),
        ({"rope_parameters": {"full_attention": {"rope_theta": 1e4}}}, "expected one table for all layers"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope_scaling.rope_type = 'dynamic', expected default"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 2.0}}, "rope_type = 'yarn'"),
        ({"rope_scaling": {"rope_type": ["linear"]}}, r"rope_type = \['linear'\]"),
        ({"rope_scaling": {"type": "linear"}}, "has no rope_scaling.factor"),
        ({"rope_scaling": {"type": "linear", "factor": "2"}}, "rope_scaling.factor = '2', expected a number"),
        ({"rope_scaling": {"type": "linear", "factor": 0.5}}, "rope_scaling.factor: .*found 0.5"),
        ({"rope_scaling": {"type": "linear", "rope_type": "llama3"}}, "has rope_type = 'llama3', but type = 'linear'"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8}}, "has no rope_scaling.low_freq_factor"),
        (
            {"rope_theta": 1e4, "rope_parameters": {"rope_theta": 5e5}},
            r"rope_parameters.rope_theta = 500000, but rope_theta = 10000",
        ),
        (
            {"rope_scaling": {"type": "linear", "factor": 2}, "rope_parameters": {"rope_type": "linear", "factor": 4}},
            "rope_parameters = .*'factor': 4.* and rope_scaling = .*'factor': 2.* do not say the same",
        ),
        (
            {"rope_scaling": {"type": "linear", "factor": 2}, "rope_parameters": {"rope_type": "default"}},
            "do not say the same",
        ),
    ],
)  # fmt: skip
def test_other_architectures_and_nonsense_are_refused_by_their_field(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(FormatError, match=said) as caught:
        read(LLAMA_2_7B | changes)
    assert caught.value.message.startswith(f"{PATH}: ")
    assert "\n" not in caught.value.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.just(10**400) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["rope_type", "type", "rope_theta", "factor", "a"]), inner, max_size=3)
    ),
    max_leaves=5,
)


@settings(max_examples=300)
@given(st.sampled_from([LLAMA_3_1_8B, MISTRAL_7B_V1]), st.data())
def test_no_value_of_any_field_raises_anything_but_a_format_error(fields: dict[str, Any], data: st.DataObject) -> None:
    names = [*fields, "rope_parameters", "head_dim", "quantization_config", "partial_rotary_factor"]
    changes = data.draw(st.dictionaries(st.sampled_from(names), JSON, min_size=1, max_size=3))
    try:
        read(fields | changes)
    except FormatError as error:
        assert "\n" not in error.message  # noqa: PT017


@pytest.mark.parametrize(
    ("rope", "kind"),
    [
        ({}, None),
        ({"rope_scaling": None, "rope_theta": 5e4}, None),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 5e4}}, None),
        ({"rope_parameters": {"rope_theta": 5e4}}, None),
        ({"rope_scaling": {"type": "linear", "factor": 1.0}}, None),
        ({"rope_scaling": {"type": "linear", "factor": 4}}, "linear"),
        ({"rope_scaling": {"rope_type": "linear", "type": "linear", "factor": 4.0}, "rope_theta": 5e4}, "linear"),
        ({"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 5e4}}, "linear"),
        ({"rope_scaling": {"rope_type": "llama3"} | LLAMA_3_1_SCALING}, "llama3"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e4} | LLAMA_3_1_SCALING}, "llama3"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4}}, "llama3"),
    ],
)  # fmt: skip
def test_every_form_of_rotary_parameters_is_read_as_transformers_reads_it(
    rope: dict[str, Any], kind: str | None
) -> None:
    fields = without(LLAMA_2_7B, "rope_scaling") | rope
    config = read(fields)
    assert (config.rope_scaling and config.rope_scaling.kind) == kind
    theirs = transformers.LlamaConfig.from_dict(json.loads(json.dumps(fields))).rope_parameters
    assert config.rope_theta == theirs["rope_theta"]
    ours = huggingface_config(config, "float32", 1, 2)["rope_parameters"]
    if rope.get("rope_scaling") != {"type": "linear", "factor": 1.0}:
        assert ours == without(theirs, "type")


def test_both_generations_of_rotary_parameters_may_say_the_same() -> None:
    new = {"rope_type": "llama3", "rope_theta": 5e5} | LLAMA_3_1_SCALING
    assert read(LLAMA_3_1_8B | {"rope_parameters": new}) == read(LLAMA_3_1_8B)


def test_sliding_window_is_allowed_as_far_as_it_reaches() -> None:
    with pytest.raises(
        FormatError, match="sliding_window = 4096 is less than max_position_embeddings = 32768"
    ) as caught:
        read(MISTRAL_7B_V1)
    assert "--context 4096" in caught.value.hint
    with pytest.raises(FormatError, match="sliding_window = 4096"):
        read(MISTRAL_7B_V1, context=4097)
    assert read(MISTRAL_7B_V1, context=4096).context == 4096
    assert notes(MISTRAL_7B_V1, context=2048) == [
        "the context is 2048, as asked; max_position_embeddings = 32768, sliding_window = 4096"
    ]
    short = MISTRAL_7B_V1 | {"max_position_embeddings": 4096}
    assert read(short).context == 4096
    assert notes(short) == ["sliding_window = 4096 is not less than the context, 4096, so it changes nothing"]
    # Mistral's class has a window of 4096 where the file is silent, LLaMA's has none at all.
    with pytest.raises(FormatError, match="sliding_window = 4096"):
        read(without(MISTRAL_7B_V1, "sliding_window"))
    assert read(LLAMA_2_7B | {"sliding_window": 16}).context == 4096
    (note, _) = notes(LLAMA_2_7B | {"sliding_window": 16})
    assert note == "sliding_window = 16 is passed over, as LlamaForCausalLM does"


def test_absent_key_heads_are_those_of_the_models_class() -> None:
    assert read(without(LLAMA_2_70B, "num_key_value_heads")).n_kv_heads == 64
    assert read(without(MISTRAL_7B_V3, "num_key_value_heads")).n_kv_heads == 8
    assert read(without(MISTRAL_7B_V3, "model_type", "sliding_window"), context=4096).n_kv_heads == 8


SHAPES = st.builds(
    lambda kv, group, width, head_dim, rest: {
        "n_kv_heads": kv, "n_heads": kv * group, "dim": kv * group * width, "head_dim": head_dim * 2,
    } | rest,
    st.integers(1, 8), st.integers(1, 8), st.integers(1, 40), st.integers(1, 200),
    st.fixed_dictionaries({
        "n_layers": st.integers(1, 100), "ffn_dim": st.integers(1, 30_000), "vocab_size": st.integers(260, 200_000),
        "context": st.integers(2, 200_000), "norm_eps": st.floats(1e-12, 1), "rope_theta": st.floats(1, 1e9),
        "tie_embeddings": st.booleans(), "init_std": st.floats(1e-3, 1),
        "rope_scaling": st.none()
        | st.builds(lambda factor: {"kind": "linear", "factor": factor}, st.floats(1.001, 64))
        | st.builds(
            lambda factor, low, more, original: {
                "kind": "llama3", "factor": factor, "low_freq_factor": low, "high_freq_factor": low + more,
                "original_context": original,
            },
            st.floats(1.001, 64), st.floats(0.5, 4), st.floats(0.5, 4), st.integers(1, 100_000),
        ),
    }),
)  # fmt: skip


@settings(max_examples=60)
@given(SHAPES)
def test_what_is_written_is_read_back_the_same_and_so_by_transformers(shape: dict[str, Any]) -> None:
    config = ModelConfig.model_validate(shape)
    fields = json.loads(json.dumps(huggingface_config(config, "bfloat16", 1, 2)))
    assert read_huggingface_config(PATH, fields, Hints()) == (config, [])
    old = without(fields, "rope_parameters", "dtype")
    new = without(fields, "rope_theta", "rope_scaling", "torch_dtype")
    assert read(old) == read(new) == config
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        theirs = [transformers.LlamaConfig.from_dict(form) for form in (fields, old, new)]
    assert [form.rope_parameters for form in theirs] == [fields["rope_parameters"]] * 3
    assert all(form.head_dim == config.head_dim for form in theirs)


def test_tokens_are_none_where_there_is_no_tokenizer() -> None:
    fields = huggingface_config(ModelConfig(), "float32", None, None)
    assert (fields["bos_token_id"], fields["eos_token_id"], fields["pad_token_id"]) == (None, None, None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"norm": "layer"}, "norm = 'layer'"),
        ({"qk_norm": True}, "qk_norm = true"),
        ({"norm": "layer", "qk_norm": True}, "norm = 'layer' and qk_norm = true"),
        ({"rotary": "head"}, "rotary = 'head'"),
        ({"dim": 4100, "head_dim": 128}, "dim = 4100, which is not a multiple of n_heads = 32"),
    ],
)
def test_what_llama_for_causal_lm_does_not_compute_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ExportError, match=said) as caught:
        check_huggingface(ModelConfig.model_validate(changes))
    assert "LlamaForCausalLM" in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "changes", [{}, {"n_kv_heads": 8}, {"head_dim": 256}, {"tie_embeddings": True}, {"vocab_size": 260}]
)
def test_what_it_computes_is_not_refused(changes: dict[str, Any]) -> None:
    check_huggingface(ModelConfig.model_validate(changes))

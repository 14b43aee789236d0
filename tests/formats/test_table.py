"""The table of names and shapes, against the parameters of our decoder and of transformers'."""

import itertools
import re

import pytest
import torch

from puna.config.recipe import ModelConfig
from puna.formats.table import by_name, count_layers, our_name, their_name, weights
from puna.model.llama import Llama
from puna.plan.count import parameters

SHAPE = {"dim": 32, "n_layers": 3, "n_heads": 4, "n_kv_heads": 2, "ffn_dim": 48, "vocab_size": 300, "context": 16}

VARIANTS: list[dict[str, object]] = [
    {}, {"tie_embeddings": True}, {"head_dim": 12}, {"qk_norm": True}, {"n_kv_heads": 4},
    {"norm": "layer-bias", "qk_norm": True},
]  # fmt: skip


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_it_lists_the_decoders_parameters_in_their_order(variant: dict[str, object]) -> None:
    config = ModelConfig.model_validate(SHAPE | variant)
    with torch.device("meta"):
        parts = {name: tuple(parameter.shape) for name, parameter in Llama(config).named_parameters()}
    found = {weight.name: weight.shape for weight in weights(config)}
    assert found == parts
    assert sum(weight.numel for weight in weights(config)) == parameters(config).total


@pytest.mark.parametrize("variant", [v for v in VARIANTS if "qk_norm" not in v], ids=str)
def test_hugging_faces_column_has_transformers_names_and_shapes(variant: dict[str, object]) -> None:
    transformers = pytest.importorskip("transformers")
    config = ModelConfig.model_validate(SHAPE | variant)
    with torch.device("meta"):
        theirs = transformers.LlamaForCausalLM(
            transformers.LlamaConfig(
                vocab_size=300, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
                num_key_value_heads=config.n_kv_heads, head_dim=config.head_dim,
                tie_word_embeddings=config.tie_embeddings,
            )
        )  # fmt: skip
    expected = {name: tuple(parameter.shape) for name, parameter in theirs.named_parameters()}
    assert {name: weight.shape for name, weight in by_name(config, "hf").items()} == expected


def test_gguf_column_has_llama_cpps_names() -> None:
    gguf = pytest.importorskip("gguf")
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 3)
    for weight in weights(ModelConfig.model_validate(SHAPE)):
        assert names.get_name(weight.hf, try_suffixes=(".weight",)) == weight.gguf


def test_every_name_of_one_layer_with_all_that_a_decoder_can_have() -> None:
    """EasyLM's paths are those of its FlaxLLaMAForCausalLM, OpenLM's those of open_lm/model.py."""
    only = {"n_layers": 1, "norm": "layer-bias", "qk_norm": True}
    found = {
        weight.name: (weight.hf, weight.easylm, weight.gguf, weight.openlm)
        for weight in weights(ModelConfig.model_validate(SHAPE | only))
    }
    hf, easylm, gguf = "model.layers.0", "transformer/h/0", "blk.0"
    block = {
        "attention_norm": ("input_layernorm", "attention_norm", "attn_norm", "attention_norm"),
        "attention.wq": ("self_attn.q_proj", "attention/wq", "attn_q", "attention.in_proj"),
        "attention.wk": ("self_attn.k_proj", "attention/wk", "attn_k", "attention.in_proj"),
        "attention.wv": ("self_attn.v_proj", "attention/wv", "attn_v", "attention.in_proj"),
        "attention.wo": ("self_attn.o_proj", "attention/wo", "attn_output", "attention.out_proj"),
        "ffn_norm": ("post_attention_layernorm", "ffn_norm", "ffn_norm", "ffn_norm"),
        "feed_forward.w1": ("mlp.gate_proj", "feed_forward/w1", "ffn_gate", "feed_forward.w12"),
        "feed_forward.w2": ("mlp.down_proj", "feed_forward/w2", "ffn_down", "feed_forward.w3"),
        "feed_forward.w3": ("mlp.up_proj", "feed_forward/w3", "ffn_up", "feed_forward.w12"),
    }
    expected = {
        f"layers.0.{ours}.weight": (
            f"{hf}.{theirs[0]}.weight", f"{easylm}/{theirs[1]}/kernel", f"{gguf}.{theirs[2]}.weight",
            f"layers.0.{theirs[3]}.weight",
        )
        for ours, theirs in block.items()
    }  # fmt: skip
    expected |= {
        "tok_embeddings.weight": (
            "model.embed_tokens.weight", "transformer/wte/embedding", "token_embd.weight", "tok_embeddings.weight"
        ),
        "norm.weight": ("model.norm.weight", "transformer/ln_f/kernel", "output_norm.weight", "norm.weight"),
        "output.weight": ("lm_head.weight", "lm_head/kernel", "output.weight", "output.weight"),
    }  # fmt: skip
    # Only open_lm has gains of queries and keys, and biases.
    for norm in ("attention.q_norm", "attention.k_norm"):
        expected[f"layers.0.{norm}.weight"] = ("", "", "", f"layers.0.{norm}.weight")
    for norm in (
        "norm",
        "layers.0.attention_norm",
        "layers.0.ffn_norm",
        "layers.0.attention.q_norm",
        "layers.0.attention.k_norm",
    ):
        expected[f"{norm}.bias"] = ("", "", "", f"{norm}.bias")
    assert found == expected


def test_a_column_holds_what_its_format_has_a_place_for() -> None:
    config = ModelConfig.model_validate(SHAPE | {"norm": "layer-bias", "qk_norm": True})
    everything = weights(config)
    assert set(by_name(config, "ours").values()) == set(everything)
    for column in ("hf", "easylm", "gguf"):
        found = by_name(config, column)
        assert "" not in found
        assert {weight.name for weight in found.values()} == {
            weight.name
            for weight in everything
            if not weight.name.endswith((".bias", "q_norm.weight", "k_norm.weight"))
        }
    assert by_name(config, "openlm")["layers.1.attention.in_proj.weight"].name == "layers.1.attention.wv.weight"


def test_names_are_unique_in_every_column() -> None:
    config = ModelConfig.model_validate(SHAPE)
    everything = weights(config)
    for column in ("ours", "hf", "easylm", "gguf"):
        assert len(by_name(config, column)) == len(everything)  # type: ignore[arg-type]


def test_openlm_joins_queries_keys_and_values_and_the_two_gates() -> None:
    config = ModelConfig.model_validate(SHAPE | {"qk_norm": True})
    rows: dict[str, list[tuple[int, int]]] = {}
    for weight in weights(config):
        rows.setdefault(weight.openlm, []).append(weight.openlm_rows)
    assert rows["layers.1.attention.in_proj.weight"] == [(0, 32), (32, 48), (48, 64)]
    assert rows["layers.1.feed_forward.w12.weight"] == [(0, 48), (48, 96)]
    assert rows["layers.1.feed_forward.w3.weight"] == [(0, 32)]
    assert rows["layers.1.attention.k_norm.weight"] == [(0, 16)]
    # Every joined tensor is covered without a gap.
    for parts in rows.values():
        assert parts[0][0] == 0
        assert all(before[1] == after[0] for before, after in itertools.pairwise(parts))


def test_only_queries_and_keys_turn_and_keys_by_their_own_number_of_heads() -> None:
    turned = {w.name: w.rotary_heads for w in weights(ModelConfig.model_validate(SHAPE)) if w.rotary_heads}
    assert turned == {f"layers.{i}.attention.{w}.weight": n for i in range(3) for w, n in (("wq", 4), ("wk", 2))}
    others = [weight for weight in weights(ModelConfig.model_validate(SHAPE)) if weight.name not in turned]
    assert [weight.rotary_heads for weight in others] == [0] * len(others)


def test_gains_are_not_matrices_and_every_file_of_the_original_has_them_whole() -> None:
    for weight in weights(ModelConfig.model_validate(SHAPE | {"qk_norm": True})):
        assert weight.is_matrix == ("norm" not in weight.name)
        assert (weight.split is None) == ("norm" in weight.name)


def test_layers_are_counted_by_the_highest_number() -> None:
    names = ["model.layers.0.mlp.weight", "model.layers.11.mlp.weight", "model.layersx.40.y", "lm_head.weight"]
    assert count_layers(names, "model.layers.") == 12
    assert count_layers(["lm_head.weight"], "model.layers.") == 0
    assert count_layers((name for name in names if re.search("1", name)), "model.layers.") == 12
    assert count_layers([f"model.layers.{'9' * 5000}.x", *names], "model.layers.") == 12


def test_names_of_transformers_go_both_ways() -> None:
    for weight in weights(ModelConfig(dim=64, n_layers=12, n_heads=4, vocab_size=300, context=16)):
        assert our_name(weight.hf) == weight.name
        assert their_name(weight.name) == weight.hf
    assert our_name("model.layers.0.self_attn.rotary_emb.inv_freq") is None
    assert our_name("model.layers.-1.self_attn.q_proj.weight") is None

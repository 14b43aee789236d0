"""The table of names and shapes, against the parameters of our decoder and of transformers'."""

import itertools
import re

import pytest
import torch

from puna.config.recipe import ModelConfig
from puna.formats.table import by_name, count_layers, weights
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

"""Each choice was read off files that llama.cpp's `llama_model_quantize` (release 0.5.0) made of the same models."""

from typing import Any

import pytest

from puna.config.recipe import ModelConfig
from puna.formats.gguf.file_types import FILE_TYPES
from puna.formats.gguf.mix import tensor_type
from puna.formats.table import weights

SHAPE: dict[str, Any] = {"dim": 256, "n_heads": 4, "n_kv_heads": 2, "ffn_dim": 512, "vocab_size": 512}


def types(file_type: str, **shape: Any) -> dict[str, Any]:
    """The types of a model's matrices: one for all layers, or the layers of each."""
    config = ModelConfig.model_validate(SHAPE | shape)
    found: dict[str, Any] = {}
    for weight in weights(config):
        if weight.is_matrix:
            kind = tensor_type(file_type, weight, config)[0]
            _, *layer, name, _ = (
                f"x.{weight.name}".split(".") if "layers" not in weight.name else weight.name.split(".")
            )
            found.setdefault(name, {}).setdefault(kind, []).append(int(layer[0]) if layer else None)
    return {name: next(iter(kinds)) if len(kinds) == 1 else kinds for name, kinds in found.items()}


def all_of(kind: str, **others: Any) -> dict[str, Any]:
    names = ("tok_embeddings", "wq", "wk", "wv", "wo", "w1", "w2", "w3", "output")
    return dict.fromkeys(names, kind) | others


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0"])
def test_one_type_for_all_matrices(kind: str) -> None:
    assert types(kind, n_layers=11) == all_of(kind)


def test_four_bits_keep_six_for_the_output_layer() -> None:
    assert types("Q4_0", n_layers=11) == all_of("Q4_0", output="Q6_K")
    tied = types("Q4_0", n_layers=18, tie_embeddings=True)
    assert tied == {name: kind for name, kind in all_of("Q4_0", tok_embeddings="Q6_K").items() if name != "output"}


def test_small_mixes() -> None:
    assert types("Q4_K_S", n_layers=11) == all_of(
        "Q4_K", output="Q6_K",
        wv={"Q5_K": [0, 1, 2, 3], "Q4_K": [4, 5, 6, 7, 8, 9, 10]}, w2={"Q5_K": [0], "Q4_K": list(range(1, 11))},
    )  # fmt: skip
    assert types("Q5_K_S", n_layers=11) == all_of("Q5_K", output="Q6_K")
    assert types("Q6_K", n_layers=11) == all_of("Q6_K")


@pytest.mark.parametrize("bits", [4, 5])
def test_medium_mixes_give_more_bits_to_values_and_w2_of_some_layers(bits: int) -> None:
    layers = {"Q6_K": [0, 3, 6, 9, 10], f"Q{bits}_K": [1, 2, 4, 5, 7, 8]}
    assert types(f"Q{bits}_K_M", n_layers=11) == all_of(f"Q{bits}_K", output="Q6_K", wv=layers, w2=layers)


def test_rows_that_are_not_super_blocks_fall_back_to_small_blocks() -> None:
    more, fewer = [0, 1, 4, 7, 10, 13, 15, 16, 17], [2, 3, 5, 6, 8, 9, 11, 12, 14]
    found = types("Q4_K_M", n_layers=18, ffn_dim=352, tie_embeddings=True)
    assert found["w2"] == {"Q8_0": more, "Q5_0": fewer}
    assert found["wv"] == {"Q6_K": more, "Q4_K": fewer}
    assert types("Q4_K_S", n_layers=18, ffn_dim=352)["w2"] == {"Q5_1": [0, 1], "Q5_0": list(range(2, 18))}
    assert types("Q5_K_M", n_layers=18, ffn_dim=352)["w2"] == {"Q8_0": more, "Q5_1": fewer}
    assert types("Q6_K", n_layers=18, ffn_dim=352)["w2"] == "Q8_0"


def test_rows_that_are_not_blocks_at_all_fall_back_to_float16() -> None:
    found = types("Q8_0", dim=80, ffn_dim=96, n_layers=3)
    assert found == all_of("F16", w2="Q8_0")
    assert types("Q4_0", dim=80, ffn_dim=96, n_layers=3) == all_of("F16", w2="Q4_0")


def test_the_70bs_values_get_five_bits() -> None:
    wv = types("Q4_K_M", n_layers=80)["wv"]
    assert {kind: len(layers) for kind, layers in wv.items()} == {"Q6_K": 40, "Q5_K": 40}
    assert types("Q4_K_S", n_layers=80)["wv"] == "Q5_K"
    assert types("Q4_K_S", n_layers=80, n_kv_heads=4)["wv"] == {"Q5_K": [0, 1, 2, 3], "Q4_K": list(range(4, 80))}
    assert types("Q4_0", n_layers=80)["wv"] == "Q4_0"


def test_what_would_be_wanted_is_said_beside_the_fallback() -> None:
    config = ModelConfig.model_validate(SHAPE | {"n_layers": 2, "dim": 80})
    embedding, gain = weights(config)[0], weights(config)[1]
    assert tensor_type("Q4_K_S", embedding, config) == ("F16", "Q4_K")
    assert tensor_type("Q4_K_S", gain, config) == ("F32", "F32")


def test_numbers_are_llama_cpps() -> None:
    gguf = pytest.importorskip("gguf")
    for name, form in FILE_TYPES.items():
        assert form.number == gguf.LlamaFileType["ALL_F32" if name == "F32" else f"MOSTLY_{name}"]

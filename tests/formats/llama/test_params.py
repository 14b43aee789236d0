import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from puna.config.recipe import ModelConfig
from puna.core.errors import FormatError
from puna.formats.llama.params import SCALED_ROPE, Params, ffn_dim, params_of, read_params, solve_ffn, unsaid

RELEASED = {
    "7B": (4096, 256, None, 11008),
    "13B": (5120, 256, None, 13824),
    "30B": (6656, 256, None, 17920),
    "65B": (8192, 256, None, 22016),
    "Llama 2 70B": (8192, 4096, 1.3, 28672),
    "Llama 3 8B": (4096, 1024, 1.3, 14336),
    "Llama 3.1 405B": (16384, 4096, 1.2, 53248),
    "Llama 3.2 1B": (2048, 256, 1.5, 8192),
}
"""dim, multiple_of and ffn_dim_multiplier of released params.json, and the width of w1 in the weights."""


def read(tmp_path: Path, **fields: Any) -> Params:
    (tmp_path / "params.json").write_text(json.dumps({"dim": 64, "n_layers": 2, "n_heads": 4} | fields))
    return read_params(tmp_path / "params.json")


@pytest.mark.parametrize("released", RELEASED.values(), ids=RELEASED)
def test_the_formula_gives_the_released_models_widths(released: tuple[int, int, float | None, int]) -> None:
    dim, multiple_of, multiplier, width = released
    assert ffn_dim(dim, multiple_of, multiplier) == width
    assert ffn_dim(dim, *solve_ffn(dim, width)) == width


@pytest.mark.parametrize(("dim", "width"), [(3200, 8640), (2048, 5504), (2048, 5632), (4096, 14336), (128, 352)])
def test_widths_that_are_not_a_multiple_of_256_are_solved_without_a_multiplier(dim: int, width: int) -> None:
    multiple_of, multiplier = solve_ffn(dim, width)
    assert ffn_dim(dim, multiple_of, None) == width
    assert multiplier is None


def test_256_is_taken_where_it_will_do() -> None:
    assert solve_ffn(4096, 11008) == (256, None)


@given(st.integers(2, 1 << 17), st.integers(1, 1 << 19))
@example(dim=17, width=1)
@example(dim=161, width=1)
def test_every_width_is_solved(dim: int, width: int) -> None:
    assert ffn_dim(dim, *solve_ffn(dim, width)) == width


def test_llama_1_gets_its_own_six_fields_and_no_other() -> None:
    assert params_of(ModelConfig(), n_kv_heads=32, llama3=False) == {
        "dim": 4096, "multiple_of": 256, "n_heads": 32, "n_layers": 32, "norm_eps": 1e-6, "vocab_size": 32000,
    }  # fmt: skip


def test_llama_3_gets_its_rotary_base_even_where_it_is_llama_1s() -> None:
    assert params_of(ModelConfig(), n_kv_heads=32, llama3=True)["rope_theta"] == 10_000.0
    config = ModelConfig(rope_theta=5e5, n_kv_heads=8, rope_scaling=SCALED_ROPE, ffn_dim=14336)
    params = params_of(config, n_kv_heads=16, llama3=True)
    assert (params["rope_theta"], params["n_kv_heads"], params["use_scaled_rope"]) == (5e5, 16, True)


def test_what_is_said_is_read_and_null_is_unsaid(tmp_path: Path) -> None:
    params = read(
        tmp_path, n_kv_heads=2, multiple_of=32, ffn_dim_multiplier=None, norm_eps=1e-6, rope_theta=500000,
        use_scaled_rope=True, vocab_size=512, max_seq_len=99, max_batch_size=1,
    )  # fmt: skip
    assert params == Params(64, 2, 4, 2, 192, 512, 99, 1e-6, 500000, True)
    assert unsaid(params) == ({}, [])


def test_what_is_unsaid_has_llama_1s_value_and_a_note(tmp_path: Path) -> None:
    params = read(tmp_path, vocab_size=-1)
    assert (params.n_kv_heads, params.vocab_size, params.scaled_rope) == (4, None, False)
    values, notes = unsaid(params)
    assert values == {"context": 2048, "norm_eps": 1e-5, "rope_theta": 10_000.0}
    assert notes[2] == "params.json does not say rope_theta; 10000 is assumed"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"dim": None}, "has no dim"),
        ({"dim": 64.0}, "dim is 64.0, expected a whole number"),
        ({"n_layers": True}, "n_layers is True, expected a whole number"),
        ({"n_heads": 0}, "n_heads is 0, expected"),
        ({"vocab_size": 0}, "vocab_size is 0, expected"),
        ({"vocab_size": 2**31}, "vocab_size is 2147483648, expected"),
        ({"norm_eps": "1e-5"}, "norm_eps is 1e-5, expected a positive number"),
        ({"rope_theta": float("nan")}, "rope_theta is nan"),
        ({"use_scaled_rope": 1}, "use_scaled_rope is 1, expected true or false"),
        ({"ffn_dim_multiplier": 1e308}, "ffn_dim_multiplier = 1e[+]308 is too large"),
        ({"head_dim": 128}, "has 'head_dim', which no LLaMA"),
        ({"vision_chunk_size": 448}, "has 'vision_chunk_size'"),
        ({"quantization_args": {}}, "has 'quantization_args'"),
    ],
)
def test_a_wrong_field_is_one_sentence(tmp_path: Path, fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(FormatError, match=f"params.json: {sentence}"):
        read(tmp_path, **fields)


@given(
    st.binary(max_size=60)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps).map(str.encode)
)
def test_no_content_is_anything_but_a_format_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "hostile.json"
    path.write_bytes(content)
    with pytest.raises(FormatError):
        read_params(path)

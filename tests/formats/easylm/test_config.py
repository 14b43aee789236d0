"""What sizes, a file beside the weights, presets and the user say of a decoder."""

import json
from pathlib import Path
from typing import Any

import pytest

from puna.config.recipe import ModelConfig
from puna.core.errors import FormatError
from puna.formats.checkpoint import Hints
from puna.formats.easylm.config import Sizes, decoder_of, llama_config, read_llama_config

FILE = Path("streaming_params")
SMALL = Sizes(vocab_size=512, dim=80, ffn_dim=96, n_layers=2, queries=80, keys=40)


def config_of(sizes: Sizes, said: dict[str, Any] | None = None, **hints: Any) -> tuple[ModelConfig, list[str]]:
    return decoder_of(FILE, sizes, said or {}, Hints(**hints))


@pytest.mark.parametrize(
    ("name", "sizes", "heads", "kv_heads", "eps", "context", "theta"),
    [
        ("llama_1b", Sizes(32000, 2048, 5504, 22, 2048, 2048), 16, 16, 1e-6, 2048, 1e4),
        ("llama_3b", Sizes(32000, 3200, 8640, 26, 3200, 3200), 32, 32, 1e-6, 2048, 1e4),
        ("llama_7b", Sizes(32016, 4096, 11008, 32, 4096, 4096), 32, 32, 1e-6, 2048, 1e4),
        ("llama_13b", Sizes(32000, 5120, 13824, 40, 5120, 5120), 40, 40, 1e-6, 2048, 1e4),
        ("llama_30b", Sizes(32000, 6656, 17920, 60, 6656, 6656), 52, 52, 1e-6, 2048, 1e4),
        ("llama_65b", Sizes(32000, 8192, 22016, 80, 8192, 8192), 64, 64, 1e-5, 2048, 1e4),
        ("llama2_70b", Sizes(32000, 8192, 28672, 80, 8192, 1024), 64, 8, 1e-5, 4096, 1e4),
        ("llama3_8b", Sizes(128256, 4096, 14336, 32, 4096, 1024), 32, 8, 1e-5, 8192, 5e5),
        ("llama3_70b", Sizes(128256, 8192, 28672, 80, 8192, 1024), 64, 8, 1e-5, 8192, 5e5),
    ],
)
def test_presets_are_known_by_their_sizes_and_named_in_notes(
    name: str, sizes: Sizes, heads: int, kv_heads: int, eps: float, context: int, theta: float
) -> None:
    config, notes = config_of(sizes)
    assert (config.n_heads, config.n_kv_heads, config.norm_eps) == (heads, kv_heads, eps)
    assert (config.context, config.rope_theta, config.head_dim) == (context, theta, sizes.dim // heads)
    assumed = [note for note in notes if "is assumed" in note]
    assert [note.split(" = ")[0] for note in assumed] == ["n_heads", "norm_eps", "context", "rope_theta"]
    assert all(name in note for note in assumed)
    assert (theta != 1e4) == any("whatever its settings say" in note for note in notes)


def test_the_two_7bs_have_the_same_sizes_and_the_note_says_how_they_differ() -> None:
    _, notes = config_of(Sizes(32000, 4096, 11008, 32, 4096, 4096))
    assert any("llama2_7b has norm_eps = 1e-05 and context = 4096" in note for note in notes)


@pytest.mark.parametrize("sizes", [
    SMALL, Sizes(32000, 2048, 5632, 22, 2048, 256), Sizes(32000, 4096, 14336, 32, 4096, 1024),
    Sizes(32000, 4096, 11008, 30, 4096, 4096),
])  # fmt: skip
def test_heads_of_other_sizes_are_asked_for_not_guessed(sizes: Sizes) -> None:
    with pytest.raises(FormatError, match="how many heads") as error:
        config_of(sizes)
    assert "--heads" in error.value.hint


def test_hints_fill_what_is_unsaid() -> None:
    config, notes = config_of(SMALL, n_heads=4, context=77, norm_eps=1e-4, rope_theta=3e4)
    assert (config.n_heads, config.n_kv_heads, config.head_dim) == (4, 2, 20)
    assert (config.context, config.norm_eps, config.rope_theta) == (77, 1e-4, 3e4)
    assert notes == []


def test_key_heads_alone_tell_the_query_heads() -> None:
    config, _ = config_of(SMALL, n_kv_heads=2)
    assert (config.n_heads, config.n_kv_heads, config.head_dim) == (4, 2, 20)


def test_heads_wider_than_the_model_divided_by_them_are_read() -> None:
    config, _ = config_of(Sizes(512, 80, 96, 2, 96, 48), n_heads=4)
    assert (config.head_dim, config.n_kv_heads, config.dim) == (24, 2, 80)


def test_a_hint_outweighs_a_preset() -> None:
    config, notes = config_of(Sizes(32000, 4096, 11008, 32, 4096, 4096), n_heads=64, norm_eps=1e-5)
    assert (config.n_heads, config.head_dim, config.norm_eps) == (64, 64, 1e-5)
    assert len(notes) == 2


def test_defaults_are_noted() -> None:
    config, notes = config_of(SMALL, n_heads=4)
    assert (config.context, config.norm_eps, config.rope_theta) == (2048, 1e-6, 1e4)
    assert len(notes) == 3
    assert all("by default" in note for note in notes)


@pytest.mark.parametrize(("hints", "says"), [
    ({"n_heads": 3}, "80 rows and wk 40, which are not whole heads for n_heads = 3"),
    ({"n_heads": 81}, "not whole heads"), ({"n_heads": 0}, "n_heads is 0"), ({"n_kv_heads": -1}, "n_kv_heads is -1"),
    ({"n_heads": 4, "n_kv_heads": 4}, "2 heads of 20, but n_kv_heads = 4"), ({"n_kv_heads": 80}, "not whole heads"),
    ({"n_heads": 16}, "head_dim = 5 is odd"), ({"n_heads": 4, "context": 1}, "context"),
])  # fmt: skip
def test_hints_that_make_no_decoder_are_refused(hints: dict[str, Any], says: str) -> None:
    with pytest.raises(FormatError, match=says):
        config_of(SMALL, **hints)


def test_matrices_without_rows_are_refused() -> None:
    with pytest.raises(FormatError, match="not whole heads"):
        config_of(Sizes(512, 80, 96, 2, 0, 0), n_heads=4)


def test_what_is_written_beside_the_weights_is_read_back(tmp_path: Path) -> None:
    config = ModelConfig.model_validate({
        "dim": 80, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "ffn_dim": 96, "vocab_size": 512, "context": 64,
        "norm_eps": 2e-5, "tie_embeddings": True, "init_std": 0.1,
    })  # fmt: skip
    (tmp_path / "llama_config.json").write_text(json.dumps(llama_config(config)))
    assert config_of(SMALL, read_llama_config(tmp_path / "llama_config.json")) == (config, [])


def test_settings_of_an_easylm_run_are_read_and_what_is_not_ours_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "llama_config.json"
    path.write_text(json.dumps({
        "base_model": "llama_3b", "num_attention_heads": 4, "rms_norm_eps": 1e-5, "tie_word_embeddings": True,
        "rope_theta": 500000.0, "num_key_value_heads": None, "fcm_max_ratio": 0.1, "never_seen": None,
    }))  # fmt: skip
    config, notes = config_of(SMALL, read_llama_config(path))
    assert (config.n_heads, config.norm_eps, config.rope_theta, config.tie_embeddings) == (4, 1e-5, 5e5, False)
    assert [note.split(" = ")[0] for note in notes] == ["context", "EasyLM's own code turns by 10000.0 whatever its "
        "settings say: a model that was trained with it needs rope_theta"]  # fmt: skip


@pytest.mark.parametrize(("said", "hints", "says"), [
    ({"dim": 64, "n_heads": 4}, {}, "has dim = 80, but llama_config.json says 64"),
    ({"n_layers": "2", "n_heads": 4}, {}, "n_layers = 2, but llama_config.json says '2'"),
    ({"n_heads": 4}, {"n_heads": 8}, "has n_heads = 4, but 8 was given"),
    ({"n_heads": 4, "norm_eps": 1e-5}, {"norm_eps": 1e-6}, "norm_eps"),
    ({"n_heads": True}, {}, "n_heads is True"), ({"n_heads": 4, "n_kv_heads": 4}, {}, "2 heads of 20"),
    ({"n_heads": 4, "norm_eps": "small"}, {}, "norm_eps"), ({"n_heads": 4, "tie_embeddings": 3}, {}, "tie_embeddings"),
])  # fmt: skip
def test_contradictions_are_refused(said: dict[str, Any], hints: dict[str, Any], says: str) -> None:
    with pytest.raises(FormatError, match=says):
        config_of(SMALL, said, **hints)


@pytest.mark.parametrize(("content", "says"), [
    (b"", "is empty"), (b"[]", "not an object"), (b"{", "is not JSON"), (b"\xff\xfe", "UTF-16"),
    (b"[" * 100_000, "nested 100,000 levels"), (b"null", "not an object"),
    (b'{"rms_norm_eps": 1e-5, "rotary_scale": 2.0}', "has 'rotary_scale' = 2.0, which EasyLM does not have"),
    (b'{"is_causal": false}', "has 'is_causal' = False, which EasyLM does not have"),
    (b'{"max_sequence_length": 64, "max_position_embeddings": 32}', "says context twice, 64 and 32"),
])  # fmt: skip
def test_a_damaged_or_strange_file_beside_the_weights_is_refused(content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "llama_config.json").write_bytes(content)
    with pytest.raises(FormatError, match=says):
        read_llama_config(tmp_path / "llama_config.json")


def test_without_a_file_nothing_is_said(tmp_path: Path) -> None:
    assert read_llama_config(tmp_path / "llama_config.json") == {}
    (tmp_path / "llama_config.json").mkdir()
    with pytest.raises(FormatError, match="is a directory, not a regular file"):
        read_llama_config(tmp_path / "llama_config.json")

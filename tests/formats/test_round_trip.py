"""A model through one format after the other, and back: the same bits."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from puna.core.errors import ExportError
from puna.formats.cast import CastCheckpoint, common_dtype
from puna.formats.checkpoint import Checkpoint, Hints
from puna.formats.easylm.write import write_easylm
from puna.formats.gguf.write import write_gguf
from puna.formats.hf.write import write_hf
from puna.formats.llama.write import write_llama
from puna.formats.llama2c.write import write_llama2c
from puna.formats.native.write import write_native
from puna.formats.openlm.write import write_openlm
from puna.formats.proof.compare import compare_configs
from puna.formats.registry import format_named, recognise
from puna.tokenizer.tokenizer import Tokenizer

Write = Callable[[Checkpoint, Tokenizer | None, Path], Any]


def original(files: int) -> tuple[str, Write]:
    return "llama", lambda source, tokenizer, out: write_llama(source, tokenizer, out, model_parallel=files)


NATIVE: tuple[str, Write] = (
    "puna", lambda source, tokenizer, out: write_native(source, tokenizer, out, inputs={}, results={}),
)  # fmt: skip
HF: tuple[str, Write] = ("hf", write_hf)
EASYLM: tuple[str, Write] = ("easylm", write_easylm)
GGUF: tuple[str, Write] = ("gguf", lambda source, tokenizer, out: write_gguf(source, tokenizer, out, file_type="F32"))
LLAMA2C: tuple[str, Write] = ("llama2c", write_llama2c)
OPENLM: tuple[str, Write] = ("openlm", write_openlm)


def travel(source: Checkpoint, tokenizer: Tokenizer | None, road: Sequence[tuple[str, Write]], out: Path) -> Checkpoint:
    """A trained model: written in each format, recognised, opened by its reader."""
    dtype = common_dtype(source)
    for number, (form, write) in enumerate(road):
        directory = out / f"{number}-{form}"
        directory.mkdir()
        write(source, tokenizer, directory)
        assert recognise(directory).name == form
        source = format_named(form).open(directory, Hints.of(source.config))
        source.check_complete()
        if common_dtype(source) != dtype:  # F32 files of a model of 16 bits
            source = CastCheckpoint(source, dtype)
        if tokenizer is not None:
            again = source.tokenizer()
            assert again is not None
            tokenizer = again
    return source


def assert_same(source: Checkpoint, arrived: Checkpoint) -> None:
    compare_configs(source, arrived)
    assert arrived.config.context == source.config.context
    for name in source.weights:
        a, b = source.tensor(name), arrived.tensor(name)
        assert a.dtype == b.dtype, name
        integers = torch.int32 if a.dtype == torch.float32 else torch.int16
        assert torch.equal(a.contiguous().view(integers), b.contiguous().view(integers)), name


SHAPES = st.fixed_dictionaries(
    {
        "n_kv_heads": st.sampled_from([1, 2, 4, 8]),
        "groups": st.sampled_from([1, 2]),
        "half": st.sampled_from([2, 5, 8, 10]),
        "n_layers": st.integers(1, 2),
        "ffn": st.sampled_from([8, 11, 16]),
        "tie_embeddings": st.booleans(),
        "dtype": st.sampled_from([torch.float32, torch.bfloat16]),
        "seed": st.integers(0, 2**31),
    }
)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(drawn=SHAPES, files=st.permutations([1, 2, 4]))
def test_native_hf_original_easylm_gguf_native_is_the_identity(
    source: Callable[..., Any], drawn: dict[str, Any], files: list[int]
) -> None:
    heads = drawn["n_kv_heads"] * drawn["groups"]
    model = source(
        dtype=drawn["dtype"], seed=drawn["seed"], n_layers=drawn["n_layers"], n_heads=heads,
        n_kv_heads=drawn["n_kv_heads"], dim=heads * 2 * drawn["half"], ffn_dim=8 * drawn["ffn"], vocab_size=264,
        tie_embeddings=drawn["tie_embeddings"],
    )  # fmt: skip
    divisible = [n for n in files if heads % n == 0 and (drawn["n_kv_heads"] % n == 0)]
    road = [NATIVE, HF, *map(original, divisible), EASYLM, GGUF, NATIVE]
    with TemporaryDirectory() as out:
        assert_same(model, travel(model, None, road, Path(out)))


VARIANTS: dict[str, dict[str, Any]] = {
    "full heads": {"n_kv_heads": 4, "norm_eps": 1e-5},
    "grouped heads": {"norm_eps": 1e-5},
    "grouped heads, theta 5e5": {"n_kv_heads": 2, "rope_theta": 5e5},
    "wide heads": {"head_dim": 24, "n_kv_heads": 4, "norm_eps": 1e-5},
    "tied": {"tie_embeddings": True, "n_kv_heads": 4, "norm_eps": 1e-5},
    "linear scaling": {"rope_scaling": {"kind": "linear", "factor": 2.5}},
    "Llama 3.1's scaling": {"rope_scaling": {"kind": "llama3", "factor": 8.0, "original_context": 8192}},
    "LayerNorm with biases, qk-norm": {"norm": "layer-bias", "qk_norm": True, "norm_eps": 1e-5, "n_kv_heads": 4},
    "LayerNorm, qk-norm": {"norm": "layer", "qk_norm": True, "norm_eps": 1e-5, "n_kv_heads": 4},
    "OpenLM 1B": {"norm": "layer-bias", "rotary": "head", "norm_eps": 1e-5, "n_kv_heads": 4},
}
FORMATS = [HF, original(1), original(2), EASYLM, GGUF, LLAMA2C, OPENLM]

REFUSED = {
    "grouped heads": {"openlm"},
    "grouped heads, theta 5e5": {"easylm", "llama2c", "openlm"},
    "wide heads": {"llama", "easylm", "llama2c", "openlm"},
    "tied": set(),
    "linear scaling": {"llama", "easylm", "llama2c", "openlm"},
    "Llama 3.1's scaling": {"easylm", "llama2c", "openlm"},
    "LayerNorm with biases, qk-norm": {"hf", "llama", "easylm", "gguf", "llama2c"},
    "LayerNorm, qk-norm": {"hf", "llama", "easylm", "gguf", "llama2c"},
    "OpenLM 1B": {"hf", "llama", "easylm", "gguf", "llama2c"},
}
"""What the table of docs/formats/README.md says."""


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("place", range(len(FORMATS)), ids=[form for form, _ in FORMATS])
def test_every_format_gives_every_variant_back_or_refuses_it(
    source: Callable[..., Any], tmp_path: Path, place: int, variant: str, dtype: torch.dtype
) -> None:
    form, write = FORMATS[place]
    model = source(**{"ffn_dim": 256} | VARIANTS[variant], dtype=dtype)
    if form in REFUSED.get(variant, set()) or (form == "llama2c" and dtype != torch.float32):
        with pytest.raises(ExportError, match=r"cannot|float32|only"):
            write(model, None, tmp_path)
    else:
        assert_same(model, travel(model, None, [(form, write)], tmp_path))


PAIRS = list(itertools.permutations([HF, original(2), EASYLM, GGUF, LLAMA2C], 2))


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=[f"{first[0]}-{second[0]}" for first, second in PAIRS])
def test_every_format_follows_every_other_with_the_tokenizer(
    source: Callable[..., Any], tokenizer: Tokenizer, tmp_path: Path, first: tuple[str, Write],
    second: tuple[str, Write],
) -> None:  # fmt: skip
    model = source(norm_eps=1e-5)
    arrived = travel(model, tokenizer, [first, second, NATIVE], tmp_path)
    assert_same(model, arrived)
    again = arrived.tokenizer()
    assert again is not None
    text = "  def main():\n\treturn 'naïve 日本語 🙂' # 1234"
    assert again.encode(text) == tokenizer.encode(text)
    assert again.add_bos == tokenizer.add_bos

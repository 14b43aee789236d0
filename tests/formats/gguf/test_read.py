"""Files to read are made by the `gguf` package, so that no mistake of our writer hides one of our reader."""

import os
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from growth import bytes_touched
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from puna.core.errors import FormatError, UserError
from puna.formats.cast import CastCheckpoint
from puna.formats.checkpoint import Checkpoint, Hints
from puna.formats.gguf.keys import metadata_of
from puna.formats.gguf.quantize import held_blocks, quantize
from puna.formats.gguf.read import is_gguf, open_gguf
from puna.formats.gguf.types import DTYPES, TYPES
from puna.formats.rotary import to_neighbours
from puna.ops.quantized import dequantize

gguf = pytest.importorskip("gguf")

DATA = Path(os.environ.get("PUNA_TEST_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
Source = Callable[..., Checkpoint]


def write_foreign(
    path: Path, source: Checkpoint, kind: str = "F32", *, architecture: str = "llama", split: int = 0,
    without: tuple[str, ...] = (), others: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """A model as another tool would write it: matrices of one type, the tensors from last to first."""
    writer = gguf.GGUFWriter(path, architecture, split_max_tensors=split)
    for key, value in metadata_of(source.config, "F32", None).items():
        if key not in ("general.architecture", "puna.rope_scaling"):
            write = {int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}[type(value)]
            write(key, value)
    for name, weight in reversed(source.weights.items()):
        if name in without:
            continue
        w = source.tensor(name)
        w = to_neighbours(w, weight.rotary_heads) if weight.rotary_heads else w
        if kind in DTYPES or not weight.is_matrix:
            dtype = getattr(torch, DTYPES[kind if weight.is_matrix else "F32"])
            stored = TYPES[kind if weight.is_matrix else "F32"]
            raw = w.to(dtype).contiguous().view(torch.uint8).numpy()
            writer.add_tensor(weight.gguf, raw, raw_shape=list(raw.shape), raw_dtype=stored.number)
        else:
            writer.add_tensor(weight.gguf, quantize(w, kind), raw_dtype=gguf.GGMLQuantizationType[kind])
    for name, array in (others or {}).items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16"])
@pytest.mark.parametrize(
    "shape",
    [{"n_kv_heads": 1}, {"n_kv_heads": 2, "head_dim": 24}, {"n_kv_heads": 4, "tie_embeddings": True}],
    ids=["one key head", "wide heads", "tied"],
)  # fmt: skip
def test_weights_come_back_bit_for_bit(source: Source, tmp_path: Path, kind: str, shape: dict[str, Any]) -> None:
    ours = source(**shape)
    write_foreign(tmp_path / "m.gguf", ours, kind)
    found = open_gguf(tmp_path / "m.gguf", Hints())
    found.check_complete()
    assert found.config == ours.config.model_copy(update={"init_std": found.config.init_std})
    for name, weight in ours.weights.items():
        expected = ours.tensor(name).to(getattr(torch, DTYPES[kind])) if weight.is_matrix else ours.tensor(name)
        assert torch.equal(found.tensor(name), expected), name
        assert found.stored[name].dtype == str(expected.dtype).removeprefix("torch.")
        assert found.stored[name].n_bytes == expected.nbytes
        assert found.like(name).shape == expected.shape


@pytest.mark.parametrize("kind", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"])
def test_quantized_weights_are_what_their_blocks_stand_for(source: Source, tmp_path: Path, kind: str) -> None:
    ours = source(dim=256, ffn_dim=512)
    write_foreign(tmp_path / "m.gguf", ours, kind)
    found = open_gguf(tmp_path, Hints())
    assert found.stored["layers.0.attention.wq.weight"].dtype == kind
    assert found.stored["layers.0.attention_norm.weight"].dtype == "float32"
    for name, weight in ours.weights.items():
        w, expected = found.tensor(name), ours.tensor(name)
        assert w.dtype == torch.float32
        assert w.shape == expected.shape
        off = (w - expected).norm() / expected.norm()
        assert off < (0.1 if weight.is_matrix else 1e-9)
    blocks = quantize(ours.tensor("layers.1.attention.wv.weight"), kind)
    values = gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType[kind])
    assert torch.equal(found.tensor("layers.1.attention.wv.weight"), torch.from_numpy(values))


@pytest.mark.parametrize(("kind", "held"), [("Q8_0", "int8"), ("Q4_0", "int4")])
@pytest.mark.parametrize("shape", [{"n_kv_heads": 1}, {"n_kv_heads": 2, "tie_embeddings": True}])
def test_blocks_of_32_are_taken_without_loss(
    source: Source, tmp_path: Path, kind: str, held: str, shape: dict[str, Any]
) -> None:
    ours = source(dim=64, ffn_dim=96, **shape)
    write_foreign(tmp_path / "m.gguf", ours, kind)
    found = open_gguf(tmp_path, Hints())
    for name, weight in ours.weights.items():
        blocks = found.blocks(name)
        if not weight.is_matrix:
            assert blocks is None
            continue
        assert blocks is not None
        assert blocks.kind == held
        # `tensor` dequantizes by the `gguf` package, in the file's order of rows.
        assert torch.equal(dequantize(blocks), found.tensor(name)), name


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=30)
@given(raw=st.binary(min_size=2 * 3 * 34, max_size=2 * 3 * 34), kind=st.sampled_from(["Q8_0", "Q4_0"]))
def test_any_bytes_stand_for_the_same_weights_as_blocks(raw: bytes, kind: str) -> None:
    array = np.frombuffer(raw, np.uint8)[: 2 * 3 * TYPES[kind].n_bytes].reshape(2, -1)
    with np.errstate(all="ignore"):
        expected = gguf.quants.dequantize(array, gguf.GGMLQuantizationType[kind])
    found = dequantize(held_blocks(array.copy(), kind)).numpy()
    np.testing.assert_array_equal(found, expected)


def test_other_types_have_no_blocks(source: Source, tmp_path: Path) -> None:
    ours = source(dim=256, ffn_dim=512)
    for kind in ("F16", "Q5_0", "Q6_K"):
        write_foreign(tmp_path / f"{kind}.gguf", ours, kind)
        assert open_gguf(tmp_path / f"{kind}.gguf", Hints()).blocks("layers.0.attention.wv.weight") is None
    cast = CastCheckpoint(open_gguf(tmp_path / "Q5_0.gguf", Hints()), "float32")
    assert cast.blocks("layers.0.attention.wv.weight") is None


def test_floats_are_views_of_the_file_and_changes_do_not_reach_it(source: Source, tmp_path: Path) -> None:
    write_foreign(tmp_path / "m.gguf", source())
    before = (tmp_path / "m.gguf").read_bytes()
    found = open_gguf(tmp_path / "m.gguf", Hints())
    found.tensor("output.weight").zero_()
    assert (tmp_path / "m.gguf").read_bytes() == before
    assert found.tensor("output.weight").abs().sum() > 0


def test_the_pieces_of_a_split_model_are_read_together(source: Source, tmp_path: Path) -> None:
    ours = source(dtype=torch.bfloat16)
    write_foreign(tmp_path / "m.gguf", ours, "BF16", split=5)
    found = open_gguf(tmp_path / "m-00003-of-00005.gguf", Hints())
    found.check_complete()
    assert torch.equal(found.tensor("output.weight"), ours.tensor("output.weight"))


def test_missing_and_extra_tensors_are_told(source: Source, tmp_path: Path) -> None:
    lost = "layers.1.feed_forward.w2.weight"
    bias = torch.zeros(80).numpy()
    write_foreign(tmp_path / "m.gguf", source(), without=(lost,), others={"blk.0.attn_q.bias": bias})
    found = open_gguf(tmp_path, Hints())
    assert found.missing == [lost]
    assert found.extra == ["blk.0.attn_q.bias"]
    with pytest.raises(FormatError, match=r"lacks 1 tensor, the first is layers.1.feed_forward.w2.weight"):
        found.check_complete()


def test_a_file_without_an_embedding_says_its_vocabulary(source: Source, tmp_path: Path) -> None:
    write_foreign(tmp_path / "m.gguf", source(), without=("tok_embeddings.weight",))
    assert open_gguf(tmp_path, Hints()).missing == ["tok_embeddings.weight"]


def test_other_architectures_are_refused_by_name(source: Source, tmp_path: Path) -> None:
    write_foreign(tmp_path / "m.gguf", source(), architecture="qwen2")
    with pytest.raises(FormatError, match=r"m.gguf: is of the architecture 'qwen2', Puna reads 'llama'"):
        open_gguf(tmp_path / "m.gguf", Hints())


def test_a_tensor_of_another_shape_than_the_keys_say_is_named(source: Source, tmp_path: Path) -> None:
    write_foreign(tmp_path / "m.gguf", source())
    content = (tmp_path / "m.gguf").read_bytes()
    key = b"llama.feed_forward_length" + struct.pack("<I", 4)
    (tmp_path / "m.gguf").write_bytes(content.replace(key + struct.pack("<I", 96), key + struct.pack("<I", 97)))
    with pytest.raises(FormatError, match=r"ffn_\w+.weight is \[.*96.*\], but the configuration makes it \[.*97.*\]"):
        open_gguf(tmp_path / "m.gguf", Hints())
    key = b"llama.vocab_size" + struct.pack("<I", 4)
    (tmp_path / "m.gguf").write_bytes(content.replace(key + struct.pack("<I", 512), key + struct.pack("<I", 600)))
    with pytest.raises(FormatError, match=r"has llama.vocab_size = 600, but token_embd.weight has 512 rows"):
        open_gguf(tmp_path / "m.gguf", Hints())


def test_more_blocks_than_tensors_are_refused_before_they_are_listed(source: Source, tmp_path: Path) -> None:
    write_foreign(tmp_path / "m.gguf", source())
    content = (tmp_path / "m.gguf").read_bytes()
    key = b"llama.block_count" + struct.pack("<I", 4)
    (tmp_path / "m.gguf").write_bytes(content.replace(key + struct.pack("<I", 2), key + struct.pack("<I", 9999)))
    with pytest.raises(FormatError, match="says 9999 blocks, but holds 21 tensors"):
        open_gguf(tmp_path / "m.gguf", Hints())


@pytest.mark.parametrize("name", ["ggml-vocab-llama-spm.gguf", "ggml-vocab-gpt-neox.gguf"])
def test_a_vocabulary_alone_is_not_a_model(name: str) -> None:
    path = DATA / "tokenizers" / name
    if not path.exists():
        pytest.skip("llama.cpp's vocabularies are not here")
    with pytest.raises(FormatError, match=r"holds a vocabulary only, no weights|is of the architecture 'gptneox'"):
        open_gguf(path, Hints())


def test_a_65b_opens_in_less_than_a_second(tmp_path: Path) -> None:
    from puna.config.recipe import ModelConfig
    from puna.formats.table import weights

    config = ModelConfig(dim=8192, n_layers=80, n_heads=64, n_kv_heads=64, ffn_dim=22016)
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    for key, value in metadata_of(config, "BF16", None).items():
        write = {int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}[type(value)]
        if key != "general.architecture":
            write(key, value)
    writer.add_array("tokenizer.ggml.tokens", [f"token{number}" for number in range(config.vocab_size)])
    size = 0
    for weight in weights(config):
        n_bytes = 2 * weight.shape[0] * (weight.shape[1] if weight.is_matrix else 2)
        kind = TYPES["BF16" if weight.is_matrix else "F32"].number
        writer.add_tensor_info(weight.gguf, list(weight.shape), torch.zeros(0).numpy().dtype, n_bytes, kind)
        size += -(-n_bytes // 32) * 32
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    file = tmp_path / "m.gguf"
    os.truncate(file, -(-file.stat().st_size // 32) * 32 + size)
    opened = []
    assert bytes_touched(lambda: opened.append(open_gguf(file, Hints()))) < 2**27
    found = opened[0]
    first = found.tensor("layers.0.attention_norm.weight")
    assert found.missing == []
    assert first.shape == (8192,)
    assert sum(stored.n_bytes for stored in found.stored.values()) > 130e9


def test_recognition_goes_by_the_first_bytes(source: Source, tmp_path: Path) -> None:
    assert not is_gguf(tmp_path)
    assert not is_gguf(tmp_path / "nothing")
    (tmp_path / "wrong.gguf").write_bytes(b"PK")
    assert not is_gguf(tmp_path / "wrong.gguf")
    assert not is_gguf(tmp_path)
    write_foreign(tmp_path / "named-otherwise", source())
    assert is_gguf(tmp_path / "named-otherwise")
    (tmp_path / "named-otherwise").rename(tmp_path / "m.gguf")
    assert is_gguf(tmp_path)


@pytest.fixture(scope="module")
def small(source: Source, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A whole file with a tensor of every kind of layout."""
    path = tmp_path_factory.mktemp("small") / "m.gguf"
    write_foreign(path, source(n_layers=1, dim=32, n_heads=2, n_kv_heads=1, ffn_dim=32, vocab_size=260), "Q8_0")
    return path.read_bytes()


def read_whole(path: Path) -> None:
    """All that import reads; damage of the weights themselves cannot be seen."""
    found = open_gguf(path, Hints())
    found.check_complete()
    for name in found.weights:
        found.tensor(name)
    found.tokenizer()


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_a_file_that_is_cut_off_is_one_sentence(small: bytes, tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(small[: data.draw(st.integers(0, len(small) - 32))])
    with pytest.raises(UserError) as refused:
        read_whole(path)
    assert "\n" not in refused.value.message


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_flipped_bytes_of_the_header_are_refused_or_harmless(small: bytes, tmp_path: Path, data: st.DataObject) -> None:
    end = small.index(b"token_embd.weight") + 60
    content = bytearray(small)
    for place in data.draw(st.lists(st.integers(0, end), min_size=1, max_size=3)):
        content[place] ^= data.draw(st.integers(1, 255))
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    try:
        read_whole(path)
    except UserError as error:
        assert len(error.message) < 500  # noqa: PT017

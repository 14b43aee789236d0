"""The header is what the `gguf` package reads, and damage to it is one sentence."""

import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
from growth import calls
from hypothesis import given
from hypothesis import strategies as st

from puna.core.errors import FormatError
from puna.tokenizer.gguf_header import TensorInfo, is_gguf, read_header

VALUES = {
    "test.uint8": (gguf.GGUFValueType.UINT8, 200), "test.int8": (gguf.GGUFValueType.INT8, -100),
    "test.uint16": (gguf.GGUFValueType.UINT16, 60000), "test.int16": (gguf.GGUFValueType.INT16, -30000),
    "test.uint32": (gguf.GGUFValueType.UINT32, 4 * 10**9), "test.int32": (gguf.GGUFValueType.INT32, -(2**31)),
    "test.uint64": (gguf.GGUFValueType.UINT64, 2**64 - 1), "test.int64": (gguf.GGUFValueType.INT64, -(2**63)),
    "test.float32": (gguf.GGUFValueType.FLOAT32, 0.5), "test.float64": (gguf.GGUFValueType.FLOAT64, 0.1),
    "test.bool": (gguf.GGUFValueType.BOOL, True), "test.string": (gguf.GGUFValueType.STRING, "naïve 日本\n"),
}  # fmt: skip
ARRAYS = {"test.numbers": [1, 2, 70000], "test.floats": [0.5, -1.5], "test.words": ["", "a b", "日"], "test.none": [""]}
TENSORS = {
    "one": np.arange(6, dtype=np.float32).reshape(2, 3),
    "two": np.zeros((4, 5, 6), dtype=np.float16),
    "three": np.ones(7, dtype=np.float32),
}


def write(path: Path, **options: int) -> Path:
    writer = gguf.GGUFWriter(path, "llama")
    if "alignment" in options:
        writer.add_custom_alignment(options["alignment"])
    for key, (kind, value) in VALUES.items():
        writer.add_key_value(key, value, kind)
    for key, values in ARRAYS.items():
        writer.add_array(key, values)
    for name, tensor in TENSORS.items():
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write(tmp_path_factory.mktemp("gguf") / "some.gguf").read_bytes()


@pytest.mark.parametrize("options", [{}, {"alignment": 64}])
def test_header_is_what_was_written(tmp_path: Path, options: dict[str, int]) -> None:
    path = write(tmp_path / "some.gguf", **options)
    header = read_header(path)
    assert (header.version, header.alignment) == (3, options.get("alignment", 32))
    assert {key: header.metadata[key] for key in VALUES} == {key: value for key, (_, value) in VALUES.items()}
    assert {key: header.metadata[key] for key in ARRAYS} == ARRAYS
    assert type(header.metadata["test.bool"]) is bool
    oracle = gguf.GGUFReader(path)
    assert header.data_offset == oracle.data_offset
    content = path.read_bytes()
    for info, theirs in zip(header.tensors, oracle.tensors, strict=True):
        tensor = TENSORS[info.name]
        assert info == TensorInfo(
            theirs.name, tensor.shape, theirs.tensor_type, int(theirs.data_offset) - header.data_offset
        )
        start = header.data_offset + info.offset
        assert content[start : start + tensor.nbytes] == tensor.tobytes()


@pytest.mark.parametrize("name", ["llama-spm", "gpt-neox"])
def test_real_vocabulary_is_read_as_the_package_reads_it(name: str, vocabulary_file: Callable[[str], Path]) -> None:
    path = vocabulary_file(name)
    header = read_header(path)
    oracle = gguf.GGUFReader(path)
    keys = [key for key in oracle.fields if not key.startswith("GGUF.")]
    assert list(header.metadata) == keys
    for key in keys:
        assert header.metadata[key] == oracle.fields[key].contents()


def test_vocabulary_as_large_as_llama_3_s_is_read_with_few_calls_per_entry(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "large.gguf", "llama")
    writer.add_token_list([f"token{number}" for number in range(128256)])
    writer.add_token_merges([f"left{number} right" for number in range(280147)])
    writer.add_token_types([1] * 128256)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    assert calls(lambda: read_header(tmp_path / "large.gguf")) < 4 * (128256 + 280147)


def test_files_are_recognised(tmp_path: Path, whole: bytes) -> None:
    (tmp_path / "yes").write_bytes(whole)
    (tmp_path / "no").write_bytes(b"GGU")
    assert is_gguf(tmp_path / "yes")
    assert not is_gguf(tmp_path / "no")
    assert not is_gguf(tmp_path)
    assert not is_gguf(tmp_path / "missing")


def pair(key: bytes, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(key)) + key + struct.pack("<I", kind) + value


def file_of(*pairs: bytes, version: int = 3, tensors: int = 0, n_pairs: int | None = None, rest: bytes = b"") -> bytes:
    count = len(pairs) if n_pairs is None else n_pairs
    return b"GGUF" + struct.pack("<IQQ", version, tensors, count) + b"".join(pairs) + rest


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"GGML" + bytes(40), "begins with b'GGML'"),
        (b"GGUF", "the version goes beyond the file's 4 bytes"),
        (file_of(version=1), "is GGUF version 1, Puna reads 2 and 3"),
        (b"GGUF" + struct.pack("<IQQ", 50331649, 0, 0), "is GGUF version 50331649"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "is a big-endian GGUF file"),
        (b"GGUF" + struct.pack(">IQQ", 2, 0, 0), "is a big-endian GGUF file"),
        (file_of(n_pairs=2**60), "1,152,921,504,606,846,976 pairs of key and value, more than the 65,536"),
        (file_of(n_pairs=2**16), "key 0 of 65536 goes beyond"),
        (file_of(tensors=2**60), "says that it has 1,152,921,504,606,846,976 tensors, more than the 131,072"),
        (file_of(tensors=2**17), "the name of tensor 0 of 131072 goes beyond"),
        (file_of(pair(b"k", 8, struct.pack("<Q", 2**63))), "k goes beyond"),
        (file_of(pair(b"k", 9, struct.pack("<IQ", 8, 2**22))), "k goes beyond"),
        (file_of(pair(b"k", 9, struct.pack("<IQ", 4, 2**22))), "k goes beyond"),
        (file_of(pair(b"k", 9, struct.pack("<IQ", 9, 2**22))), "k goes beyond"),
        (file_of(pair(b"k", 9, struct.pack("<IQ", 4, 2**62))), "4,611,686,018,427,387,904 entries of arrays up to k"),
        (file_of(pair(b"k", 9, struct.pack("<IQIQ", 9, 1, 9, 1) + bytes(20))), "'k' has type 9, which is none of"),
        (file_of(pair(b"k", 13, bytes(8))), "'k' has type 13, which is none of GGUF's"),
        (file_of(pair(b"k", 4, bytes(4)), pair(b"k", 4, bytes(4))), "has the key 'k' twice"),
        (file_of(pair(b"\xff", 4, bytes(4))), "key 0 of 1 is not UTF-8"),
        (file_of(pair(b"k", 8, struct.pack("<Q", 1) + b"\xff")), "k is not UTF-8"),
        (file_of(pair(b"general.alignment", 4, struct.pack("<I", 12))), "general.alignment = 12, expected a power"),
        (file_of(pair(b"general.alignment", 4, struct.pack("<I", 0))), "general.alignment = 0, expected a power"),
        (file_of(tensors=1, rest=struct.pack("<QsI", 1, b"t", 9) + bytes(99)), "'t' has 9 dimensions, 4 are legal"),
        (file_of(tensors=1, rest=struct.pack("<QsIQIQ", 1, b"t", 1, 5, 0, 0)), "the data goes beyond"),
    ],
)  # fmt: skip
def test_damage_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    with pytest.raises(FormatError) as caught:
        read_header(path)
    assert str(path) in caught.value.message
    assert reason in caught.value.message


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (pair(b"k", 9, struct.pack("<IQ", 0, 400_000_000)), "400,000,000 entries of arrays up to k, more than the"),
        (pair(b"k", 9, struct.pack("<IQ", 8, 40_000_000)), "40,000,000 entries of arrays up to k, more than the"),
        (pair(b"k", 9, struct.pack("<IQIQ", 9, 2**21, 9, 2**21 + 1)), "4,194,305 entries of arrays up to k"),
        (pair(b"k", 8, struct.pack("<Q", 1 << 28)), "its header is longer than the 134,217,728 bytes that it may have"),
        (pair(b"k", 9, struct.pack("<IQQ", 8, 1, 1 << 28)), "its header is longer than the 134,217,728 bytes"),
    ],
)  # fmt: skip
def test_a_sparse_header_is_refused_before_it_takes_memory(tmp_path: Path, head: bytes, reason: str) -> None:
    """The bounds are on what the header says, so nothing of the gigabyte that the file claims is made an object."""
    path = tmp_path / "sparse.gguf"
    path.write_bytes(file_of(head))
    with path.open("r+b") as file:
        file.truncate(1 << 30)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError) as caught:
            read_header(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert reason in caught.value.message


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    assert not is_gguf(tmp_path / "pipe.gguf")
    with pytest.raises(FormatError, match="is a named pipe, not a regular file"):
        read_header(tmp_path / "pipe.gguf")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="No such file or directory"):
        read_header(tmp_path / "missing.gguf")


@given(cut=st.integers(0, 10**4), position=st.integers(0, 10**4), byte=st.integers(0, 255))
def test_any_damage_is_refused_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, whole: bytes, cut: int, position: int, byte: int
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "some.gguf"
    place = position % len(whole)
    for content in (whole[: cut % len(whole)], whole[:place] + bytes([byte]) + whole[place + 1 :]):
        path.write_bytes(content)
        try:
            header = read_header(path)
        except FormatError:
            continue
        assert len(header.metadata) <= len(VALUES) + len(ARRAYS) + 2


@pytest.mark.parametrize("key", [b"x" * 5000, b"one\ntwo\x1b[2J"])
def test_damaged_key_does_not_spoil_the_sentence(tmp_path: Path, key: bytes) -> None:
    for kind, value in ((8, struct.pack("<Q", 2**63)), (8, struct.pack("<Q", 1) + b"\xff")):
        (tmp_path / "m.gguf").write_bytes(file_of(pair(key, kind, value)))
        with pytest.raises(FormatError) as caught:
            read_header(tmp_path / "m.gguf")
        assert caught.value.message.isprintable()
        assert len(caught.value.message) < len(str(tmp_path)) + 300

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from puna.core.errors import FormatError
from puna.formats.gguf.files import gguf_file, read_files

gguf = pytest.importorskip("gguf")

ROWS = {
    "a": np.arange(12, dtype=np.float32).reshape(3, 4),
    "b": np.ones(5, np.float32),
    "c": np.zeros((2, 2), np.float16),
}


def write(path: Path, *, split: int = 0) -> None:
    """Three tensors, by the `gguf` package; `split` is the number of tensors per piece."""
    writer = gguf.GGUFWriter(path, "llama", split_max_tensors=split)
    for name, rows in ROWS.items():
        writer.add_tensor(name, rows)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def handmade(path: Path, tensors: list[tuple[str, tuple[int, ...], int, int]], *, data: int = 256) -> Path:
    """A file with these names, shapes, types and offsets, and this number of bytes of data."""
    content = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 0)
    for name, shape, kind, offset in tensors:
        content += struct.pack("<Q", len(name)) + name.encode() + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        content += struct.pack("<IQ", kind, offset)
    path.write_bytes(content + bytes(-len(content) % 32) + bytes(data))
    return path


def test_tensors_of_one_file(tmp_path: Path) -> None:
    write(tmp_path / "m.gguf")
    metadata, tensors = read_files(tmp_path / "m.gguf")
    assert metadata["general.architecture"] == "llama"
    for name, rows in ROWS.items():
        assert tensors[name].shape == rows.shape
        assert tensors[name].read().tobytes() == rows.tobytes()


def test_tensors_of_a_split_model_from_any_piece(tmp_path: Path) -> None:
    write(tmp_path / "m.gguf", split=1)
    assert len(list(tmp_path.iterdir())) == 3
    for named in (tmp_path, tmp_path / "m-00002-of-00003.gguf"):
        metadata, tensors = read_files(gguf_file(named))
        assert metadata["split.count"] == 3
        assert {name: tensor.path.name for name, tensor in tensors.items()} == {
            name: f"m-0000{number}-of-00003.gguf" for number, name in enumerate(ROWS, 1)
        }
        assert tensors["c"].read().tobytes() == ROWS["c"].tobytes()


def test_a_missing_or_swapped_piece_is_named(tmp_path: Path) -> None:
    write(tmp_path / "m.gguf", split=1)
    first, second, third = sorted(tmp_path.iterdir())
    content = second.read_bytes()
    second.write_bytes(third.read_bytes())
    with pytest.raises(FormatError, match=r"m-00002-of-00003.gguf: has split.no = 2, expected 1"):
        read_files(first)
    second.unlink()
    with pytest.raises(FormatError, match=r"m-00002-of-00003.gguf: is not there, .* says that the model has 3 pieces"):
        read_files(first)
    second.write_bytes(content)
    third.rename(tmp_path / "m-00003-of-00004.gguf")
    second.rename(tmp_path / "m-00002-of-00004.gguf")
    first.rename(tmp_path / "m-00001-of-00004.gguf")
    with pytest.raises(FormatError, match=r"is a piece of 3, but its name says 4"):
        read_files(tmp_path / "m-00001-of-00004.gguf")


def test_a_piece_under_another_name_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "m.gguf", split=1)
    (tmp_path / "m-00001-of-00003.gguf").rename(tmp_path / "other.gguf")
    with pytest.raises(FormatError, match=r"other.gguf: is a piece of 3, but its name says 1"):
        read_files(tmp_path / "other.gguf")


def test_a_directory_must_hold_one_model(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="holds no GGUF file, expected one"):
        gguf_file(tmp_path)
    write(tmp_path / "m.gguf", split=2)
    assert gguf_file(tmp_path) == tmp_path / "m-00001-of-00002.gguf"
    write(tmp_path / "other.gguf")
    with pytest.raises(FormatError, match="holds 2 GGUF models, expected one"):
        gguf_file(tmp_path)


@pytest.mark.parametrize(
    ("tensors", "sentence"),
    [
        ([("t", (8,), 0, 256)], "m.gguf: is cut off: t ends at byte"),
        ([("t", (2**60,), 0, 0)], "m.gguf: is cut off: t ends at byte"),
        ([("t", (2**62, 2**62, 2**62), 0, 0)], "m.gguf: is cut off: t ends at byte"),
        ([("t", (8,), 0, 2**63)], "m.gguf: is cut off: t ends at byte"),
        ([("t", (8,), 0, 0), ("u", (8,), 0, 0)], "m.gguf: u lies on top of t"),
        ([("t", (9,), 0, 0), ("u", (8,), 0, 32)], "m.gguf: u lies on top of t"),
        ([("t", (8,), 0, 4)], "m.gguf: t begins at 4, not a multiple of 32"),
        ([("t", (8,), 0, 0), ("t", (8,), 0, 32)], "m.gguf: has the tensor t twice"),
        ([("t" * 128, (8,), 0, 0)], "which is not a name"),
        ([("t\nu", (8,), 0, 0)], "m.gguf: has a tensor called 't\\nu', which is not a name"),
        ([("t", (8,), 24, 0)], "m.gguf: t has the type I8, which Puna does not read"),
        ([("t", (8,), 4, 0)], "m.gguf: t has the type number 4, which Puna does not read"),
        ([("t", (33,), 8, 0)], "m.gguf: t is [33], no whole blocks of 32 for Q8_0"),
        ([("t", (32, 0), 8, 0)], "m.gguf: t is [0, 32], no whole blocks of 32 for Q8_0"),
        ([("t", (), 0, 0)], "m.gguf: t is [], no whole blocks of 1 for F32"),
    ],
)  # fmt: skip
def test_a_tensor_outside_of_its_file_or_of_no_type_is_refused(
    tmp_path: Path, tensors: list[tuple[str, tuple[int, ...], int, int]], sentence: str
) -> None:
    with pytest.raises(FormatError) as refused:
        read_files(handmade(tmp_path / "m.gguf", tensors))
    assert sentence in refused.value.message


def test_a_name_in_two_pieces_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "m.gguf", split=2)
    second = tmp_path / "m-00002-of-00002.gguf"
    content: Any = second.read_bytes()
    second.write_bytes(content.replace(struct.pack("<Q", 1) + b"c", struct.pack("<Q", 1) + b"a"))
    with pytest.raises(FormatError, match=r"00002.gguf: has the tensor a, which m-00001-of-00002.gguf has, too"):
        read_files(tmp_path / "m-00001-of-00002.gguf")


def test_a_file_that_shrinks_after_it_was_opened_is_one_sentence(tmp_path: Path) -> None:
    write(tmp_path / "m.gguf")
    _, tensors = read_files(tmp_path / "m.gguf")
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    with pytest.raises(FormatError, match=r"m.gguf: (has become shorter|cannot be read)"):
        tensors["a"].read()
    (tmp_path / "m.gguf").unlink()
    with pytest.raises(FormatError, match=r"m.gguf: (has become shorter|cannot be read)"):
        tensors["a"].read()


def test_file_merged_of_pieces_is_one_file(tmp_path: Path) -> None:
    # llama-gguf-split --merge keeps the first piece's keys and sets the number of pieces to zero.
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_uint16("split.no", 0)
    writer.add_uint16("split.count", 0)
    writer.add_int32("split.tensors.count", len(ROWS))
    for name, rows in ROWS.items():
        writer.add_tensor(name, rows)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert read_files(tmp_path / "m.gguf")[1].keys() == ROWS.keys()

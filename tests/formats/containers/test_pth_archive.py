import io
import pickle
import tracemalloc
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from puna.formats.containers.pickled import DamagedError, ForeignError, Record, StorageView, unpickle
from puna.formats.containers.pth_archive import archive_pickle, read_content


def archive(
    path: Path, pickled: bytes, records: dict[str, bytes] | None = None, method: int = zipfile.ZIP_STORED
) -> Path:
    """A file of PyTorch's kind with any pickle in it."""
    with zipfile.ZipFile(path, "w", method) as made:
        made.writestr("x/data.pkl", pickled)
        for name, content in (records or {}).items():
            made.writestr(f"x/{name}", content)
    return path


def opcodes(*parts: bytes) -> bytes:
    return b"\x80\x02" + b"".join(parts) + b"."


def storage(key: bytes = b"0", dtype: bytes = b"FloatStorage", kind: bytes = b"storage") -> bytes:
    texts = [b"X" + len(text).to_bytes(4, "little") + text for text in (kind, key, b"cpu")]
    return b"(" + texts[0] + b"ctorch\n" + dtype + b"\n" + texts[1] + texts[2] + b"K\x04tQ"


def tensor(offset: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    """Instructions for a tensor in a record of four numbers."""
    parts = b"".join(pickle.dumps(value, 2)[2:-1] for value in (offset, shape, stride))
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage() + parts + b"\x89ccollections\nOrderedDict\n)RtR"


RECORD = {"data/0": b"\0" * 16}


def test_tensors_are_places_and_everything_else_is_as_it_was_saved(tmp_path: Path) -> None:
    shared = torch.arange(12.0).view(3, 4)
    content = OrderedDict(
        a=shared, b=shared[1:, 2:], c=[1, "two", 3.0, None, True, (4,)], d={"e": torch.nn.Parameter(shared)},
        f=torch.float16, g=torch.ones(0, 3), h=shared.T, i=torch.tensor(7, dtype=torch.int64),
    )  # fmt: skip
    content._metadata = {"version": 1}  # pyrefly: ignore[missing-attribute]
    torch.save(content, tmp_path / "x.pth")
    read = read_content(tmp_path / "x.pth")
    assert list(read) == list(content)
    assert (read["c"], read["f"]) == ([1, "two", 3.0, None, True, (4,)], torch.float16)
    assert read["a"] == read["d"]["e"] != read["h"]
    whole = (tmp_path / "x.pth").read_bytes()
    for name in "abghi":
        place, expected = read[name], content[name]
        assert isinstance(place, StorageView)
        assert (place.dtype, place.shape, place.stride) == (expected.dtype, expected.shape, expected.stride())
        raw = bytearray(whole[place.begin : place.begin + place.count * place.dtype.itemsize])
        numbers = torch.frombuffer(raw, dtype=place.dtype) if raw else torch.empty(0)
        assert torch.equal(numbers.as_strided(place.shape, place.stride), expected)


class Calls:
    """An object whose pickle calls a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.called = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.called


@pytest.mark.parametrize(
    "value",
    [
        Calls(print, "ran"),
        Calls(eval, "1/0"),
        Calls(torch.ones, 3),
        Calls(torch.FloatTensor, 1 << 40),
        Calls(bytearray, 1 << 40),
        Calls(getattr, "a", "join"),
        {1, 2},
        Path("x"),
        range(1 << 40),
        1j,
    ],
    ids=lambda value: getattr(value, "called", [type(value)])[0].__name__,
)
def test_nothing_is_called_but_what_makes_tensors_and_dictionaries(tmp_path: Path, value: Any) -> None:
    path = archive(tmp_path / "x.pth", pickle.dumps({"a": value}, 2))
    with pytest.raises(ForeignError, match=r"\w"):
        read_content(path)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_of_pickle_is_kept_to_that(tmp_path: Path, protocol: int) -> None:
    with pytest.raises(ForeignError, match=r"builtin\w*\.eval"):
        read_content(archive(tmp_path / "x.pth", pickle.dumps(Calls(eval, "1/0"), protocol)))
    assert read_content(archive(tmp_path / "y.pth", pickle.dumps({"a": [1]}, protocol))) == {"a": [1]}


def test_memory_is_not_taken_for_numbers_beyond_the_pickle(tmp_path: Path) -> None:
    pickled = opcodes(b"}", b"r", (2**31).to_bytes(4, "little"))  # LONG_BINPUT
    tracemalloc.start()
    try:
        assert read_content(archive(tmp_path / "x.pth", pickled)) == {}
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [b"T", b"X", b"\x8d", b"\x8e"], ids=["BINSTRING", "BINUNICODE", "8", "BYTES8"])
def test_a_text_longer_than_the_pickle_is_refused(tmp_path: Path, size: bytes) -> None:
    pickled = opcodes(size + b"\xff\xff\xff\x7f\0\0\0\0" + b"a" * 20)
    with pytest.raises(DamagedError, match="ends too soon"):
        read_content(archive(tmp_path / "x.pth", pickled))


@pytest.mark.parametrize(
    ("offset", "shape", "stride"),
    [(0, (4,), (1,)), (1, (3,), (1,)), (0, (2, 2), (2, 1)), (0, (2, 2), (1, 2)), (4, (0,), (1,)), (3, (), ())],
)
def test_a_tensor_within_its_record_is_taken(
    tmp_path: Path, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    place = read_content(archive(tmp_path / "x.pth", opcodes(tensor(offset, shape, stride)), RECORD))
    assert (place.shape, place.stride) == (shape, stride)


@pytest.mark.parametrize(
    ("offset", "shape", "stride", "sentence"),
    [
        (0, (5,), (1,), "larger than its record"),
        (1, (4,), (1,), "larger than its record"),
        (0, (2, 2), (3, 1), "larger than its record"),
        (0, (1 << 60,), (0,), "larger than its record"),
        (0, (2, 2), (1, 1), "larger than its record"),
        (0, (1 << 62, 1 << 62), (1, 1), "larger than its record"),
        (-1, (2,), (1,), "make no sense"),
        (0, (-2,), (1,), "make no sense"),
        (2, (2,), (-1,), "make no sense"),
        (0, (2,), (1, 1), "make no sense"),
        (0, (True,), (1,), "make no sense"),
        (0, (2.0,), (1,), "make no sense"),
    ],
)
def test_a_tensor_beyond_its_record_is_refused(
    tmp_path: Path, offset: int, shape: Any, stride: Any, sentence: str
) -> None:
    with pytest.raises(DamagedError, match=sentence):
        read_content(archive(tmp_path / "x.pth", opcodes(tensor(offset, shape, stride)), RECORD))


def test_a_record_that_the_pickle_makes_up_is_refused(tmp_path: Path) -> None:
    made_up = b"(K\0J\xff\xff\xff\x7fctorch\nFloatStorage\nt"
    pickled = opcodes(tensor(0, (4,), (1,)).replace(storage(), made_up))
    with pytest.raises(DamagedError, match="a tensor has a record, a shape or strides that make no sense"):
        read_content(archive(tmp_path / "x.pth", pickled, RECORD))


def test_a_place_cannot_be_changed_after_it_was_checked(tmp_path: Path) -> None:
    slots = pickle.dumps((None, {"begin": 1 << 40}), 2)[2:-1]
    with pytest.raises(DamagedError, match="gives attributes to StorageView"):
        read_content(archive(tmp_path / "x.pth", opcodes(tensor(0, (4,), (1,)), slots, b"b"), RECORD))


@pytest.mark.parametrize(
    ("pickled", "error"),
    [
        (opcodes(storage(b"1")), DamagedError),
        (opcodes(storage(kind=b"module")), DamagedError),
        (opcodes(b"X\1\0\0\0aQ"), DamagedError),
        (opcodes(b"ctorch\nstorage\n"), ForeignError),
        (opcodes(b"ctorch\nload\n"), ForeignError),
        (b"", DamagedError),
    ],
)
def test_references_to_what_is_not_a_record_are_refused(tmp_path: Path, pickled: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        read_content(archive(tmp_path / "x.pth", pickled, RECORD))


def test_compressed_records_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DamagedError, match="compressed"):
        read_content(archive(tmp_path / "x.pth", opcodes(b"}"), method=zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(tmp_path / "y.pth", "w") as made:
        made.writestr("x/data.pkl", opcodes(b"}"))
        made.writestr("x/data/0", bytes(1000), zipfile.ZIP_DEFLATED)
    with pytest.raises(DamagedError, match="x/data/0 is compressed"):
        read_content(tmp_path / "y.pth")


def test_big_endian_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DamagedError, match="big-endian"):
        read_content(archive(tmp_path / "x.pth", opcodes(b"}"), {"byteorder": b"big"}))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_records_of_one_name_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as made:
        made.writestr("x/data.pkl", opcodes(b"}"))
        made.writestr("x/data.pkl", opcodes(b"]"))
    with pytest.raises(DamagedError, match="two records have one name"):
        read_content(tmp_path / "x.pth")


def test_a_record_beyond_the_end_of_the_file_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.pth", opcodes(b"}"), {"data/0": b"abcd"})
    content = path.read_bytes()
    at = content.rindex(b"x/data/0") - 46  # its entry in the central directory
    longer = (1 << 20).to_bytes(4, "little")
    path.write_bytes(content[: at + 20] + longer + longer + content[at + 28 :])
    with pytest.raises(DamagedError, match="x/data/0 goes beyond the end of the file"):
        read_content(path)


def test_what_pytorch_reads_is_the_same(tmp_path: Path) -> None:
    content = {f"layers.{layer}": torch.randn(layer + 1, 3).to(torch.bfloat16) for layer in range(50)}
    stream = io.BytesIO()
    torch.save(content, stream)
    (tmp_path / "x.pth").write_bytes(stream.getvalue())
    theirs = torch.load(tmp_path / "x.pth", weights_only=True)
    for name, place in read_content(tmp_path / "x.pth").items():
        raw = bytearray(stream.getvalue()[place.begin : place.begin + place.count * 2])
        assert torch.equal(torch.frombuffer(raw, dtype=place.dtype).as_strided(place.shape, place.stride), theirs[name])


def test_an_archive_of_something_else_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as made:
        made.writestr("word/document.xml", b"")
    for read in (read_content, archive_pickle):
        with pytest.raises(DamagedError, match=r"it has no record data\.pkl"):
            read(tmp_path / "x.pth")


def test_a_list_of_records_longer_than_any_is_not_read(tmp_path: Path) -> None:
    """The end of the archive says 1 GB of list, and the file has it, without room on the disk."""
    path = archive(tmp_path / "x.pth", opcodes(b"}"))
    content = path.read_bytes()
    end, size = content.rindex(b"PK\5\6"), 1 << 30
    with path.open("wb") as file:
        file.write(content[:end])
        file.truncate(end + size)
        file.seek(end + size)
        file.write(content[end : end + 12] + size.to_bytes(4, "little") + end.to_bytes(4, "little") + b"\0\0")
    tracemalloc.start()
    try:
        with pytest.raises(DamagedError, match="its list of records is longer than a file of weights needs"):
            read_content(path)
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
    finally:
        tracemalloc.stop()


LEGACY = {
    "the magic number": (0, b"\x80\x02K\x01.", "neither an archive nor a file from before PyTorch 1.6"),
    "little_endian": (2, pickle.dumps({"little_endian": False}, 2), "the numbers are big-endian"),
    "no machine": (2, pickle.dumps([], 2), "the numbers are big-endian"),
    "list of records": (4, pickle.dumps(["7"], 2), "its list of records names others than its object"),
    "no list of records": (4, pickle.dumps({}, 2), "its list of records names others than its object"),
    "a missing record": (4, pickle.dumps([], 2), "is missing"),
}


def legacy(tmp_path: Path, replaced: int = -1, by: bytes = b"") -> Path:
    """A file from before PyTorch 1.6, with one of its five pickles replaced."""
    torch.save({"a": torch.arange(4.0)}, tmp_path / "x.pth", _use_new_zipfile_serialization=False)
    content, position, parts = (tmp_path / "x.pth").read_bytes(), 0, []
    for number in range(5):
        begin = position
        _, position = unpickle(content, begin, lambda reference: Record(0, 1 << 62, reference.dtype))
        parts.append(by if number == replaced else content[begin:position])
    (tmp_path / "x.pth").write_bytes(b"".join(parts) + content[position:])
    return tmp_path / "x.pth"


@pytest.mark.parametrize(("number", "pickled", "sentence"), LEGACY.values(), ids=LEGACY)
def test_an_old_file_that_contradicts_itself_is_refused(
    tmp_path: Path, number: int, pickled: bytes, sentence: str
) -> None:
    with pytest.raises(DamagedError, match=sentence):
        read_content(legacy(tmp_path, number, pickled))


def test_an_old_file_is_read_where_its_numbers_lie(tmp_path: Path) -> None:
    path = legacy(tmp_path)
    place = read_content(path)["a"]
    raw = bytearray(path.read_bytes()[place.begin : place.begin + 16])
    assert torch.frombuffer(raw, dtype=torch.float32).tolist() == [0, 1, 2, 3]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedError, match="ends too soon"):
        read_content(path)

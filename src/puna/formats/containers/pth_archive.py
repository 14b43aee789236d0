"""The content of a `.pth` file, found without running code from it and without reading a weight.

Since PyTorch 1.6 such a file is a zip archive without compression. `data.pkl` is a pickle of the saved object, in which
each tensor names the record `data/N` that holds its bytes, its place in that record, its shape and its strides. Before,
it was five pickles one after the other: a magic number, a version, a description of the machine, the object, and the
names of the records; then each record, after its number of elements (torch/serialization.py, `_legacy_save`).
`puna.formats.containers.pickled` runs the pickles.
"""

import contextlib
import io
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import torch

from puna.core.bounded import open_regular
from puna.core.errors import FormatError
from puna.formats.containers.pickled import MOST_BYTES, DamagedError, Record, Reference, unpickle

ZIP = b"PK\x03\x04"
"""The first bytes of an archive."""

_LOCAL_HEADER = 30
_MOST_DIRECTORY = 1 << 24
"""Bytes of the archive's list of records: 10,000 layers would take 9 MB. As objects of Python they are some 0.2 GB."""
_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001


def read_content(path: Path) -> Any:
    """The object in a file of either kind, with a `StorageView` for each tensor.

    Raises:
        ForeignError: It wants code or classes.
        DamagedError: It is damaged.
        FormatError: It cannot be read, or is not a regular file.
    """
    with open_regular(path, FormatError) as file:
        is_archive = file.read(len(ZIP)) == ZIP
    return _read_archive(path) if is_archive else _read_legacy(path)


class _Bounded(io.RawIOBase):
    """A file of which no more is read at once than the largest pickle or list of records may have."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._bytes = file.seek(0, io.SEEK_END)

    def read(self, size: int = -1) -> bytes:
        left = self._bytes - self._file.tell()
        size = left if size < 0 else min(size, left)
        if size > max(MOST_BYTES, _MOST_DIRECTORY):
            raise DamagedError("its list of records is longer than a file of weights needs")
        return self._file.read(max(size, 0))

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True


def archive_pickle(path: Path) -> bytes:
    """The pickle in an archive.

    Raises:
        DamagedError: It is damaged, or not an archive of PyTorch's.
        FormatError: It cannot be read, or is not a regular file.
    """
    with _opened(path) as (archive, _):
        return _read(archive, f"{_root(archive.namelist())}data.pkl")


def _read_archive(path: Path) -> Any:
    with _opened(path) as (archive, file):
        return _object_of(archive, file, file.seek(0, io.SEEK_END))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[zipfile.ZipFile, _Bounded]]:
    with open_regular(path, FormatError) as opened:
        file = _Bounded(opened)
        try:
            with zipfile.ZipFile(file) as archive:  # pyrefly: ignore[bad-argument-type]
                yield archive, file
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, OSError, struct.error) as error:
            # zipfile raises these on damage: RuntimeError for encryption, NotImplementedError for other versions.
            raise DamagedError(f"it is not an archive that can be read: {error!s:.100}") from None


def _root(names: list[str]) -> str:
    """What the names of all records begin with."""
    for name in names:
        if name.endswith("/data.pkl"):
            return name.removesuffix("data.pkl")
    raise DamagedError("it has no record data.pkl")


def _object_of(archive: zipfile.ZipFile, file: _Bounded, file_bytes: int) -> Any:
    names = archive.namelist()
    if len(set(names)) < len(names):
        raise DamagedError("two records have one name")
    root = _root(names)
    if f"{root}byteorder" in names and _read(archive, f"{root}byteorder") != b"little":
        raise DamagedError("the numbers are big-endian")
    content = _read(archive, f"{root}data.pkl")
    places = {
        info.filename.removeprefix(f"{root}data/"): _place(file, file_bytes, info)
        for info in archive.infolist()
        if info.filename.startswith(f"{root}data/")
    }

    def record_of(reference: Reference) -> Record:
        if reference.key not in places:
            raise DamagedError(f"the record {reference.key!r:.40} is missing")
        return _part(Record(*places[reference.key], reference.dtype), reference.view)

    return unpickle(content, 0, record_of)[0]


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    info = archive.getinfo(name)
    if info.file_size > MOST_BYTES or info.compress_type != zipfile.ZIP_STORED:
        raise DamagedError(f"{name} is compressed or too long")
    return archive.read(info)


def _place(file: _Bounded, file_bytes: int, info: zipfile.ZipInfo) -> tuple[int, int]:
    """First byte and length of a record's content."""
    file.seek(info.header_offset)
    header = file.read(_LOCAL_HEADER)
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or header[:4] != ZIP:
        raise DamagedError(f"{info.filename} is compressed, encrypted or not where it should be")
    name, extra = int.from_bytes(header[26:28], "little"), int.from_bytes(header[28:30], "little")
    begin = info.header_offset + _LOCAL_HEADER + name + extra
    if begin + info.file_size > file_bytes:
        raise DamagedError(f"{info.filename} goes beyond the end of the file")
    return begin, info.file_size


def _part(record: Record, view: tuple[int, int] | None) -> Record:
    """The part of a record that an old file names."""
    if view is None:
        return record
    first, length = (number * record.dtype.itemsize for number in view)
    if first < 0 or length < 0 or first + length > record.length:
        raise DamagedError("a part of a record goes beyond it")
    return Record(record.begin + first, length, record.dtype)


def _read_legacy(path: Path) -> Any:
    """The object in a file from before PyTorch 1.6.

    The places of the records stand behind the object that names them, so its pickle is run twice.
    """
    with open_regular(path, FormatError) as file:
        head = file.read(MOST_BYTES)
        file_bytes = file.seek(0, io.SEEK_END)
        position = 0
        for expected in (_MAGIC, _VERSION):
            found, position = unpickle(head, position, _no_record)
            if found != expected:
                raise DamagedError("it is neither an archive nor a file from before PyTorch 1.6")
        system, start = unpickle(head, position, _no_record)
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise DamagedError("the numbers are big-endian")
        dtypes: dict[str, torch.dtype] = {}

        def unknown(reference: Reference) -> Record:
            if dtypes.setdefault(reference.key, reference.dtype) != reference.dtype:
                raise DamagedError(f"the record {reference.key!r:.40} has two types of numbers")
            return Record(0, 1 << 62, reference.dtype)

        _, position = unpickle(head, start, unknown)
        keys, position = unpickle(head, position, _no_record)
        if not isinstance(keys, list) or not all(type(key) is str and key in dtypes for key in keys):
            raise DamagedError("its list of records names others than its object")
        records: dict[str, Record] = {}
        for key in keys:
            file.seek(position)
            length = int.from_bytes(file.read(8), "little", signed=True) * dtypes[key].itemsize
            records[key] = Record(position + 8, length, dtypes[key])
            position += 8 + length
            if length < 0 or position > file_bytes:
                raise DamagedError("it ends too soon")

    def record_of(reference: Reference) -> Record:
        if reference.key not in records:
            raise DamagedError(f"the record {reference.key!r:.40} is missing")
        return _part(records[reference.key], reference.view)

    return unpickle(head, start, record_of)[0]


def _no_record(reference: Reference) -> Record:
    raise DamagedError("a tensor stands where there is none")

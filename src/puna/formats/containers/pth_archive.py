"""The content of a `.pth` file since PyTorch 1.6, found without running code from it and without reading a weight.

Such a file is a zip archive without compression. `data.pkl` is a pickle of the saved object, in which each tensor names
the record `data/N` that holds its bytes, its place in that record, its shape and its strides.

A pickle is a program. This reader lets it call four functions only, which are defined here; each makes one small
object, so a pickle cannot make more objects than it has bytes for.
"""

import io
import math
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

ZIP = b"PK\x03\x04"
"""The first bytes of such a file."""

_LOCAL_HEADER = 30
_PICKLE_BYTES = 1 << 28
_DTYPES = {
    "FloatStorage": torch.float32, "HalfStorage": torch.float16, "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip


class StorageView(NamedTuple):
    """The place of a tensor in its file. Two with the same place are one tensor under two names."""

    begin: int
    """Its first byte, counted from the beginning of the file."""
    count: int
    """How many numbers lie from its first to its last, including those between that are not its own."""
    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class _Record(NamedTuple):
    """A record of the archive that holds numbers."""

    begin: int
    length: int
    dtype: torch.dtype


class ForeignError(Exception):
    """The pickle names a class or function that is not part of a tensor; the message is the name."""


class DamagedError(Exception):
    """The file contradicts itself; the message says where."""


def read_archive(path: Path) -> Any:
    """The object in a file, with a `StorageView` for each tensor.

    Raises:
        ForeignError: It wants code or classes.
        Exception: It is damaged; zip archives and pickles raise errors of many kinds.
    """
    with path.open("rb", buffering=0) as file, zipfile.ZipFile(file) as archive:
        file_bytes = file.seek(0, io.SEEK_END)
        names = archive.namelist()
        if len(set(names)) < len(names):
            raise DamagedError("two records have one name")
        root = next(name for name in names if name.endswith("/data.pkl")).removesuffix("data.pkl")
        if f"{root}byteorder" in names and _read(archive, f"{root}byteorder") != b"little":
            raise DamagedError("the numbers are big-endian")
        content = _read(archive, f"{root}data.pkl")
        data = f"{root}data/"
        records = {
            name.removeprefix(data): _record(file, file_bytes, archive.getinfo(name))
            for name in names
            if name.startswith(data)
        }
    _check_opcodes(content)
    return _Unpickler(content, records).load()


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    info = archive.getinfo(name)
    if info.file_size > _PICKLE_BYTES or info.compress_type != zipfile.ZIP_STORED:
        raise DamagedError(f"{name} is compressed or too long")
    return archive.read(info)


def _record(file: io.FileIO, file_bytes: int, info: zipfile.ZipInfo) -> tuple[int, int]:
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


def _check_opcodes(content: bytes) -> None:
    """Refuse instructions with numbers beyond the pickle's length; the interpreter would take memory for them."""
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > len(content):
            raise DamagedError("the pickle numbers its objects beyond its own length")


class _Unpickler(pickle.Unpickler):
    """An interpreter of pickles that calls nothing but what makes dictionaries and views of tensors."""

    def __init__(self, content: bytes, records: dict[str, tuple[int, int]]) -> None:
        super().__init__(io.BytesIO(content))
        self._records = records
        self._known: dict[str, Callable[..., Any]] = {
            "collections.OrderedDict": lambda: OrderedDict(),
            "torch._utils._rebuild_tensor_v2": lambda record, *rest: _view(record, *rest[:3]),
            "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
            "torch.device": lambda *_: None,
        }

    def find_class(self, module_name: str, global_name: str) -> Any:
        name = f"{module_name}.{global_name}"
        if name in self._known:
            return self._known[name]
        found = getattr(torch, global_name, None) if module_name == "torch" else None
        dtype = _DTYPES.get(global_name, found) if module_name == "torch" else None
        if isinstance(dtype, torch.dtype):
            return dtype
        raise ForeignError(name)

    def persistent_load(self, pid: Any) -> _Record:
        kind, dtype, key, _, _ = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            raise DamagedError("the pickle refers to something that is not a record of numbers")
        return _Record(*self._records[key], dtype)


def _view(record: Any, offset: Any, shape: Any, stride: Any) -> StorageView:
    """The place of a tensor whose record holds it element by element; the pickle's arguments may be anything."""
    numbers = (offset, *shape, *stride)
    sound = all(type(number) is int and number >= 0 for number in numbers) and len(shape) == len(stride)
    if not isinstance(record, _Record) or not sound:
        raise DamagedError("a tensor has a record, a shape or strides that make no sense")
    size = math.prod(shape)
    count = size and 1 + sum((axis - 1) * step for axis, step in zip(shape, stride, strict=True))
    # Strides of 0 would make a tensor of more numbers than there are.
    if (offset + count) * record.dtype.itemsize > record.length or size > count:
        raise DamagedError("a tensor is larger than its record")
    begin = record.begin + offset * record.dtype.itemsize
    return StorageView(begin, count, record.dtype, tuple(shape), tuple(stride))

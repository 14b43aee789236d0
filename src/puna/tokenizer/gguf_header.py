"""The header of a GGUF file, version 2 or 3: its metadata, and where its tensors lie.

The layout, all little-endian: `GGUF`, version (u32), tensors (u64), pairs (u64); pairs of key (string), type (u32) and
value; of each tensor its name (string), number of dimensions (u32), dimensions with the innermost first (u64 each),
type (u32) and offset (u64); then, at the next multiple of `general.alignment`, the data. A string is its length in
bytes (u64) and UTF-8.
"""

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from puna.core.bounded import open_regular
from puna.core.errors import FormatError

MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MAX_DIMENSIONS = 4  # GGML_MAX_DIMS
_MAX_DEPTH = 2
_MOST_TENSORS = 1 << 17
"""LLaMA 405B has 1,138; more than 10,000 layers are refused later, and would have 90,000."""
_MOST_PAIRS = 1 << 16
"""Files of llama.cpp have some 40."""
_MOST_ENTRIES = 1 << 22
"""In all arrays together. Gemma's vocabulary of 262,144 takes four times 262,144 entries, and its merges 514,906. As
objects of Python this many take 0.3 GB."""
_MOST_BYTES = 1 << 27
"""Of the header; llama.cpp's largest have some 20 MB."""
_STRING, _ARRAY = 8, 9
_NUMBERS = {
    0: "<u1", 1: "<i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", 7: "?", 10: "<u8", 11: "<i8", 12: "<f8",
}  # fmt: skip


class TensorInfo(NamedTuple):
    """One tensor of a GGUF file."""

    name: str
    shape: tuple[int, ...]
    """In the order of numpy and torch, the innermost dimension last."""
    type: int
    """ggml's number: 0 F32, 1 F16, 8 Q8_0, 30 BF16, …"""
    offset: int
    """Bytes from the beginning of the data."""


@dataclass(frozen=True)
class GGUFHeader:
    """The content of a GGUF file before its data."""

    version: int
    alignment: int
    metadata: dict[str, Any]
    """Numbers, booleans, strings, and lists of them."""
    tensors: list[TensorInfo]
    data_offset: int
    """Where the data begin, in bytes from the beginning of the file; without tensors it may be the file's end."""


def is_gguf(path: Path) -> bool:
    """Whether the file begins with GGUF's magic number."""
    try:
        with open_regular(path, FormatError) as file:
            return file.read(4) == MAGIC
    except (OSError, FormatError):
        return False


def read_header(path: Path) -> GGUFHeader:
    """The header; no more of the file is read.

    Raises:
        FormatError: It is not a GGUF file of version 2 or 3, or a damaged one.
    """
    try:
        with open_regular(path, FormatError) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _Reader(path, content).header()
    except (OSError, ValueError) as error:  # mmap refuses an empty file with a ValueError
        reason = error.strerror if isinstance(error, OSError) else "it is empty"
        raise FormatError(f"{path}: cannot be read as a GGUF file: {reason}") from None


class _Reader:
    """Reads from a position onwards; it allocates no more than the bounds above, nor more than the file's size."""

    def __init__(self, path: Path, content: mmap.mmap) -> None:
        self._path = path
        self._content = content
        self._size = len(content)
        self._position = 0
        self._entries = 0

    def header(self) -> GGUFHeader:
        if self._content[:4] != MAGIC:
            raise FormatError(f"{self._path}: is not a GGUF file: it begins with {self._content[:4]!r}")
        self._position = 4
        version = self._number("<I", "the version")
        if int.from_bytes(version.to_bytes(4, "little"), "big") in _VERSIONS:
            raise FormatError(
                f"{self._path}: is a big-endian GGUF file, and Puna reads little-endian ones",
                hint=f"the package gguf turns it round, in place: gguf-convert-endian {self._path} little",
            )
        if version not in _VERSIONS:
            raise FormatError(f"{self._path}: is GGUF version {version}, Puna reads {_VERSIONS[0]} and {_VERSIONS[1]}")
        n_tensors = self._count("tensors", _MOST_TENSORS)
        n_pairs = self._count("pairs of key and value", _MOST_PAIRS)
        metadata: dict[str, Any] = {}
        for number in range(n_pairs):
            key = self._string(f"key {number} of {n_pairs}")
            if key in metadata:
                raise FormatError(f"{self._path}: has the key {key!r:.80} twice")
            metadata[key] = self._value(self._number("<I", key), key)
        tensors = [self._tensor(number, n_tensors) for number in range(n_tensors)]
        alignment = metadata.get("general.alignment", 32)
        if type(alignment) is not int or alignment < 8 or alignment & (alignment - 1) or alignment > 1 << 20:
            raise FormatError(
                f"{self._path}: has general.alignment = {alignment!r:.80}, expected a power of two from 8 on"
            )
        data_offset = -(-self._position // alignment) * alignment
        if tensors and data_offset > self._size:
            raise self._beyond("the data")
        return GGUFHeader(version, alignment, metadata, tensors, data_offset)

    def _count(self, what: str, most: int) -> int:
        """A number that the file's header states, within reason."""
        count = self._number("<Q", f"the number of {what}")
        if count > most:
            raise FormatError(f"{self._path}: says that it has {count:,} {what}, more than the {most:,} that it may")
        return count

    def _tensor(self, number: int, of: int) -> TensorInfo:
        name = self._string(f"the name of tensor {number} of {of}")
        n_dimensions = self._number("<I", name)
        if n_dimensions > _MAX_DIMENSIONS:
            raise FormatError(f"{self._path}: {name!r:.80} has {n_dimensions} dimensions, {_MAX_DIMENSIONS} are legal")
        shape = tuple(self._number("<Q", name) for _ in range(n_dimensions))
        return TensorInfo(name, shape[::-1], self._number("<I", name), self._number("<Q", name))

    def _value(self, kind: int, key: str, depth: int = 0) -> Any:
        if kind == _STRING:
            return self._string(key)
        if kind == _ARRAY and depth < _MAX_DEPTH:
            return self._array(key, depth)
        return self._numbers(kind, 1, key)[0]

    def _array(self, key: str, depth: int) -> list[Any]:
        kind, length = self._number("<I", key), self._number("<Q", key)
        self._entries += length
        if self._entries > _MOST_ENTRIES:
            raise FormatError(
                f"{self._path}: has {self._entries:,} entries of arrays up to {_shown(key)}, more than the "
                f"{_MOST_ENTRIES:,} that it may"
            )
        if kind == _STRING:
            return self._strings(length, key)
        if kind == _ARRAY:
            return [self._value(kind, key, depth + 1) for _ in range(length)]
        return self._numbers(kind, length, key)

    def _numbers(self, kind: int, count: int, key: str) -> list[Any]:
        if kind not in _NUMBERS:
            raise FormatError(f"{self._path}: {key!r:.80} has type {kind}, which is none of GGUF's")
        dtype = np.dtype(_NUMBERS[kind])
        end = self._end(count * dtype.itemsize, key)
        values = np.frombuffer(self._content[self._position : end], dtype).tolist()
        self._position = end
        return values

    def _strings(self, count: int, key: str) -> list[str]:
        """A fast loop for vocabularies: 400,000 strings in a fraction of a second."""
        content, position, size = self._content, self._position, self._size
        length_at = struct.Struct("<Q").unpack_from
        strings = []
        self._end(8 * count, key)
        try:
            for _ in range(count):
                end = position + 8 + length_at(content, position)[0]
                if end > size:
                    raise self._beyond(key)
                if end > _MOST_BYTES:
                    self._check_bytes(end, key)
                strings.append(str(content[position + 8 : end], "utf-8"))
                position = end
        except struct.error:
            raise self._beyond(key) from None
        except UnicodeDecodeError:
            raise FormatError(f"{self._path}: entry {len(strings)} of {_shown(key)} is not UTF-8") from None
        self._position = position
        return strings

    def _string(self, what: str) -> str:
        return self._strings(1, what)[0]

    def _number(self, form: str, what: str) -> int:
        end = self._end(struct.calcsize(form), what)
        (value,) = struct.unpack_from(form, self._content, self._position)
        self._position = end
        return value

    def _end(self, n_bytes: int, what: str) -> int:
        end = self._position + n_bytes
        if end > self._size:
            raise self._beyond(what)
        self._check_bytes(end, what)
        return end

    def _check_bytes(self, end: int, what: str) -> None:
        if end > _MOST_BYTES:
            raise FormatError(
                f"{self._path}: its header is longer than the {_MOST_BYTES:,} bytes that it may have, at {_shown(what)}"
            )

    def _beyond(self, what: str) -> FormatError:
        return FormatError(
            f"{self._path}: is cut off or damaged: {_shown(what)} goes beyond the file's {self._size} bytes"
        )


def _shown(what: str) -> str:
    """A key or a place in the file, made printable for an error; a damaged key may be anything."""
    return what if what.isprintable() and len(what) <= 80 else f"{what!r:.80}"

"""Read safetensors files without loading them: their headers when opened, each tensor as a view of the mapped file.

The format (its own documentation, "Format"): 8 bytes, the little-endian length of the header; the header, a JSON object
with the dtype, shape and place of every tensor; the tensors' bytes without a gap. A model in several files has an index
that says which tensor is in which file, as Hugging Face's models do.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from puna.core.bounded import open_regular
from puna.core.errors import FormatError
from puna.formats.containers.json_object import MOST_BYTES, json_object
from puna.formats.containers.mapped import mapped
from puna.formats.containers.shards import by_index, check_printable, read_index

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"

_BITS = {
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "I64": 64, "U64": 64, "F64": 64, "C64": 64,
}  # fmt: skip
_READ = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
_MOST_AXES = 64


@dataclass(frozen=True, kw_only=True)
class _Entry:
    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    """First byte, counted from the beginning of the file."""
    n_bytes: int


class ShardedSafetensors:
    """The tensors of one safetensors file, or of a directory that has `model.safetensors` or an index of several.

    Args:
        path: The file or the directory.

    Raises:
        FormatError: There is no such file, a header or the index is damaged, or they disagree.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        index, files = _files(path)
        self._entries = by_index(index, files, _read_header, path / INDEX)

    @property
    def names(self) -> list[str]:
        """The tensors' names, in the order of the files."""
        return list(self._entries)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of the tensor of this name."""
        return self._entries[name].shape

    def dtype(self, name: str) -> str:
        """float32, bfloat16 or float16; of other types, which cannot be read, the file's own name such as I8."""
        dtype = self._entries[name].dtype
        return str(_READ[dtype]).removeprefix("torch.") if dtype in _READ else dtype

    def nbytes(self, name: str) -> int:
        """The bytes that a tensor takes in its file."""
        return self._entries[name].n_bytes

    def file(self, name: str) -> Path:
        """The file that a tensor is in."""
        return self._entries[name].file

    def tensor(self, name: str) -> Tensor:
        """A view of the mapped file; the mapping ends with the tensor.

        Changes to it stay in memory and never reach the file.

        Raises:
            FormatError: The tensor is of another dtype than F32, BF16 and F16, or the file has become shorter.
        """
        entry = self._entries[name]
        dtype = _READ.get(entry.dtype)
        if dtype is None:
            raise FormatError(f"{entry.file}: {name} is {entry.dtype}, expected F32, BF16 or F16")
        return mapped(entry.file, entry.start, entry.n_bytes // dtype.itemsize, dtype).view(entry.shape)


def _files(path: Path) -> tuple[dict[str, Path], list[Path]]:
    """The index, which gives the file of each tensor, and all files in their order."""
    if not path.is_dir():
        return {}, [path]
    if not (path / INDEX).exists():
        return {}, [path / WEIGHTS]
    index = read_index(path / INDEX, ".safetensors")
    files = sorted(set(index.values()))
    if (path / WEIGHTS).exists() and path / WEIGHTS not in files:
        raise FormatError(f"{path}: has both {WEIGHTS} and an index of other files, so which are meant is not clear")
    return index, files


def _read_header(path: Path) -> dict[str, _Entry]:
    """Every tensor of a file."""
    try:
        with open_regular(path, FormatError) as file:
            file_bytes = file.seek(0, 2)
            file.seek(0)
            length = int.from_bytes(file.read(8), "little")
            if file_bytes < 8 or length > min(file_bytes - 8, MOST_BYTES):
                raise FormatError(
                    f"{path}: is not a safetensors file, or a truncated one: its first 8 bytes promise a header of "
                    f"{length:,} bytes, and the file has {file_bytes:,}"
                )
            header = json_object(file.read(length), f"{path}: the header")
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error.strerror}") from None
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise FormatError(f"{path}: __metadata__ is not a table of texts")
    for name in header:
        check_printable(path, name)
    first = 8 + length
    entries = {name: _entry(path, first, name, entry) for name, entry in header.items()}
    end = first
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].n_bytes)):
        if entry.start != end:
            raise FormatError(f"{path}: {name} begins at byte {entry.start:,}, but what is before it ends at {end:,}")
        end = entry.start + entry.n_bytes
    if end != file_bytes:
        short = "is truncated" if end > file_bytes else "is longer than it should be"
        raise FormatError(f"{path}: {short}: its header makes it {end:,} bytes, found {file_bytes:,}")
    return entries


def _entry(path: Path, first: int, name: str, entry: Any) -> _Entry:
    """One entry of a header; offsets count from the byte `first`."""
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [start, end]}:
            if dtype not in _BITS:
                raise FormatError(f"{path}: {name} is of the unknown dtype {dtype!r:.80}")
            numbers = (*shape, start, end)
            # Bounded, because the product of a hostile shape would take long.
            if len(shape) <= _MOST_AXES and all(type(number) is int and 0 <= number < 2**63 for number in numbers):
                n_bytes, rest = divmod(math.prod(shape) * _BITS[dtype], 8)
                if rest or end - start != n_bytes:
                    raise FormatError(
                        f"{path}: {name}, {dtype} {shape!r:.80}, should take {n_bytes} bytes, found {end - start}"
                    )
                return _Entry(file=path, dtype=dtype, shape=tuple(shape), start=first + start, n_bytes=n_bytes)
    raise FormatError(
        f"{path}: the header's entry of {name!r:.80} has no dtype, shape and data_offsets that make sense"
    )

"""The tensors of a GGUF model by name, from one file or the pieces of a split one, each within its file."""

import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from puna.core.errors import FormatError
from puna.formats.containers.mapped import mapped
from puna.formats.gguf.types import BY_NUMBER, UNREAD, TensorType
from puna.tokenizer.gguf_header import GGUFHeader, TensorInfo, read_header

_NAME_LENGTH = 128
"""Bytes of a tensor's name, at most; llama.cpp's limit is half of it."""

_PIECE = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf")


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """The place of a tensor in its file."""

    path: Path
    offset: int
    """Bytes from the beginning of the file."""
    shape: tuple[int, ...]
    kind: TensorType

    @property
    def n_bytes(self) -> int:
        """Its size in the file, in bytes."""
        rows = 1
        for size in self.shape[:-1]:
            rows *= size
        return rows * self.kind.row_bytes(self.shape[-1])

    def read(self) -> npt.NDArray[np.uint8]:
        """Its bytes, mapped: changes stay in memory and never reach the file.

        Raises:
            FormatError: The file is gone or has become shorter.
        """
        return mapped(self.path, self.offset, self.n_bytes, torch.uint8).numpy()


def gguf_file(path: Path) -> Path:
    """The file with the metadata: `path`, the first piece of a split model, or the only model in a directory.

    Raises:
        FormatError: A directory holds no model or several.
    """
    if path.is_dir():
        models = sorted({_first(file) for file in path.glob("*.gguf") if file.is_file()})
        if len(models) != 1:
            found = f"{len(models)} GGUF models" if models else "no GGUF file"
            raise FormatError(f"{path}: holds {found}, expected one", hint="name the file")
        path = models[0]
    return _first(path)


def _first(path: Path) -> Path:
    match = _PIECE.fullmatch(path.name)
    return path.with_name(f"{match[1]}-00001-of-{match[3]}.gguf") if match else path


def read_files(first: Path) -> tuple[dict[str, Any], dict[str, StoredTensor]]:
    """The metadata of the first file, and every tensor of all pieces by its name in the file.

    Raises:
        FormatError: A file is missing or damaged, or a tensor lies outside of it or on top of another.
    """
    header = read_header(first)
    match = _PIECE.fullmatch(first.name)
    pieces = [first]
    if match:
        pieces = [
            first.with_name(f"{match[1]}-{number:05}-of-{match[3]}.gguf") for number in range(1, int(match[3]) + 1)
        ]
    # llama.cpp's tool that merges pieces sets 0 here, and leaves split.no and split.tensors.count as they were.
    count = header.metadata.get("split.count", 1) or 1
    if count != len(pieces):
        raise FormatError(f"{first}: is a piece of {count!s:.20}, but its name says {len(pieces)}")
    tensors: dict[str, StoredTensor] = {}
    for number, path in enumerate(pieces):
        if not path.is_file():
            raise FormatError(f"{path}: is not there, and {first.name} says that the model has {len(pieces)} pieces")
        piece = read_header(path) if number else header
        if len(pieces) > 1 and piece.metadata.get("split.no") != number:
            raise FormatError(f"{path}: has split.no = {piece.metadata.get('split.no')!s:.20}, expected {number}")
        for name, tensor in _tensors_of(path, piece).items():
            if name in tensors:
                raise FormatError(f"{path}: has the tensor {name}, which {tensors[name].path.name} has, too")
            tensors[name] = tensor
    total = header.metadata.get("split.tensors.count", len(tensors))
    if total != len(tensors):
        raise FormatError(f"{first}: says {total!s:.20} tensors, but its pieces have {len(tensors)}")
    return header.metadata, tensors


def _tensors_of(path: Path, header: GGUFHeader) -> dict[str, StoredTensor]:
    size = path.stat().st_size
    tensors: dict[str, StoredTensor] = {}
    for info in header.tensors:
        if len(info.name) >= _NAME_LENGTH or not info.name.isprintable():
            raise FormatError(f"{path}: has a tensor called {info.name!r:.80}, which is not a name")
        if info.name in tensors:
            raise FormatError(f"{path}: has the tensor {info.name} twice")
        tensor = StoredTensor(
            path=path, offset=header.data_offset + info.offset, shape=info.shape, kind=_type(path, info)
        )
        if info.offset % header.alignment:
            raise FormatError(f"{path}: {info.name} begins at {info.offset}, not a multiple of {header.alignment}")
        if tensor.offset + tensor.n_bytes > size:
            raise FormatError(
                f"{path}: is cut off: {info.name} ends at byte {tensor.offset + tensor.n_bytes}, the file has {size}"
            )
        tensors[info.name] = tensor
    for before, after in pairwise(sorted(tensors.items(), key=lambda item: item[1].offset)):
        if before[1].offset + before[1].n_bytes > after[1].offset:
            raise FormatError(f"{path}: {after[0]} lies on top of {before[0]}")
    return tensors


def _type(path: Path, info: TensorInfo) -> TensorType:
    kind = BY_NUMBER.get(info.type)
    if kind is None:
        name = UNREAD.get(info.type, f"number {info.type}")
        raise FormatError(f"{path}: {info.name} has the type {name}, which Puna does not read")
    if not info.shape or 0 in info.shape or info.shape[-1] % kind.values:
        raise FormatError(
            f"{path}: {info.name} is {list(info.shape)}, no whole blocks of {kind.values} for {kind.name}"
        )
    return kind

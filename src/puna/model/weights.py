"""The weights in a directory: one safetensors file, or several with an index of the tensors.

Opening reads headers; a tensor, or a rectangle of one, is read when it is asked for.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from puna.core.errors import CheckpointError
from puna.model.directory import INDEX, read_index, weight_files

_FLOATS = ("F32", "BF16", "F16")


class StoredWeights:
    """The tensors of a directory; `open_weights` makes it."""

    def __init__(self, files: Mapping[str, tuple[Path, Any]]) -> None:
        self._files = files

    def check(self, shapes: Mapping[str, Sequence[int]]) -> None:
        """Refuse other tensors than those of a model, and other shapes and dtypes.

        Args:
            shapes: By name, of every parameter that is stored.

        Raises:
            CheckpointError: One is missing, does not belong there, or has another shape or dtype.
        """
        where = _common(path for path, _ in self._files.values())
        if missing := sorted(shapes.keys() - self._files.keys()):
            raise CheckpointError(f"{where}: lacks {len(missing)} tensors, the first is {missing[0]}")
        if extra := sorted(self._files.keys() - shapes.keys()):
            raise CheckpointError(f"{where}: has {len(extra)} tensors that the model lacks, the first is {extra[0]}")
        for name, expected in shapes.items():
            path, file = self._files[name]
            header = file.get_slice(name)
            if header.get_shape() != list(expected):
                raise CheckpointError(
                    f"{path}: {name} is {header.get_shape()}, but model.toml makes it {list(expected)}"
                )
            if header.get_dtype() not in _FLOATS:
                raise CheckpointError(f"{path}: {name} is {header.get_dtype()}, expected one of {', '.join(_FLOATS)}")

    def tensor(self, name: str) -> Tensor:
        """One whole tensor, on the device for which the directory was opened."""
        return self._files[name][1].get_tensor(name)

    def rectangle(self, name: str, offset: Sequence[int], shape: Sequence[int]) -> Tensor:
        """The part of a tensor from `offset` on, of `shape` along each axis; only that part is read."""
        region = tuple(slice(start, start + size) for start, size in zip(offset, shape, strict=True))
        return self._files[name][1].get_slice(name)[region]


@contextlib.contextmanager
def open_weights(directory: Path, device: str | torch.device = "cpu") -> Iterator[StoredWeights]:
    """The weights in a directory, for as long as the context lasts.

    Raises:
        CheckpointError: A file is missing or damaged, or a tensor is in two of them.
    """
    with contextlib.ExitStack() as opened:
        files: dict[str, tuple[Path, Any]] = {}
        for path in weight_files(directory):
            if path.name == INDEX:
                continue
            try:
                file = opened.enter_context(safe_open(path, framework="pt", device=str(device)))
            except (SafetensorError, OSError) as error:
                raise CheckpointError(f"{path}: is not a readable safetensors file: {error}") from None
            for name in file.keys():  # noqa: SIM118 - it is not a dict
                if name in files:
                    raise CheckpointError(f"{path}: has {name}, which {files[name][0].name} has too")
                files[name] = path, file
        if (directory / INDEX).is_file():
            for name, path in read_index(directory / INDEX).items():
                if name not in files or files[name][0] != path:
                    raise CheckpointError(f"{path}: lacks {name}, which {INDEX} says it has")
        yield StoredWeights(files)


def _common(paths: Iterable[Path]) -> Path:
    """The one file, or the directory of several."""
    found = set(paths)
    return found.pop() if len(found) == 1 else next(iter(found)).parent

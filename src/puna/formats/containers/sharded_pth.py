"""Hugging Face's `pytorch_model.bin`, one or several: read as safely as any `.pth` file, without running code."""

import math
from pathlib import Path

from torch import Tensor

from puna.formats.containers.pth import PthTensor, read_pth
from puna.formats.containers.shards import by_index, read_index

WEIGHTS, INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"


class ShardedPth:
    """The tensors of one file of `torch.save`, or of a directory that has `pytorch_model.bin` or an index of several.

    Args:
        path: The file or the directory.

    Raises:
        FormatError: A file is missing, one is damaged or would run code, or they disagree with the index.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        index: dict[str, Path] = {}
        if path.is_dir() and (path / INDEX).exists():
            index = read_index(path / INDEX, ".bin")
        files = sorted(set(index.values())) or [path / WEIGHTS if path.is_dir() else path]
        self._entries = by_index(index, files, _with_files, path / INDEX)

    @property
    def names(self) -> list[str]:
        """The tensors' names, in the order of the files."""
        return list(self._entries)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of the tensor of this name."""
        return self._entries[name][1].shape

    def dtype(self, name: str) -> str:
        """A tensor's dtype, such as bfloat16."""
        return str(self._entries[name][1].dtype).removeprefix("torch.")

    def nbytes(self, name: str) -> int:
        """The bytes of a tensor's own numbers; two names of the same bytes count twice."""
        tensor = self._entries[name][1]
        return math.prod(tensor.shape) * tensor.dtype.itemsize

    def file(self, name: str) -> Path:
        """The file that a tensor is in."""
        return self._entries[name][0]

    def tensor(self, name: str) -> Tensor:
        """A view of the mapped file; the mapping ends with the tensor.

        Raises:
            FormatError: The file has become shorter.
        """
        return self._entries[name][1].load()


def _with_files(file: Path) -> dict[str, tuple[Path, PthTensor]]:
    return {name: (file, tensor) for name, tensor in read_pth(file).items()}

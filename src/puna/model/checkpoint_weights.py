"""The weights in a run's checkpoint, read in place: from files of any layout, tensor by tensor, or a part of one.

Opening reads headers. The files are those of `puna.train.checkpoint`: each process has written rectangles of weights.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from puna.core.errors import CheckpointError
from puna.core.schema.train_state import read_header
from puna.model.checkpoint_files import PREFIX, Chunk, decoder_of, raise_if_removed, read_chunks

_DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}


class CheckpointWeights:
    """The weights of a checkpoint by their names in the model; hashes are not checked (`check_weights` does).

    Leave the context to close its files.

    Args:
        directory: The checkpoint.

    Raises:
        CheckpointError: A file is missing or damaged, parts of a weight are missing, or a run removes the checkpoint.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.state, self.hashes = read_header(directory)
        """The state of the run; the SHA-256 of every file, by its name."""
        self.config = decoder_of(directory, self.state)
        """The decoder, as [model] of the recipe has it."""
        self._opened = contextlib.ExitStack()
        try:
            self._chunks = read_chunks(directory, self.hashes)
            for name, chunks in self._chunks.items():
                self._check(name, chunks)
            paths = sorted({chunk.file for chunks in self._chunks.values() for chunk in chunks})
            self._files = {path: self._opened.enter_context(_open(path)) for path in paths}
        except BaseException:
            self._opened.close()
            raise_if_removed(directory)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    @property
    def names(self) -> list[str]:
        """The weights' names."""
        return list(self._chunks)

    @property
    def files(self) -> list[Path]:
        """The files that hold weights."""
        return list(self._files)

    def check(self, shapes: Mapping[str, Sequence[int]]) -> None:
        """Refuse other weights than those of a model, and other shapes.

        Args:
            shapes: By name, of every parameter that is stored.

        Raises:
            CheckpointError: One is missing, does not belong there, or has another shape.
        """
        if missing := sorted(shapes.keys() - self._chunks.keys()):
            raise CheckpointError(f"{self.directory}: lacks {len(missing)} weights, the first is {missing[0]}")
        if extra := sorted(self._chunks.keys() - shapes.keys()):
            raise CheckpointError(
                f"{self.directory}: has {len(extra)} weights that the model lacks, the first is {extra[0]}"
            )
        for name, expected in shapes.items():
            if self.shape(name) != tuple(expected):
                raise CheckpointError(
                    f"{self.directory}: {name} is {list(self.shape(name))}, but its recipe makes it {list(expected)}"
                )

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of the whole weight."""
        ends = ([start + size for start, size in zip(c.offset, c.shape, strict=True)] for c in self._chunks[name])
        return tuple(map(max, zip(*ends, strict=True)))

    def dtype(self, name: str) -> torch.dtype:
        """The dtype of a weight."""
        return _DTYPES[self._chunks[name][0].dtype]

    def tensor(self, name: str) -> Tensor:
        """One whole weight. It may be a view of a mapped file: do not change it.

        Raises:
            CheckpointError: The checkpoint was removed meanwhile.
        """
        chunks = self._chunks[name]
        if len(chunks) == 1:
            with self._reading():
                return self._files[chunks[0].file].get_tensor(PREFIX + name)
        shape = self.shape(name)
        return self.rectangle(name, [0] * len(shape), shape)

    def rectangle(self, name: str, offset: Sequence[int], shape: Sequence[int]) -> Tensor:
        """The part of a weight from `offset` on, of `shape` along each axis; only that part is read.

        Raises:
            CheckpointError: The checkpoint was removed meanwhile.
        """
        found = torch.empty(tuple(shape), dtype=self.dtype(name))
        for chunk in self._chunks[name]:
            axes = list(zip(offset, shape, chunk.offset, chunk.shape, strict=True))
            spans = [(max(start, first), min(start + size, first + length)) for start, size, first, length in axes]
            if all(begin < end for begin, end in spans):
                theirs = tuple(
                    slice(begin - at, end - at) for (begin, end), at in zip(spans, chunk.offset, strict=True)
                )
                ours = tuple(slice(begin - at, end - at) for (begin, end), at in zip(spans, offset, strict=True))
                with self._reading():
                    found[ours] = self._files[chunk.file].get_slice(PREFIX + name)[theirs]
        return found

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """Turn what the library says of a file that is gone into a sentence."""
        try:
            yield
        except (SafetensorError, OSError, RuntimeError) as error:
            raise_if_removed(self.directory)
            raise CheckpointError(f"{self.directory}: cannot be read: {error!s:.200}") from None

    def _check(self, name: str, chunks: list[Chunk]) -> None:
        """Refuse a weight of which parts are missing, or whose parts are of several dtypes."""
        kinds = {chunk.dtype for chunk in chunks}
        if len({len(chunk.shape) for chunk in chunks}) != 1 or len(kinds) != 1 or not kinds <= _DTYPES.keys():
            raise CheckpointError(
                f"{chunks[0].file}: {name} is {', '.join(sorted(kinds))}, expected one of {', '.join(_DTYPES)}"
            )
        there, all_of_it = sum(math.prod(chunk.shape) for chunk in chunks), math.prod(self.shape(name))
        if there != all_of_it:
            raise CheckpointError(f"{self.directory}: holds {there:,} of the {all_of_it:,} numbers of {name}")


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: is not a readable safetensors file: {error}") from None

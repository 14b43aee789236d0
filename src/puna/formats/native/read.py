"""Puna's own model directory, read one tensor at a time."""

import contextlib
from pathlib import Path

from torch import Tensor

from puna.core.files import sha256_json
from puna.core.records import read_record
from puna.formats.checkpoint import Checkpoint, Hints, Stored, check_dtype, check_shape
from puna.formats.containers.safetensors import ShardedSafetensors
from puna.formats.table import weights
from puna.model.description import read_config
from puna.model.directory import CONFIG, RECORD
from puna.tokenizer.chat_template import read_chat_template
from puna.tokenizer.load import find_tokenizer, load_tokenizer
from puna.tokenizer.tokenizer import Tokenizer


def is_native(path: Path) -> bool:
    """Whether `path` is a Puna model directory."""
    with contextlib.suppress(OSError):
        return (path / CONFIG).is_file()
    return False


class NativeCheckpoint(Checkpoint):
    """A Puna model directory, opened; its hashes are not checked (`puna.model.directory.check_files` does)."""

    format = "puna"

    def __init__(self, path: Path) -> None:
        self._file = ShardedSafetensors(path)
        config = read_config(path)
        shapes = {weight.name: weight.shape for weight in weights(config)}
        for name in self._file.names:
            if name in shapes:
                check_shape(self._file.file(name), name, self._file.shape(name), shapes[name])
                check_dtype(self._file.file(name), name, self._file.dtype(name))
        stored = {name: Stored(self._file.dtype(name), self._file.nbytes(name)) for name in self._file.names}
        extra = [name for name in stored if name not in shapes]
        super().__init__(path, config, {name: stored[name] for name in stored if name in shapes}, extra=extra)
        self.chat_template = read_chat_template(path)

    def tensor(self, name: str) -> Tensor:
        """One parameter, a view of the mapped file."""
        return self._file.tensor(name)

    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer, if the model has one."""
        return None if find_tokenizer(self.path) is None else load_tokenizer(self.path)

    @property
    def weights_sha256(self) -> str | None:
        """That of the hashes in its record."""
        record = read_record(self.path / RECORD)
        return None if record is None else sha256_json(record["outputs"])


def open_native(path: Path, hints: Hints) -> NativeCheckpoint:
    """A Puna model directory, which needs no hints.

    Raises:
        CheckpointError: model.toml is missing or damaged.
        FormatError: The weights are damaged or not of the shapes that model.toml makes.
    """
    hints.refuse_other_values(path, read_config(path))
    return NativeCheckpoint(path)

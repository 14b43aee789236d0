"""open_lm's models: checkpoints of its training, and its Hugging Face directories of safetensors.

A checkpoint is `epoch_N.pt`, a dictionary with the weights under `state_dict`, or the weights alone.
`puna.formats.openlm.params` reads the other values from the files beside them.
"""

import re
from pathlib import Path
from typing import Protocol

from torch import Tensor

from puna.core.errors import FormatError
from puna.formats.checkpoint import Checkpoint, Hints, Stored, check_dtype, check_shape
from puna.formats.containers.dtypes import FLOATS
from puna.formats.containers.pickled import DamagedError, StorageView
from puna.formats.containers.pth import load_pth, pth_tensors
from puna.formats.containers.pth_archive import archive_pickle
from puna.formats.containers.safetensors import INDEX, WEIGHTS, ShardedSafetensors
from puna.formats.containers.sharded_pth import INDEX as PTH_INDEX
from puna.formats.containers.sharded_pth import ShardedPth
from puna.formats.frequencies import check_frequencies, is_frequencies
from puna.formats.openlm.config import Decoder, decoder_of
from puna.formats.openlm.params import is_hugging_face, read_settings, training_directories
from puna.formats.rotary import to_halves
from puna.formats.table import weights
from puna.ops.bits import same_bits
from puna.tokenizer.load import find_tokenizer, load_tokenizer
from puna.tokenizer.tokenizer import Tokenizer

_MARK = b"attention.in_proj.weight"
_WRAPPERS = re.compile(r"(^|\.)(module|_orig_mod)(?=\.)")
"""Prefixes that distributed training and the compiler put into names."""
_SUFFIXES = (".pt", ".pth", ".bin")
_NOT_WEIGHTS = ("optimizer_", "stats_")


class _Tensors(Protocol):
    """Tensors in one or several files, by the files' names."""

    @property
    def names(self) -> list[str]: ...
    def shape(self, name: str) -> tuple[int, ...]: ...
    def dtype(self, name: str) -> str: ...
    def tensor(self, name: str) -> Tensor: ...


class PickledTensors:
    """The state dict in a file of `torch.save`, mapped.

    Args:
        path: The file.

    Raises:
        FormatError: It is damaged, would run code, or holds no state dict.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        content = load_pth(path)
        state = content.get("state_dict", content) if isinstance(content, dict) else None
        if not isinstance(state, dict) or not any(isinstance(value, StorageView) for value in state.values()):
            raise FormatError(f"{path}: holds no weights: neither a state dict nor one under 'state_dict'")
        self._state = pth_tensors(path, state)

    @property
    def names(self) -> list[str]:
        """The tensors' names, in their order."""
        return list(self._state)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of the tensor of this name."""
        return self._state[name].shape

    def dtype(self, name: str) -> str:
        """A tensor's dtype, such as bfloat16."""
        return str(self._state[name].dtype).removeprefix("torch.")

    def tensor(self, name: str) -> Tensor:
        """A view of the mapped file."""
        return self._state[name].load()


class OpenlmCheckpoint(Checkpoint):
    """A model of open_lm, opened."""

    format = "openlm"

    def __init__(
        self, path: Path, *, directory: Path, tensors: _Tensors, names: dict[str, str], decoder: Decoder
    ) -> None:
        config = decoder.config
        of_theirs = {name: (tensors.shape(file_name), file_name) for name, file_name in names.items()}
        if config.tie_embeddings:
            _untie(path, tensors, of_theirs)
        stored: dict[str, Stored] = {}
        expected = {weight.openlm: (weight.openlm_rows[1], *weight.shape[1:]) for weight in weights(config)}
        for weight in weights(config):
            if weight.openlm not in of_theirs:
                continue
            shape, file_name = of_theirs[weight.openlm]
            check_shape(path, file_name, shape, expected[weight.openlm])
            dtype = tensors.dtype(file_name)
            check_dtype(path, file_name, dtype)
            stored[weight.name] = Stored(dtype, weight.numel * FLOATS[dtype].itemsize)
        others = [file_name for name, (_, file_name) in of_theirs.items() if name not in expected]
        # Where each head is turned as a whole, query and key alike, the frequencies change nothing.
        for name in filter(is_frequencies, others if config.rotary == "position" else ()):
            check_frequencies(path, name, tensors.tensor(name), config)
        extra = [name for name in others if not is_frequencies(name)]
        super().__init__(path, config, stored, extra=extra, notes=decoder.notes)
        self._directory = directory
        self._tensors = tensors
        self._file_names = {name: file_name for name, (_, file_name) in of_theirs.items()}
        self._pairs_neighbours = decoder.pairs_neighbours

    def tensor(self, name: str) -> Tensor:
        """One parameter: rows of a tensor of the mapped file, in halves."""
        weight = self.weights[name]
        rows = self._tensors.tensor(self._file_names[weight.openlm])[slice(*weight.openlm_rows)]
        turns = weight.rotary_heads or "q_norm." in name or "k_norm." in name
        return to_halves(rows, self.config.n_heads) if self._pairs_neighbours and turns else rows

    @property
    def files(self) -> list[Path]:
        """The checkpoint only; a training's directory holds other files too."""
        tensors = self._tensors
        return [tensors.path] if isinstance(tensors, PickledTensors) else super().files

    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer beside the weights; open_lm itself always uses GPT-NeoX's, which no checkpoint includes."""
        for directory in training_directories(self._directory):
            if find_tokenizer(directory) is not None:
                return load_tokenizer(directory)
        return None


def is_openlm(path: Path) -> bool:
    """Whether `path` is a checkpoint of open_lm, a directory of its training, or its Hugging Face form."""
    try:
        if path.is_dir():
            return is_hugging_face(path) or any(_is_checkpoint(file) for file in _checkpoints(path))
        return _is_checkpoint(path)
    except (OSError, ValueError):
        return False


def open_openlm(path: Path, hints: Hints) -> OpenlmCheckpoint:
    """A model of open_lm.

    Args:
        path: A checkpoint; a directory with one, or with `checkpoints` below it; or a Hugging Face directory.
        hints: Values from the user, for what the files do not state.

    Raises:
        FormatError: A file is missing or damaged, or this is a model that Puna's decoder does not compute.
    """
    tensors: _Tensors
    if path.is_dir() and ((path / WEIGHTS).exists() or (path / INDEX).exists()):
        directory, tensors = path, ShardedSafetensors(path)
    elif path.is_dir() and (path / PTH_INDEX).exists():
        directory, tensors = path, ShardedPth(path)
    else:
        file = _only_checkpoint(path) if path.is_dir() else path
        directory, tensors = file.parent, PickledTensors(file)
    names = _plain_names(path, tensors.names)
    shapes = {name: tensors.shape(file_name) for name, file_name in names.items()}
    decoder = decoder_of(path, read_settings(directory), shapes, hints)
    return OpenlmCheckpoint(path, directory=directory, tensors=tensors, names=names, decoder=decoder)


def _plain_names(path: Path, file_names: list[str]) -> dict[str, str]:
    """Names without the prefixes of the model's wrappers, and the files' names."""
    plain = {file_name: _WRAPPERS.sub("", file_name).lstrip(".") for file_name in file_names}
    if all(name.startswith("model.") for name in plain.values()):
        plain = {file_name: name.removeprefix("model.") for file_name, name in plain.items()}
    names: dict[str, str] = {}
    for file_name, name in plain.items():
        if name in names:
            raise FormatError(f"{path}: {names[name]!r:.80} and {file_name!r:.80} are one parameter")
        names[name] = file_name
    return names


def _untie(path: Path, tensors: _Tensors, of_theirs: dict[str, tuple[tuple[int, ...], str]]) -> None:
    """Keep one of the two names of a shared embedding; a file may have it under either or both."""
    first, second = "tok_embeddings.weight", "output.weight"
    if first not in of_theirs and second in of_theirs:
        of_theirs[first] = of_theirs[second]
    elif first in of_theirs and second in of_theirs:
        a, b = (tensors.tensor(of_theirs[name][1]) for name in (first, second))
        if a.data_ptr() != b.data_ptr() and not same_bits(a, b):
            raise FormatError(f"{path}: weight_tying is true, but {first} and {second} have other values")
    of_theirs.pop(second, None)


def _checkpoints(directory: Path) -> list[Path]:
    """The files of a directory, or of `checkpoints` below it, that may hold weights."""
    for folder in (directory, directory / "checkpoints"):
        files = [file for file in sorted(folder.glob("*")) if file.suffix in _SUFFIXES]
        if files := [file for file in files if not file.name.startswith(_NOT_WEIGHTS)]:
            return files
    return []


def _only_checkpoint(directory: Path) -> Path:
    files = _checkpoints(directory)
    if not files:
        raise FormatError(f"{directory}: has neither {WEIGHTS} nor a checkpoint ({', '.join(_SUFFIXES)})")
    if len(files) > 1:
        names = ", ".join(file.name for file in files[:4]) + (", ..." if len(files) > 4 else "")
        raise FormatError(f"{directory}: has {len(files)} checkpoints ({names})", hint="name one of them")
    return files[0]


def _is_checkpoint(file: Path) -> bool:
    """Whether the pickle in a file of `torch.save` names a tensor that only open_lm's models have."""
    try:
        return _MARK in archive_pickle(file)
    except (DamagedError, FormatError):
        return False

"""Read a Hugging Face directory of LLaMA's architecture: config.json and weights, in one file or in several."""

import os
import re
from pathlib import Path
from typing import Any

from torch import Tensor

from puna.config.recipe import ModelConfig
from puna.core.errors import FormatError, TokenizerError
from puna.formats.checkpoint import Checkpoint, Hints, Stored, check_shape
from puna.formats.containers.dtypes import FLOATS
from puna.formats.containers.json_object import read_json_object
from puna.formats.containers.safetensors import INDEX, WEIGHTS, ShardedSafetensors
from puna.formats.containers.sharded_pth import INDEX as PTH_INDEX
from puna.formats.containers.sharded_pth import WEIGHTS as PTH_WEIGHTS
from puna.formats.containers.sharded_pth import ShardedPth
from puna.formats.containers.shards import TensorFiles
from puna.formats.frequencies import check_frequencies, is_frequencies
from puna.formats.hf.chat_template import read_huggingface_chat_template
from puna.formats.hf.config import CONFIG, read_huggingface_config
from puna.formats.table import by_name
from puna.ops.bits import same_bits
from puna.tokenizer.agreement import check_agreement, first_disagreement, huggingface_form
from puna.tokenizer.load import find_tokenizer, load_tokenizer, other_tokenizer
from puna.tokenizer.tokenizer import Tokenizer

_EMBEDDING, _OUTPUT = "tok_embeddings.weight", "lm_head.weight"
_PREFIX = "model."
_WEIGHTS_FILE = re.compile(r"\.safetensors$|^pytorch_model.*\.bin$", re.IGNORECASE)
_SIZES = {"hidden_size", "num_hidden_layers", "num_attention_heads"}
"""What a config.json has that lacks the names of its kind."""
_SETTINGS = (".json", ".jinja", ".model")
"""Endings of the files beside the weights that describe the model or its tokenizer."""
_GENERATION = "generation_config.json"


def is_hf(path: Path) -> bool:
    """Whether this is a directory with Hugging Face's config.json, or a file of weights that has one beside it.

    A config.json that cannot be read counts where nothing of another format lies there, so that the error is its own.
    """
    try:
        directory = path if path.is_dir() else path.parent
        if path != directory and not _WEIGHTS_FILE.search(path.name):
            return False
        if not os.path.lexists(directory / CONFIG):
            return _has_weights(directory)
        try:
            fields = read_json_object(directory / CONFIG)
        except FormatError:
            return _has_weights(directory) or not _has_others(directory)
    except OSError:
        return False
    return "model_type" in fields or "architectures" in fields or fields.keys() >= _SIZES


def _has_weights(directory: Path) -> bool:
    return any(_WEIGHTS_FILE.search(file.name) for file in directory.iterdir())


def _has_others(directory: Path) -> bool:
    """Whether something of another format lies in a directory."""
    others = ("params.json", "params.txt", "model.bin")
    return any(file.name in others or file.suffix in (".pth", ".pt", ".gguf") for file in directory.iterdir())


class HuggingFaceCheckpoint(Checkpoint):
    """A model in Hugging Face's form, opened.

    Args:
        path: What the user named.
        config: The decoder.
        file: The weights.
        bos_id: bos_token_id of config.json.
        stop_ids: The tokens at which config.json and generation_config.json end a text.
        notes: What was assumed of the configuration.
    """

    format = "hf"

    def __init__(
        self, path: Path, config: ModelConfig, *, file: TensorFiles, bos_id: Any, stop_ids: tuple[int, ...],
        notes: list[str],
    ) -> None:  # fmt: skip
        self._file = file
        self._bos_id = bos_id
        self._theirs: dict[str, str] = {}
        table = by_name(config, "hf")
        extra = []
        for name in file.names:
            weight = table.get(name) or table.get(_PREFIX + name)
            if weight is None:
                if is_frequencies(name):
                    check_frequencies(file.file(name), name, file.tensor(name), config)
                elif not (config.tie_embeddings and name == _OUTPUT):
                    extra.append(name)
                continue
            if weight.name in self._theirs:
                raise FormatError(f"{path}: has {self._theirs[weight.name]} and {name}, which are the same parameter")
            _check(file, name, weight.shape)
            self._theirs[weight.name] = name
        self._tied_output = config.tie_embeddings and _OUTPUT in file.names
        if self._tied_output:
            _check(file, _OUTPUT, (config.vocab_size, config.dim))
            # Of two names of one tensor, safetensors' `save_model` keeps the first in the alphabet.
            self._tied_output = self._theirs.setdefault(_EMBEDDING, _OUTPUT) != _OUTPUT
        stored = {ours: Stored(file.dtype(name), file.nbytes(name)) for ours, name in self._theirs.items()}
        super().__init__(path, config, stored, extra=extra, notes=notes)
        self.stop_ids = stop_ids
        try:
            self.chat_template = read_huggingface_chat_template(path if path.is_dir() else path.parent)
        except FormatError as error:  # the weights are what they are without it
            self._note(f"no chat template was read: {error.message}")

    def tensor(self, name: str) -> Tensor:
        """One parameter, a view of the mapped file.

        Raises:
            FormatError: A file has changed; or the stored output layer differs from the embedding although config.json
                ties them, which is checked when the embedding is read.
        """
        tensor = self._file.tensor(self._theirs[name])
        if name == _EMBEDDING and self._tied_output:
            if not same_bits(self._file.tensor(_OUTPUT), tensor):
                raise FormatError(
                    f"{self._file.file(_OUTPUT)}: {_OUTPUT} is not the embedding, but {CONFIG} has "
                    "tie_word_embeddings = true"
                )
            self._tied_output = False
        return tensor

    @property
    def files(self) -> list[Path]:
        """The weights that were read, and the settings beside them; other forms of the weights may lie there too."""
        directory = self.path if self.path.is_dir() else self.path.parent
        beside = {file for file in directory.iterdir() if file.suffix in _SETTINGS and file.is_file()}
        return sorted(beside | {self._file.file(name) for name in self._file.names})

    def tokenizer(self) -> Tokenizer | None:
        """tokenizer.model if there is one, else tokenizer.json; disagreements between files become notes.

        Raises:
            TokenizerError: It is not one that Puna can use.
        """
        directory = self.path if self.path.is_dir() else self.path.parent
        file = find_tokenizer(directory)
        if file is None:
            if (other_kind := other_tokenizer(directory)) is not None:
                self._note(f"no tokenizer was taken: Puna does not look for {other_kind}")
            return None
        tokenizer = load_tokenizer(file, rows=self.config.vocab_size, stop_ids=self.stop_ids)
        other = directory / "tokenizer.json"
        if file != other and other.is_file():
            self._note_disagreement(tokenizer, file, other)
        if self._bos_id is not None and self._bos_id != tokenizer.bos_id:
            self._note(
                f"{CONFIG} has bos_token_id = {self._bos_id!r:.80}, but {file.name} has {tokenizer.bos_id}, which is "
                "taken"
            )
        if self.stop_ids and tokenizer.eos_id not in self.stop_ids:
            self._note(
                f"{CONFIG} ends a text at {self.stop_ids[0]}, {file.name} at {tokenizer.eos_id}; generating stops at "
                "both"
            )
        return tokenizer

    def _note_disagreement(self, tokenizer: Tokenizer, taken: Path, other: Path) -> None:
        # tokenizer_config.json may ask for BOS where tokenizer.json does not; the tokenizer that was taken decides.
        bos_id = tokenizer.bos_id if tokenizer.add_bos else None
        try:
            form = huggingface_form(other.read_bytes(), other.name, bos_id=bos_id)
        except (TokenizerError, OSError) as error:
            self._note(f"{taken.name} was taken; {error!s:.300}")
            return
        if difference := first_disagreement(check_agreement(tokenizer, {other.name: form})):
            self._note(f"{taken.name} was taken; {difference}")

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)


def open_hf(path: Path, hints: Hints) -> HuggingFaceCheckpoint:
    """A model of Hugging Face, opened without reading its weights.

    Args:
        path: The directory, or its one file of weights.
        hints: Values from the user, for what config.json does not state.

    Raises:
        FormatError: It is not LLaMA's architecture, has no files of weights, or they are damaged or of other sizes
            than config.json says.
    """
    directory = path if path.is_dir() else path.parent
    fields = read_json_object(directory / CONFIG)
    config, notes = read_huggingface_config(directory / CONFIG, fields, hints)
    return HuggingFaceCheckpoint(
        path, config, file=_weights(path), bos_id=fields.get("bos_token_id"), stop_ids=_stop_ids(directory, fields),
        notes=notes,
    )  # fmt: skip


def _stop_ids(directory: Path, fields: dict[str, Any]) -> tuple[int, ...]:
    """The tokens at which the model ends a text, by config.json and generation_config.json; either may have several."""
    generation = directory / _GENERATION
    tables = [fields, read_json_object(generation) if generation.exists() else {}]
    said = [table.get("eos_token_id") for table in tables]
    ids = [token for value in said for token in (value if isinstance(value, list) else [value])]
    return tuple(dict.fromkeys(token for token in ids if type(token) is int and token >= 0))


def _weights(path: Path) -> TensorFiles:
    """The weights: safetensors where there are any, else PyTorch's files."""
    if not path.is_dir():
        if re.search(r"-\d{5}-of-(?!00001)\d{5}\.(safetensors|bin)$", path.name):
            raise FormatError(f"{path}: is one file of several", hint=f"name their directory: {path.parent}")
        return ShardedPth(path) if path.suffix.lower() == ".bin" else ShardedSafetensors(path)
    if (path / WEIGHTS).exists() or (path / INDEX).exists():
        return ShardedSafetensors(path)
    if (path / PTH_WEIGHTS).exists() or (path / PTH_INDEX).exists():
        return ShardedPth(path)
    parts = sorted((*path.glob("model-*.safetensors"), *path.glob("pytorch_model-*.bin")))
    index = INDEX if parts and parts[0].suffix == ".safetensors" else PTH_INDEX
    what = f"{parts[0].name}, but not {index}, which says the file of every tensor" if parts else ""
    raise FormatError(f"{path}: has {what or f'neither {WEIGHTS} nor {INDEX}, nor {PTH_WEIGHTS}'}")


def _check(file: TensorFiles, name: str, shape: tuple[int, ...]) -> None:
    if file.dtype(name) not in FLOATS:
        raise FormatError(f"{file.file(name)}: {name} is {file.dtype(name)}, expected F32, BF16 or F16")
    check_shape(file.file(name), name, file.shape(name), shape)

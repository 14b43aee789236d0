"""A GGUF model of the architecture `llama`, read one tensor at a time: llama.cpp's files, quantized ones, too."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from puna.config.recipe import ModelConfig
from puna.core.errors import FormatError
from puna.formats.checkpoint import Checkpoint, Hints, Stored, check_shape
from puna.formats.containers.dtypes import FLOATS
from puna.formats.gguf.files import StoredTensor, gguf_file, read_files
from puna.formats.gguf.keys import ARCHITECTURE, CHAT_TEMPLATE, FREQUENCIES, MARKED_TEMPLATE, Keys, config_of
from puna.formats.gguf.quantize import HELD, dequantize, held_blocks
from puna.formats.gguf.types import DTYPES
from puna.formats.rotary import to_halves
from puna.formats.table import by_name
from puna.ops.quantized import Blocks
from puna.tokenizer import gguf_header
from puna.tokenizer.chat_template import without_blocks
from puna.tokenizer.gguf import read_gguf_tokenizer
from puna.tokenizer.load import load_tokenizer
from puna.tokenizer.tokenizer import Tokenizer

_EMBEDDING, _OUTPUT = "token_embd.weight", "output.weight"


def is_gguf(path: Path) -> bool:
    """Whether `path` is a GGUF file, or a directory that holds one."""
    try:
        files = path.glob("*.gguf") if path.is_dir() else [path]
        return any(gguf_header.is_gguf(file) for file in files)
    except OSError:
        return False


class GGUFCheckpoint(Checkpoint):
    """A GGUF model, opened."""

    format = "gguf"

    def __init__(
        self, path: Path, config: ModelConfig, tensors: Mapping[str, StoredTensor], *, extra: list[str],
        notes: list[str], first: Path, metadata: dict[str, Any], tokenizer: Path | None,
    ) -> None:  # fmt: skip
        stored = {name: Stored(DTYPES.get(at.kind.name, at.kind.name), at.n_bytes) for name, at in tensors.items()}
        super().__init__(path, config, stored, extra=extra, notes=notes)
        self._tensors = tensors
        self._first = first
        self._metadata = metadata
        self._tokenizer = tokenizer
        self.chat_template = _chat_template(metadata)

    def tensor(self, name: str) -> Tensor:
        """One parameter: a view of the mapped file, a copy if its rows are permuted, float32 if it is quantized.

        Raises:
            FormatError: The file is gone or has become shorter.
        """
        tensor, heads = self._tensors[name], self.weights[name].rotary_heads
        found = _read(tensor)
        return to_halves(found, heads) if heads else found

    def blocks(self, name: str) -> Blocks | None:
        """One parameter that is a matrix of Q8_0 or Q4_0: the file's own integers and scales, rows in halves.

        Raises:
            FormatError: The file is gone or has become shorter.
        """
        tensor, weight = self._tensors[name], self.weights[name]
        if not weight.is_matrix or tensor.kind.name not in HELD:
            return None
        found = held_blocks(tensor.read().reshape(weight.shape[0], -1), tensor.kind.name)
        if heads := weight.rotary_heads:
            return replace(
                found, values_NK=to_halves(found.values_NK, heads), scales_NG=to_halves(found.scales_NG, heads)
            )
        return found

    def tokenizer(self) -> Tokenizer | None:
        """The file's tokenizer, or the one that the user named."""
        if self._tokenizer is not None:
            return load_tokenizer(self._tokenizer)
        return read_gguf_tokenizer(self._metadata, str(self._first))


def open_gguf(path: Path, hints: Hints) -> GGUFCheckpoint:
    """A GGUF model: a file, any piece of a split one, or a directory with one model.

    Raises:
        FormatError: It is damaged, not a decoder of the architecture `llama`, or contradicts the hints.
    """
    first = gguf_file(path)
    metadata, tensors = read_files(first)
    architecture = metadata.get("general.architecture")
    if architecture != ARCHITECTURE:
        raise FormatError(f"{first}: is of the architecture {architecture!r:.80}, Puna reads {ARCHITECTURE!r}")
    if not tensors:
        raise FormatError(f"{first}: holds a vocabulary only, no weights", hint="it can be used as a --tokenizer")
    factors = _read(tensors[FREQUENCIES]) if FREQUENCIES in tensors else None
    config, notes = config_of(
        first, metadata, vocab_size=_vocab_size(first, metadata, tensors), tied=_OUTPUT not in tensors, factors=factors,
        hints=hints,
    )  # fmt: skip
    if config.n_layers > len(tensors):
        raise FormatError(f"{first}: says {config.n_layers} blocks, but holds {len(tensors)} tensors")
    ours = by_name(config, "gguf")
    for name, weight in ours.items():
        if name in tensors:
            check_shape(first, name, tensors[name].shape, weight.shape)
    return GGUFCheckpoint(
        path, config, {weight.name: tensors[name] for name, weight in ours.items() if name in tensors},
        extra=[name for name in tensors if name not in ours and name != FREQUENCIES], notes=notes, first=first,
        metadata=metadata, tokenizer=hints.tokenizer,
    )  # fmt: skip


def _chat_template(metadata: Mapping[str, Any]) -> str | None:
    """The template; with its blocks for tuning, unless another program has changed it without them."""
    template, marked = metadata.get(CHAT_TEMPLATE), metadata.get(MARKED_TEMPLATE)
    if isinstance(marked, str) and without_blocks(marked) == template:
        return marked
    return template if isinstance(template, str) else None


def _vocab_size(path: Path, metadata: dict[str, Any], tensors: Mapping[str, StoredTensor]) -> int:
    """Rows of the embedding; if it is missing, the number in the metadata."""
    stated = Keys(path, metadata).count("vocab_size")
    if _EMBEDDING in tensors:
        rows = tensors[_EMBEDDING].shape[0]
        if stated not in (None, rows):
            raise FormatError(f"{path}: has llama.vocab_size = {stated}, but {_EMBEDDING} has {rows} rows")
        return rows
    if stated is None:
        raise FormatError(f"{path}: has neither {_EMBEDDING} nor llama.vocab_size")
    return stated


def _read(tensor: StoredTensor) -> Tensor:
    raw = tensor.read()
    if tensor.kind.name in DTYPES:
        return torch.from_numpy(raw).view(FLOATS[DTYPES[tensor.kind.name]]).view(tensor.shape)
    row_bytes = tensor.kind.row_bytes(tensor.shape[-1])
    return dequantize(raw.reshape(-1, row_bytes), tensor.kind.name).view(tensor.shape)

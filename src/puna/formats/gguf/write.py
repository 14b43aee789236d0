"""A GGUF file of the architecture `llama`, written tensor by tensor: the model and its tokenizer in one file.

`puna.tokenizer.gguf_header` describes the layout. The `gguf` package's writer is not used because it hides the
operating system's error when the disk is full.
"""

import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from puna.core.errors import ExportError
from puna.formats.checkpoint import Checkpoint
from puna.formats.containers.dtypes import FLOATS
from puna.formats.express import check_expressible
from puna.formats.gguf.file_types import FILE_TYPES, MEDIUM
from puna.formats.gguf.keys import CHAT_TEMPLATE, FREQUENCIES, MARKED_TEMPLATE, frequency_factors, metadata_of
from puna.formats.gguf.mix import tensor_type
from puna.formats.gguf.quantize import quantize
from puna.formats.gguf.types import DTYPES, TYPES
from puna.formats.rotary import to_neighbours
from puna.formats.table import Weight
from puna.tokenizer.chat_template import without_blocks
from puna.tokenizer.gguf import gguf_metadata
from puna.tokenizer.gguf_header import MAGIC
from puna.tokenizer.tokenizer import Tokenizer

_VERSION, _ALIGNMENT = 3, 32
_U32, _I32, _F32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9
_LARGEST_HALF = 65504.0


def write_gguf(
    source: Checkpoint,
    tokenizer: Tokenizer | None,
    directory: Path,
    *,
    file_type: str,
    name: str | None = None,
) -> list[str]:
    """Write `model-<file type>.gguf`, which llama.cpp runs.

    Args:
        source: The weights.
        tokenizer: Its tokenizer; without one llama.cpp runs the model on token ids only.
        directory: An empty directory.
        file_type: One of `FILE_TYPES`; Q4_K and Q5_K are their medium mixes, as for llama.cpp.
        name: The model's name for people.

    Returns:
        A phrase for each tensor that has another type than its form asks for, because its rows are not whole blocks,
        and one for rows of the embedding that no token has.

    Raises:
        ExportError: The architecture cannot express the model, or a value is not a number or too large for the type.
        FormatError: The source is damaged.
        TokenizerError: The tokenizer does not fit the model.
        OSError: The disk is full.
    """
    config = source.config
    check_expressible(
        config, "GGUF's llama architecture",
        {"linear scaling", "llama3 scaling", "head_dim", "tie_embeddings", "n_kv_heads"},
    )  # fmt: skip
    file_type = MEDIUM.get(file_type, file_type)
    if file_type not in FILE_TYPES:
        known = ", ".join(FILE_TYPES)
        raise ExportError(f"{file_type!r} is not a form of GGUF that Puna writes; expected one of {known}")
    metadata = metadata_of(config, file_type, name)
    if tokenizer is None:
        metadata["tokenizer.ggml.model"] = "no_vocab"
    else:
        metadata |= gguf_metadata(tokenizer, config.vocab_size)
    if source.chat_template is not None:
        metadata[CHAT_TEMPLATE] = without_blocks(source.chat_template)
        if metadata[CHAT_TEMPLATE] != source.chat_template:
            metadata[MARKED_TEMPLATE] = source.chat_template
    kinds = {weight.name: tensor_type(file_type, weight, config) for weight in source.weights.values()}
    factors = frequency_factors(config)
    tensors = [] if factors is None else [(FREQUENCIES, tuple(factors.shape), "F32")]
    tensors += [(weight.gguf, weight.shape, kinds[weight.name][0]) for weight in source.weights.values()]
    with (directory / f"model-{file_type}.gguf").open("wb") as file:
        file.write(_header(metadata, tensors))
        if factors is not None:
            _write(file, factors, "F32")
        for weight in source.weights.values():
            _write(file, _converted(source, weight, kinds[weight.name][0]), kinds[weight.name][0])
    return _padding(tokenizer, config.vocab_size) + [
        f"{weight.gguf}: {kind} instead of {wanted}, its rows have {weight.shape[-1]} values"
        for weight in source.weights.values()
        for kind, wanted in [kinds[weight.name]]
        if kind != wanted
    ]


def _padding(tokenizer: Tokenizer | None, rows: int) -> list[str]:
    """A phrase on rows of the embedding that no token has."""
    if tokenizer is None or tokenizer.vocab_size == rows:
        return []
    first = tokenizer.vocab_size
    return [f"{rows - first} embeddings have no token; their tokens are called [PAD{first}] and so on"]


def _header(metadata: dict[str, Any], tensors: list[tuple[str, tuple[int, ...], str]]) -> bytes:
    """Everything before the data."""
    parts = [MAGIC, struct.pack("<IQQ", _VERSION, len(tensors), len(metadata))]
    parts += [_string(key) + _value(value) for key, value in metadata.items()]
    offset = 0
    for name, shape, kind in tensors:
        dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
        parts.append(_string(name) + dimensions + struct.pack("<IQ", TYPES[kind].number, offset))
        rows = shape[0] if len(shape) == 2 else 1
        offset += _padded(rows * TYPES[kind].row_bytes(shape[-1]))
    content = b"".join(parts)
    return content.ljust(_padded(len(content)), b"\0")


def _value(value: Any) -> bytes:
    """A value with its type before it."""
    if isinstance(value, list):
        kind, items = _items(value)
        return struct.pack("<IIQ", _ARRAY, kind, len(value)) + items
    kind, item = _items([value])
    return struct.pack("<I", _U32 if kind == _I32 else kind) + item


def _items(values: list[Any]) -> tuple[int, bytes]:
    """The type of these values, and their bytes. llama.cpp's single numbers are unsigned, those in lists signed."""
    if not values:  # of a tokenizer without merges
        return _STRING, b""
    if isinstance(values[0], bool):
        return _BOOL, bytes(values)
    if isinstance(values[0], int):
        return _I32, np.array(values, "<i4").tobytes()
    if isinstance(values[0], float):
        return _F32, np.array(values, "<f4").tobytes()
    return _STRING, b"".join(map(_string, values))


def _string(text: str) -> bytes:
    content = text.encode()
    return struct.pack("<Q", len(content)) + content


def _padded(n_bytes: int) -> int:
    return -(-n_bytes // _ALIGNMENT) * _ALIGNMENT


def _converted(source: Checkpoint, weight: Weight, kind: str) -> Tensor:
    """A parameter with rows in neighbours, in the dtype of its type; its dtype is kept if it will be quantized.

    Raises:
        ExportError: A value is too large for float16, which is also the dtype of the blocks' scales.
    """
    w = source.tensor(weight.name)
    if kind not in ("F32", "BF16"):
        low, high = w.aminmax()
        largest = max(-low.item(), high.item())
        if not largest <= _LARGEST_HALF:
            raise ExportError(
                f"{source.path}: {weight.name} holds {largest:.4g}, which {kind} cannot, it ends at {_LARGEST_HALF:g}",
                hint="export as BF16 or F32",
            )
    w = to_neighbours(w, weight.rotary_heads) if weight.rotary_heads else w
    return w.to(FLOATS[DTYPES[kind]]) if kind in DTYPES else w


def _write(file: BinaryIO, w: Tensor, kind: str) -> None:
    content = w.contiguous().view(torch.uint8).numpy() if kind in DTYPES else quantize(w, kind)
    file.write(content.data)
    file.write(bytes(_padded(content.nbytes) - content.nbytes))

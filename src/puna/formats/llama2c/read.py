"""llama2.c's model file, version 0, opened: seven whole numbers and then every weight in float32.

The header is dim, ffn_dim, n_layers, n_heads, n_kv_heads, vocab_size and context, 32 bits each. vocab_size is negative
where the output layer is not the embedding. Each kind of weight comes for all layers before the next kind. Between the
last norm and the output layer lie two tables of rotary angles, which `run.c` skips. Pairs of rotary rows are
neighbours. The file has no magic number: it is recognised by having exactly the length that follows from its header.
"""

import contextlib
import math
import struct
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from puna.config.recipe import ModelConfig
from puna.core.bounded import open_regular
from puna.core.errors import FormatError
from puna.formats.checkpoint import Checkpoint, Hints, Stored, model_config
from puna.formats.containers.mapped import mapped
from puna.formats.rotary import to_halves
from puna.formats.table import weights
from puna.tokenizer.llama2c import FILE as TOKENIZER_BIN
from puna.tokenizer.llama2c import read_tokenizer_bin
from puna.tokenizer.load import find_tokenizer, load_tokenizer
from puna.tokenizer.tokenizer import Tokenizer

MODEL = "model.bin"
"""Name of the model's file in a directory."""
HEADER = struct.Struct("<7i")
NORM_EPS, ROPE_THETA = 1e-5, 10_000.0
"""Constants in `run.c`."""

_NEWER = struct.pack("<I", 0x616B3432)
"""The first bytes of versions 1 and 2 (`export.py`)."""
_USUAL = {
    "dim": 1 << 16, "ffn_dim": 1 << 18, "n_layers": 1 << 10, "n_heads": 1 << 10, "vocab_size": 1 << 22,
    "context": 1 << 24,
}  # fmt: skip
"""Sizes up to which a file with such a header is taken for a damaged one of llama2.c's."""
_KINDS = (
    "attention_norm", "attention.wq", "attention.wk", "attention.wv", "attention.wo", "ffn_norm", "feed_forward.w1",
    "feed_forward.w2", "feed_forward.w3",
)  # fmt: skip


def is_llama2c(path: Path) -> bool:
    """Whether `path` is a file of llama2.c, or a directory with one that is called model.bin."""
    with contextlib.suppress(OSError, FormatError):
        file = _file(path)
        if not file.is_file():
            return False
        if _begins_newer(file):
            return True
        fields = _fields(file)
        # A file that was cut short is recognised by sizes that no other file has where these stand.
        usual = file.suffix == ".bin" and all(fields[name] <= most for name, most in _USUAL.items())
        return usual or file.stat().st_size == _length(fields)
    return False


class Llama2cCheckpoint(Checkpoint):
    """A model file of llama2.c, opened.

    Args:
        path: What the user named.
        file: The model's file.
        config: The decoder.
        notes: What was assumed.
    """

    format = "llama2c"

    def __init__(self, path: Path, file: Path, config: ModelConfig, notes: list[str]) -> None:
        shapes = {weight.name: weight.shape for weight in weights(config)}
        stored = {name: Stored("float32", 4 * math.prod(shape)) for name, shape in shapes.items()}
        super().__init__(path, config, stored, notes=notes)
        self._file = file
        self._begins: dict[str, int] = {}
        begin = HEADER.size
        for name in order(config):
            self._begins[name] = begin
            begin += 4 * (math.prod(shapes[name]) if name in shapes else config.context * config.head_dim)

    def tensor(self, name: str) -> Tensor:
        """One parameter; a view of the mapped file if its rows keep their order."""
        weight = self.weights[name]
        found = mapped(self._file, self._begins[name], math.prod(weight.shape), torch.float32).view(weight.shape)
        return to_halves(found, weight.rotary_heads) if weight.rotary_heads else found

    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer beside the model: tokenizer.model, which holds more, or else tokenizer.bin."""
        directory = self._file.parent
        if find_tokenizer(directory) is not None:
            return load_tokenizer(directory)
        file = directory / TOKENIZER_BIN
        return read_tokenizer_bin(file) if file.is_file() else None


def open_llama2c(path: Path, hints: Hints) -> Llama2cCheckpoint:
    """A model file of llama2.c, or the model.bin of a directory.

    Hints may give `norm_eps` and `rope_theta`, which the file does not state.

    Raises:
        FormatError: The file is truncated, of a newer version, or not llama2.c's.
    """
    file = _file(path)
    try:
        if _begins_newer(file):
            raise FormatError(
                f"{file}: is version 1 or 2 of llama2.c's files, expected 0",
                hint="llama2.c's export.py writes it with --version 0",
            )
        values = _header(file)
    except OSError as error:
        raise FormatError(f"{file}: cannot be read: {error.strerror}") from None
    unsaid = {"norm_eps": NORM_EPS, "rope_theta": ROPE_THETA}
    hinted = {name: value for name in unsaid if (value := getattr(hints, name)) is not None}
    config = model_config(file, values | unsaid | hinted)
    hints.refuse_other_values(file, config)
    notes = [
        f"the file does not say {name}; {value:g} is assumed, as run.c has it"
        for name, value in unsaid.items()
        if name not in hinted
    ]
    return Llama2cCheckpoint(path, file, config, notes)


def order(config: ModelConfig) -> list[str]:
    """Names of what follows the header, in order; `angles` are both tables of rotary angles."""
    blocks = [f"layers.{layer}.{kind}.weight" for kind in _KINDS for layer in range(config.n_layers)]
    tail = ["norm.weight", "angles", *([] if config.tie_embeddings else ["output.weight"])]
    return ["tok_embeddings.weight", *blocks, *tail]


def _file(path: Path) -> Path:
    return path / MODEL if path.is_dir() else path


def _begins_newer(file: Path) -> bool:
    with open_regular(file, FormatError) as stream:
        return stream.read(len(_NEWER)) == _NEWER


def _header(file: Path) -> dict[str, Any]:
    """Fields of the decoder, after the file's length has been checked against them."""
    fields = _fields(file)
    expected, found = _length(fields), file.stat().st_size
    if found != expected:
        raise FormatError(f"{file}: has {found:,} bytes, but its header makes {expected:,}")
    return fields


def _fields(file: Path) -> dict[str, Any]:
    """Fields of the decoder that make sense together."""
    with open_regular(file, FormatError) as stream:
        content = stream.read(HEADER.size)
    if len(content) < HEADER.size:
        raise FormatError(f"{file}: has {len(content)} bytes, too few for the header of llama2.c's files")
    dim, ffn_dim, n_layers, n_heads, n_kv_heads, vocab_size, context = HEADER.unpack(content)
    if min(dim, ffn_dim, n_layers, n_heads, n_kv_heads, abs(vocab_size), context) < 1:
        raise FormatError(f"{file}: is not a file of llama2.c, its header has a size below 1")
    if dim % n_heads or dim // n_heads % 2 or n_heads % n_kv_heads:
        raise FormatError(
            f"{file}: is not a file of llama2.c, its header has width {dim} for {n_heads} heads and {n_kv_heads} key "
            "heads"
        )
    return {
        "dim": dim, "ffn_dim": ffn_dim, "n_layers": n_layers, "n_heads": n_heads, "n_kv_heads": n_kv_heads,
        "vocab_size": abs(vocab_size), "context": context, "tie_embeddings": vocab_size > 0,
    }  # fmt: skip


def _length(fields: dict[str, Any]) -> int:
    """Bytes of a file with this header."""
    dim, head_dim = fields["dim"], fields["dim"] // fields["n_heads"]
    block = dim * (2 + 2 * dim + 2 * fields["n_kv_heads"] * head_dim + 3 * fields["ffn_dim"])
    embeddings = (2 - fields["tie_embeddings"]) * fields["vocab_size"] * dim
    floats = embeddings + fields["n_layers"] * block + dim + fields["context"] * head_dim
    return HEADER.size + 4 * floats

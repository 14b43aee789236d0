"""EasyLM's checkpoints, read: `streaming_params`, `streaming_train_state` and `flax_params`.

The form is recognised by content, since users choose the names. Kernels are stored transposed, [in, out], and rotary
pairs are neighbours; the embedding is stored like ours.
"""

import mmap
from pathlib import Path

import torch
from torch import Tensor

from puna.core.bounded import open_regular
from puna.core.errors import FormatError
from puna.formats.checkpoint import Checkpoint, Hints, Stored, check_shape
from puna.formats.containers.dtypes import FLOATS
from puna.formats.containers.flax_msgpack import Array, Key, scan
from puna.formats.containers.mapped import mapped
from puna.formats.easylm.config import LLAMA_CONFIG, Sizes, decoder_of, read_llama_config
from puna.formats.rotary import to_halves
from puna.formats.table import Weight, by_name, count_layers
from puna.ops.bits import same_bits
from puna.tokenizer.load import find_tokenizer, load_tokenizer
from puna.tokenizer.tokenizer import Tokenizer

HEAD = "lm_head/kernel"
_EMBEDDING = "transformer/wte/embedding"
_LAYERS = "transformer/h/"
_TRAIN_STATE = ("params", "params")
_PASSED = ("opt_state", "step")
_FIRST_NAMES = tuple(
    bytes([0xA0 | len(name)]) + name.encode() for name in ("transformer", "lm_head", "params", *_PASSED)
)
"""Possible first bytes in msgpack of a stream's first path, or of a map's first name."""


def is_easylm(path: Path) -> bool:
    """Whether `path` is an EasyLM checkpoint, or a directory with one."""
    try:
        return any(map(_begins_right, path.iterdir())) if path.is_dir() else _begins_right(path)
    except OSError:
        return False


def _begins_right(path: Path) -> bool:
    try:
        if not path.is_file():
            return False
        with open_regular(path, FormatError) as file:
            head = file.read(16)
    except (OSError, FormatError):
        return False
    if len(head) < 3:
        return False
    streamed = head[0] == 0x92 and head[1] & 0xF0 == 0x90
    name = head[2:] if streamed else head[1:]
    return (streamed or head[0] & 0xF0 == 0x80) and name.startswith(_FIRST_NAMES)


class EasyLMCheckpoint(Checkpoint):
    """An EasyLM checkpoint, opened.

    Args:
        path: What the user named.
        file: The checkpoint's file.
        arrays: The places of its arrays, by EasyLM's names.
        hints: Values from the user.
        notes: Sentences on what was ignored.
    """

    format = "easylm"

    def __init__(
        self, path: Path, *, file: Path, arrays: dict[str, Array | None], hints: Hints, notes: list[str]
    ) -> None:
        settings = read_llama_config(file.with_name(LLAMA_CONFIG))
        config, assumed = decoder_of(file, _sizes(file, arrays), settings, hints)
        places = by_name(config, "easylm")
        stored = {}
        for name, weight in places.items():
            if name in arrays:
                stored[weight.name] = _stored(file, name, arrays[name], weight)
        # A tied model is written with the output layer that EasyLM's code asks for.
        repeated = config.tie_embeddings and HEAD in arrays
        if repeated:
            _stored(file, HEAD, arrays[HEAD], places[_EMBEDDING])
        extra = [name for name in arrays if name not in places and not (repeated and name == HEAD)]
        super().__init__(path, config, stored, extra=extra, notes=notes + assumed)
        self._file = file
        self._arrays = {name: array for name, array in arrays.items() if array is not None}
        self._unproved = repeated
        self._tokenizer = hints.tokenizer

    def tensor(self, name: str) -> Tensor:
        """One parameter; a view of the mapped file where it is neither wq, wk nor cut into pieces.

        Raises:
            FormatError: The file has changed, lacks it, or holds an output layer that differs from the embedding
                although `llama_config.json` says that they are tied.
        """
        if name not in self.stored:
            raise FormatError(f"{self._file}: lacks {name}")
        weight = self.weights[name]
        tensor = self._read(weight.easylm)
        if weight.easylm == _EMBEDDING:
            self._prove_tied(tensor)
            return tensor
        # Transposed first: that copy is much faster than one that moves rows at the same time.
        return to_halves(tensor.t().contiguous(), weight.rotary_heads) if weight.rotary_heads else tensor.t()

    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer that was given, or that lies beside the file."""
        path = self._tokenizer or find_tokenizer(self._file.parent)
        return None if path is None else load_tokenizer(path)

    def _prove_tied(self, embedding: Tensor) -> None:
        """Refuse to drop an output layer that differs from the embedding; checked late, as opening reads no weight."""
        if self._unproved:
            head = self._read(HEAD).t()
            if not same_bits(head, embedding):
                raise FormatError(
                    f"{self._file}: {HEAD} is not the embedding, but {LLAMA_CONFIG} says that they are tied",
                    hint=f"set tied_embeddings to false in {LLAMA_CONFIG}",
                )
            self._unproved = False

    def _read(self, name: str) -> Tensor:
        """An array in the file's layout."""
        array = self._arrays[name]
        dtype = FLOATS[array.dtype]
        pieces = [mapped(self._file, start, length // dtype.itemsize, dtype) for start, length in array.pieces]
        return (pieces[0] if len(pieces) == 1 else torch.cat(pieces)).view(array.shape)


def open_easylm(path: Path, hints: Hints) -> EasyLMCheckpoint:
    """An EasyLM checkpoint, or the one that a directory holds.

    Raises:
        FormatError: There is none or more than one, it is damaged or not a LLaMA decoder, or the number of heads is
            unknown.
    """
    file = _find(path)
    try:
        with (
            open_regular(file, FormatError) as opened,
            mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            leaves, passed = scan(content, str(file), lambda key: key[0] not in _PASSED)
    except OSError as error:
        raise FormatError(f"{file}: cannot be read: {error.strerror}") from None
    except ValueError:
        raise FormatError(f"{file}: is empty") from None
    notes = []
    if any(key[:2] == _TRAIN_STATE for key in leaves):
        notes.append("it is a training state: its weights were taken, and all else passed over")
        leaves = {key: leaf for key, leaf in leaves.items() if key[0] not in _PASSED}
    elif passed:
        leaves |= dict.fromkeys(passed)
    return EasyLMCheckpoint(path, file=file, arrays=_joined(file, leaves), hints=hints, notes=notes)


def _find(path: Path) -> Path:
    if not path.is_dir():
        return path
    try:
        found = sorted(file for file in path.iterdir() if _begins_right(file))
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error.strerror}") from None
    if len(found) != 1:
        what = (
            f"{len(found)} EasyLM checkpoints ({found[0].name}, {found[1].name})" if found else "no EasyLM checkpoint"
        )
        raise FormatError(f"{path}: holds {what}, expected one", hint="name the file" if found else "")
    return found[0]


def _joined(file: Path, leaves: dict[Key, Array | None]) -> dict[str, Array | None]:
    """The arrays by names joined with slashes, without the prefix that a training state puts before its weights."""
    arrays = {"/".join(key[2:] if key[:2] == _TRAIN_STATE else key): leaf for key, leaf in leaves.items()}
    if len(arrays) != len(leaves):
        raise FormatError(f"{file}: holds two arrays of the same name")
    return arrays


def _sizes(file: Path, arrays: dict[str, Array | None]) -> Sizes:
    """The sizes from the shapes; the shapes of every layer are compared with them later."""
    n_layers = count_layers(arrays, _LAYERS)
    if n_layers > len(arrays):
        raise FormatError(f"{file}: numbers {n_layers} layers, but holds {len(arrays)} arrays")
    vocab_size, dim = _shape(file, arrays, _EMBEDDING)
    return Sizes(
        vocab_size, dim, _shape(file, arrays, "feed_forward/w1/kernel")[1], n_layers,
        _shape(file, arrays, "attention/wq/kernel")[1], _shape(file, arrays, "attention/wk/kernel")[1],
    )  # fmt: skip


def _shape(file: Path, arrays: dict[str, Array | None], name: str) -> tuple[int, int]:
    """The shape of the matrix of this name, from the first layer that has it."""
    for full, array in arrays.items():
        if full == name or (full.startswith(_LAYERS) and full.endswith(f"/{name}")):
            if array is None or len(array.shape) != 2:
                raise FormatError(f"{file}: {full} is not a matrix")
            return array.shape[0], array.shape[1]
    raise FormatError(f"{file}: is not a LLaMA decoder of EasyLM: it lacks {name}")


def _stored(file: Path, name: str, array: Array | None, weight: Weight) -> Stored:
    """How an array is stored in the file, if it can be this parameter."""
    if array is None:
        raise FormatError(f"{file}: {name} is not an array")
    turned = weight.is_matrix and name != _EMBEDDING
    check_shape(file, name, array.shape, weight.shape[::-1] if turned else weight.shape)
    if array.dtype not in FLOATS:
        raise FormatError(f"{file}: {name} is {array.dtype}, expected float32, float16 or bfloat16")
    return Stored(array.dtype, array.n_bytes)

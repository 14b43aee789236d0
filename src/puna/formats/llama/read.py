"""Meta's original directory, opened: `consolidated.*.pth` in any number of model-parallel files, and `params.json`.

Each file holds its part of every matrix: rows of wq, wk, wv, w1, w3 and the output layer, columns of wo and w2; norms
are in all of them. The embedding is cut by columns in LLaMA 1 and 2, by rows in LLaMA 3. Where there are more files
than key heads, each file holds one whole head, so heads are repeated. Pairs of rotary rows are neighbours.
"""

import contextlib
import hashlib
import math
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from puna.config.recipe import ModelConfig
from puna.core.bounded import open_regular, read_bounded
from puna.core.errors import FormatError
from puna.formats.checkpoint import Checkpoint, Hints, Stored, check_shape, model_config
from puna.formats.containers.pth import PthTensor, dtype_name, read_pth
from puna.formats.frequencies import check_frequencies, is_frequencies
from puna.formats.llama.params import SCALED_ROPE, Params, read_params, unsaid
from puna.formats.rotary import to_halves
from puna.formats.table import Weight, weights
from puna.ops.bits import same_bits
from puna.tokenizer.load import find_tokenizer, load_tokenizer
from puna.tokenizer.tokenizer import Tokenizer

PARAMS, CHECKLIST = "params.json", "checklist.chk"
TOKENIZER, TOKENIZER_CHECKLIST = "tokenizer.model", "tokenizer_checklist.chk"

_MOST_CHECKLIST = 1 << 20
_EMBEDDING, _OUTPUT = "tok_embeddings.weight", "output.weight"
_WQ, _WK, _WV = (f"layers.0.attention.{name}.weight" for name in ("wq", "wk", "wv"))
_ROUNDING, _FAR, _OF_SPREAD = 2**-8, 2**-4, 1 / 4
"""How far norms of one model may differ between its files; `_check_close` says why."""

_DRIFTED = "the norms differ between the files"

Files = Sequence[tuple[Path, dict[str, PthTensor]]]
"""The tensors of each file, in the files' order."""


def is_llama(path: Path) -> bool:
    """Whether `path` is a directory with `consolidated.*.pth`; that `params.json` can be read is asked on opening."""
    with contextlib.suppress(OSError):
        return path.is_dir() and any(path.glob("consolidated.*.pth"))
    return False


class LlamaCheckpoint(Checkpoint):
    """An original directory, opened: all files are mapped, none is read.

    Args:
        path: The directory.
        config: The decoder.
        files: The tensors of each file, in the files' order.
        notes: What was assumed.
    """

    format = "llama"

    def __init__(self, path: Path, config: ModelConfig, files: Files, notes: Sequence[str]) -> None:
        names = files[0][1].keys() - ({_OUTPUT} if config.tie_embeddings else set())
        ours = {weight.name: weight for weight in weights(config) if weight.name in names}
        self._files = files
        self._drift: dict[str, float] = {}
        self._axes = {name: _axis(files, config, weight) for name, weight in ours.items()}
        stored = {}
        for name, weight in ours.items():
            dtype = dtype_name(files[0][0], name, files[0][1][name])
            stored[name] = Stored(dtype, math.prod(weight.shape) * files[0][1][name].dtype.itemsize)
        super().__init__(path, config, stored, extra=sorted(names - ours.keys()), notes=notes)

    def tensor(self, name: str) -> Tensor:
        """One parameter, joined from all files.

        Raises:
            FormatError: Files differ in what should be the same in them.
        """
        weight = self.weights[name]
        axis = self._axes[name]
        parts = [tensors[name].load() for _, tensors in self._files]
        if axis is None:
            self._check_close(name, parts)
            return parts[0]
        repeats = len(parts) * parts[0].shape[axis] // weight.shape[axis]
        if repeats > 1:
            for first in range(0, len(parts), repeats):
                self._check_same(name, parts[first : first + repeats])
            parts = parts[::repeats]
        whole = parts[0] if len(parts) == 1 else torch.cat(parts, axis)
        return to_halves(whole, weight.rotary_heads) if weight.rotary_heads else whole

    def tokenizer(self) -> Tokenizer | None:
        """The tokenizer in the directory, or the `tokenizer.model` beside it, where Meta's downloads have it."""
        if find_tokenizer(self.path) is not None:
            return load_tokenizer(self.path)
        beside = self.path.resolve().parent / TOKENIZER
        return load_tokenizer(beside) if beside.is_file() else None

    def verify(self) -> None:
        """Compare the files with the MD5s that Meta gives with its downloads, where these lists are there."""
        verify_checklist(self.path)

    def _check_close(self, name: str, parts: Sequence[Tensor]) -> None:
        """Note how far the files differ in what each of them holds whole, and refuse files of another model.

        Each process of a training keeps its own copy of a norm, and copies drift apart: those of Llama 3 70B by 2e-3.
        Gains of two models that know nothing of each other lie sqrt(2) times their spread apart, more than five times
        a quarter of it, which is allowed; so is half a step of bfloat16, since gains without spread tell nothing.
        """
        first = parts[0].double()
        size, spread = first.square().mean().sqrt(), first.std(correction=0)
        allowed = torch.maximum(_ROUNDING * size, torch.minimum(_OF_SPREAD * spread, _FAR * size))
        for (file, _), part in zip(self._files, parts, strict=True):
            if same_bits(parts[0], part):
                continue
            off = part.double() - first
            if not off.square().mean().sqrt() <= allowed:
                raise FormatError(
                    f"{file}: {name} differs from that in {self._files[0][0].name} by {off.abs().max().item():.2g}, so "
                    "the two are of different models"
                )
            self._drift[name] = max(self._drift.get(name, 0.0), off.abs().max().item())
        if self._drift:
            self.notes[:] = [note for note in self.notes if not note.startswith(_DRIFTED)]
            worst = max(self._drift, key=self._drift.__getitem__)
            self.notes.append(
                f"{_DRIFTED} in {len(self._drift)} tensors, by {self._drift[worst]:.2g} at most ({worst}); the first "
                "file's are taken"
            )

    def _check_same(self, name: str, parts: Sequence[Tensor]) -> None:
        if not all(same_bits(parts[0], part) for part in parts[1:]):
            raise FormatError(f"{self.path}: {name} differs between files that should hold the same of it")


def open_llama(path: Path, hints: Hints) -> LlamaCheckpoint:
    """An original LLaMA directory.

    `params.json` does not state the context; hints may give it, and `norm_eps` and `rope_theta` if they are missing.

    Raises:
        FormatError: A file is missing, damaged, or not of the shapes that `params.json` makes.
    """
    params = read_params(path / PARAMS)
    whole = [(file, read_pth(file)) for file in _find_files(path)]
    files = [
        (file, {name: tensor for name, tensor in tensors.items() if not is_frequencies(name)})
        for file, tensors in whole
    ]
    _check_alike(files)
    _check_number(path, files, params)
    n_kv_heads, notes = _key_heads(files, params, hints)
    assumed, notes_on_unsaid = unsaid(params)
    hinted = {name: value for name in assumed if (value := getattr(hints, name)) is not None}
    config = model_config(
        path / PARAMS,
        {
            "dim": params.dim, "n_layers": params.n_layers, "n_heads": params.n_heads, "n_kv_heads": n_kv_heads,
            "ffn_dim": params.ffn_dim, "vocab_size": params.vocab_size or _vocab_size(files, params),
            "context": hinted.get("context") or params.context or assumed["context"],
            "norm_eps": hinted.get("norm_eps") or params.norm_eps or assumed["norm_eps"],
            "rope_theta": hinted.get("rope_theta") or params.rope_theta or assumed["rope_theta"],
            "rope_scaling": SCALED_ROPE if params.scaled_rope else None,
            "tie_embeddings": _is_tied(files),
        },
    )  # fmt: skip
    hints.refuse_other_values(path / PARAMS, config)
    for file, tensors in whole:
        for name in filter(is_frequencies, tensors):
            check_frequencies(file, name, tensors[name].load(), config)
    if params.scaled_rope:
        notes.append(
            f"params.json has use_scaled_rope, which is factor {SCALED_ROPE.factor:g} in Meta's code; Hugging Face's "
            "files of Llama 3.2 have 32"
        )
    notes += [note for name, note in zip(assumed, notes_on_unsaid, strict=True) if name not in hinted]
    return LlamaCheckpoint(path, config, files, notes)


def verify_checklist(path: Path) -> list[str]:
    """Check the files listed in `checklist.chk` and `tokenizer_checklist.chk` against their MD5; returns their names.

    Raises:
        FormatError: A listed file is missing or has another MD5, or a list is not valid.
    """
    verified = []
    for checklist in (path / CHECKLIST, path / TOKENIZER_CHECKLIST):
        if not checklist.is_file():
            continue
        for line in read_bounded(checklist, _MOST_CHECKLIST, FormatError).decode(errors="replace").splitlines():
            if not line.strip():
                continue
            match = re.fullmatch(r"([0-9a-fA-F]{32}) [ *](?:\./)?([^/\\\0]+)", line.strip())
            if match is None:
                raise FormatError(f"{checklist}: has the line {line[:80]!r}, expected an MD5 and the name of a file")
            if _md5(path / match[2]) != match[1].lower():
                raise FormatError(
                    f"{path / match[2]}: is damaged or was edited: its MD5 is not the one in {checklist.name}",
                    hint=f"if it was edited on purpose, remove {checklist}, or its line in it",
                )
            verified.append(match[2])
    return verified


def _find_files(path: Path) -> list[Path]:
    """The model-parallel files in order, checked for gaps."""
    numbers = {}
    for file in path.glob("consolidated.*.pth"):
        if match := re.fullmatch(r"consolidated\.(\d+)\.pth", file.name):
            other = numbers.setdefault(int(match[1]), file)
            if other != file:
                raise FormatError(f"{path}: has {' and '.join(sorted((other.name, file.name)))}, which are one number")
    if lacking := [number for number in range(len(numbers)) if number not in numbers]:
        raise FormatError(f"{path}: consolidated.{lacking[0]:02d}.pth is missing")
    if not numbers:
        raise FormatError(f"{path}: consolidated.00.pth is missing")
    return [numbers[number] for number in range(len(numbers))]


def _check_alike(files: Files) -> None:
    """Refuse files that do not hold the same names in the same dtypes and shapes."""
    first, expected = files[0]
    for file, tensors in files[1:]:
        if other := tensors.keys() ^ expected.keys():
            raise FormatError(f"{file}: holds other tensors than {first.name}, the first is {min(other)[:80]}")
        for name, tensor in tensors.items():
            if tensor.dtype != expected[name].dtype or tensor.shape != expected[name].shape:
                raise FormatError(
                    f"{file}: {name[:80]} is {list(tensor.shape)} of {tensor.dtype}, but {first.name} has "
                    f"{list(expected[name].shape)} of {expected[name].dtype}"
                )


def _check_number(path: Path, files: Files, params: Params) -> None:
    """Refuse too few files or layers before their numbers are used."""
    names = files[0][1]
    layers = {match[1] for name in names if (match := re.match(r"layers\.(\d+)\.", name))}
    if len(layers) != params.n_layers:
        raise FormatError(f"{path / PARAMS}: n_layers is {params.n_layers}, but {files[0][0].name} has {len(layers)}")
    if _WQ in names and len(names[_WQ].shape) == 2:
        rows = names[_WQ].shape[0]
        if rows and params.dim % rows == 0 and params.dim // rows != len(files):
            raise FormatError(f"{path}: is cut for {params.dim // rows} files consolidated.*.pth, but has {len(files)}")


def _key_heads(files: Files, params: Params, hints: Hints) -> tuple[int, list[str]]:
    """The number of key heads, each counted once, and a note where `params.json` counts them repeated."""
    said, count = params.n_kv_heads, len(files)
    if said != count or count == 1 or hints.n_kv_heads == said or _WK not in files[0][1] or _WV not in files[0][1]:
        return said, []
    if hints.n_kv_heads is not None and said % hints.n_kv_heads == 0:
        return hints.n_kv_heads, []  # that they are repeated is checked on reading
    changes = [
        number for number in range(1, count)
        if not all(same_bits(files[number][1][name].load(), files[number - 1][1][name].load()) for name in (_WK, _WV))
    ]  # fmt: skip
    heads = len(changes) + 1
    if heads == said or said % heads or any(number % (said // heads) for number in changes):
        return said, []
    return heads, [f"params.json counts {said} key heads, which are {heads} repeated, one in each of {count} files"]


def _vocab_size(files: Files, params: Params) -> int:
    """The number of rows of the output layer, or of the embedding."""
    file, tensors = files[0]
    if _OUTPUT in tensors and len(tensors[_OUTPUT].shape) == 2:
        return tensors[_OUTPUT].shape[0] * len(files)
    if _EMBEDDING in tensors and len(tensors[_EMBEDDING].shape) == 2:
        rows, columns = tensors[_EMBEDDING].shape
        return rows * len(files) if columns == params.dim else rows
    raise FormatError(f"{file}: has neither {_OUTPUT} nor {_EMBEDDING}, so nothing says the size of the vocabulary")


def _is_tied(files: Files) -> bool:
    """Whether the embedding and the output layer share their bytes in every file, not only have equal numbers."""
    return all(
        _EMBEDDING in tensors and _OUTPUT in tensors and tensors[_EMBEDDING].identity == tensors[_OUTPUT].identity
        for _, tensors in files
    )


def _axis(files: Files, config: ModelConfig, weight: Weight) -> int | None:
    """The axis along which the files divide a parameter, after its shape has been checked."""
    file, tensors = files[0]
    found, count = tensors[weight.name].shape, len(files)
    axis = weight.split
    if count == 1 or axis is None:
        check_shape(file, weight.name, found, weight.shape)
        return axis
    shape = list(weight.shape)
    if weight.name == _EMBEDDING and tuple(found) == (shape[0] / count, shape[1]):
        axis = 0
    per_file, rest = divmod(shape[axis], count)
    if weight.name.endswith((".wk.weight", ".wv.weight")) and count % config.n_kv_heads == 0:
        per_file, rest = max(per_file, config.head_dim), 0
    if rest:
        raise FormatError(f"{file}: {weight.name} has {shape[axis]} to divide, which {count} files cannot do evenly")
    shape[axis] = per_file
    check_shape(file, weight.name, found, shape)
    return axis


def _md5(path: Path) -> str:
    try:
        with open_regular(path, FormatError) as file:
            digest = hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False))  # pyrefly: ignore
            return digest.hexdigest()
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error.strerror}") from None

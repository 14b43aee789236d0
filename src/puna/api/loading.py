"""`puna.load`: any path, or a name on the hub, as a model that answers."""

import contextlib
import gc
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from puna.api.adapters import ALWAYS, OpenedAdapter, model_of_adapter, open_adapters
from puna.api.place import find_model, hints_of
from puna.core.console import muted, progress, say
from puna.core.errors import GenerateError, UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from puna.api.adapters import Adapters
    from puna.api.language_model import LanguageModel
    from puna.api.recipes import PathLike
    from puna.formats.adapted import AdaptedCheckpoint
    from puna.formats.checkpoint import Checkpoint, Hints
    from puna.infer.fidelity import Fidelity
    from puna.infer.runner import Runner
    from puna.infer.source import Source
    from puna.infer.speculate import Drafter
    from puna.model.llama import Llama
    from puna.ops.quantized import WeightKind
    from puna.tokenizer.tokenizer import Tokenizer

_LARGE = 1 << 30
"""Bytes of weights from which on their reading is shown."""
_PIECE = 64
"""Positions whose logits are compared at a time: 33 MB in float32 with 128,000 tokens."""


LOOKUP = "lookup"
"""The draft that needs no model."""


def load(
    path: "PathLike",
    *,
    weights: str | None = None,
    cache: str | None = None,
    device: str = "cpu",
    threads: int | None = None,
    measure: bool = True,
    split: bool = False,
    draft: "PathLike | None" = None,
    adapter: "PathLike | Mapping[str, PathLike] | None" = None,
    format: str | None = None,
    tokenizer: "PathLike | None" = None,
    heads: int | None = None,
    kv_heads: int | None = None,
    context: int | None = None,
    norm_eps: float | None = None,
    rope_theta: float | None = None,
) -> "LanguageModel":
    """A model, ready to answer, after all that can be known to be damaged has been checked.

    A Puna model is checked against the hashes in its record, a checkpoint of a run against those in its state. Other
    formats have none: their files are read as they are, once, tensor by tensor, and nothing is written.

    Args:
        path: A run's directory (its finished model, else its newest checkpoint), a run at any moment (`RUN@step-400`,
            `RUN@last`, `RUN@best`) or the directory of a checkpoint; a model directory, a file or directory in any
            format that Puna reads (docs/formats), or a model on Hugging Face's hub: `owner/name`,
            `owner/name@revision`, `owner/name@revision/file.gguf`. Of an adapter, and of a run that has only an
            adapter, the model that it was trained on is loaded with it.
        weights: How matrices are kept: `float32`, `bfloat16`, `int8` or `int4`. None keeps them as they are stored,
            also GGUF's Q8_0 and Q4_0; float16 and other quantized types become float32. The output layer of `int4` is
            int8.
        cache: How keys and values are kept: `float32` or `float16`. None takes float32 with weights in float32, else
            float16.
        device: Where it runs, such as `cuda`.
        threads: Of this process on a CPU, from now on; None takes PyTorch's number.
        measure: Whether `int8` and `int4` are compared with the weights in float32 on a short text; the result is said
            on stderr, and remembered below the user's cache directory.
        split: Whether the processes that torchrun started share the model, each with its heads and its part of the
            feed-forward width. Only the main process returns from here; the others compute with it until it ends.
        draft: Guesses at tokens that this model checks several at a time, so the text is the same and comes sooner: the
            path or name of a small model with the same vocabulary, or `lookup`, which takes what followed the last
            words where they stand earlier in the text. The small model is kept as this one.
        adapter: Low-rank updates in PEFT's format, a directory or the run that left them: the weights stay as they are,
            also quantized ones, and what the adapter adds is computed beside them. By names, several, of which each
            request may choose one; requests that choose none are answered by the model itself.
        format: Its format's name (docs/formats); None recognises it.
        tokenizer: The tokenizer's file or directory; None takes the one that lies with the model.
        heads: Query heads, where no file says it (EasyLM).
        kv_heads: Key and value heads, likewise.
        context: Positions, likewise.
        norm_eps: Of RMSNorm, likewise.
        rope_theta: Rotary base, likewise.

    Raises:
        FormatError: Nothing is there, the format is unknown, the files are damaged or incomplete, or they are not a
            LLaMA decoder's.
        CheckpointError: A run has no such checkpoint or none yet, or a file of a Puna model or checkpoint is damaged.
        TokenizerError: Its tokenizer cannot be used.
        GenerateError: There is no such device, kind of weights or of cache; a matrix cannot be quantized; the model
            cannot be split over the processes; the draft model has another vocabulary; or an adapter is of another
            model, or has parameters that were trained whole and is one of several.
    """
    path, adapter, weights = _with_base(path, adapter, weights)
    # One process has the whole model.
    split = split and int(os.environ.get("WORLD_SIZE", "1")) > 1
    follows = split and os.environ.get("RANK", "0") != "0"
    with _uncollected(), muted(follows), _checked_meanwhile(place := find_model(path), format):
        # From here on torch is needed, and takes longer to import than a small model's hashes to compute.
        import torch

        from puna.formats.peft.base import warn_of_another_base
        from puna.infer.load import CACHES, check_device
        from puna.ops.quantized import WeightKind

        on = check_device(device)
        kind = None if weights is None else WeightKind(_one_of("weights", weights, list(WeightKind)))
        kept = None if cache is None else CACHES[_one_of("cache", cache, list(CACHES))]
        if threads is not None:
            if threads < 1:
                raise GenerateError(f"threads is {threads}, but must be at least 1")
            torch.set_num_threads(threads)
        hints = hints_of(tokenizer, heads, kv_heads, context, norm_eps, rope_theta)
        adapters = open_adapters(adapter)
        whole = adapters.get(ALWAYS) if not isinstance(adapter, Mapping) else None
        checkpoint, found = _open(place, format, hints, kind, whole)
        # What was trained whole of an adapter has taken the place of its base's.
        base = checkpoint.source if _has_whole(checkpoint) else checkpoint
        for opened in adapters.values():
            warn_of_another_base(opened.adapter, base, str(opened.directory))
        model = _ready(checkpoint, found, device=on, weights=kind, cache=kept, split=split, adapters=adapters)
        model.adapter = ALWAYS if whole is not None else ""
        if measure and kind is not None and kind.is_quantized and found is not None:
            say(f"{kind}: {_fidelity(checkpoint, found, model.runner, cache)}")
        if draft is not None:
            model.drafter = _drafter(draft, found, model.runner, device=on, weights=kind, cache=kept)
        return model


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Python's collector rests: it would go again and again over what importing torch makes, a fifth of the time."""
    active = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if active:
            gc.enable()


@contextlib.contextmanager
def _checked_meanwhile(place: Path, format: str | None) -> Iterator[None]:
    """Compare files with the hashes that Puna has of them while something else is done, and end when both are done.

    Raises:
        CheckpointError: A file is damaged; this comes first where the damage made the other work fail, too.
    """
    from puna.core.schema.train_state import is_checkpoint
    from puna.model.checkpoint_files import check_weights
    from puna.model.directory import CONFIG, check_files

    check: Callable[[Path], object]
    if (place / CONFIG).is_file() and format in (None, "puna"):
        check = check_files
    elif is_checkpoint(place) and format in (None, "puna-checkpoint"):
        check = check_weights
    else:
        yield
        return
    with ThreadPoolExecutor(1) as pool:
        checked = pool.submit(check, place)
        try:
            yield
        except UserError:
            checked.result()
            raise
        checked.result()


def _with_base(path: "PathLike", adapter: "Adapters", weights: str | None) -> "tuple[PathLike, Adapters, str | None]":
    """The model, adapter and kind of weights that are meant where the path may be an adapter's.

    Raises:
        GenerateError: It is an adapter's, and another adapter is given.
    """
    if (base := model_of_adapter(path)) is None:
        return path, adapter, weights
    if adapter is not None:
        raise GenerateError(f"{path}: is an adapter itself, and takes no other", hint=f"name its model, {base[0]}")
    say(f"{path}: an adapter of {base[0]}, which is loaded with it")
    return base[0], path, weights or base[1]


def _open(
    place: Path, format: str | None, hints: "Hints", weights: "WeightKind | None", adapter: OpenedAdapter | None = None
) -> "tuple[Checkpoint, Tokenizer | None]":
    """The opened files and the tokenizer, with a line for everything that was assumed.

    What was trained whole of an adapter takes its place, and the tokenizer that lies with such an adapter.
    """
    from puna.formats.adapted import AdaptedCheckpoint
    from puna.formats.checked_tokenizer import checked_tokenizer
    from puna.formats.containers.dtypes import FLOATS
    from puna.formats.gguf.quantize import HELD
    from puna.formats.registry import format_of
    from puna.formats.tuned_moment import with_base
    from puna.tokenizer.load import find_tokenizer

    checkpoint = with_base(format_of(place, format).open(place, hints))
    if adapter is not None and adapter.adapter.whole:
        checkpoint = AdaptedCheckpoint(checkpoint, adapter.adapter, adapter.directory)
        if hints.tokenizer is None and find_tokenizer(adapter.directory) is not None:
            hints = replace(hints, tokenizer=adapter.directory)
    tokenizer = checked_tokenizer(checkpoint, hints)
    checkpoint.check_complete()
    for note in checkpoint.notes:
        say(f"note           {note}")
    kinds = {stored.dtype for stored in checkpoint.stored.values()} - FLOATS.keys() - HELD.keys()
    if kinds and weights is None:
        say(
            f"{place}: weights of {', '.join(sorted(kinds))} are computed with as float32; --weights int8 and "
            "--weights int4 take about a quarter and a seventh of that memory"
        )
    return checkpoint, tokenizer


def _has_whole(checkpoint: "Checkpoint") -> "TypeGuard[AdaptedCheckpoint]":
    """Whether what was trained whole of an adapter has taken its place in an opened model."""
    from puna.formats.adapted import AdaptedCheckpoint
    from puna.formats.tuned_moment import TunedMoment

    return isinstance(checkpoint, AdaptedCheckpoint) and not isinstance(checkpoint, TunedMoment)


def _ready(
    checkpoint: "Checkpoint", tokenizer: "Tokenizer | None", *, device: "torch.device", weights: "WeightKind | None",
    cache: "torch.dtype | None", split: bool, adapters: Mapping[str, OpenedAdapter],
) -> "LanguageModel":  # fmt: skip
    from puna.api.language_model import LanguageModel
    from puna.formats.watched import WatchedCheckpoint
    from puna.infer.load import decoder, make_runner

    made: list[Llama] = []
    updates = {name: one.adapter for name, one in adapters.items()}
    if _has_whole(checkpoint):  # it is in its place
        updates = {name: replace(adapter, whole={}) for name, adapter in updates.items()}
    total = sum(stored.n_bytes for stored in checkpoint.stored.values())

    def make(source: "Source", device: "torch.device") -> "Runner":
        def modules() -> "Llama":
            found = decoder(source, device=device, weights=weights)
            if not split:  # a part is not the model
                made.append(found)
            return found

        return make_runner(source, modules, device=device, weights=weights, cache=cache, adapters=updates)

    # A bar's library takes as long to import as a small model to read.
    with progress("load", total, "bytes") if total > _LARGE else contextlib.nullcontext() as advance:
        source = checkpoint if advance is None else WatchedCheckpoint(checkpoint, advance)
        runner = _shared(source, make) if split else make(source, device)
    return LanguageModel(
        checkpoint, tokenizer, runner, model=made[0] if made else None, weights=weights, adapters=adapters
    )


def _shared(source: "Checkpoint", make: "Callable[[Source, torch.device], Runner]") -> "Runner":
    # It imports torch.distributed, which takes half as long as torch.
    from puna.infer.tensor_parallel import share

    return share(source, make)


def _drafter(
    draft: "PathLike", tokenizer: "Tokenizer | None", runner: "Runner", *, device: "torch.device",
    weights: "WeightKind | None", cache: "torch.dtype | None",
) -> "Drafter":  # fmt: skip
    """What guesses for this runner. A draft model's files are not compared with hashes: no text depends on them."""
    from puna.infer.load import decoder, make_runner
    from puna.infer.speculate import DraftModel, PromptLookup

    if draft == LOOKUP:
        return PromptLookup()
    place = find_model(draft)
    checkpoint, own = _open(place, None, hints_of(None, None, None, None, None, None), weights)
    if tokenizer is not None and own is not None and own.token_bytes() != tokenizer.token_bytes():
        raise GenerateError(
            f"{place}: a draft model needs the vocabulary of the model that it guesses for, and has another",
            hint=f"take a smaller model of the same family, or what needs none: draft={LOOKUP!r}, on the command line "
            f"--draft {LOOKUP}",
        )
    small = make_runner(
        checkpoint, lambda: decoder(checkpoint, device=device, weights=weights), device=device, weights=weights,
        cache=cache, pages=runner.pages,
    )  # fmt: skip
    return DraftModel(small, runner)


def _fidelity(checkpoint: "Checkpoint", tokenizer: "Tokenizer", runner: "Runner", cache: str | None) -> "Fidelity":
    """How near the runner's distributions are to those of the checkpoint's weights in float32, block by block."""
    import torch

    from puna.formats.streamed import last_states
    from puna.infer.fidelity import measure, remembered, text_ids

    ids = text_ids(tokenizer, min(checkpoint.config.context, runner.pages * runner.page_size))
    key = {"model": _identity(checkpoint), "runner": runner.title, "cache": cache, "tokenizer": tokenizer.sha256}

    def compute() -> "Fidelity":
        with progress("compare with float32", checkpoint.config.n_layers, "blocks") as advance:
            x_TD = last_states(checkpoint, torch.tensor([ids]), advance)[0]
            return measure(runner, ids, _logits(checkpoint, x_TD))

    return remembered(key, compute)


def _logits(checkpoint: "Checkpoint", x_TD: "Tensor") -> "Iterator[Tensor]":
    from puna.formats.streamed import logits_by_row

    whole = len(x_TD) // _PIECE * _PIECE
    yield from logits_by_row(checkpoint, x_TD[:whole].unflatten(0, (-1, _PIECE)))
    if whole < len(x_TD):
        yield from logits_by_row(checkpoint, x_TD[whole:][None])


def _identity(checkpoint: "Checkpoint") -> Any:
    """What changes when the weights do: their hashes, or of other formats the files' sizes and times."""
    from puna.core.records import read_record
    from puna.formats.adapted import AdaptedCheckpoint
    from puna.model.directory import RECORD

    if isinstance(checkpoint, AdaptedCheckpoint):
        return [_identity(checkpoint.source), _stats(sorted(checkpoint.directory.iterdir()))]
    if checkpoint.format == "puna" and (record := read_record(checkpoint.path / RECORD)) is not None:
        return record["outputs"]
    return _stats(checkpoint.files)


def _stats(files: list[Path]) -> list[tuple[str, int, int]]:
    """Names, sizes and times of change."""
    found = [(file.resolve(), file.stat()) for file in files]
    return [(str(file), stat.st_size, stat.st_mtime_ns) for file, stat in found]


def _one_of(name: str, value: str, choices: list[str]) -> str:
    if value not in choices:
        raise GenerateError(f"{name} is {value!r}, expected one of {', '.join(choices)}")
    return value

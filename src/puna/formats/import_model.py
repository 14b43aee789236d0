"""Turns a model in any format into a Puna model directory, complete or not at all."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from puna.core.console import progress, say, warn
from puna.core.errors import FormatError
from puna.core.files import atomic_directory, sha256_file
from puna.formats.cache import snapshot_of
from puna.formats.cast import CastCheckpoint, common_dtype
from puna.formats.checked_tokenizer import checked_tokenizer
from puna.formats.checkpoint import Checkpoint, Hints
from puna.formats.describe import describe
from puna.formats.destination import check_destination
from puna.formats.merged import open_merged
from puna.formats.native.read import open_native
from puna.formats.native.write import write_native
from puna.formats.peft.read import is_adapter
from puna.formats.proof.compare import compare_weights
from puna.formats.registry import format_of
from puna.formats.tuned_moment import with_base
from puna.formats.unchanged import check_unchanged, file_states, states_of
from puna.formats.watched import WatchedCheckpoint
from puna.model.directory import CONFIG


def import_model(
    path: Path,
    out: Path,
    hints: Hints,
    *,
    form: str | None = None,
    base: Path | None = None,
    dtype: str | None = None,
    force: bool = False,
) -> None:
    """Write `out`, a model directory with the weights of `path`, and read it back to prove them the same.

    Args:
        path: A file or directory in any format that Puna reads, or an adapter, which is merged into its base.
        out: The directory to make.
        hints: Values from the user, for what the files do not state.
        form: The format's name; None recognises it.
        base: The model that an adapter was trained on; None takes the one that it names.
        dtype: The dtype to round the weights to; None keeps theirs, or float32 for quantized ones.
        force: Whether an existing `out` is replaced.

    Raises:
        FormatError: The format is unknown, the files are damaged, incomplete or changed meanwhile, or this is not a
            LLaMA decoder.
        TokenizerError: The tokenizer cannot be used.
        StorageError: `out` exists, or the disk is full.
    """
    path = snapshot_of(path)
    check_destination(out, path, CONFIG, force=force)
    before = file_states(path)
    name, title, checkpoint = _opened(path, form, base, hints)
    before |= states_of(checkpoint.files)
    tokenizer = checked_tokenizer(checkpoint, hints)
    for line in describe(checkpoint, title, tokenizer):
        say(line)
    if tokenizer is not None:
        checkpoint.notes += [note for note in tokenizer.notes if note not in checkpoint.notes]
    known = list(checkpoint.notes)
    checkpoint.check_complete()
    source = CastCheckpoint(checkpoint, dtype or common_dtype(checkpoint))
    total = sum(stored.n_bytes for stored in source.stored.values())
    with atomic_directory(out, replace=force) as directory:
        with progress("hash the source", None, "bytes") as advance:
            inputs = _hashes(path, checkpoint.files, advance)
        checkpoint.verify()
        with progress("write the weights", total, "bytes") as advance:
            watched = WatchedCheckpoint(source, advance)
            # The list itself: more notes may come as the weights are read, before the record is written.
            results: dict[str, Any] = {"format": name, "notes": checkpoint.notes}
            write_native(watched, tokenizer, directory, inputs=inputs, results=results)
        with progress("read them back", total, "bytes") as advance:
            compare_weights(source, open_native(directory, Hints()), advance)
        check_unchanged(before)
    for note in checkpoint.notes:
        if note not in known:  # found as the weights were read
            say(f"note           {note}")
    if tokenizer is None:
        why = "no tokenizer was brought in" if hints.no_tokenizer else "no tokenizer was found"
        warn(
            f"{why}, so this model takes no text: it can be inspected and exported, each proof on random tokens, but "
            "generates nothing and no perplexity is measured; --tokenizer PATH brings one in"
        )
    say(f"imported to {out}")


def _opened(path: Path, form: str | None, base: Path | None, hints: Hints) -> tuple[str, str, Checkpoint]:
    """The name and the title of a format, and a model in it; of an adapter what it makes of its base."""
    if is_adapter(path):
        return "peft", "an adapter merged into its base", open_merged(path, base, hints)
    if base is not None:
        raise FormatError(f"{path}: is not an adapter, so it has no base", hint="leave --base out")
    reader = format_of(path, form)
    return reader.name, reader.title, with_base(reader.open(path, hints))


def _hashes(path: Path, files: list[Path], advance: Callable[[float], None]) -> dict[str, str]:
    """SHA-256 by the files' names, with the directories below `path`, where there are any."""
    hashes = {}
    for file in files:
        inner = path.is_dir() and file.is_relative_to(path)
        hashes[file.relative_to(path).as_posix() if inner else file.name] = sha256_file(file)
        advance(file.stat().st_size)
    return hashes

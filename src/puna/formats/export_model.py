"""Writes a Puna model in another format, with its equivalence report; complete and proved, or not at all."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from puna.core.console import progress
from puna.core.files import atomic_directory, sha256_file, write_json, write_text
from puna.core.records import Record, read_record
from puna.core.schema.export import ExportResults
from puna.formats.cast import CastCheckpoint
from puna.formats.checkpoint import Checkpoint, Hints
from puna.formats.destination import check_destination
from puna.formats.format import Format, Job, Value
from puna.formats.native.read import open_native
from puna.formats.proof.equivalence import Text, prove
from puna.formats.registry import check_options, target_named
from puna.formats.unchanged import check_unchanged, file_states
from puna.formats.watched import WatchedCheckpoint
from puna.model.directory import check_files


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a user may choose of an export."""

    dtype: str | None = None
    """float32, bfloat16 or float16; None keeps the model's."""
    of_format: Mapping[str, Value] = field(default_factory=dict)
    """What is chosen of the format's own options, by their names; `Format.options` lists them."""
    run: bool = True
    """Whether the proof runs the models, too."""


_PROOF = "equivalence.json"


def export_model(
    model_dir: Path, form: str, out: Path, text: Text, options: Options, *, force: bool = False
) -> ExportResults:
    """Write a model directory in another format, prove it the same, and report the proof in equivalence.json.

    Args:
        model_dir: A Puna model directory.
        form: The format's name.
        out: The directory to make.
        text: The text to run the models on if their weights differ in bits.
        options: The user's choices.
        force: Whether an existing `out` is replaced.

    Returns:
        The figures of the proof.

    Raises:
        CheckpointError: The model is damaged.
        FormatError: It was changed meanwhile.
        ExportError: The format cannot express the model, or what was written is not the same model; nothing stays.
        StorageError: `out` exists and `force` is false, or the disk is full.
    """
    target = target_named(form)
    choices = check_options(target, options.of_format, options.dtype)
    check_destination(out, model_dir, _PROOF, force=force)
    before = file_states(model_dir)
    check_files(model_dir)
    native = open_native(model_dir, Hints())
    native.check_complete()
    tokenizer = native.tokenizer()
    source = native if options.dtype is None or target.rounds_itself else CastCheckpoint(native, options.dtype)
    record = Record(f"export-{form}", config=native.config.model_dump(exclude_none=True))
    record.inputs = dict((read_record(model_dir / "record.json") or {})["outputs"])
    total = sum(source.like(name).nbytes for name in source.weights)
    with atomic_directory(out, replace=force) as directory:
        job = Job(directory=directory, tokenizer=tokenizer, name=_name(model_dir), dtype=options.dtype, options=choices)
        with progress(f"write {form}", total, "bytes") as advance:
            notes = _write(target, WatchedCheckpoint(source, advance), job)
        written = target.open(directory, Hints.of(native.config))
        proof = prove(native, written, directory, tokenizer, text=text if options.run else None, oracle=target.oracle)
        check_unchanged(before)
        results = proof.model_copy(update={"choices": _chosen(target, options.dtype, choices), "notes": notes})
        record.outputs = {path.name: sha256_file(path) for path in sorted(directory.iterdir())}
        record.results = results.model_dump(exclude_unset=True)
        write_json(directory / _PROOF, record.as_dict())
        sums = record.outputs | {_PROOF: sha256_file(directory / _PROOF)}
        write_text(directory / "SHA256SUMS", "".join(f"{digest}  {name}\n" for name, digest in sums.items()))
    return results


def _chosen(target: Format, dtype: str | None, choices: Mapping[str, Value]) -> list[str]:
    """The options of this export, as a user types them."""
    words = [] if dtype is None else ["--dtype", dtype]
    for option in target.options:
        if option.name in choices:
            words += [option.flag, str(choices[option.name])]
    return words


def _name(model_dir: Path) -> str:
    """A name for the model: that of its run, or of its own directory."""
    path = model_dir.resolve()
    return path.parent.name if path.name == "model" else path.name


def _write(target: Format, source: Checkpoint, job: Job) -> list[str]:
    """Write the files of a format; returns remarks for the report."""
    notes = []
    if source.chat_template is not None and not target.holds_chat_template:
        notes.append(f"the model's chat template has no place in {target.name}")
    return notes + target.write(source, job)

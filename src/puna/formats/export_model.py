"""Writes a Puna model in another format, with its equivalence report; complete and proved, or not at all."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from puna.core.console import progress
from puna.core.files import atomic_directory, sha256_file, write_json, write_text
from puna.core.layout import RunDir
from puna.core.records import Record, read_record
from puna.core.reference import find_moment
from puna.core.schema.export import ExportResults
from puna.core.schema.lineage import Parent
from puna.core.schema.part import parse
from puna.core.schema.train_state import is_checkpoint, read_header
from puna.formats.cast import CastCheckpoint
from puna.formats.checkpoint import Checkpoint, Hints
from puna.formats.destination import check_destination
from puna.formats.format import Format, Job, Value
from puna.formats.merged import open_merged
from puna.formats.moment.read import open_moment
from puna.formats.native.read import open_native
from puna.formats.peft.read import is_adapter
from puna.formats.proof.equivalence import Text, prove
from puna.formats.registry import check_options, target_named
from puna.formats.tuned_moment import with_base
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
    model: Path, form: str, out: Path, text: Text, options: Options, *, force: bool = False
) -> ExportResults:
    """Write a model in another format, prove it the same, and report the proof in equivalence.json.

    Args:
        model: A Puna model directory, a checkpoint of a run, or an adapter, which is merged into the base it names.
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
    check_destination(out, model, _PROOF, force=force)
    before = {} if is_checkpoint(model) else file_states(model)
    native, inputs = _open_checked(model)
    tokenizer = native.tokenizer()
    source = native if options.dtype is None or target.rounds_itself else CastCheckpoint(native, options.dtype)
    record = Record(f"export-{form}", config=native.config.model_dump(exclude_none=True), inputs=inputs)
    total = sum(source.like(name).nbytes for name in source.weights)
    with atomic_directory(out, replace=force) as directory:
        job = Job(directory=directory, tokenizer=tokenizer, name=_name(model), dtype=options.dtype, options=choices)
        with progress(f"write {form}", total, "bytes") as advance:
            notes = _write(target, WatchedCheckpoint(source, advance), job)
        written = target.open(directory, Hints.of(native.config))
        proof = prove(native, written, directory, tokenizer, text=text if options.run else None, oracle=target.oracle)
        check_unchanged(before)
        found: dict[str, Any] = {"choices": _chosen(target, options.dtype, choices), "notes": notes}
        if native.step is not None:
            found["step"] = native.step
        if lineage := _lineage(model):
            found["lineage"] = lineage
        results = proof.model_copy(update=found)
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


def _open_checked(model: Path) -> tuple[Checkpoint, dict[str, str]]:
    """The model after its files have been compared with their hashes, and these hashes.

    A checkpoint's files stay readable once they are open, also where the run removes them.
    """
    if is_adapter(model):
        native: Checkpoint = open_merged(model, None, Hints())
        inputs = {file.name: sha256_file(file) for file in native.files}
    elif is_checkpoint(model):
        native = with_base(open_moment(model, Hints()))
        native.verify()
        inputs = read_header(model)[1]
    else:
        inputs = dict(check_files(model)["outputs"])
        native = open_native(model, Hints())
    native.check_complete()
    return native, inputs


def _lineage(model: Path) -> list[Parent]:
    """What the run of a model or a checkpoint comes from; nothing of a model that is not a run's."""
    if is_checkpoint(model):
        return read_header(model)[0].lineage
    run = RunDir(model.parent)
    record = read_record(run.record) if run.model == model else None
    found = record["results"].get("lineage", []) if record is not None else []
    return [parse(Parent, parent, f"{run.record}: lineage") for parent in found]


def _name(model: Path) -> str:
    """A name for the model: that of its run, with the step of a checkpoint, or of its own directory."""
    path = model.resolve()
    if (moment := find_moment(path)) is not None:
        return f"{moment.run.root.name}-{moment.name}"
    return path.parent.name if path.name == "model" else path.name


def _write(target: Format, source: Checkpoint, job: Job) -> list[str]:
    """Write the files of a format; returns remarks for the report."""
    notes = []
    if source.chat_template is not None and not target.holds_chat_template:
        notes.append(f"the model's chat template has no place in {target.name}")
    return notes + target.write(source, job)

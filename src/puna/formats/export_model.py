"""A Puna model in another format, with its equivalence report; complete and proved, or not there at all."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from puna.core.console import progress
from puna.core.errors import ExportError
from puna.core.files import atomic_directory, sha256_file, write_json, write_text
from puna.core.records import Record, read_record
from puna.formats.cast import CastCheckpoint
from puna.formats.checkpoint import Checkpoint, Hints
from puna.formats.easylm.write import Form, write_easylm
from puna.formats.gguf.write import write_gguf
from puna.formats.hf.write import write_hf
from puna.formats.llama.write import write_llama
from puna.formats.llama2c.write import write_llama2c
from puna.formats.native import open_native
from puna.formats.openlm.write import write_openlm
from puna.formats.place import check_place
from puna.formats.proof.equivalence import Text, prove
from puna.formats.registry import named
from puna.formats.unchanged import check_unchanged, states
from puna.formats.watched import Watched
from puna.model.files import check_files
from puna.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Options:
    """What a user may choose of an export; each is refused where the format has no such choice."""

    dtype: str | None = None
    """float32, bfloat16 or float16; None keeps the model's."""
    model_parallel: int | None = None
    """llama: the number of files; None is 1."""
    gguf_type: str | None = None
    """gguf: the type of its matrices; None is the one of the weights' dtype."""
    easylm_form: Form | None = None
    """easylm: which of its files; None is params."""
    run: bool = True
    """Whether the proof runs the models, too."""


_CHATS = {"hf", "gguf"}
"""The formats that hold a chat template."""
_CHOICES = {
    "model_parallel": ("llama", "--model-parallel"),
    "gguf_type": ("gguf", "--type"),
    "easylm_form": ("easylm", "--form"),
}
_GGUF_TYPES = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
_PROOF = "equivalence.json"


def export_model(
    model_dir: Path, form: str, out: Path, text: Text, options: Options, *, force: bool = False
) -> dict[str, Any]:
    """Write a model directory in another format, prove it the same, and say so in equivalence.json.

    Args:
        model_dir: A Puna model directory.
        form: The format's name.
        out: The directory to make.
        text: What the models are run on where their weights are not the same bits.
        options: What was chosen.
        force: Whether an existing `out` gives way.

    Returns:
        The figures of the proof.

    Raises:
        CheckpointError: The model is damaged.
        FormatError: It was changed meanwhile.
        ExportError: The format cannot express the model, or what was written is not the same model; nothing stays.
        StorageError: `out` exists and `force` is false, or the disk is full.
    """
    for name, (owner, option) in _CHOICES.items():
        if getattr(options, name) is not None and form != owner:
            raise ExportError(f"{option} is a choice of --to {owner}, not of --to {form}")
    if options.gguf_type is not None and options.dtype is not None:
        raise ExportError("--type and --dtype both say what gguf's matrices become; give one of them")
    check_place(out, model_dir, _PROOF, force=force)
    before = states(model_dir)
    check_files(model_dir)
    native = open_native(model_dir, Hints())
    native.check_complete()
    tokenizer = native.tokenizer()
    # GGUF's writer rounds matrices itself: gains are always float32 there, and keep all their bits.
    source = native if options.dtype is None or form == "gguf" else CastCheckpoint(native, options.dtype)
    record = Record(f"export-{form}", config=native.config.model_dump(exclude_none=True))
    record.inputs = dict((read_record(model_dir / "record.json") or {})["outputs"])
    total = sum(source.like(name).nbytes for name in source.weights)
    with atomic_directory(out, replace=force) as directory:
        with progress(f"write {form}", total, "bytes") as advance:
            notes = _write(form, _name(model_dir), Watched(source, advance), tokenizer, directory, options)
        written = named(form).open(directory, Hints.of(native.config))
        results = prove(native, written, directory, tokenizer, run=options.run, text=text)
        check_unchanged(before)
        record.outputs = {path.name: sha256_file(path) for path in sorted(directory.iterdir())}
        record.results = results | {"choices": _chosen(options), "notes": notes}
        write_json(directory / _PROOF, record.as_dict())
        sums = record.outputs | {_PROOF: sha256_file(directory / _PROOF)}
        write_text(directory / "SHA256SUMS", "".join(f"{digest}  {name}\n" for name, digest in sums.items()))
    return record.results


def _chosen(options: Options) -> list[str]:
    """The options that made the files what they are, as a user types them."""
    given = {"--dtype": options.dtype} | {option: getattr(options, name) for name, (_, option) in _CHOICES.items()}
    return [word for option, value in given.items() if value is not None for word in (option, str(value))]


def _name(model_dir: Path) -> str:
    """What to call the model: as its run is called, or as its own directory."""
    path = model_dir.resolve()
    return path.parent.name if path.name == "model" else path.name


def _write(
    form: str, name: str, source: Checkpoint, tokenizer: Tokenizer | None, directory: Path, options: Options
) -> list[str]:
    """Write the files of a format; returns remarks for the report."""
    notes = []
    if source.chat_template is not None and form not in _CHATS:
        notes.append(f"the model's chat template has no place in {form}")
    if form == "hf":
        write_hf(source, tokenizer, directory)
    elif form == "llama":
        write_llama(source, tokenizer, directory, model_parallel=options.model_parallel or 1)
    elif form == "easylm":
        write_easylm(source, tokenizer, directory, form=options.easylm_form or "params")
    elif form == "llama2c":
        write_llama2c(source, tokenizer, directory)
    elif form == "openlm":
        write_openlm(source, tokenizer, directory)
    elif form == "gguf":
        kind = options.gguf_type or _GGUF_TYPES[options.dtype or source.stored["tok_embeddings.weight"].dtype]
        notes += write_gguf(source, tokenizer, directory, file_type=kind, name=name)
    else:
        raise ExportError(f"{form!r} is no format that Puna writes")
    return notes

"""Models as files: look at them, bring them in from other formats and take them out."""

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from puna.api.place import find_model, hints_of, named_moment, own_name
from puna.core.console import say
from puna.core.errors import ExportError, FormatError, TokenizerError
from puna.core.layout import RunDir
from puna.core.user_path import user_path

if TYPE_CHECKING:
    from puna.api.recipes import PathLike
    from puna.config.recipe import ModelConfig
    from puna.core.schema.export import ExportResults
    from puna.formats.checkpoint import Checkpoint, Stored
    from puna.formats.format import Format, Value
    from puna.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class ModelInfo:
    """What a model in any format is; `print` shows it as `puna inspect` does. No weight has been read."""

    form: "Format"
    """Its format: name, title and reader."""
    checkpoint: "Checkpoint"
    """The opened files; `checkpoint.tensor(name)` reads a weight."""
    tokenizer: "Tokenizer | None"
    """The tokenizer that lies with it, or that was named."""

    @property
    def format(self) -> str:
        """The format's name, as `puna export --to` and `puna import --from` have it."""
        return self.form.name

    @property
    def config(self) -> "ModelConfig":
        """The decoder's shape, as `[model]` of a recipe has it."""
        return self.checkpoint.config

    @property
    def parameters(self) -> int:
        """Numbers in all of its tensors; shared ones count once."""
        from puna.plan.count import parameters

        return parameters(self.config).total

    @property
    def tensors(self) -> dict[str, "Stored"]:
        """Dtype and bytes of every parameter that the files hold, by Meta's names."""
        return dict(self.checkpoint.stored)

    @property
    def missing(self) -> list[str]:
        """Parameters of the decoder that the files lack; none where they are in the model that a run was tuned from."""
        from puna.formats.describe import missing_of

        return missing_of(self.checkpoint)

    @property
    def extra(self) -> list[str]:
        """The files' tensors for which the decoder has no place, nor a run of tuning as updates."""
        from puna.formats.describe import extra_of

        return extra_of(self.checkpoint)

    @property
    def notes(self) -> list[str]:
        """One sentence each on what was assumed because no file says it, or passed over."""
        return self.checkpoint.notes

    def __str__(self) -> str:
        from puna.formats.describe import describe

        return "\n".join(describe(self.checkpoint, self.form.title, self.tokenizer))

    def as_dict(self) -> dict[str, Any]:
        """All of it as JSON has it: `puna inspect --json`."""
        from puna.formats.describe import as_dict

        return as_dict(self.checkpoint, self.form.name, self.tokenizer)


def inspect(
    path: "PathLike",
    *,
    format: str | None = None,
    tokenizer: "PathLike | None" = None,
    heads: int | None = None,
    kv_heads: int | None = None,
    context: int | None = None,
    norm_eps: float | None = None,
    rope_theta: float | None = None,
) -> ModelInfo:
    """What a model in any format is: architecture, sizes, tokenizer, missing or extra tensors. No weight is read.

    Args:
        path: A file, a directory, a run at any moment, or a name on Hugging Face's hub, as `load` has it.
        format: Its format's name (docs/formats); None recognises it.
        tokenizer: The tokenizer's file or directory; None takes the one that lies with the model.
        heads: Query heads, where no file says it (EasyLM).
        kv_heads: Key and value heads, likewise.
        context: Positions, likewise.
        norm_eps: Of RMSNorm, likewise.
        rope_theta: Rotary base, likewise.

    Raises:
        FormatError: The format is unknown, the files are damaged, or they are not a LLaMA decoder's.
        TokenizerError: The tokenizer that was named cannot be used; of the model's own, a note says so.
    """
    from puna.formats.checked_tokenizer import checked_tokenizer
    from puna.formats.registry import format_of

    place = find_model(path)
    form, hints = format_of(place, format), hints_of(tokenizer, heads, kv_heads, context, norm_eps, rope_theta)
    checkpoint = form.open(place, hints)
    try:
        found = checked_tokenizer(checkpoint, hints)
    except (TokenizerError, FormatError) as error:
        if tokenizer is not None:
            raise
        # What is asked is what lies there; that its tokenizer cannot be used is a part of the answer.
        found = None
        checkpoint.notes.append(f"the tokenizer cannot be used: {error.message}")
    return ModelInfo(form, checkpoint, found)


def import_model(
    source: "PathLike",
    out: "PathLike | None" = None,
    *,
    format: str | None = None,
    dtype: str | None = None,
    tokenizer: "PathLike | None" = None,
    no_tokenizer: bool = False,
    heads: int | None = None,
    kv_heads: int | None = None,
    context: int | None = None,
    norm_eps: float | None = None,
    rope_theta: float | None = None,
    base: "PathLike | None" = None,
    force: bool = False,
) -> Path:
    """A model in any format as a Puna model, written and read back to prove it the same.

    Args:
        source: A file, a directory, a run at any moment, or a name on Hugging Face's hub, as `load` has it; or an
            adapter in PEFT's format, which is merged into its base.
        out: Where to write; None is `models/` and the source's name, of a moment of a run with its step.
        format: Its format's name (docs/formats); None recognises it.
        dtype: Round the weights to float32, bfloat16 or float16; None keeps theirs, float32 where they are quantized.
        tokenizer: The tokenizer's file or directory; None takes the one that lies with the model.
        no_tokenizer: Bring in the weights alone. The model can then be inspected and exported, but takes no text.
        heads: Query heads, where no file says it (EasyLM).
        kv_heads: Key and value heads, likewise.
        context: Positions, likewise.
        norm_eps: Of RMSNorm, likewise.
        rope_theta: Rotary base, likewise.
        base: The model that an adapter was trained on, in any format, or a run; None takes the one that it names.
        force: Replace what is there.

    Returns:
        The model's directory; `puna.load` reads it.

    Raises:
        FormatError: The format or the dtype is unknown, the files are damaged or incomplete, or they are not a LLaMA
            decoder's.
        TokenizerError: The tokenizer cannot be used.
        StorageError: `out` exists and `force` is false, or the disk is full.
    """
    from puna.core.terminate import orderly_end
    from puna.formats.import_model import import_model as bring_in

    _check_dtype(dtype)
    name, place = own_name(source), find_model(source)
    target = user_path(out) if out is not None else Path("models") / (name if place.is_dir() else Path(name).stem)
    hints = hints_of(tokenizer, heads, kv_heads, context, norm_eps, rope_theta)
    if no_tokenizer:
        if tokenizer is not None:
            raise TokenizerError("--tokenizer and --no-tokenizer cannot both be given")
        hints = replace(hints, no_tokenizer=True)
    with orderly_end():
        bring_in(
            place, target, hints, form=format, base=None if base is None else find_model(base), dtype=dtype, force=force
        )
    return target


@dataclass(frozen=True)
class Export:
    """A model in another format, with the proof that it is the same model; `print` shows the proof."""

    path: Path
    """The directory that was written; equivalence.json in it is the proof's record."""
    proof: "ExportResults"
    """The proof's figures (docs/formats/README.md)."""
    lines: list[str]
    """The same in sentences."""

    def __str__(self) -> str:
        return "\n".join(self.lines)


def export(
    run: "PathLike",
    to: str,
    out: "PathLike | None" = None,
    *,
    dtype: str | None = None,
    text: "PathLike | None" = None,
    quick: bool = False,
    force: bool = False,
    **options: "Value",
) -> Export:
    """Write a model in another format and prove that it is the same model; complete and proved, or not there at all.

    Args:
        run: A run's directory (its finished model, else its newest checkpoint), a run at any moment (`RUN@step-400`,
            `RUN@last`, `RUN@best`) or the directory of a checkpoint, a model directory, or that of an adapter, which
            is merged into the base that it names.
        to: The format: `hf` (Hugging Face), `llama` (Meta's original), `easylm`, `gguf` (llama.cpp), `llama2c`,
            `openlm`, or one that an installed package adds.
        out: Where to write; None is `exports/` and the format's name, in the run or the model directory, and for a
            moment of a run its step: `exports/hf-step-400`.
        dtype: Round the weights to float32, bfloat16 or float16 (of gguf, the matrices); None keeps them.
        text: Held-out text to compare on; None takes that of the run's data, in `data/` and the recipe's name.
        quick: Compare weights and tokenizers only, run no model.
        force: Replace what is there.
        options: The format's own, as `puna export --help` lists them: `type="Q8_0"` of gguf, `model_parallel=2` of
            llama, `form="train_state"` of easylm.

    Raises:
        CheckpointError: There is no such model or checkpoint, or a file of it is damaged.
        DataError: `text` cannot be read.
        FormatError: `dtype` is not one of those that there are.
        ExportError: There is no such format or option, it cannot express the model, or what was written is not the
            same model.
        StorageError: `out` exists and `force` is false, or the disk is full.
    """
    from puna.api.proof_text import proof_text
    from puna.core.terminate import orderly_end
    from puna.formats.export_model import Options, export_model
    from puna.formats.peft.read import is_adapter
    from puna.formats.proof.equivalence import summary
    from puna.model.directory import resolve_model

    _check_dtype(dtype)
    if (moment := named_moment(run)) is not None:
        source, home, name = moment.directory, moment.run.root, f"{to}-{moment.name}"
    else:
        place = user_path(run)
        if is_adapter(RunDir(place).adapter) and not RunDir(place).has_model:
            adapter = RunDir(place).adapter
            raise ExportError(
                f"{place}: has no model, but an adapter alone, since its base was quantized",
                hint=f"`{shlex.join(['puna', 'export', str(adapter), '--to', to])}` merges it into the original",
            )
        source, name = place if is_adapter(place) else resolve_model(place), to
        # A run's exports go into the run, whichever of its two directories was named; other models have their own.
        home = source.parent if source.name == RunDir(source).model.name else source
    target = user_path(out) if out is not None else home / "exports" / name
    known = proof_text(Path(run) if moment is None else home, None if text is None else user_path(text))
    chosen = Options(dtype=dtype, of_format=options, run=not quick)
    with orderly_end():
        proof = export_model(source, to, target, known, chosen, force=force)
    exported = Export(target, proof, summary(proof))
    for line in exported.lines:
        say(line)
    say(f"exported to {target}")
    return exported


def _check_dtype(dtype: str | None) -> None:
    """Refuse what weights are not rounded to.

    Raises:
        FormatError: It is not one of the three dtypes.
    """
    from puna.formats.checkpoint import FLOATS

    if dtype is not None and dtype not in FLOATS:
        raise FormatError(f"dtype {dtype!r}: expected one of {', '.join(FLOATS)}")

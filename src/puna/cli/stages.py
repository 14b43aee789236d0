"""The stages of the road, joined by their files: each reads what the one before it has left on the disk.

A stage is finished when its record is there and says that it was made with the values that the recipe has now. A
finished stage is skipped; one that was made with other values is refused, unless it may be replaced.
"""

import os
from pathlib import Path
from typing import Any

from puna.config.explain import differences
from puna.config.recipe import Recipe
from puna.core.console import say, warn
from puna.core.errors import DataError
from puna.core.files import remove, sha256_json
from puna.core.layout import DataDir, RunDir
from puna.core.records import read_record


def build_data(recipe: Recipe, out: DataDir, *, force: bool) -> None:
    """Documents, tokenizer, token shards and card, each where it is missing."""
    from puna.data.card import finish_build
    from puna.data.tokenize import tokenize_documents
    from puna.tokenizer.tokenizer import Tokenizer

    train_tokenizer(recipe, out, force=force)
    tokenizer = Tokenizer.load(out.tokenizer)
    made_from = {"documents": _documents_hash(out), "tokenizer": tokenizer.sha256}
    if _finished(out.record, recipe.data.model_dump(), out.root, force, made_from):
        say(f"{out.root}: token shards built already")
        return
    tokenize_documents(recipe, out, tokenizer, threads=_cores())
    finish_build(recipe, out)


def train_tokenizer(recipe: Recipe, out: DataDir, *, force: bool) -> None:
    """The tokenizer, and before it the documents, where they are missing."""
    from puna.data.documents import build_documents
    from puna.data.training_text import training_text
    from puna.tokenizer import train as training

    if not _finished(out.documents / "record.json", _documents_config(recipe), out.documents, force):
        build_documents(recipe, out)
    else:
        say(f"{out.documents}: documents built already")
    # Another mixture needs no other tokenizer: the shares that it was trained with are in its record.
    config = recipe.tokenizer.model_dump() | {"vocab_size": recipe.model.vocab_size}
    made_from = {"documents": _documents_hash(out)}
    if _finished(out.tokenizer / "record.json", config, out.tokenizer, force, made_from):
        say(f"{out.tokenizer}: tokenizer trained already")
        return
    training.train_tokenizer(
        training_text(recipe, out),
        vocab_size=recipe.model.vocab_size,
        character_coverage=recipe.tokenizer.character_coverage,
        config=config,
        inputs=made_from | {"mixture": sha256_json(recipe.mixture)},
        out=out.tokenizer,
    )


def train_model(
    recipe: Recipe, data: DataDir, run: RunDir, *, resume: bool, force: bool, stop_at: int | None = None
) -> None:
    """The model, trained on the data build."""
    if not recipe.mixture:
        raise DataError(
            f"recipe {recipe.name!r} names no data to train on",
            hint="write a recipe that extends it, with [data.sources] and [mixture]",
        )
    build = read_record(data.record)
    if build is None:
        raise DataError(
            f"{data.root}: no finished data build is here", hint=f"`puna data build {recipe.name}` makes it"
        )
    if changed := differences(build["config"], recipe.data.model_dump()):
        raise DataError(
            f"{data.root}: was built with other values: {'; '.join(changed)}",
            hint="give these values back, or build the data again: `puna data build … --force`",
        )
    from puna.infer.generate import generate_text
    from puna.model.llama import Llama
    from puna.tokenizer.tokenizer import Tokenizer
    from puna.train.loop import train

    samples = recipe.samples

    def sample(model: Llama, tokenizer: Tokenizer, prompt: str, seed: int) -> str:
        return generate_text(
            model, tokenizer, prompt, max_tokens=samples.max_tokens, temperature=samples.temperature,
            top_p=samples.top_p, seed=seed,
        )  # fmt: skip

    train(recipe, data, run, resume=resume, force=force, sample=sample, stop_at=stop_at)


def export_model(source: Path, form: str, out: Path | None, *, force: bool) -> None:
    """The model in another format, with its equivalence report."""
    from puna.export.hf import write_hf
    from puna.model.files import resolve_model

    model = resolve_model(source)
    target = out or (source if model != source else source.parent) / "exports" / form
    write_hf(model, target, force=force)
    say(f"exported to {target}")


def write_report(run: RunDir) -> None:
    """The report page of a run."""
    from puna.report.page import write_report

    say(f"report: {write_report(run)}")


def walk(recipe: Recipe, data: DataDir, run: RunDir) -> None:
    """The whole road; finished stages are skipped."""
    build_data(recipe, data, force=False)
    train_model(recipe, data, run, resume=True, force=False)
    exported = run.exports / "hf"
    if _exported_from(run, exported):
        say(f"{exported}: exported already")
    else:
        export_model(run.root, "hf", None, force=True)
    write_report(run)
    say(f'try: puna generate {run.root} "{(recipe.samples.prompts or ["Once"])[0]}"')


def _documents_hash(out: DataDir) -> str:
    return sha256_json((read_record(out.documents / "record.json") or {})["outputs"])


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _documents_config(recipe: Recipe) -> dict[str, Any]:
    return recipe.data.model_dump(include={"sources"})


def _finished(
    record_path: Path, config: dict[str, Any], what: Path, force: bool, made_from: dict[str, str] | None = None
) -> bool:
    """Whether a stage is there as the recipe wants it; with `force`, one that is not is removed.

    One that was made from other `made_from` (hashes of what the stages before it have left) is out of date: not there.

    Raises:
        DataError: It was made with other values and `force` is false.
    """
    record = read_record(record_path)
    if record is None:
        return False
    changed = differences(record["config"], config)
    if not changed:
        return all(record["inputs"].get(name) == digest for name, digest in (made_from or {}).items())
    if not force:
        raise DataError(
            f"{what}: was built with other values: {'; '.join(changed)}",
            hint="give these values back, choose another --data-dir, or replace it: `puna data build … --force`",
        )
    warn(f"{what}: built with other values ({'; '.join(changed)}); building it again")
    remove(what if what.name in {"documents", "tokenizer"} else record_path)
    return False


def _exported_from(run: RunDir, exported: Path) -> bool:
    """Whether an export is there and was made from the model that the run has now."""
    proof = read_record(exported / "equivalence.json")
    model = read_record(run.model / "record.json")
    return proof is not None and model is not None and proof["inputs"] == model["outputs"]

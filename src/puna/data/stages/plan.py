"""A data build from beginning to end: its stages, and the files made from their results."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from puna.config.paths import beside
from puna.config.recipe import Recipe
from puna.core.errors import DataError
from puna.core.files import atomic_directory, remove, sha256_file, sha256_json, storage_errors, write_json
from puna.core.layout import DataDir
from puna.core.records import Record, cores
from puna.data.document import INVALID_UTF8
from puna.data.documents import LISTING, documents_files, documents_record, documents_sha256
from puna.data.input.sources import list_files, locate
from puna.data.input_file import InputFile
from puna.data.readers.rows import NO_TEXT
from puna.data.stages.before import check_input
from puna.data.stages.dedup import duplicate_stages
from puna.data.stages.finish import DROPPED_FILE, FILES, REPORT_FILE, Finish
from puna.data.stages.line_groups import line_groups
from puna.data.stages.lines import Clean, Lines, line_tasks
from puna.data.stages.read import Read, read_tasks
from puna.data.stages.rule_inputs import Table, evaluation_table, model_hashes
from puna.data.stages.similar import near_groups
from puna.data.stages.tokens import Tokenize
from puna.data.stages.turns import refuse_rules_of_lines
from puna.data.table import DECONTAMINATE, LINES, check_plugins, used_plugins
from puna.data.tasks.counts import Counts, total
from puna.data.tasks.executors import Executor, check, run_stage
from puna.data.tasks.file_tally import fewer_names, no_files
from puna.data.tasks.task import RECORD, Task
from puna.shards.format import MANIFEST, read_manifest
from puna.shards.shards import TokenShards
from puna.shards.split import HELDOUT, SPLITS, TRAIN
from puna.shards.writer import join_parts, link
from puna.tokenizer.tokenizer import Tokenizer

KINDS = FILES | {"dropped": DROPPED_FILE, "report": REPORT_FILE}
"""The files of a finished task, by their final directory."""
_TASK_DIRECTORY = re.compile("[0-9a-f]{24}")
_LATER = {"tokenize", "join-tokenizer", "join-data"}
"""Stages that come after the documents."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The tasks of a build, a function of the recipe and the input files."""

    stages: list[list[Task]]
    """Stages in order; a task reads files of earlier stages only."""
    finish: list[Finish]
    """The tasks of the last stage."""
    versions: dict[str, str]
    """Origin of each source, for people."""
    table: Table | None
    """The task that writes the table of evaluation sets, if a source is compared with them."""
    listing: str
    """A hash of the names, sizes and times of all input files, and of the models and evaluation sets."""
    files: dict[str, list[InputFile]]
    """The input files of each source."""


def plan_documents(recipe: Recipe, out: DataDir) -> Plan:
    """The stages from input files to documents.

    Raises:
        DataError: There are no sources, or one is missing or empty.
    """
    data = recipe.data
    if not data.sources:
        raise DataError(
            f"recipe {recipe.name!r} has no sources",
            hint="write a recipe that extends it, with [data.sources] and [mixture]",
        )
    check_plugins(data)
    refuse_rules_of_lines(data)
    work = out.work
    files = {name: list_files(name, source) for name, source in data.sources.items()}
    versions = {name: locate(name, source)[1] for name, source in data.sources.items()}
    models, table = model_hashes(data), evaluation_table(work, data)
    reads: list[Read] = []
    lines: list[Lines] = []
    cleaned: list[Read | Clean] = []
    for name, source in data.sources.items():
        for group in line_groups(source, data.rules.lines, list(enumerate(files[name]))):
            tasks = read_tasks(work, data, name, group, versions[name], models, table)
            reads += tasks
            if LINES in source.clean:
                counted = line_tasks(tasks)
                lines += counted
                cleaned += [Clean(work=work, read=task, lines=counted) for task in tasks]
            else:
                cleaned += tasks
    stages: list[list[Task]] = [
        [table] if table else [],
        [*reads],
        [*lines],
        [task for task in cleaned if isinstance(task, Clean)],
    ]
    compared, found = duplicate_stages(work, data, cleaned)
    names = tuple((name, tuple(file.name for file in files[name])) for name in data.sources)
    finish = [Finish(work=work, cleaned=task, found=tuple(found), names=names) for task in cleaned]
    everything: list[list[Task]] = [*stages, *compared, [*finish]]
    sets = [digest for _, _, digest in table.sets] if table else []
    listing = sha256_json([{name: _stamps(files[name]) for name in files}, models, sets])
    return Plan(
        stages=[stage for stage in everything if stage],
        finish=finish,
        versions=versions,
        table=table,
        listing=listing,
        files=files,
    )


def build_documents(recipe: Recipe, out: DataDir, *, executor: Executor = "local", workers: int | None = None) -> None:
    """Read all sources and write the documents' directory.

    Args:
        recipe: The sources and rules.
        out: Where the build is.
        executor: `local` or `ray`.
        workers: Tasks at one time; all cores without it.

    Raises:
        DataError: There are no sources, one is missing, or a split of one would be empty.
    """
    record = Record("documents", config=beside(documents_config(recipe), out.root, "data"))
    plan = plan_documents(recipe, out)
    check_input(recipe, out, plan.files)
    for stage in plan.stages:
        run_stage(stage, executor, workers or cores())
    assemble_documents(recipe, out, plan, record)
    ours = {task.directory for stage in plan.stages for task in stage}
    for directory in out.work.glob("*"):
        if directory.name not in _LATER:
            _remove_other_tasks(directory, ours)


def documents_config(recipe: Recipe) -> dict[str, Any]:
    """The values of a recipe that decide the documents."""
    return recipe.data.model_dump(exclude={"shard_tokens", "most_lost"})


def assemble_documents(recipe: Recipe, out: DataDir, plan: Plan, record: Record) -> None:
    """Make the documents' directory from the files of finished tasks.

    Raises:
        DataError: A task is not finished, or a split of a source is empty.
    """
    check([*plan.finish])
    results: dict[str, Counts] = {}
    for number, name in enumerate(recipe.data.sources):
        counts = fewer_names(total(task.results() for task in plan.finish if task.name == name))
        for split in SPLITS:
            counts.setdefault(split, {"documents": 0, "bytes": 0})
        if groups := near_groups(plan.finish[0].found, number):
            counts["near"] = groups
        if plan.table and DECONTAMINATE in recipe.data.sources[name].clean:
            counts["evaluation_sets"] = plan.table.results()["sets"]
        results[name] = counts
        _refuse_empty(name, counts)
    with atomic_directory(out.documents, replace=True) as directory:
        listing = {name: _link_files(directory, name, plan) for name in recipe.data.sources}
        write_json(directory / LISTING, listing)
        record.inputs = plan.versions | {"files": plan.listing} | used_plugins(recipe.data, recipe.data.sources)
        record.results = results
        record.outputs = {LISTING: sha256_file(directory / LISTING)}
        record.write(directory / "record.json")


def _link_files(directory: Path, name: str, plan: Plan) -> dict[str, list[dict[str, Any]]]:
    tasks = [task for task in plan.finish if task.name == name]
    listing: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    for kind, file in KINDS.items():
        (directory / name / kind).mkdir(parents=True)
        for number, task in enumerate(tasks):
            path = f"{name}/{kind}/{number:05d}.jsonl.zst"
            link(task.checked(file), directory / path)
            row = {"path": path, "sha256": task.hashes()[file], "bytes": (directory / path).stat().st_size}
            listing[kind].append(row | {"made_by": task.fingerprint})
    return listing


def _refuse_empty(name: str, counts: Counts) -> None:
    for split in (TRAIN, HELDOUT):
        if not counts[split]["documents"]:
            dropped = {reason: figures["documents"] for reason, figures in dropped_by_reason(counts).items()}
            raise DataError(
                f"source {name!r}: no document is left for the {split} split "
                f"(train {counts[TRAIN]['documents']}, heldout {counts[HELDOUT]['documents']}, dropped {dropped}"
                f"{_without_documents(counts)})",
                hint=_way_out(name, dropped),
            )


def _way_out(name: str, dropped: Counts) -> str:
    """What to do about a split without documents, by the reason for which most documents were dropped."""
    most = max(dropped, key=lambda reason: dropped[reason], default="")
    if most == INVALID_UTF8:
        return (
            "the files are not UTF-8; `iconv -f ISO-8859-1 -t UTF-8 FILE > NEW` converts one of the commonest other "
            "encoding"
        )
    if most == NO_TEXT:
        return f"correct data.sources.{name}.text_field, the column of the text"
    return f"correct data.sources.{name}: its include, its clean or its heldout_…"


def _without_documents(counts: Counts) -> str:
    """How many files gave nothing, with the first of them; empty if all gave something."""
    files = counts.get("files", no_files())
    named = {name: reasons for kind in ("nothing", "broken") for name, reasons in files[kind]["named"].items()}
    count = sum(sum(files[kind]["reasons"].values()) for kind in ("nothing", "broken"))
    shown = ", ".join(f"{name} {reasons}" for name, reasons in list(named.items())[:3])
    return f"; {count:,} of {files['read']:,} files gave nothing or broke off: {shown}" if count else ""


def dropped_by_reason(counts: Counts) -> Counts:
    """Documents and bytes that were dropped for each reason, over all steps."""
    return total(step.get("dropped", {}) for step in counts.get("steps", {}).values())


def _stamps(files: list[InputFile]) -> list[list[Any]]:
    return [[file.name, file.size, file.stamp] for file in files]


def _remove_other_tasks(stage: Path, ours: set[Path]) -> None:
    """Delete files of tasks for earlier recipes and input files from a stage's directory: nothing reads them now."""
    with storage_errors(stage):
        for path in stage.glob("*"):
            if _TASK_DIRECTORY.fullmatch(path.name) and path not in ours:
                remove(path)


def tokenize_tasks(recipe: Recipe, out: DataDir, workers: int) -> list[Tokenize]:
    """One task for each file of documents.

    Raises:
        DataError: The documents are missing or damaged.
    """
    files = [
        (source, split, file)
        for source in recipe.data.sources
        for split in SPLITS
        for file in documents_files(out, source, split)
    ]
    largest = max((file.size for *_, file in files), default=0)
    at_once = min(workers, sum(file.size > largest // 4 for *_, file in files))
    threads = max(1, cores() // max(1, at_once))  # few large files would leave cores idle
    return [
        Tokenize(
            work=out.work, out=out, source=source, split=split, documents=out.documents / file.path, size=file.size,
            sha256=file.sha256, made_by=file.made_by, shard_tokens=recipe.data.shard_tokens, threads=threads,
        )
        for source, split, file in files
    ]  # fmt: skip


def tokenize_documents(
    recipe: Recipe, out: DataDir, tokenizer: Tokenizer, *, executor: Executor = "local", workers: int | None = None
) -> None:
    """Write the token shards of every source and split, and remove those of sources that the recipe does not name.

    Raises:
        DataError: The documents are missing or damaged.
        StorageError: The disk is full or not writable.
    """
    documents_record(out)
    _remove_other_sources(recipe, out)
    tasks = tokenize_tasks(recipe, out, workers or cores())
    wanted = [
        (source, split)
        for source in recipe.data.sources
        for split in SPLITS
        if not _is_current(recipe, out, tokenizer, source, split)
    ]
    needed: list[Task] = [task for task in tasks if (task.source, task.split) in wanted]
    for task in needed:
        if task.is_done and not task.is_whole:  # its files are those of the shards, under a second name
            remove(task.directory / RECORD)
    run_stage(needed, executor, workers or cores())
    for source, split in wanted:
        parts = [task.part() for task in tasks if (task.source, task.split) == (source, split)]
        join_parts(
            out.shards / source / split, parts, tokenizer, source=source, split=split,
            shard_tokens=recipe.data.shard_tokens, documents_sha256=documents_sha256(out, source, split),
        )  # fmt: skip
    _remove_other_tasks(out.work / "tokenize", {task.directory for task in tasks})


def _remove_other_sources(recipe: Recipe, out: DataDir) -> None:
    with storage_errors(out.shards):
        for path in out.shards.glob("*"):
            if path.name not in recipe.data.sources and any(path.glob(f"*/{MANIFEST}")):
                remove(path)


def shards_are_current(recipe: Recipe, out: DataDir, tokenizer: Tokenizer) -> bool:
    """Whether the shards of all sources exist, have the right sizes, and were made from these documents.

    Raises:
        DataError: The documents are missing or damaged.
    """
    return all(_is_current(recipe, out, tokenizer, source, split) for source in recipe.data.sources for split in SPLITS)


def _is_current(recipe: Recipe, out: DataDir, tokenizer: Tokenizer, source: str, split: str) -> bool:
    """Whether complete shards exist that were made from these documents with these settings."""
    directory = out.shards / source / split
    try:
        TokenShards.open(directory, tokenizer_sha256=tokenizer.sha256)
        manifest = read_manifest(directory)
    except DataError:
        return False
    made_from = (documents_sha256(out, source, split), recipe.data.shard_tokens)
    return (manifest["documents_sha256"], manifest["shard_tokens"]) == made_from

"""`puna data build`: makes documents, tokenizer, token shards and card, each if it is missing.

A recipe with [finetune] needs documents and card alone: its examples become tokens in the run, which knows the model.

A step is finished when its record exists and was made with the recipe's present values. A finished step is skipped; one
that was made with other values is refused, unless it may be replaced.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from puna.config.commands import data_build_command
from puna.config.explain import differences
from puna.config.paths import with_known_places
from puna.config.recipe import Recipe
from puna.core.console import say, warn
from puna.core.errors import DataError, TokenizerError
from puna.core.files import discard, remove, sha256_json
from puna.core.layout import DataDir
from puna.core.lock import DirectoryLock
from puna.core.records import read_record
from puna.data.card.card import finish_build
from puna.data.documents import documents_files, documents_record
from puna.data.stages.before import check_input, check_packages
from puna.data.stages.finish import FILES, Finish
from puna.data.stages.plan import (
    KINDS,
    build_documents,
    documents_config,
    plan_documents,
    shards_are_current,
    tokenize_documents,
)
from puna.data.stages.tokens import Tokenize
from puna.data.tasks.counts import Counts
from puna.data.tasks.executors import Executor
from puna.data.tasks.slurm import submit
from puna.data.tasks.task import Progress, Task
from puna.data.training_text import TokenizerText, refuse_vocabulary
from puna.shards.split import SPLITS
from puna.tokenizer import train as training
from puna.tokenizer.existing import named_tokenizer, tokenizer_identity, write_existing
from puna.tokenizer.load import load_tokenizer
from puna.tokenizer.tokenizer import Tokenizer

_CARDS = (".json", ".md", ".html")
"""Endings of the forms of the card."""


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Where and how the tasks of a build run."""

    executor: Executor = "local"
    workers: int | None = None
    """Tasks at one time; None: one per core of this machine."""
    partition: str = ""
    """executor = "slurm": the cluster's partition; empty: its default one."""
    time: str = "24:00:00"
    """executor = "slurm": longest time of a job; empty: the partition's."""
    setup: str = ""
    """executor = "slurm": shell commands that a job begins with."""


def build_data(recipe: Recipe, out: DataDir, *, force: bool, execution: Execution | None = None) -> None:
    """Make documents, tokenizer, token shards and card, each if it is missing.

    With `force`, what was built with other values is replaced; a finished build with the recipe's own values is deleted
    and built again. One that is not finished goes on.

    Raises:
        DataError: Something was built with other values and `force` is false, or a source is missing or damaged.
    """
    execution = execution or Execution()
    if execution.executor == "slurm":
        submit_data(recipe, out, force=force, execution=execution)
        return
    with DirectoryLock(out.root):
        if force and _is_built(recipe, out):
            say(f"{out.root}: has the recipe's values already; deleting it and building it again")
            _delete_build(out)
        _build_data(recipe, out, force=force, execution=execution)


def _build_data(recipe: Recipe, out: DataDir, *, force: bool, execution: Execution) -> None:
    """As `build_data`, in a directory whose lock is held; a finished build with the recipe's values stays."""
    if recipe.finetune:
        _build_examples(recipe, out, force=force, execution=execution)
        return
    _train_tokenizer(recipe, out, force, execution)
    tokenizer = load_tokenizer(out.tokenizer)
    made_from = {"documents": _documents_hash(out), "tokenizer": tokenizer.sha256}
    finished = _finished(recipe, out, out.root, recipe.data.model_dump(), force, made_from)
    if finished and _is_whole(recipe, out, tokenizer):
        say(f"{out.root}: token shards built already")
        return
    tokenize_documents(recipe, out, tokenizer, executor=execution.executor, workers=execution.workers)
    _finish(recipe, out)


def _build_examples(recipe: Recipe, out: DataDir, *, force: bool, execution: Execution) -> None:
    """The same for a recipe with [finetune]."""
    _make_documents(recipe, out, force, execution)
    made_from = {"documents": _documents_hash(out)}
    finished = _finished(recipe, out, out.root, recipe.data.model_dump(), force, made_from)
    if finished and _has_card(out):
        say(f"{out.root}: examples built already")
        return
    _finish(recipe, out)


def _finish(recipe: Recipe, out: DataDir) -> None:
    """Write the card and the build's record, and say what should be known of them."""
    for sentence in finish_build(recipe, out):
        warn(sentence)
    say(f"{out.root}: built; {out.card.with_suffix('.html')} describes it")


def _is_built(recipe: Recipe, out: DataDir) -> bool:
    """Whether a finished build with the recipe's values is there, so that nothing would be replaced."""
    wanted = {out.documents: documents_config(recipe), out.root: recipe.data.model_dump()}
    if not recipe.finetune:
        wanted[out.tokenizer] = _tokenizer_config(recipe, _named_tokenizer(recipe, out))
    records = {what: read_record(what / "record.json") for what in wanted}
    return all(record and not _changes(out, record, wanted[what]) for what, record in records.items())


def _delete_build(out: DataDir) -> None:
    """Delete all that a build has written; its record goes first, so what is left is not taken for a build."""
    for path in (out.record, out.config, *(out.card.with_suffix(end) for end in _CARDS)):
        remove(path)
    for path in (out.shards, out.tokenizer, out.documents, out.work):
        discard(path)


def train_tokenizer(recipe: Recipe, out: DataDir, *, force: bool) -> None:
    """Make the tokenizer, and before it the documents, if they are missing.

    With `force`, what was made with other values is replaced, and a tokenizer with the recipe's own is trained again.

    Raises:
        DataError: They were made with other values and `force` is false, or a source is missing or damaged.
        TokenizerError: The text does not allow such a tokenizer, or the recipe's model brings its own.
    """
    if recipe.finetune:
        raise TokenizerError(
            f"recipe {recipe.name!r} tunes a model that is there, with that model's tokenizer: none is trained",
            hint="name a recipe without [finetune]",
        )
    with DirectoryLock(out.root):
        if force:
            remove(out.tokenizer / "record.json")
        _train_tokenizer(recipe, out, force, Execution())


def submit_data(recipe: Recipe, out: DataDir, *, force: bool, execution: Execution) -> None:
    """Submit the whole build to Slurm: each stage begins when the one before it has succeeded.

    Raises:
        DataError: Something was built with other values and `force` is false, a source is missing, or Slurm refuses.
    """
    _refuse_other_values(recipe, out, force)
    check_packages(recipe, execution.executor)
    if force:
        with DirectoryLock(out.root):
            if _is_built(recipe, out):
                _delete_build(out)
    plan = plan_documents(recipe, out)
    check_input(recipe, out, plan.files)
    tokens: list[Task] = [] if recipe.finetune else [
        _tokenize_task(recipe, out, task, split) for task in plan.finish for split in SPLITS
    ]  # fmt: skip
    tokenizer = JoinTokenizer(work=out.work, recipe=recipe, out=out, force=force)
    last = JoinData(work=out.work, recipe=recipe, out=out, force=force)
    stages: list[list[Task]] = [*plan.stages, *([] if recipe.finetune else [[tokenizer], tokens]), [last]]
    submit(
        stages,
        partition=execution.partition,
        time=execution.time,
        workers=execution.workers or 2 * len(plan.finish),
        setup=execution.setup,
    )


def _tokenize_task(recipe: Recipe, out: DataDir, task: Finish, split: str) -> Tokenize:
    return Tokenize(
        work=out.work, out=out, source=task.name, split=split, documents=task.directory / FILES[split],
        size=task.input_bytes, sha256="", made_by=task.fingerprint, shard_tokens=recipe.data.shard_tokens, threads=1,
    )  # fmt: skip


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class _Join(Task):
    """A step of the build that joins the results of tasks, as a task of its own for a cluster."""

    recipe: Recipe
    out: DataDir
    force: bool

    @property
    def made_from(self) -> Any:
        """The recipe; the step's own record says whether it is done."""
        return self.recipe.model_dump(mode="json")

    @property
    def input_bytes(self) -> int:
        """0: the size is not known."""
        return 0

    @property
    def is_done(self) -> bool:
        """False: the step itself skips its finished parts."""
        return False


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class JoinTokenizer(_Join):
    """Joins the documents and trains the tokenizer."""

    stage: ClassVar[str] = "join-tokenizer"

    def work_on(self, progress: Progress) -> Counts:
        """Do the step in this process."""
        with DirectoryLock(self.out.root):
            _train_tokenizer(self.recipe, self.out, self.force, Execution())
        return {}


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class JoinData(_Join):
    """Joins the token shards and writes the card: all that is left."""

    stage: ClassVar[str] = "join-data"

    def work_on(self, progress: Progress) -> Counts:
        """Do the step in this process."""
        with DirectoryLock(self.out.root):
            _build_data(self.recipe, self.out, force=self.force, execution=Execution())
        return {}


def _make_documents(recipe: Recipe, out: DataDir, force: bool, execution: Execution) -> None:
    there = _finished(recipe, out, out.documents, documents_config(recipe), force)
    if there and _all_documents(recipe, out) and _same_files(recipe, out):
        say(f"{out.documents}: documents built already")
    else:
        build_documents(recipe, out, executor=execution.executor, workers=execution.workers)


def _train_tokenizer(recipe: Recipe, out: DataDir, force: bool, execution: Execution) -> None:
    named = _named_tokenizer(recipe, out)
    _make_documents(recipe, out, force, execution)
    # A new mixture needs no new tokenizer: the shares that it was trained with are in its record.
    config = _tokenizer_config(recipe, named)
    made_from = {} if named else {"documents": _documents_hash(out)}
    if _finished(recipe, out, out.tokenizer, config, force, made_from):
        say(f"{out.tokenizer}: tokenizer {'taken' if named else 'trained'} already")
        return
    if named:
        write_existing(named, recipe.tokenizer.taken_from or "", out.tokenizer)
        say(f"{out.tokenizer}: {named.title} of {named.vocab_size:,} tokens, taken from {recipe.tokenizer.taken_from}")
        return
    text = TokenizerText(recipe, out)
    text.warn()
    training.train_tokenizer(
        text,
        vocab_size=recipe.model.vocab_size,
        character_coverage=recipe.tokenizer.character_coverage,
        config=config,
        inputs=made_from | {"mixture": sha256_json(recipe.mixture)},
        out=out.tokenizer,
        kind=recipe.tokenizer.kind,
        by_source=text.portions,
    )


def _named_tokenizer(recipe: Recipe, out: DataDir) -> Tokenizer | None:
    """The existing tokenizer that the recipe names, or None for one that is trained.

    All that can be wrong with it is said before any source is read.

    Raises:
        TokenizerError: It cannot be used, has more tokens than the model has rows, or one of this size cannot be
            trained.
    """
    if (place := recipe.tokenizer.taken_from) is None:
        refuse_vocabulary(recipe.model.vocab_size, recipe.tokenizer.train_bytes)
        return None
    record = read_record(out.tokenizer / "record.json")
    if not Path(place).exists() and record is not None and "taken_from" in record["results"]:
        warn(f"{out.tokenizer}: cannot be compared with {place}, which is not there; taken as it is")
        tokenizer = load_tokenizer(out.tokenizer)
    else:
        tokenizer = named_tokenizer(place)
    if tokenizer.vocab_size > recipe.model.vocab_size:
        raise TokenizerError(
            f"{place}: has {tokenizer.vocab_size} tokens, but model.vocab_size = {recipe.model.vocab_size}",
            hint="leave model.vocab_size out of the recipe, and it is the tokenizer's number",
        )
    return tokenizer


def _tokenizer_config(recipe: Recipe, named: Tokenizer | None) -> dict[str, Any]:
    """The values of a recipe that decide the tokenizer, besides its text; of an existing one, what it is."""
    if named:
        return tokenizer_identity(named)
    return recipe.tokenizer.model_dump() | {"vocab_size": recipe.model.vocab_size}


def _refuse_other_values(recipe: Recipe, out: DataDir, force: bool) -> None:
    """Refuse a recipe that would meet another one's tokenizer or shards after hours of reading.

    Raises:
        DataError: Something was built with other values and `force` is false.
        TokenizerError: The tokenizer that the recipe names cannot be used.
    """
    named = None if recipe.finetune else _named_tokenizer(recipe, out)
    if not force:
        _finished(recipe, out, out.documents, documents_config(recipe), force)
        if not recipe.finetune:
            _finished(recipe, out, out.tokenizer, _tokenizer_config(recipe, named), force)
        _finished(recipe, out, out.root, recipe.data.model_dump(), force)


def _is_whole(recipe: Recipe, out: DataDir, tokenizer: Tokenizer) -> bool:
    """Whether the token shards and the card of a finished build all exist; content is not compared."""
    if _has_card(out) and shards_are_current(recipe, out, tokenizer):
        return True
    warn(f"{out.root}: token shards or the card are missing or damaged; making them again")
    return False


def _has_card(out: DataDir) -> bool:
    """Whether the card in its three forms and the recipe beside it are there."""
    return all(path.is_file() for path in (*(out.card.with_suffix(end) for end in _CARDS), out.config))


def _all_documents(recipe: Recipe, out: DataDir) -> bool:
    """Whether every file of documents exists with its recorded size; content is not compared."""
    for source in recipe.data.sources:
        for kind in KINDS:
            for file in documents_files(out, source, kind):
                path = out.documents / file.path
                if not path.is_file() or path.stat().st_size != file.size:
                    warn(f"{path}: is missing or damaged; building the documents again")
                    return False
    return True


def _same_files(recipe: Recipe, out: DataDir) -> bool:
    """Whether the input files, models and evaluation sets are still those of the documents."""
    inputs = documents_record(out)["inputs"]
    try:
        plan = plan_documents(recipe, out)
    except DataError as error:
        warn(f"{out.documents}: cannot be compared with the sources ({error.message}); taken as it is")
        return True
    if same := plan.listing == inputs.get("files"):
        return same
    warn(f"{out.documents}: input files have changed since; building it again")
    return False


def _documents_hash(out: DataDir) -> str:
    return sha256_json(documents_record(out)["outputs"])


def _changes(out: DataDir, record: dict[str, Any], config: dict[str, Any]) -> list[str]:
    """How the values of a step's record differ from the recipe's."""
    return differences(with_known_places(record["config"], config, out.root, "data"), config)


def _finished(
    recipe: Recipe,
    out: DataDir,
    what: Path,
    config: dict[str, Any],
    force: bool,
    made_from: dict[str, str] | None = None,
) -> bool:
    """Whether a step is finished with the recipe's values.

    A step with another `made_from` (hashes of the results of earlier steps) is out of date and counts as not finished.
    So does one with other values, if `force`; its files stay until the new ones are complete.

    Raises:
        DataError: It was made with other values and `force` is false.
    """
    record = read_record(what / "record.json")
    if record is None:
        return False
    changed = _changes(out, record, config)
    if not changed:
        return all(record["inputs"].get(name) == digest for name, digest in (made_from or {}).items())
    if not force:
        again = data_build_command(recipe, out, "--force")
        raise DataError(
            f"{what}: was built with other values: {'; '.join(changed)}",
            hint=f"give these values back, choose another --data-dir, or replace it: `{again}`",
        )
    warn(f"{what}: built with other values ({'; '.join(changed)}); building it again")
    return False

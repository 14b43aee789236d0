"""Benchmarks by the rules of papers: from a model to tables, in one call."""

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from puna.core.console import muted, say
from puna.core.errors import EvaluateError
from puna.core.layout import EvaluationDir, user_cache
from puna.core.user_path import user_path

if TYPE_CHECKING:
    from puna.api.evaluated import Subject
    from puna.api.language_model import LanguageModel
    from puna.api.recipes import PathLike
    from puna.core.schema.evaluation import Results, TaskResult
    from puna.evaluate.documents import Documents, OpenSplit, Rows
    from puna.evaluate.run import Processes
    from puna.evaluate.scorer import Scorer
    from puna.evaluate.task import Task


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """An evaluation that is done; `print` shows the figures of its tasks."""

    directory: EvaluationDir
    """Where everything about it lies."""
    results: "Results"
    """All figures of the directory, those of earlier calls with the same model too."""

    def __str__(self) -> str:
        from puna.evaluate.listing import describe

        return describe(self.results)


@dataclass(frozen=True, kw_only=True)
class _Setting:
    """What is asked of every task."""

    limit: int | None
    seed: int
    samples: int | None
    scorers: tuple[str, ...]


def evaluate(
    model: "LanguageModel | PathLike",
    *,
    tasks: str | Sequence[str] = (),
    limit: int | None = None,
    seed: int = 0,
    samples: int | None = None,
    out: "PathLike | None" = None,
    data_dir: "PathLike | None" = None,
    allow_code_execution: bool = False,
    scorer: str | Sequence[str] = (),
    engine: Literal["puna", "lm-eval"] = "puna",
    **options: Any,
) -> Evaluation:
    """Ask a model the questions of benchmarks and write down what it answers, document by document.

    What is done is kept at once, so a call that was interrupted goes on where it was when it is made again. Under
    torchrun the processes share the documents, or the model if `split` is given; the figures stay the same.

    Args:
        model: A model, or what `load` takes: a run, a moment of it, a path, a name on the hub.
        tasks: Names such as `harness/hellaswag` or, with another number of solved examples, `llama/mmlu@5`, and TOML
            files with tasks of your own; or one text with commas between them.
        limit: Documents of each task at most, drawn by `seed`; None takes all. Results say how many there were.
        seed: Draws the documents of `limit`.
        samples: Texts for each document in tasks that draw several; None takes each task's own number.
        out: The directory of the results. None takes `RUN/evaluations/step-NNNNNNNN` for a run's moment, else
            `evaluations/NAME`. What it has of the same model stays.
        data_dir: A directory with the data of benchmarks, in the form in which their authors hand it out.
        allow_code_execution: Whether programs that the model writes may be run, in a sandbox.
        scorer: What judges texts that the model writes, at most one for toxicity and one for truth: `perspective`, or
            what a package adds. Without one the texts are kept and their scores are missing; a later call with one
            judges them.
        engine: `lm-eval` asks by lm-evaluation-harness, whose own tasks `tasks` names then: `hellaswag`, `mmlu@5`. It
            takes the first `limit` documents, not drawn ones; `seed` and `samples` have no effect on it.
        options: Of `load`, where `model` is a path: `weights`, `device`, `threads`, `split` and the others.

    Raises:
        EvaluateError: There is no such task or scorer, its data is not here or damaged, a number is out of its range,
            or a scorer cannot go on.
        FormatError: As `load`.
        CheckpointError: As `load`; or the model has no tokenizer.
        TokenizerError: As `load`.
        GenerateError: As `load`; or the model's scores are not finite numbers.
        StorageError: The disk is full, or the directory is not writable.
    """
    from puna.evaluate.choosing import obstacles

    _check_at_least_one(limit=limit, samples=samples)
    setting = _Setting(limit=limit, seed=seed, samples=samples, scorers=tuple(_names(scorer)))
    if engine == "lm-eval":
        return _by_harness(_names(tasks), model, options, setting, out, _opener(data_dir))
    found = _tasks(_names(tasks))
    if samples is not None:
        found = [task.with_samples(samples) for task in found]
    open_split = _opener(data_dir)
    split = bool(options.get("split"))
    with _processes(split) as processes, muted(processes.rank > 0):
        missing = processes.first(lambda: obstacles(found, open_split, allow_code=allow_code_execution, demanded=True))
        scorers = _scorers(setting.scorers, processes)
        subject = _subject(model, options, processes)
        directory = subject.directory if out is None else EvaluationDir(user_path(out))
        results = _run(
            [task for task in found if task.id not in missing],
            subject,
            directory,
            setting,
            scorers,
            open_split,
            processes,
        )
        return Evaluation(directory=directory, results=results)


def _by_harness(
    names: list[str], model: "LanguageModel | PathLike", options: dict[str, Any], setting: _Setting,
    out: "PathLike | None", open_split: "OpenSplit",
) -> Evaluation:  # fmt: skip
    """An evaluation by lm-evaluation-harness."""
    from puna.api.by_harness import run_by_harness
    from puna.evaluate.run import Alone

    subject = _subject(model, options, Alone())
    directory = subject.directory if out is None else EvaluationDir(user_path(out))
    results = run_by_harness(names, subject, directory, open_split, setting.limit)
    return Evaluation(directory=directory, results=results)


def _check_at_least_one(**numbers: int | None) -> None:
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise EvaluateError(f"{name} is {number}, but must be at least 1")


def _names(tasks: str | Sequence[str]) -> list[str]:
    """The names, whether in one text or in several; each stands once."""
    texts = [tasks] if isinstance(tasks, str) else tasks
    return list(dict.fromkeys(name.strip() for text in texts for name in text.split(",") if name.strip()))


def _tasks(names: list[str]) -> "list[Task]":
    """The tasks of these names, and all tasks of these TOML files; each stands once."""
    from puna.evaluate.registry import find_task
    from puna.evaluate.toml_task import is_task_file, read_tasks

    if not names:
        raise EvaluateError("no task is named", hint="`puna evaluate --list` names all: --tasks harness/hellaswag")
    found = [
        task for name in names for task in (read_tasks(user_path(name)) if is_task_file(name) else [find_task(name)])
    ]
    return list({task.id: task for task in found}.values())


def _opener(data_dir: "PathLike | None") -> "OpenSplit":
    from puna.benchmarks.files import open_split
    from puna.benchmarks.readers import read_rows
    from puna.evaluate.toml_task import FileSplit, is_task_file

    directory = None if data_dir is None else user_path(data_dir)
    if directory is not None and not directory.is_dir():
        raise EvaluateError(f"{directory}: is not a directory, expected one with the data of benchmarks")

    def open_named(name: str, split: str) -> "Rows":
        if is_task_file(name):
            return FileSplit(path=Path(name).parent / split, read=read_rows)
        return open_split(name, split, data_dir=directory)

    return open_named


def _processes(split: bool) -> "AbstractContextManager[Processes]":
    """The processes that share the documents; where they share the model, one of them asks."""
    from puna.evaluate.run import Alone

    if split or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return nullcontext(Alone())
    from puna.parallel.world import joined

    return joined()


def _scorers(names: Sequence[str], processes: "Processes") -> "Mapping[str, Scorer]":
    """The scorers of these names by the kind of what they judge; process 0 has them."""
    from puna.evaluate.scoring import find_scorers

    opened: dict[str, Scorer] = {}
    processes.first(lambda: opened.update({kind: entry.open() for kind, entry in find_scorers(names).items()}))
    return opened


def _subject(model: "LanguageModel | PathLike", options: dict[str, Any], processes: "Processes") -> "Subject":
    """The model, loaded on this process."""
    from puna.api.evaluated import subject_of
    from puna.api.language_model import LanguageModel
    from puna.api.loading import load

    if isinstance(model, LanguageModel):
        return subject_of(model, model.path, options.get("weights"))
    if options.get("device") == "cuda" and processes.size > 1:
        options = options | {"device": f"cuda:{os.environ.get('LOCAL_RANK', '0')}"}
    return subject_of(load(model, **options), model, options.get("weights"))


def _run(
    tasks: "Sequence[Task]", subject: "Subject", directory: EvaluationDir, setting: _Setting,
    scorers: "Mapping[str, Scorer]", open_split: "OpenSplit", processes: "Processes",
) -> "Results":  # fmt: skip
    """Run the tasks one after the other; results are written after each, the record at the end."""
    from puna.core.records import Record
    from puna.evaluate.documents import open_documents
    from puna.evaluate.outputs import begin, finish, keep, write_results

    record = Record(stage="evaluation", config={"tasks": [task.id for task in tasks]} | vars(setting))
    results = processes.first(lambda: begin(directory, subject.model, subject.engine))
    for task in tasks:
        documents = open_documents(task, open_split, limit=setting.limit, seed=setting.seed)
        result = _result(documents, subject, directory, setting, scorers, processes)
        record.inputs[task.id] = result.data_sha256
        results = keep(results, result)
        processes.first(lambda done=results: write_results(directory, done))
    processes.first(lambda: finish(directory, results, record))
    if processes.rank == 0:
        say(f"evaluation: {directory}")
    return results


def _result(
    documents: "Documents", subject: "Subject", directory: EvaluationDir, setting: _Setting,
    scorers: "Mapping[str, Scorer]", processes: "Processes",
) -> "TaskResult":  # fmt: skip
    """The figures of one task."""
    from puna.evaluate.run import fingerprint, result_of, run_documents
    from puna.evaluate.scoring import score_outcome, scorer_of
    from puna.evaluate.store import Store

    task, backend = documents.task, subject.backend
    drawn = setting.seed if documents.n < documents.of else None
    identity = {"model": subject.model.weights_sha256 or subject.model.path, "weights": subject.engine.weights}
    decides = fingerprint(documents, backend, identity, seed=drawn, samples=task.samples)
    store = Store(directory.documents_of(task.id), decides)
    outcome = run_documents(documents, backend, store, processes, token_ids=user_cache() / "token-ids")
    if task.scored:
        judge = scorers.get(task.scored)
        outcome = processes.first(lambda: score_outcome(outcome, task.scored, judge, store) if judge else outcome)
    samples = setting.samples if task.sampled else None
    return result_of(documents, outcome, backend, limit_seed=drawn, samples=samples, scorer=scorer_of(outcome.judged))

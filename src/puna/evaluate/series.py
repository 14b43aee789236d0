"""Tasks one after the other: each is asked, judged and kept, and the results of all lie in one directory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from puna.core.console import warn
from puna.core.layout import EvaluationDir, RunDir, user_cache
from puna.core.records import Record
from puna.core.schema.evaluation import EngineUsed, EvaluatedModel, Results, TaskResult
from puna.evaluate.backend import Backend
from puna.evaluate.contamination import contamination
from puna.evaluate.documents import Documents, OpenSplit, open_documents
from puna.evaluate.outputs import begin, keep, write_results
from puna.evaluate.run import Processes, fingerprint, result_of, run_documents
from puna.evaluate.scorer import Scorer
from puna.evaluate.scoring import score_outcome, scorer_of
from puna.evaluate.store import Store
from puna.evaluate.task import Task


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model that is evaluated."""

    backend: Backend
    model: EvaluatedModel
    engine: EngineUsed
    run: RunDir | None = None
    """The run that has trained it; None for a model from elsewhere."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is asked of all tasks alike."""

    open_split: OpenSplit
    limit: int | None = None
    """Documents of each task at most."""
    seed: int = 0
    """Chooses the documents of a limit."""
    samples: int | None = None
    """Texts for each document, where a task draws several; None is each task's own number."""
    scorers: Mapping[str, Scorer] = field(default_factory=dict)
    """What judges texts, by kind; process 0 alone needs them."""
    isolation: str | None = None
    """What holds programs back that a model writes; None where none may be run."""

    def documents(self, task: Task) -> Documents:
        """What a task asks about.

        Raises:
            EvaluateError: The data is not here, or damaged.
        """
        return open_documents(task, self.open_split, limit=self.limit, seed=self.seed)

    def record(self, tasks: Sequence[Task]) -> Record:
        """The record of an evaluation that begins now."""
        config = {"tasks": [task.id for task in tasks], "limit": self.limit, "seed": self.seed, "samples": self.samples}
        return Record(stage="evaluation", config=config)


def run_tasks(
    tasks: Sequence[Task], subject: Subject, directory: EvaluationDir, setting: Setting, processes: Processes,
    missing: Mapping[str, str], first: Documents | None = None,
) -> tuple[Results, Record]:  # fmt: skip
    """Run tasks; the results are written after each.

    Args:
        tasks: In the order of running.
        subject: The model.
        directory: Where the results go, beside those of the same model that are there.
        setting: What is asked of all tasks alike.
        processes: Share the documents.
        missing: Tasks that cannot be done, with reasons, which are kept with the results.
        first: The documents of the first task, where they are open already.

    Returns:
        All results of the directory, and the record, which is not written yet.

    Raises:
        EvaluateError: The directory has results of another model; data is damaged; a scorer cannot go on.
        UserError: What the backend raises.
        StorageError: The disk is full, or the directory is not writable.
    """
    record = setting.record(tasks)
    results = processes.first(lambda: begin(directory, subject.model, subject.engine, missing))
    for task in tasks:
        documents = first if first is not None and first.task is task else setting.documents(task)
        result = _result(documents, subject, directory, setting, processes)
        record.inputs[task.id] = result.data_sha256
        results = keep(results, result)
        processes.first(lambda done=results: write_results(directory, done))
    return results, record


def _result(
    documents: Documents, subject: Subject, directory: EvaluationDir, setting: Setting, processes: Processes
) -> TaskResult:
    """The figures of one task."""
    task, backend = documents.task, subject.backend
    drawn = setting.seed if documents.n < documents.of else None
    model = {"model": subject.model.weights_sha256 or subject.model.path, "weights": subject.engine.weights}
    decides = fingerprint(documents, backend, model, seed=drawn, samples=task.samples)
    store = Store(directory.documents_of(task.id), decides)
    if processes.rank == 0 and (n := store.lost(by=("n", "seed"))):
        warn(
            f"{task.id}: {documents.n:,} documents replace the {n:,} that {directory} has as soon as they are done "
            "(another --out or --name keeps both)"
        )
    outcome = run_documents(documents, backend, store, processes, token_ids=user_cache() / "token-ids")
    if task.scored:
        scorer = setting.scorers.get(task.scored)
        outcome = processes.first(lambda: score_outcome(outcome, task.scored, scorer, store) if scorer else outcome)
    return result_of(
        documents, outcome, backend, limit_seed=drawn, samples=setting.samples if task.sampled else None,
        isolation=setting.isolation if task.needs_code else None,
        scorer=scorer_of(outcome.judged) if task.scored else None,
        contamination=contamination(subject.run, documents.asked_sha256),
    )  # fmt: skip

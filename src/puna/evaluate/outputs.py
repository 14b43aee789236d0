"""The directory of an evaluation: what it has from before, and what is written into it."""

from collections.abc import Mapping

from puna.core.errors import EvaluateError
from puna.core.files import storage_errors, write_json
from puna.core.layout import EvaluationDir
from puna.core.schema.evaluation import EngineUsed, EvaluatedModel, Results, TaskResult, read_results


def begin(directory: EvaluationDir, model: EvaluatedModel, engine: EngineUsed, missing: Mapping[str, str]) -> Results:
    """The results that a directory has of this model already, none where it is new; it is not finished from here on.

    Args:
        directory: Of the evaluation.
        model: What is evaluated.
        engine: What computes it.
        missing: Tasks that cannot be done now, with the reasons.

    Raises:
        EvaluateError: It has results of another model, or of another engine.
        DataError: Its results are damaged.
        StorageError: It cannot be written.
    """
    before = read_results(directory.results) if directory.results.is_file() else None
    if before is not None and (other := _other(before, model, engine)):
        raise EvaluateError(
            f"{directory}: has results of {other}",
            hint="name another directory (--out), or delete this one",
        )
    with storage_errors(directory.root):
        directory.root.mkdir(parents=True, exist_ok=True)
        directory.record.unlink(missing_ok=True)
    if before is None:
        return Results(model=model, engine=engine, tasks=[], missing=dict(missing))
    done = {task.id for task in before.tasks}
    left = {id: reason for id, reason in {**before.missing, **missing}.items() if id not in done}
    return Results(model=model, engine=engine, tasks=before.tasks, missing=left, suite=before.suite)


def _other(before: Results, model: EvaluatedModel, engine: EngineUsed) -> str:
    """What the results are of, where that is something else."""
    if _identity(before.model) != _identity(model):
        return f"another model, {before.model.path}"
    if before.engine != engine:
        return f"the same model on another engine, {before.engine.title}"
    return ""


def _identity(model: EvaluatedModel) -> tuple[str, str | None]:
    """What tells a model from others: its weights, or where nobody sees them its address."""
    return model.weights_sha256 or model.path, model.tokenizer_sha256


def keep(results: Results, task: TaskResult) -> Results:
    """The results with those of a task, in place of earlier ones of the same."""
    tasks = {other.id: other for other in results.tasks} | {task.id: task}
    missing = {id: reason for id, reason in results.missing.items() if id != task.id}
    return results.model_copy(update={"tasks": list(tasks.values()), "missing": missing})


def write_results(directory: EvaluationDir, results: Results) -> None:
    """Write the figures alone, as after each task.

    Raises:
        StorageError: The disk is full, or the directory is not writable.
    """
    write_json(directory.results, results.as_dict())

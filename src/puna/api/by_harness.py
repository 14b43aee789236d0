"""An evaluation by lm-evaluation-harness: its tasks, one directory of results like Puna's own."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from puna.core.errors import EvaluateError
from puna.core.layout import EvaluationDir

if TYPE_CHECKING:
    from puna.core.records import Record
    from puna.core.schema.evaluation import Results
    from puna.evaluate.documents import OpenSplit
    from puna.evaluate.series import Subject


def run_by_harness(
    names: Sequence[str], subject: "Subject", directory: EvaluationDir, open_split: "OpenSplit", limit: int | None
) -> "tuple[Results, Record]":
    """Run tasks of lm-evaluation-harness, and write their documents and figures.

    Args:
        names: Its tasks, groups and tags, with another number of solved examples as `hellaswag@10`; and YAML files.
        subject: What is evaluated.
        directory: Of the results; what it has of the same model stays.
        open_split: Opens local data.
        limit: Documents of each task at most, the first ones; None takes all.

    Returns:
        All results of the directory, and the record, which is not written yet.

    Raises:
        EvaluateError: There is no such task, its data cannot be had, it runs programs, or processes share the call.
        UserError: lm_eval is not installed.
        StorageError: The disk is full, or the directory is not writable.
    """
    from puna.core.records import Record
    from puna.evaluate.harness_engine import run_harness
    from puna.evaluate.lines import line_of
    from puna.evaluate.outputs import begin, keep, write_results
    from puna.evaluate.store import Store

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise EvaluateError("lm-eval runs in one process", hint="start it without torchrun")
    record = Record(stage="evaluation", config={"engine": "lm-eval", "tasks": list(names), "limit": limit})
    results = begin(directory, subject.model, subject.engine, {})
    for shots, of_them in _by_shots(names).items():
        for outcome in run_harness(of_them, subject.backend, open_split, shots=shots, limit=limit):
            result = outcome.result
            if outcome.judged:
                decides = {"task": result.id, "protocol": result.protocol, "data_sha256": result.data_sha256}
                store = Store(directory.documents_of(result.id), decides | {"n": result.n})
                store.finish(map(line_of, outcome.judged), outcome.cost)
            record.inputs[result.id] = result.data_sha256
            results = keep(results, result)
            write_results(directory, results)
    return results, record


def _by_shots(names: Sequence[str]) -> dict[int | None, list[str]]:
    """The names without their numbers of solved examples, by these."""
    if not names:
        raise EvaluateError("no task is named", hint="`lm_eval ls tasks` names all: --tasks hellaswag,arc_easy")
    found: dict[int | None, list[str]] = {}
    for name in names:
        task, at, shots = name.partition("@")
        if at and not shots.isdecimal():
            raise EvaluateError(f"{name!r}: shots is {shots!r}, but must be a whole number, as in {task}@5")
        found.setdefault(int(shots) if at else None, []).append(task)
    return found

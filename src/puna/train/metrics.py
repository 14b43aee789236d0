"""What happened while training: JSON lines, and the same numbers for TensorBoard and, if asked, Weights & Biases.

`puna.core.schema.lines` describes the lines of `metrics.jsonl`.

A resumed run first drops the lines written after its checkpoint, those of the checkpoint's own step too: the end of a
run, and a return to a checkpoint, are written after it with its step, and will be again. A run that returns to a
checkpoint drops the lines of later steps. So nothing ever appears twice. The lines of sessions are never dropped: a
session began, whatever has become of its steps.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from puna.core.errors import UserError
from puna.core.files import atomic_file, storage_errors
from puna.core.layout import RunDir
from puna.core.metrics import read_metrics
from puna.core.schema.lines import (
    LINES,
    CheckpointLine,
    EvaluationLine,
    Line,
    RollbackLine,
    SampleLine,
    SessionLine,
)
from puna.train.events import EventFile
from puna.train.session import Listener, Session
from puna.train.weights_biases import WeightsBiasesRun


class Metrics(Listener):
    """Appends to the run's metrics; each line is complete in the file before the next one begins.

    Args:
        run: Where they go.
        resumed_step: Step of the checkpoint that training goes on from; 0 for a new run.
        wandb_project: Project of Weights & Biases; none where it is empty.

    Raises:
        StorageError: The disk is full or not writable.
        TrainError: Weights & Biases cannot be used.
    """

    def __init__(self, run: RunDir, resumed_step: int, wandb_project: str = "") -> None:
        self._path = run.metrics
        self._wandb = WeightsBiasesRun(run, wandb_project, resumed=resumed_step > 0) if wandb_project else None
        with storage_errors(self._path):
            kept = _drop_after(run.metrics, resumed_step, _lines_before(run.metrics, resumed_step))
        # TensorBoard drops whole steps, so those lines of the checkpoint's step that stay are written again.
        self._events = EventFile(run.tensorboard, resumed_step)
        for line in kept:
            numbers, texts = _shown(line)
            if numbers or texts:
                self._events.write(resumed_step, numbers, texts)
        with storage_errors(self._path):
            self._file = self._path.open("a", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The first error is the one that is reported.
        with contextlib.suppress(UserError) if error is not None else contextlib.nullcontext():
            self.close(failed=error is not None)

    def close(self, *, failed: bool = False) -> None:
        """Close every writer, even when one of them fails.

        Raises:
            StorageError: The disk is full.
            TrainError: Weights & Biases could not finish.
        """
        with contextlib.ExitStack() as stack:
            if self._wandb is not None:
                stack.callback(self._wandb.close, failed=failed)
            stack.callback(self._events.close)
            with storage_errors(self._path):
                self._file.close()

    def recorded(self, session: Session, line: Line) -> None:
        """Write the line; after a return to a checkpoint, later lines are dropped first."""
        if isinstance(line, RollbackLine):
            self.rewind(line.step)
        self.write(line)

    def write(self, line: Line) -> None:
        """Append one line, and hand on its numbers and texts.

        Raises:
            StorageError: The disk is full.
            TrainError: Weights & Biases refuses them.
        """
        values = line.model_dump(exclude_unset=True)
        with storage_errors(self._path):
            self._file.write(json.dumps({"kind": line.kind, **values}, allow_nan=False) + "\n")
            self._file.flush()
        numbers, texts = _shown({"kind": line.kind, **values})
        if numbers or texts:
            self._events.write(line.step, numbers, texts)
            if self._wandb is not None:
                self._wandb.write(line.step, line.tokens, numbers, texts)

    def rewind(self, step: int) -> None:
        """Drop what was written after a step; Weights & Biases keeps it, under its old steps.

        Raises:
            StorageError: The disk is full.
        """
        with storage_errors(self._path):
            self._file.close()
            _drop_after(self._path, step)
            self._file = self._path.open("a", encoding="utf-8")
        self._events.rewind(step + 1)


def _lines_before(path: Path, step: int) -> int | None:
    """How many lines the file had when the checkpoint of a step was saved; None if no line says so."""
    found = None
    for number, line in enumerate(read_metrics(path), 1):
        if line.get("kind") == CheckpointLine.kind and line["step"] == step:
            found = number
    return found


def _drop_after(path: Path, step: int, lines: int | None = None) -> list[dict[str, Any]]:
    """Rewrite the file without the lines of later steps, or with only its first `lines` and the sessions after them.

    Returns:
        The lines of the step.
    """
    last = []
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for number, line in enumerate(read_metrics(path)):
            is_session = line.get("kind") == SessionLine.kind
            stays = line["step"] <= step and (lines is None or number < lines)
            if stays or is_session:
                file.write(json.dumps(line) + "\n")
            if stays and line["step"] == step and line.get("kind") in LINES:
                last.append(line)
    return last


def _shown(line: dict[str, Any]) -> tuple[dict[str, float], dict[str, str]]:
    """The numbers and texts of a line, by their names, for pictures; a session has nothing to draw."""
    if line["kind"] == SessionLine.kind:
        return {}, {}
    values = {key: value for key, value in line.items() if key not in ("kind", "step", "tokens")}
    if line["kind"] == EvaluationLine.kind:
        tasks = values.pop("tasks")
        values |= {task["id"]: {name: found["value"] for name, found in task["metrics"].items()} for task in tasks}
    texts = {line["prompt"]: line["prompt"] + line["text"]} if line["kind"] == SampleLine.kind else {}
    return dict(_numbers(line["kind"], values)), texts


def _numbers(name: str, value: Any) -> Iterator[tuple[str, float]]:
    """The numbers in a value, each under its path; true and false are not numbers."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(f"{name}/{key}", inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, value

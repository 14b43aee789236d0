"""What happened while training: JSON lines, and the same numbers for TensorBoard and, if asked, Weights & Biases.

Every line of `metrics.jsonl` is one object with `kind`, `step` (optimizer steps done) and `tokens` (trained on):

- `train`: loss (mean over the batch, nats per token), lr, grad_norm (before clipping), tokens_per_second (steps alone),
  tokens_per_second_overall (with validation, samples and checkpoints), mfu by how attention is counted, data_wait (the
  share of the steps' time that went into waiting for data), memory_bytes (peak), seconds, and by source: source_loss
  (since the line before), source_tokens and epochs (so far);
- `validation`: loss and bits_per_byte by source, final (on all held-out text or a part of it), seconds;
- `sample`: prompt, text;
- `checkpoint`: seconds that training stood still, asynchronous;
- `skipped`: a batch that was left out, with reason, first_sequence, sequences, loss, grad_norm;
- `rollback`: the return to a checkpoint, with from_step, to_step, batches passed over, reason.

A resumed run, or one that returns to a checkpoint, first drops the lines after it, so a step never appears twice.
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
from puna.train.events import EventFile
from puna.train.weights_biases import WeightsBiasesRun


class Metrics:
    """Appends to the run's metrics; a line is whole in the file before the next one begins.

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
        _drop_after(run.metrics, resumed_step)
        self._events = EventFile(run.tensorboard, resumed_step + 1)
        with storage_errors(self._path):
            self._file = self._path.open("a", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What went wrong first is what people are told.
        with contextlib.suppress(UserError) if error is not None else contextlib.nullcontext():
            self.close(failed=error is not None)

    def close(self, *, failed: bool = False) -> None:
        """Close everything, also what comes after something that could not be closed.

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

    def write(self, kind: str, step: int, tokens: int, **values: Any) -> None:
        """Append one line, and hand on its numbers and texts.

        Raises:
            StorageError: The disk is full.
            TrainError: Weights & Biases refuses them.
        """
        with storage_errors(self._path):
            self._file.write(json.dumps({"kind": kind, "step": step, "tokens": tokens, **values}) + "\n")
            self._file.flush()
        numbers = dict(_numbers(kind, values))
        texts = {values["prompt"]: values["prompt"] + values["text"]} if kind == "sample" else {}
        if numbers or texts:
            self._events.write(step, numbers, texts)
            if self._wandb is not None:
                self._wandb.write(step, tokens, numbers, texts)

    def rewind(self, step: int) -> None:
        """Forget what was written after a step; Weights & Biases keeps it, under the steps that it had.

        Raises:
            StorageError: The disk is full.
        """
        with storage_errors(self._path):
            self._file.close()
            _drop_after(self._path, step)
            self._file = self._path.open("a", encoding="utf-8")
        self._events.rewind(step + 1)


class NoMetrics:
    """Takes what `Metrics` takes and writes nothing: for all processes but the main one."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, kind: str, step: int, tokens: int, **values: Any) -> None:
        """Nothing."""

    def rewind(self, step: int) -> None:
        """Nothing."""

    def close(self, *, failed: bool = False) -> None:
        """Nothing."""


def read_metrics(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a metrics file; what is no line of metrics, as a killed process may leave, is passed over."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict) and isinstance(value.get("step"), int):
                yield value


def _drop_after(path: Path, step: int) -> None:
    """Rewrite the file without the lines after a step."""
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in read_metrics(path) if line["step"] <= step)


def _numbers(name: str, value: Any) -> Iterator[tuple[str, float]]:
    """The numbers in a value, each under its path; what is true or false is no number."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(f"{name}/{key}", inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, value

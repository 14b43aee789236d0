"""What happened while training: JSON lines, and the same numbers for TensorBoard.

Every line of `metrics.jsonl` is one object with `kind`, `step` (optimizer steps done) and `tokens` (trained on):

- `train`: loss (mean over the batch, nats per token), lr, grad_norm (before clipping), tokens_per_second, seconds;
- `validation`: loss and bits_per_byte by source, final (on all held-out text or a part of it), seconds;
- `sample`: prompt, text.

A resumed run first drops the lines after its checkpoint, so a step never appears twice.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from torch.utils.tensorboard import SummaryWriter

from puna.core.files import storage_errors, write_text
from puna.core.layout import RunDir


class Metrics:
    """Appends to the run's metrics; a line is whole in the file before the next one begins."""

    def __init__(self, run: RunDir, resumed_step: int) -> None:
        lines = [json.dumps(line) for line in read_metrics(run.metrics) if line["step"] <= resumed_step]
        write_text(run.metrics, "".join(f"{line}\n" for line in lines))
        self._path = run.metrics
        self._file = run.metrics.open("a", encoding="utf-8")
        self._tensorboard = SummaryWriter(str(run.tensorboard), purge_step=resumed_step + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._tensorboard.close()

    def write(self, kind: str, step: int, tokens: int, **values: Any) -> None:
        """Append one line, and show its numbers and texts in TensorBoard."""
        with storage_errors(self._path):
            self._file.write(json.dumps({"kind": kind, "step": step, "tokens": tokens, **values}) + "\n")
            self._file.flush()
        for name, value in values.items():
            if isinstance(value, dict):
                for source, number in value.items():
                    self._tensorboard.add_scalar(f"{kind}/{name}/{source}", number, step)
            elif isinstance(value, float):
                self._tensorboard.add_scalar(f"{kind}/{name}", value, step)
        if kind == "sample":
            self._tensorboard.add_text(values["prompt"], values["prompt"] + values["text"], step)


def read_metrics(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a metrics file; what is no line of metrics, as a killed process may leave, is passed over."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict) and isinstance(value.get("step"), int):
            yield value

"""The lines of `metrics.jsonl`, as training writes them and as everything else reads them.

Every line is one JSON object with its `kind`, the `step` (optimizer steps done) and the `tokens` trained on. What a
reader can do without has a default, so that it also reads lines of other versions.
"""

from typing import ClassVar, Literal, TypeAlias

from pydantic import Field

from puna.core.schema.part import Count, Part

Number: TypeAlias = float | Literal["nan", "inf", "-inf"]
"""A number as JSON can hold it: where it is not finite, its name."""


class Line(Part):
    """What all lines have."""

    kind: ClassVar[str]
    step: Count
    """Optimizer steps done, including those whose batch was left out."""
    tokens: Count
    """Tokens that the steps stand for."""


class TrainLine(Line):
    """A step that is logged; rates and shares are those since the line before."""

    kind: ClassVar[str] = "train"
    loss: float
    """Mean over the batch, nats per token."""
    lr: float
    grad_norm: float
    """Norm of the whole gradient, before clipping."""
    tokens_per_second: float
    """Of the steps alone."""
    tokens_per_second_overall: float | None = None
    """With validation, samples and checkpoints, since the session began."""
    mfu: dict[Literal["causal", "full"], float] = Field(default={})
    """Model FLOPs utilisation, by how attention is counted (`puna.plan.count`)."""
    data_wait: float | None = None
    """Share of the steps' time spent waiting for data."""
    memory_bytes: Count | None = None
    """The most memory that a process has held."""
    seconds: float | None = None
    """In optimizer steps, over all sessions of the run."""
    source_loss: dict[str, float] = Field(default={})
    """By source, nats per token; a source that was not in the batches is not in it."""
    source_tokens: dict[str, Count] = Field(default={})
    """Tokens by source since the beginning of the run."""
    epochs: dict[str, float] = Field(default={})
    """Epochs by source since the beginning of the run."""


class ValidationLine(Line):
    """A validation on held-out text, by source."""

    kind: ClassVar[str] = "validation"
    final: bool = False
    """On all held-out text, not on a part of it."""
    loss: dict[str, float]
    """Nats per token."""
    bits_per_byte: dict[str, float]
    seconds: float | None = None
    """That the validation took."""


class SampleLine(Line):
    """Text that the model wrote."""

    kind: ClassVar[str] = "sample"
    prompt: str
    text: str


class SkippedLine(Line):
    """A batch that was left out."""

    kind: ClassVar[str] = "skipped"
    reason: str
    first_sequence: Count | None = None
    """The batch's first sequence in the order of the run."""
    sequences: Count | None = None
    loss: Number | None = None
    grad_norm: Number | None = None


class RollbackLine(Line):
    """A return to a checkpoint; `step` and `tokens` are the checkpoint's."""

    kind: ClassVar[str] = "rollback"
    from_step: Count
    to_step: Count | None = None
    batches: Count | None = None
    """Batches of the data's order that are passed over."""
    reason: str
    first_sequence: Count | None = None
    """Of the batch that was to blame."""
    sequences: Count | None = None
    loss: Number | None = None
    grad_norm: Number | None = None


class CheckpointLine(Line):
    """A checkpoint."""

    kind: ClassVar[str] = "checkpoint"
    seconds: float
    """That training stood still for it."""
    asynchronous: bool | None = None
    """Whether it was written while training went on."""


LINES: dict[str, type[Line]] = {
    line.kind: line for line in (TrainLine, ValidationLine, SampleLine, SkippedLine, RollbackLine, CheckpointLine)
}
"""By kind."""

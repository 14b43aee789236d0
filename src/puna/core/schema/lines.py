"""The lines of `metrics.jsonl`, for the training that writes them and for all readers.

Every line is one JSON object with its `kind`, the `step` (optimizer steps done) and the `tokens` trained on. Fields
that a reader does not need have a default, so that it also reads lines of other versions.
"""

from typing import ClassVar, Literal

from pydantic import Field

from puna.core.schema.evaluation import TaskResult
from puna.core.schema.part import Count, Number, Part


class Line(Part):
    """The fields of all lines."""

    kind: ClassVar[str]
    step: Count
    """Optimizer steps done, including those whose batch was left out."""
    tokens: Count
    """Tokens of the steps done."""


class SessionLine(Line):
    """A session began: the run was started at step 0, or resumed at the step of a checkpoint.

    The lines of all sessions stay, also of those that ended before they had saved anything.
    """

    kind: ClassVar[str] = "session"
    command: str
    """The command as it was typed."""
    started: str
    """When, in UTC, by ISO 8601 to the second."""
    device: str
    """The name of each device."""
    devices: Count
    puna: str
    """The version of Puna."""
    commit: str | None = None
    """The commit of its source tree, with `+` where it had changes; None for an installed package."""


class TrainLine(Line):
    """A step that is logged; rates and shares are those since the line before."""

    kind: ClassVar[str] = "train"
    loss: float
    """Mean over the batch, nats per token."""
    lr: float
    grad_norm: float
    """Norm of the whole gradient, before clipping."""
    tokens_per_second: float
    """Tokens per second of the steps alone."""
    tokens_per_second_overall: float | None = None
    """Tokens per second with validation, samples and checkpoints, since the session began."""
    flops_per_second: dict[Literal["causal", "full"], float] = Field(default={})
    """Arithmetic of the model on all devices in FLOP/s, by how attention is counted."""
    mfu: dict[Literal["causal", "full"], float] = Field(default={})
    """Model FLOPs utilisation, by how attention is counted (`puna.plan.count`), of the largest peak known by then."""
    data_wait: float | None = None
    """Share of the steps' time spent waiting for data."""
    memory_bytes: Count | None = None
    """The most memory that a process has held."""
    seconds: float | None = None
    """Seconds in optimizer steps, over all sessions of the run."""
    source_loss: dict[str, float] = Field(default={})
    """Nats per token by source, without sources that were not in the batches."""
    source_tokens: dict[str, Count] = Field(default={})
    """Tokens by source since the beginning of the run."""
    epochs: dict[str, float] = Field(default={})
    """Epochs by source since the beginning of the run."""


class ValidationLine(Line):
    """A validation on held-out text, by source."""

    kind: ClassVar[str] = "validation"
    final: bool = False
    """Whether it was on all held-out text, not on a part of it."""
    loss: dict[str, float]
    """Loss by source, in nats per token."""
    bits_per_byte: dict[str, float]
    seconds: float | None = None
    """Seconds that the validation took."""


class PreferenceFigures(Part):
    """Means over pairs of answers, of which one is preferred."""

    pairs: Count
    """How many pairs they are of."""
    loss: float
    accuracy: float
    """Share of the pairs whose preferred answer has the higher reward; a tie is half of one."""
    chosen_reward: float
    """Reward of the preferred answers: beta times how much likelier they are than under the reference model, in nats,
    or in nats per token where the loss is of means."""
    rejected_reward: float
    chosen_log_prob: float
    """Log-probability of the preferred answers, in nats."""
    rejected_log_prob: float

    @property
    def margin(self) -> float:
        """By how much the rewards differ."""
        return self.chosen_reward - self.rejected_reward


class PreferenceLine(Line):
    """How well a model tells preferred answers from the others, by source."""

    kind: ClassVar[str] = "preferences"
    split: Literal["train", "heldout"]
    """Whether it is of the pairs of the steps since the line before, or of held-out ones."""
    final: bool = False
    """Whether it is of all held-out pairs at the end of the run, not of a part of them."""
    sources: dict[str, PreferenceFigures]


class EvaluationLine(Line):
    """Benchmarks on a few documents each, always the same ones."""

    kind: ClassVar[str] = "evaluation"
    tasks: list[TaskResult]
    """The figures of each task with all that decides whether others can be compared with them."""
    seconds: float | None = None
    """Seconds that the evaluation took."""


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
    """Loss of the batch that caused it."""
    sequences: Count | None = None
    loss: Number | None = None
    grad_norm: Number | None = None


class CheckpointLine(Line):
    """A checkpoint that was saved."""

    kind: ClassVar[str] = "checkpoint"
    seconds: float
    """Seconds that training stood still for it."""
    asynchronous: bool | None = None
    """Whether it was written while training went on."""


LINES: dict[str, type[Line]] = {
    line.kind: line
    for line in (
        SessionLine,
        TrainLine,
        ValidationLine,
        PreferenceLine,
        EvaluationLine,
        SampleLine,
        SkippedLine,
        RollbackLine,
        CheckpointLine,
    )
}
"""The class of each kind of line."""

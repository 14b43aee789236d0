"""The lines of `metrics.jsonl`, as training writes them and as everything else reads them."""

from typing import Literal

from pydantic import Field

from puna.core.schema.part import Count, Part


class TrainLine(Part):
    """A logged step of `metrics.jsonl`."""

    step: Count
    tokens: Count
    loss: float
    lr: float
    grad_norm: float
    tokens_per_second: float
    tokens_per_second_overall: float | None = None
    mfu: dict[Literal["causal", "full"], float] = Field(default={})
    data_wait: float | None = None
    """Share of the steps' time that went into waiting for data."""
    source_loss: dict[str, float] = Field(default={})
    """By source, nats per token since the line before; a source that was not in the batches is not in it."""
    source_tokens: dict[str, Count] = Field(default={})
    """By source, so far."""
    epochs: dict[str, float] = Field(default={})
    """By source, so far."""


class ValidationLine(Part):
    """A validation of `metrics.jsonl`: by source, nats per token and bits per byte."""

    step: Count
    tokens: Count
    final: bool = False
    """On all held-out text, not on a part of it."""
    loss: dict[str, float]
    bits_per_byte: dict[str, float]


class SampleLine(Part):
    """A sample of `metrics.jsonl`."""

    step: Count
    tokens: Count
    prompt: str
    text: str


class SkippedLine(Part):
    """A batch that was left out."""

    step: Count
    tokens: Count
    reason: str


class RollbackLine(Part):
    """A return to a checkpoint; `step` and `tokens` are the checkpoint's."""

    step: Count
    tokens: Count
    from_step: Count
    reason: str


class CheckpointLine(Part):
    """A checkpoint, and how long training stood still for it."""

    step: Count
    tokens: Count
    seconds: float

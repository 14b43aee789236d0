"""What a run of instruction tuning learns from: the content of its `tuning.json`, written when a session begins."""

from typing import Any, Literal

from pydantic import Field

from puna.core.schema.part import Count, Part

SCHEMA = 1
"""Version of the format; a reader refuses another one."""


class CutExamples(Part):
    """Examples whose prompts were cut from the left because they were too long."""

    examples: Count = 0
    tokens: Count = 0
    """Tokens that they lost."""
    targets: Count = 0
    """Tokens among these that would have been learned."""


class ExampleCounts(Part):
    """The examples of one source and split, as tokens."""

    source: str
    split: Literal["train", "heldout"]
    read: Count
    """Examples that the data build has."""
    examples: Count
    """Those that can be learned from; pairs of answers count once."""
    tokens: Count
    """Of a pair, those of both answers, each with the prompt."""
    targets: Count
    """Tokens that are learned; of held-out examples, those that are scored."""
    dropped: dict[str, Count] = Field(default={})
    """Examples by the reason why they are left out."""
    cut: CutExamples = CutExamples()


class PackedRun(Part):
    """What the sequences of the whole run hold, from its first step to its last."""

    sequences: Count
    context: Count
    """Positions of a sequence."""
    examples: dict[str, Count]
    """Examples by source; one that is read again counts again."""
    tokens: dict[str, Count]
    """Positions that hold tokens, by source; the others are padding."""
    epochs: dict[str, float]
    """How often the run reads the examples of a source."""

    @property
    def filled(self) -> float | None:
        """Share of the positions that hold tokens; None of a run without sequences."""
        positions = self.sequences * self.context
        return sum(self.tokens.values()) / positions if positions else None


class TuningRecord(Part):
    """The content of `tuning.json`."""

    version: Literal[1] = Field(default=SCHEMA, alias="schema")
    model: str
    """What is tuned, as the user named it."""
    template_sha256: str
    """Of the chat template's source."""
    parameters: Count
    """Of the model, without low-rank updates."""
    learned: Count
    """Numbers that learn: all parameters, some of them, or those of low-rank updates."""
    counts: list[ExampleCounts]
    """By source, in the recipe's order, and split."""
    reasons: dict[str, str]
    """What each reason for leaving out an example means."""
    run: PackedRun

    def as_dict(self) -> dict[str, Any]:
        """The content as JSON has it."""
        return self.model_dump(mode="json", by_alias=True)

"""What a run's page calls its figures: a run learns from text, from answers in conversations, or from pairs of answers.

In a run that is tuned, tokens are counted by whole sequences, as the schedule does, and some of their positions are
padding; losses are of the tokens that are learned alone.
"""

from dataclasses import dataclass
from typing import Any

from puna.core.schema.run import TrainedRecipe


@dataclass(frozen=True, kw_only=True)
class Wording:
    """Words for the figures of one kind of run."""

    heldout: str
    """What the run is validated on, all of it."""
    loss: str
    """The title of the chart of the loss."""
    unit: str
    """The unit of the loss, as axes and tables name it."""
    across: str
    """What the axis of the curves counts."""
    rate: str
    """What the rate counts in a second."""


PRE_TRAINING = Wording(
    heldout="held-out text", loss="Training loss", unit="nats per token", across="tokens trained on",
    rate="tokens per second",
)  # fmt: skip
ANSWERS = Wording(
    heldout="held-out answers", loss="Loss on learned tokens", unit="nats per learned token",
    across="tokens of the batches, padding included", rate="tokens per second, padding included",
)  # fmt: skip
PAIRS = Wording(
    heldout="held-out pairs", loss="Loss of pairs", unit="loss per pair",
    across="tokens of the batches, padding included", rate="tokens per second, padding included",
)  # fmt: skip


MIXED = Wording(
    heldout="what each run holds out", loss="Training loss", unit="as each run counts it",
    across="tokens of the batches", rate="tokens per second",
)  # fmt: skip
"""For runs of several kinds beside each other."""


def wording(config: TrainedRecipe) -> Wording:
    """The words for a run of this recipe."""
    if config.finetune is None:
        return PRE_TRAINING
    return ANSWERS if config.finetune.preference is None else PAIRS


def common_wording(recipes: list[dict[str, Any]]) -> Wording:
    """The words for runs of these resolved recipes beside each other."""
    kinds = {
        PRE_TRAINING if not (tuning := recipe.get("finetune")) else PAIRS if tuning.get("preference") else ANSWERS
        for recipe in recipes
    }
    return kinds.pop() if len(kinds) == 1 else MIXED

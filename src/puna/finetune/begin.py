"""The session of a run of instruction tuning, in the one order in which its parts fit together.

1. The model is laid out over the devices with what learns in it: frozen parts and low-rank updates come before it is
   sharded (`puna.parallel.apply`), and its weights are those that it begins with.
2. The objective computes the losses of tokens, or, from these, of pairs of answers.
3. Dropout and NEFTune are put on the model, and told of each pass by the objective around the others.
"""

from dataclasses import dataclass

from puna.chat.template import ChatTemplate
from puna.config.recipe import Recipe
from puna.core.layout import RunDir
from puna.finetune.noise import Noisy, apply_noise
from puna.finetune.preferences import PreferenceObjective
from puna.parallel.mesh import Mesh
from puna.parallel.world import World
from puna.tokenizer.tokenizer import Tokenizer
from puna.train.feed import Feed
from puna.train.initial import OtherFormat
from puna.train.job import Found
from puna.train.session import Session


@dataclass(frozen=True, kw_only=True)
class Base:
    """What is tuned: a model with its tokenizer, and how conversations are written for it."""

    place: str
    """The model, as the user named it."""
    tokenizer: Tokenizer
    """The model's, with the control tokens of the template."""
    template: ChatTemplate
    """Writes conversations; the tuned model keeps it."""
    other: OtherFormat | None = None
    """The opened files, where they are in another format than Puna's own."""
    new_tokens: range = range(0)
    """The control tokens that the template adds to those that the model was trained with."""


def begin_with(
    recipe: Recipe, run: RunDir, feed: Feed, base: Base, *, world: World, mesh: Mesh, found: Found
) -> tuple[Session, PreferenceObjective | None]:
    """The session of a run, and what computes the losses of its pairs, where it learns from pairs.

    Args:
        recipe: What is tuned, and how.
        run: Where checkpoints go.
        feed: The batches.
        base: The model that it begins with.
        world: The processes.
        mesh: The layout.
        found: The checkpoint to go on from.

    Raises:
        TrainError: The settings cannot work together.
        CheckpointError: The checkpoint is not of this model.
    """
    tuning = recipe.finetune
    assert tuning is not None  # noqa: S101 - the caller's recipe is of this kind
    session = Session.open(
        recipe, world, feed, run=run, checkpoint=found, mesh=mesh, weights=base.other, new_tokens=base.new_tokens
    )  # fmt: skip
    pairs = None
    if tuning.preference is not None:
        session.learns_by = pairs = PreferenceObjective(tokens=session.objective, config=tuning.preference)
    if (noise := apply_noise(session.model, mesh, tuning, recipe.seed)) is not None:
        session.learns_by = Noisy(session.learns_by, noise)
    return session, pairs

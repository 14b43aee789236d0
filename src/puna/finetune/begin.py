"""The session of a run of instruction tuning: the model that it begins with, changed from outside in one order."""

from dataclasses import dataclass

from puna.chat.template import ChatTemplate
from puna.config.recipe import Recipe
from puna.core.layout import RunDir
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


def begin_with(
    recipe: Recipe, run: RunDir, feed: Feed, base: Base, *, world: World, mesh: Mesh, found: Found
) -> Session:
    """The session of a run.

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
    return Session.open(recipe, world, feed, run=run, checkpoint=found, mesh=mesh, weights=base.other)

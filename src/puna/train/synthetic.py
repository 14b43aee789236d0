"""A session on random tokens: the steps of a recipe without its data, to measure and test what a step does."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager

import numpy as np

from puna.config.recipe import Recipe
from puna.parallel.world import World
from puna.shards.prefetch import Prefetch
from puna.train.device import Device
from puna.train.feed import Batch, Passes
from puna.train.session import Session

BOS = 1
_DOCUMENT_TOKENS = 512
"""Mean length of the documents, where attention stops between them."""


class RandomTokens:
    """Endless batches of random tokens, all of one source.

    Args:
        recipe: Its batch, context and vocabulary.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.names = ["random"]
        self.fingerprint = ""
        self.bos_id: int | None = BOS
        self.in_epoch = {"random": 1}
        self._recipe = recipe

    def targets(self, number: int) -> int:
        """All tokens of the batch."""
        return self._recipe.train.batch_tokens

    def sequences(self, batches: int) -> dict[str, int]:
        """The number of all sequences, which are of one source."""
        return {"random": batches * self._recipe.train.batch_tokens // self._recipe.model.context}

    def tokens(self, batches: int) -> dict[str, int]:
        """The number of all tokens."""
        return {"random": batches * self._recipe.train.batch_tokens}

    def read(self, numbers: Iterable[int], *, passes: int, reader: int, readers: int) -> AbstractContextManager[Passes]:
        """Passes of batches, as `puna.train.feed.Feed.read`."""
        rows = self._recipe.train.batch_tokens // (self._recipe.model.context * passes * readers)
        made = self.batches(rows)
        return Prefetch(lambda _: next(made), (number for number in numbers for _ in range(passes)))

    def batches(self, rows: int) -> Iterator[Batch]:
        """Passes of this number of sequences: uniform over the vocabulary, with beginnings of documents in between."""
        generator = np.random.default_rng(self._recipe.seed)
        model = self._recipe.model
        while True:
            tokens_BT = generator.integers(BOS + 1, model.vocab_size, (rows, model.context + 1))
            tokens_BT[generator.random(tokens_BT.shape) < 1 / _DOCUMENT_TOKENS] = BOS
            yield Batch.of_tokens(tokens_BT, np.zeros(rows, dtype=np.int64))


def synthetic_session(recipe: Recipe, world: World, device: Device | None = None) -> Session:
    """A session that can take steps, and neither reads nor writes a file.

    Args:
        recipe: What to train; sources and tokenizer don't matter.
        world: The processes.
        device: What is known of the device; None finds out.
    """
    return Session.open(recipe, world, RandomTokens(recipe), device=device)


def on_random_tokens(session: Session) -> Iterator[Batch]:
    """The passes of a session of `synthetic_session`, each made when it is needed."""
    recipe = session.recipe
    return RandomTokens(recipe).batches(recipe.train.micro_batch_tokens // recipe.model.context)

"""Packs of examples as the batches of a session.

In a sequence, documents follow one another from position 0 on, numbered from 0, each with positions of its own from 0
on; the numbers of a pair are 2 i, the preferred answer, and 2 i + 1. What is left is padding: a document with the last
number, of a token that ends nothing, which no loss looks at.

Axes: B sequences of a pass   T tokens of a sequence   K pairs of a sequence   S sources   D documents of a pass
N tokens of all documents
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from puna.config.recipe import Recipe
from puna.core.files import sha256_json
from puna.finetune.plan import Plan
from puna.finetune.token_files import LEARNED, Examples
from puna.shards.heldout import IGNORE
from puna.shards.prefetch import Prefetch
from puna.tokenizer.tokenizer import Tokenizer
from puna.train.feed import Batch


def padding_of(tokenizer: Tokenizer) -> int:
    """The token that fills sequences up: the first one at which no text ends."""
    return next(token for token in range(tokenizer.vocab_size) if token not in tokenizer.stops)


def batch_of(
    examples: Examples, packs: Sequence[NDArray[np.int64]], *, context: int, padding: int, first: int = 0
) -> Batch:
    """Packs as sequences of one pass.

    Args:
        examples: What the packs' numbers mean.
        packs: The examples of each sequence.
        context: Tokens of a sequence (T).
        padding: The token behind the last document.
        first: Number of the first pack in the order of the run.
    """
    shape = (len(packs), context)
    sizes = np.array([len(pack) for pack in packs])
    everything = np.concatenate([*packs, np.empty(0, np.int64)]).astype(np.int64)
    tokens_N, lengths_D = examples.read_tokens(everything)
    # Of every document: the positions that it takes, and its row.
    taken_D = lengths_D - 1
    row_D = np.repeat(np.arange(len(packs)), sizes * examples.width)
    used_B = np.bincount(row_D, taken_D, minlength=len(packs)).astype(np.int64)
    starts_D = np.cumsum(taken_D) - taken_D - (np.cumsum(used_B) - used_B)[row_D]
    numbers_D = np.arange(len(row_D)) - (np.cumsum(sizes) - sizes)[row_D] * examples.width
    # Of every position that is taken: its place in its document, in the batch, and among the tokens read.
    places_N = np.arange(int(taken_D.sum())) - np.repeat(np.cumsum(taken_D) - taken_D, taken_D)
    to_N = np.repeat(row_D * context + starts_D, taken_D) + places_N
    from_N = np.repeat(np.cumsum(lengths_D) - lengths_D, taken_D) + places_N
    inputs_BT, targets_BT, sources_BT = (np.full(shape, value, np.int64) for value in (padding, IGNORE, IGNORE))
    documents_BT = np.repeat(sizes[:, None] * examples.width, context, axis=1)
    positions_BT = np.arange(context) - used_B[:, None]
    following_N = tokens_N[from_N + 1]
    inputs_BT.flat[to_N] = tokens_N[from_N] & ~LEARNED
    targets_BT.flat[to_N] = np.where(following_N & LEARNED, (following_N & ~LEARNED).astype(np.int64), IGNORE)
    documents_BT.flat[to_N], positions_BT.flat[to_N] = np.repeat(numbers_D, taken_D), places_N
    sources_BT.flat[to_N] = np.repeat(np.repeat(examples.source(everything), examples.width), taken_D)
    counted = everything if examples.width > 1 else np.repeat(everything, examples.targets[everything])
    return Batch(
        inputs_BT=inputs_BT, targets_BT=targets_BT, documents_BT=documents_BT, positions_BT=positions_BT,
        sources_B=np.zeros(len(packs), np.int64), sources_BT=sources_BT, first=first,
        pairs_BK=_pairs(packs) if examples.width > 1 else None,
        counted_S=np.bincount(examples.source(counted), minlength=len(examples.names)),
    )  # fmt: skip


def _pairs(packs: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """The pairs of each pack in a row of its own, -1 where it has fewer than another: (B, K)."""
    pairs_BK = np.full((len(packs), max(1, *map(len, packs))), -1, np.int64)
    for row, pack in enumerate(packs):
        pairs_BK[row, : len(pack)] = pack
    return pairs_BK


class ExampleFeed:
    """The batches of a run of instruction tuning; a batch follows from its number.

    Args:
        plan: Which examples make which packs.
        recipe: Its batch.
        tokenizer: The model's.
    """

    bos_id: int | None = None
    """Documents are numbered, not found by a token."""

    def __init__(self, plan: Plan, recipe: Recipe, tokenizer: Tokenizer) -> None:
        self.plan = plan
        self.examples = plan.examples
        self.names = plan.examples.names
        self.in_epoch = plan.mixing.in_epoch
        self.padding = padding_of(tokenizer)
        """The token that fills sequences up."""
        self._context = recipe.model.context
        self.rows = recipe.train.batch_tokens // recipe.model.context
        """Packs of a batch, on all devices."""
        self.fingerprint: str = sha256_json([plan.examples.fingerprint, plan.settings])

    def targets(self, number: int) -> int:
        """Learned tokens of the batch on all devices; of pairs, how many there are."""
        first = number * self.rows
        if self.examples.width > 1:
            return sum(len(pack) for pack in self.plan.packs(first, self.rows))
        return self.plan.targets(first, self.rows)

    def sequences(self, batches: int) -> dict[str, int]:
        """How many examples of the first `batches` batches come from each source."""
        return dict(zip(self.names, self.plan.read(batches * self.rows).examples.tolist(), strict=True))

    def tokens(self, batches: int) -> dict[str, int]:
        """How many tokens of the first `batches` batches come from each source, padding aside."""
        return dict(zip(self.names, self.plan.read(batches * self.rows).tokens.tolist(), strict=True))

    def read(self, numbers: Iterable[int], *, passes: int, reader: int, readers: int) -> Prefetch[Batch]:
        """One reader's passes; arguments as for `puna.train.feed.Feed.read`."""
        count = self.rows // (passes * readers)
        firsts = (
            number * self.rows + (index * readers + reader) * count for number in numbers for index in range(passes)
        )
        return Prefetch(lambda first: self.batch(first, count), firsts)

    def batch(self, first: int, count: int) -> Batch:
        """The packs `first` to `first + count - 1` of the run."""
        packs = self.plan.packs(first, count)
        return batch_of(self.examples, packs, context=self._context, padding=self.padding, first=first)

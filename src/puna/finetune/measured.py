"""Examples that the model is measured on: which of them, packed, in passes over which all devices agree."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from puna.finetune.feed import batch_of
from puna.finetune.packing import pack
from puna.finetune.token_files import Examples
from puna.train.feed import Batch
from puna.train.session import Session


def spread(examples: Examples, limit: int | None) -> NDArray[np.int64]:
    """The numbers of the examples of all sources, of each as `of_source` has them."""
    found = [of_source(examples, source, limit) for source in range(len(examples.names))]
    return np.concatenate([np.empty(0, np.int64), *found])


def of_source(examples: Examples, source: int, limit: int | None) -> NDArray[np.int64]:
    """The numbers of a source's examples: of all, or of some spread evenly that have about `limit` tokens together."""
    numbers = np.arange(examples.firsts[source], examples.firsts[source + 1])
    tokens = int(examples.lengths[numbers].sum())
    if limit is not None and tokens > limit:
        count = max(1, limit * len(numbers) // tokens)
        numbers = numbers[np.arange(count) * len(numbers) // count]
    return numbers


def packs_of(
    examples: Examples, chosen: NDArray[np.int64], context: int, *, together: bool = True
) -> list[NDArray[np.int64]]:
    """The numbers of the examples of each pack; arguments as `puna.finetune.packing.pack` has them.

    Args:
        examples: Of which the lengths count.
        chosen: The numbers of those that are packed.
        context: Tokens of a sequence.
        together: Whether several examples share a sequence.
    """
    found = pack(examples.lengths[chosen], context, together=together)
    return [chosen[found[number]] for number in range(len(found))]


def own_batches(session: Session, examples: Examples, packs: list[NDArray[np.int64]], padding: int) -> Iterator[Batch]:
    """The passes of this device over some packs; all devices get equally many, of padding alone if need be.

    Args:
        session: Its layout and sizes.
        examples: What the packs have numbers of.
        packs: Those that are passed over.
        padding: The token that fills sequences up.
    """
    mesh, context = session.mesh, session.recipe.model.context
    rows = max(1, session.recipe.train.micro_batch_tokens // context)
    nothing: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    for first in range(0, len(packs), rows * mesh.batches):
        at = first + mesh.batch_index * rows
        mine = packs[at : min(at + rows, len(packs))] or nothing
        yield batch_of(examples, mine, context=context, padding=padding)

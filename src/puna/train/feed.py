"""The batches that a session learns from, by their number, cut into the passes of each device.

Axes: B sequences of a pass   T tokens of a sequence   K pairs of a sequence
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from puna.config.commands import train_command
from puna.config.recipe import Recipe
from puna.core.errors import DataError
from puna.ops.transfer import sent
from puna.parallel.context import own_positions
from puna.parallel.mesh import Mesh
from puna.parallel.objective import Passed
from puna.shards.heldout import IGNORE
from puna.shards.loader import Loader, read_too_often
from puna.shards.prefetch import Prefetch


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The part of a batch that one device learns from in one pass."""

    inputs_BT: NDArray[np.int64]
    targets_BT: NDArray[np.int64]
    """The token to predict at each position; `IGNORE` where nothing is learned."""
    sources_B: NDArray[np.int64]
    """The source of each sequence, as an index into the feed's names."""
    documents_BT: NDArray[np.int64] | None = None
    """Number of the document of each token: attention stays within documents. None where the recipe decides: with
    `train.document_mask` a document begins at each beginning-of-sequence token."""
    positions_BT: NDArray[np.int64] | None = None
    """Position of each token; None counts them along the sequence."""
    pairs_BK: NDArray[np.int64] | None = None
    """Number of each pair of answers among the run's, -1 where a sequence has fewer; None where there are no pairs.
    Of the k-th pair of a sequence the preferred answer is its document 2k, the other one its document 2k + 1."""
    first: int = 0
    """Number of the first sequence in the order of the run."""
    sources_BT: NDArray[np.int64] | None = None
    """The source of the loss at each position, where sequences hold several; `sources_B` then counts for nothing."""
    counted_S: NDArray[np.int64] | None = None
    """With `sources_BT`: how many targets of each source there are, or of whatever else the loss is a sum over."""

    def sent(self, device: torch.device) -> Passed:
        """The batch on a device."""
        return Passed(
            inputs_BT=sent(self.inputs_BT, device), targets_BT=sent(self.targets_BT, device), first=self.first,
            documents_BT=None if self.documents_BT is None else sent(self.documents_BT, device),
            positions_BT=None if self.positions_BT is None else sent(self.positions_BT, device),
            pairs_BK=None if self.pairs_BK is None else sent(self.pairs_BK, device),
        )  # fmt: skip

    @classmethod
    def of_tokens(cls, tokens_BT1: NDArray[np.int64], sources_B: NDArray[np.int64], first: int = 0) -> Self:
        """Sequences of T + 1 tokens from the `first` of the run on, in which every token predicts the next one."""
        return cls(
            inputs_BT=np.ascontiguousarray(tokens_BT1[:, :-1]),
            targets_BT=np.ascontiguousarray(tokens_BT1[:, 1:]),
            sources_B=sources_B,
            first=first,
        )


class Passes(Protocol):
    """The passes of one device, in their order."""

    waited: float
    """Seconds that the consumer has waited for them."""

    def __iter__(self) -> Iterator[Batch]: ...

    def __next__(self) -> Batch: ...


class Feed(Protocol):
    """The batches of a run. The sequences of a batch depend on its number alone, not on its reader."""

    names: list[str]
    """Names of the sources."""
    fingerprint: str
    """Equal fingerprints mean equal batches."""
    bos_id: int | None
    """The token that begins a document, for `train.document_mask`."""
    in_epoch: dict[str, int]
    """Sequences in one epoch of each source, or examples where these share sequences."""

    def targets(self, number: int) -> int:
        """Number of a batch's losses on all devices, which divides their sum: one of each target that is not `IGNORE`.

        In a feed of pairs of answers it is the number of pairs.
        """
        ...

    def sequences(self, batches: int) -> dict[str, int]:
        """How many sequences, or examples, of the first `batches` batches come from each source."""
        ...

    def tokens(self, batches: int) -> dict[str, int]:
        """How many tokens of the first `batches` batches come from each source, padding aside."""
        ...

    def read(self, numbers: Iterable[int], *, passes: int, reader: int, readers: int) -> AbstractContextManager[Passes]:
        """One reader's passes of the batches of these numbers, read ahead as long as the context lasts.

        Args:
            numbers: Numbers of the batches.
            passes: How many equal passes each reader cuts its part of a batch into.
            reader: The number of this reader.
            readers: How many devices, or groups of devices, share a batch.
        """
        ...


class TokenFeed:
    """Pre-training: every token of the loader's sequences predicts the next one.

    Args:
        loader: The sequences of the run.
        recipe: Its batch and context.
    """

    def __init__(self, loader: Loader, recipe: Recipe) -> None:
        self._loader = loader
        self.names = loader.names
        self.fingerprint = loader.fingerprint
        self.bos_id: int | None = loader.bos_id
        self.in_epoch = loader.chunks
        self._rows, self._context = recipe.train.batch_tokens // recipe.model.context, recipe.model.context
        self._targets = recipe.train.batch_tokens

    def targets(self, number: int) -> int:
        """All tokens of the batch."""
        return self._targets

    def sequences(self, batches: int) -> dict[str, int]:
        """How many sequences of the first `batches` batches come from each source."""
        return self._loader.counts(batches * self._rows)

    def tokens(self, batches: int) -> dict[str, int]:
        """How many tokens of the first `batches` batches come from each source: those of its sequences."""
        return {name: count * self._context for name, count in self.sequences(batches).items()}

    def read(self, numbers: Iterable[int], *, passes: int, reader: int, readers: int) -> "Prefetch[Batch]":
        """One reader's passes; arguments as for `Feed.read`."""
        count = self._rows // (passes * readers)
        firsts = (
            number * self._rows + (index * readers + reader) * count for number in numbers for index in range(passes)
        )
        return Prefetch(lambda first: self._pass(first, count), firsts)

    def _pass(self, first: int, count: int) -> Batch:
        return Batch.of_tokens(self._loader.batch(first, count), self._loader.labels(first, count), first)


def check_epochs(feed: Feed, batches: int, recipe: Recipe) -> None:
    """Refuse a number of batches, those that a rollback passes over included, that reads a source too often.

    Raises:
        DataError: It names the first such source.
    """
    max_epochs = recipe.max_epochs
    epochs = {name: count / feed.in_epoch[name] for name, count in feed.sequences(batches).items()}
    if found := read_too_often(epochs, max_epochs):
        name, times = found
        raise DataError(
            f"source {name!r}: with the batches that a return to a checkpoint passes over, the run would read it "
            f"{times} times, but max_epochs.{name} = {max_epochs[name]:g}",
            hint=f"`{train_command(recipe, '--resume', f'max_epochs.{name}={times}')}` allows this, "
            f"`{train_command(recipe, '--resume', 'stability.action=skip')}` passes over less",
        )


def sums_by_source(batch: Batch, losses_BP: Tensor, sources: int, mesh: Mesh) -> Tensor:
    """This device's sums of the losses of each source, and its share of how many there are: (2, sources) float64.

    Args:
        batch: The pass that they are of.
        losses_BP: The losses of this device's part of each sequence, 0 where there is no target.
        sources: How many sources there are.
        mesh: The layout.
    """
    device = losses_BP.device
    if batch.sources_BT is None or batch.counted_S is None:
        by_source = sent(scored_by_source(batch, sources), device)
        # A product, because adding by index has no fixed order on a GPU.
        nats_S, counted_S = by_source[:, :-1] @ losses_BP.sum(1, dtype=torch.float64), by_source[:, -1]
    else:
        sources_BT = sent(batch.sources_BT, device)
        if mesh.context > 1:
            sources_BT = sources_BT[:, own_positions(sources_BT.shape[1], mesh.context_index, mesh.context, device)]
        is_source_SN = sources_BT.flatten() == torch.arange(sources, device=device)[:, None]
        nats_S, counted_S = is_source_SN.double() @ losses_BP.flatten().double(), sent(batch.counted_S, device).double()
    return torch.stack((nats_S, counted_S / mesh.context))


def scored_by_source(batch: Batch, sources: int) -> NDArray[np.float64]:
    """The sequences of each source, and how many targets of each source count: (sources, B + 1) float64."""
    is_source_SB = (batch.sources_B == np.arange(sources)[:, None]).astype(np.float64)
    scored_B = (batch.targets_BT != IGNORE).sum(1)
    return np.concatenate([is_source_SB, is_source_SB @ scored_B[:, None]], axis=1)

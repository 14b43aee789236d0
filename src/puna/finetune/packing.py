"""Examples share sequences: best fit decreasing, in windows of the run's order.

The longest example of a window is placed first, each into the fullest pack that has room for it (Johnson 1974: at most
11/9 of the fewest packs, and one). All is decided by lengths alone; no example is cut or left out.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from puna.shards.permutation import Permutation

WINDOW = 1 << 16
"""Examples that are packed together, at most: more of them fill packs better, and take more memory."""


class Packs(NamedTuple):
    """Packs one after the other."""

    items: NDArray[np.int64]
    """What each pack holds: indices into the lengths, in their order within each pack."""
    starts: NDArray[np.int64]
    """Where each pack begins in `items`, and at the end how many items there are: (packs + 1,)."""

    def __len__(self) -> int:
        """How many packs there are."""
        return len(self.starts) - 1

    def __getitem__(self, pack: int) -> NDArray[np.int64]:  # pyrefly: ignore[bad-override]
        """The items of one pack."""
        return self.items[self.starts[pack] : self.starts[pack + 1]]


def pack(lengths: NDArray[np.int64], capacity: int, *, together: bool = True) -> Packs:
    """Packs that hold every item once.

    Args:
        lengths: Of each item, from 1 to `capacity`.
        capacity: Of a pack.
        together: Whether items share packs; else each has its own.
    """
    if not len(lengths):
        return Packs(np.empty(0, np.int64), np.zeros(1, np.int64))
    if not together:
        return Packs(np.arange(len(lengths)), np.arange(len(lengths) + 1))
    from puna.finetune.packing_kernel import best_fit

    order = np.argsort(-lengths, kind="stable")
    bins, count = best_fit(np.ascontiguousarray(lengths, dtype=np.int64), order, capacity)
    return _grouped(bins, count)


def shuffled(packs: Packs, key: object, tweak: int) -> Packs:
    """The same packs in another order, which `key` and `tweak` decide."""
    count = len(packs)
    if count < 2:
        return packs
    places = Permutation(count, key)(np.arange(count), tweak)
    sizes = np.diff(packs.starts)
    bins = np.empty(len(packs.items), np.int64)
    bins[packs.items] = np.repeat(places, sizes)
    return _grouped(bins, count)


def _grouped(bins: NDArray[np.int64], count: int) -> Packs:
    """Packs from the pack of each item."""
    starts = np.concatenate([[0], np.cumsum(np.bincount(bins, minlength=count))])
    return Packs(np.argsort(bins, kind="stable"), starts.astype(np.int64))

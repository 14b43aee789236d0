"""Which example comes when: shares of the sources, caps on their tasks, epochs in an order of their own.

**Caps.** A task with more than K examples has K of them in an epoch of its source, the next K in the next epoch, and so
on around (examples-proportional mixing with an artificial limit K: Raffel et al. 2020, section 3.5.2). The examples of
a task are shuffled once, so that those K are drawn at random.

**Shares.** A round has as many examples as one epoch of all sources together. Each source has its share of them, by
largest remainder, spread evenly over the round: its k-th of q comes at (k + 1/2) / q. A source goes on from round to
round, and each of its epochs has an order of its own.

Everything is a function of the seed and of an example's place in the run.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from puna.core.errors import DataError
from puna.shards.permutation import Permutation


class SourceOrder:
    """The examples of one source in the order in which they are read, epoch after epoch.

    Args:
        tasks: The task of each example.
        cap: Examples of a task in an epoch, at most; None is all.
        key: Decides the order, with the epoch's number.
    """

    def __init__(self, tasks: NDArray[np.int64], cap: int | None, key: list[object]) -> None:
        shuffled = Permutation(len(tasks), [*key, "tasks"])(np.arange(len(tasks)), 0)
        counts = np.bincount(tasks)
        taken = counts if cap is None else np.minimum(counts, cap)
        self._by_task = np.lexsort((shuffled, tasks))
        """The examples task by task."""
        self._firsts, self._counts, self._taken = np.cumsum(counts) - counts, counts, taken
        self._task = np.repeat(np.arange(len(counts)), taken)
        """The task of each place of an epoch."""
        self._place = np.arange(len(self._task)) - np.repeat(np.cumsum(taken) - taken, taken)
        """The place within that task."""
        self._order = Permutation(len(self._task), [*key, "epoch"])

    @property
    def in_epoch(self) -> int:
        """Examples of an epoch."""
        return len(self._task)

    def __call__(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """The examples that are read at these places, counted from the beginning of the run."""
        epochs, places = np.divmod(numbers, self.in_epoch)
        slots = self._order(places, epochs)
        task = self._task[slots]
        around = (epochs * self._taken[task] + self._place[slots]) % self._counts[task]
        return self._by_task[self._firsts[task] + around]


class Mixing:
    """The order of all examples of a run, which has no end.

    Args:
        shares: Each source's share of the examples, in any unit.
        tasks: The task of each example, by source.
        caps: Examples of one task in an epoch, at most, by source.
        seed: Decides the order.

    Raises:
        DataError: A source has no examples, or too small a share.
    """

    def __init__(
        self, shares: Mapping[str, float], tasks: Mapping[str, NDArray[np.int64]], caps: Mapping[str, int], seed: int
    ) -> None:
        self.names = list(shares)
        for name in self.names:
            if not len(tasks[name]):
                raise DataError(
                    f"source {name!r} has no examples to train on",
                    hint="leave it out, or look at what was dropped: `puna data inspect` lists it with the reasons",
                )
        self._orders = [SourceOrder(tasks[name], caps.get(name), ["examples", seed, name]) for name in self.names]
        self._firsts = np.cumsum([0, *(len(tasks[name]) for name in self.names)])
        self.in_epoch = {name: order.in_epoch for name, order in zip(self.names, self._orders, strict=True)}
        """Examples in one epoch of each source."""
        self.round = sum(self.in_epoch.values())
        """Examples of a round: as many as in one epoch of all sources."""
        self._quotas = _quotas(shares, self.round)
        places = np.concatenate([(np.arange(quota) + 0.5) / quota for quota in self._quotas])
        order = np.argsort(places, kind="stable")
        self._labels = np.repeat(np.arange(len(self.names)), self._quotas)[order]
        """The source of each example of a round."""
        self._numbers = np.concatenate([np.arange(quota) for quota in self._quotas])[order]
        """Its number among those of its source in the round."""

    def examples(self, first: int, count: int) -> NDArray[np.int64]:
        """The examples at `count` places of the run from `first` on, as numbers over all sources, (count,)."""
        rounds, places = np.divmod(np.arange(first, first + count), self.round)
        sources = self._labels[places]
        numbers = rounds * self._quotas[sources] + self._numbers[places]
        found = np.empty(count, np.int64)
        for source, order in enumerate(self._orders):
            mine = sources == source
            found[mine] = self._firsts[source] + order(numbers[mine])
        return found


def _quotas(shares: Mapping[str, float], total: int) -> NDArray[np.int64]:
    """Whole numbers with the sum `total`, by largest remainder.

    Raises:
        DataError: One of them is 0.
    """
    values = np.array([*shares.values()])
    exact = values / sum(values.tolist()) * total
    quotas = np.floor(exact).astype(np.int64)
    order = np.argsort(quotas - exact, kind="stable")
    quotas[order[: total - int(quotas.sum())]] += 1
    for name, quota in zip(shares, quotas, strict=True):
        if not quota:
            raise DataError(
                f"mixture.{name} is {shares[name]:g} of {sum(values.tolist()):g}: less than one of the {total} "
                "examples of an epoch",
                hint="raise it, or leave the source out",
            )
    return quotas

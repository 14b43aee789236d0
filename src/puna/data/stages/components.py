"""Connected components of the pairs of documents, in rounds of two stages (`puna.data.dedup.components`)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from puna.core.errors import DataError
from puna.data.dedup.components import UP, large_star, lowest_neighbours, small_star
from puna.data.dedup.edges import PAIR
from puna.data.dedup.shuffle import Rows
from puna.data.stages.pairs import JOINED, PAIRS, UPWARD, write_both_ways, write_pairs
from puna.data.tasks.counts import Counts
from puna.data.tasks.rows import read_rows, row_parts, write_rows
from puna.data.tasks.task import Progress, Task, fingerprint_of

ROUNDS = 32
"""Most rounds. A chain of n documents needs log2 n + 1, of a million 21; data that need more are refused."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class _Half(Task):
    """Half a round, for one partition."""

    edges: tuple[Task, ...]
    """One task per partition, which wrote the pairs that are joined."""
    before: tuple[Task, ...]
    """The tasks of the half round before; for the first one, `edges`."""
    number: int
    """The number of the round, from 0."""
    partition: int

    @property
    def made_from(self) -> Any:
        """The pairs, the round, and the partition."""
        return [fingerprint_of(self.edges), self.number, self.partition]

    @property
    def input_bytes(self) -> int:
        """The size of one partition of the pairs."""
        return self.edges[0].input_bytes

    def read(self, kind: str) -> Rows:
        """Pairs that the half round before has written for this partition."""
        return read_rows(self.before, kind, self.partition, PAIR)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class LargeStar(_Half):
    """Joins higher neighbours to the lowest one. Memory: 114 bytes per pair, divided by `data.partitions`."""

    stage: ClassVar[str] = "large-star"

    @cached_property
    def is_needed(self) -> bool:
        """Whether the round before was not settled."""
        small = self.before[0]
        return not isinstance(small, SmallStar) or small.is_needed

    @property
    def is_settled(self) -> bool:
        """Whether every document of the partition is the lowest of its component, or joined only to that one."""
        return bool(self.results()["settled"])

    def work_on(self, progress: Progress) -> Counts:
        """The first half of a round."""
        lowest, settled = lowest_neighbours(self.read(PAIRS))
        settles = [settled]
        write_rows(self.directory, f"{JOINED}-00000", self._joined(lowest, settles), len(self.edges), PAIR)
        return {"settled": int(all(settles))}

    def _joined(self, lowest: Rows, settles: list[bool]) -> Iterator[Rows]:
        for up in row_parts(self.before, UPWARD, self.partition, UP):
            pairs, settled = large_star(lowest, up)
            settles.append(settled)
            yield pairs


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class SmallStar(_Half):
    """Joins lower neighbours to the lowest one. Memory: 120 bytes per pair, divided by `data.partitions`."""

    stage: ClassVar[str] = "small-star"

    @cached_property
    def is_needed(self) -> bool:
        """Whether the first half has found anything to join."""
        return self.before[0].is_needed and not _is_settled(self.before)

    def work_on(self, progress: Progress) -> Counts:
        """The second half of a round."""
        return write_both_ways(self, small_star(self.read(JOINED)), len(self.edges))


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Components(Task):
    """For each document of a partition that goes, the lowest number of its component."""

    stage: ClassVar[str] = "components"

    rounds: tuple[tuple[LargeStar, ...], ...]
    """The first half of each round, all partitions."""
    partition: int
    reason: str

    @property
    def made_from(self) -> Any:
        """The pairs, and the partition."""
        return self.rounds[0][self.partition].fingerprint

    @property
    def input_bytes(self) -> int:
        """The size of one partition of the pairs."""
        return self.rounds[0][0].input_bytes

    def work_on(self, progress: Progress) -> Counts:
        """Take the pairs of the first round that found nothing to join."""
        for tasks in self.rounds:
            if _is_settled(tasks):
                return write_pairs(self, lowest_neighbours(tasks[self.partition].read(PAIRS))[0])
        raise DataError(
            f"after {len(self.rounds)} rounds there are still chains of documents that resemble their neighbours only",
            hint="more dedup.near.rows make them shorter",
        )


def _is_settled(tasks: Sequence[Task]) -> bool:
    return all(task.is_settled for task in tasks if isinstance(task, LargeStar))


def component_stages(edges: Sequence[Task], reason: str) -> tuple[list[list[Task]], list[Components]]:
    """The half rounds in order, and the tasks that use their result.

    Args:
        edges: One task per partition, which writes pairs in both orders.
        reason: The reason to drop the documents.
    """
    of, before = tuple(edges), tuple(edges)
    stages: list[list[Task]] = []
    rounds: list[tuple[LargeStar, ...]] = []
    work, partitions = edges[0].work, range(len(edges))
    for number in range(ROUNDS):
        large = tuple(
            LargeStar(work=work, edges=of, before=before, number=number, partition=part) for part in partitions
        )
        small = tuple(
            SmallStar(work=work, edges=of, before=large, number=number, partition=part) for part in partitions
        )
        rounds.append(large)
        stages.append([*large])
        stages.append([*small])
        before = small
    return stages, [Components(work=work, rounds=tuple(rounds), partition=part, reason=reason) for part in partitions]

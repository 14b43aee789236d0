"""How like near duplicates are to the ones that stay, in two stages (`puna.data.dedup.similar`)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from puna.config.rules import MinHashRules
from puna.data.dedup.shuffle import Rows
from puna.data.dedup.similar import Settled, member_type, members_of, places, settle, sketch_type
from puna.data.document import NEAR
from puna.data.stages.components import Components
from puna.data.stages.duplicates import SKETCH, Keys
from puna.data.stages.pairs import read_pairs, write_pairs
from puna.data.tasks.counts import Counts, total
from puna.data.tasks.rows import is_among, read_rows, row_parts, write_rows
from puna.data.tasks.task import Progress, Task, fingerprint_of

_MEMBER = "member"


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class _OfGroups(Task):
    keys: tuple[Keys, ...]
    """The tasks that wrote the documents' sketches."""
    rules: MinHashRules
    partitions: int
    partition: int

    @property
    def places(self) -> int:
        """How many places a sketch has."""
        return places(self.rules.bands * self.rules.rows)

    @property
    def input_bytes(self) -> int:
        """A guess: sketches are a twentieth of the documents."""
        return sum(task.input_bytes for task in self.keys) // (20 * self.partitions) + 1


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Members(_OfGroups):
    """Sends the sketches of one partition's documents that are to go to where that of the one that stays is."""

    stage: ClassVar[str] = "members"

    components: Components
    """The task that found the documents of the partition."""

    @property
    def made_from(self) -> Any:
        """The sketches, and the documents that are to go."""
        return [fingerprint_of(self.keys), self.components.fingerprint]

    def work_on(self, progress: Progress) -> Counts:
        """Look up the sketches of the partition."""
        members = members_of(
            read_pairs(self.components), read_rows(self.keys, SKETCH, self.partition, sketch_type(self.places))
        )
        write_rows(self.directory, f"{_MEMBER}-00000", [members], self.partitions, members.dtype)
        return {"members": len(members)}


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Checked(_OfGroups):
    """Compares near duplicates with the ones that stay, for those of one partition."""

    stage: ClassVar[str] = "checked"

    members: tuple[Members, ...]

    reason = NEAR

    @property
    def made_from(self) -> Any:
        """The members of all groups, the least similarity, and the partition."""
        return [fingerprint_of(self.members), self.rules.least, self.partition]

    def work_on(self, progress: Progress) -> Counts:
        """Settle the groups whose lowest document is of the partition."""
        members = read_rows(self.members, _MEMBER, self.partition, member_type(self.places))
        wanted = np.unique(members["kept"])
        of_keys = row_parts(self.keys, SKETCH, self.partition, sketch_type(self.places))
        parts = [part[is_among(part["number"], wanted)] for part in of_keys]
        kept = np.concatenate([np.empty(0, dtype=sketch_type(self.places)), *parts])
        settled = settle(members, kept, self.rules.least)
        return write_pairs(self, settled.pairs) | {"groups": _by_source(settled)}


def _by_source(settled: Settled) -> Counts:
    """The figures of groups by the place in the recipe of the source of their lowest document.

    Similarities are in hundredths, rounded down: `sizes` has for each size of a group and similarity of its least like
    member how many groups there are, `like` for each similarity how many members.
    """
    groups: Counts = {}
    sources = _sources(settled.kept)
    for source, size, least, count in _rows(sources, settled.sizes, _hundredths(settled.least)):
        sizes = groups.setdefault(str(source), {"sizes": {}, "like": {}, "stay": 0})["sizes"]
        sizes.setdefault(str(size), {})[str(least)] = count
    for source, like, count in _rows(_sources(settled.of), _hundredths(settled.like)):
        groups[str(source)]["like"][str(like)] = count
    for source, count in _rows(_sources(settled.stay)):
        groups[str(source)]["stay"] = count
    return groups


def _sources(numbers: NDArray[np.uint64]) -> NDArray[np.int64]:
    return (numbers >> np.uint64(56) & np.uint64(127)).astype(np.int64)


def _hundredths(similarities: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.floor(100 * similarities + 1e-9).astype(np.int64)


def _rows(*columns: Rows) -> list[list[int]]:
    """Each combination of values, with how often it occurs, in order."""
    found, counts = np.unique(np.stack(columns, axis=1), axis=0, return_counts=True)
    return np.column_stack([found, counts]).tolist()


def near_groups(tasks: Iterable[Task], source: int) -> Counts:
    """The figures of the groups whose lowest document is of a source; empty if there are none."""
    checked = [task for task in tasks if isinstance(task, Checked)]
    return total(task.results()["groups"].get(str(source), {}) for task in checked)


def similar_stages(
    keys: tuple[Keys, ...], components: list[Components], rules: MinHashRules
) -> tuple[list[Members], list[Checked]]:
    """The two stages behind the groups of near duplicates; none where there are none."""
    if not components:
        return [], []
    work, partitions = components[0].work, len(components)
    members = [
        Members(work=work, keys=keys, rules=rules, partitions=partitions, partition=task.partition, components=task)
        for task in components
    ]
    checked = [
        Checked(work=work, keys=keys, rules=rules, partitions=partitions, partition=part, members=tuple(members))
        for part in range(partitions)
    ]
    return members, checked

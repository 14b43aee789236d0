"""How like the members of a group of near duplicates are to the one that stays, estimated from sketches.

Documents that share a band are joined, and so are their neighbours: in a chain, the last one may have nothing in common
with the first, which is the one that stays. A *sketch* is the lowest byte of each minimum of a signature; two sketches
agree in a place if the minima do, and by chance in 1 of 256 others, so a share f of equal places estimates the Jaccard
similarity as (f - 1/256) / (1 - 1/256), with a standard deviation of 0.05 at 112 places (Li and König 2010, b-bit
minwise hashing).

With a least similarity, members that are less like the one that stays do not go: the first of them stays too, those
that are like it go for it, and so on among the rest.

Memory of a task: for each document of its partition that is in a group three times 16 bytes and a sketch.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from puna.data.dedup.edges import PAIR, group_starts, pairs_of
from puna.data.dedup.shuffle import Rows

FEWEST, MOST = 64, 128
"""Least and most places of a sketch, whatever the bands are."""
MOST_STAY = 1000
"""After this number of documents of one group that stay, the rest of it stays unchecked: each costs a comparison with
all others."""
_CHANCE = 1 / 256
_BLOCK = 1 << 16


def places(hashes: int) -> int:
    """How many places a sketch has, where the bands take `hashes` minima."""
    return min(max(hashes, FEWEST), MOST)


def sketch_type(count: int) -> np.dtype[Any]:
    """The dtype of a document's sketch. Partitioned by `number`."""
    return np.dtype([("number", "<u8"), ("sketch", "u1", (count,))])


def member_type(count: int) -> np.dtype[Any]:
    """The dtype of a document that is to go, with the one that is to stay and its own sketch. Partitioned by `kept`."""
    return np.dtype([("kept", "<u8"), ("number", "<u8"), ("sketch", "u1", (count,))])


def similarity(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The estimated Jaccard similarity of sketches, row by row; one of them may be a single sketch."""
    found = np.empty(len(one))
    for start in range(0, len(one), _BLOCK):
        part = slice(start, start + _BLOCK)
        equal = one[part] == (other[part] if other.ndim == 2 else other)
        found[part] = np.maximum((equal.mean(axis=1) - _CHANCE) / (1 - _CHANCE), 0)
    return found


def members_of(pairs: Rows, sketches: Rows) -> Rows:
    """The documents that are to go (`PAIR`), each with its sketch.

    Args:
        pairs: Those of a partition.
        sketches: All of the partition.
    """
    sketches = sketches[np.argsort(sketches["number"])]
    at = np.searchsorted(sketches["number"], pairs["number"])
    members = np.empty(len(pairs), dtype=member_type(sketches.dtype["sketch"].shape[0]))
    members["kept"], members["number"], members["sketch"] = pairs["kept"], pairs["number"], sketches["sketch"][at]
    return members


class Settled(NamedTuple):
    """What becomes of the groups of a partition."""

    pairs: Rows
    """Documents that go, each with the one that stays (`PAIR`)."""
    kept: NDArray[np.uint64]
    """The lowest document of each group."""
    sizes: NDArray[np.int64]
    """Documents of each group, with the lowest one."""
    least: NDArray[np.float64]
    """Similarity of the group's least like member with the lowest one."""
    like: NDArray[np.float64]
    """The same of every member, and in the next field the lowest document of its group."""
    of: NDArray[np.uint64]
    stay: NDArray[np.uint64]
    """Lowest documents of the groups of members that stay since they are too unlike, one for each such member."""
    unchecked: int
    """How many of these nobody has compared with all others that stay."""


def settle(members: Rows, kept: Rows, least: float) -> Settled:
    """Compare each member with the document that is to stay.

    Args:
        members: All rows (`member_type`) of a partition.
        kept: The sketches of the documents that are to stay, all that are named there.
        least: Least similarity of a document that goes; 0 lets every member go.
    """
    members = members[np.lexsort((members["number"], members["kept"]))]
    kept = kept[np.argsort(kept["number"])]
    like = similarity(members["sketch"], kept["sketch"][np.searchsorted(kept["number"], members["kept"])])
    starts = group_starts(members["kept"]) if len(members) else np.empty(0, dtype=np.int64)
    ends = np.append(starts[1:], len(members))
    lowest = np.minimum.reduceat(like, starts) if len(starts) else np.empty(0)
    goes = like >= least
    found, stay, unchecked = [pairs_of(members["number"][goes], members["kept"][goes])], [], 0
    for start, end in zip(starts[lowest < least], ends[lowest < least], strict=True):
        pairs, staying, left = _split(members[start:end][~goes[start:end]], least)
        found.append(pairs)
        stay.append(np.full(staying, members["kept"][start]))
        unchecked += left
    return Settled(
        np.concatenate([np.empty(0, dtype=PAIR), *found]), members["kept"][starts], ends - starts + 1, lowest, like,
        members["kept"], np.concatenate([np.empty(0, dtype=np.uint64), *stay]), unchecked,
    )  # fmt: skip


def _split(rest: Rows, least: float) -> tuple[Rows, int, int]:
    """Of members in order: those that go for an earlier one of them, how many stay, how many of these unchecked."""
    found, stay = [np.empty(0, dtype=PAIR)], 0
    while len(rest) and stay < MOST_STAY:
        first, rest = rest[0], rest[1:]
        stay += 1
        near = similarity(rest["sketch"], first["sketch"]) >= least
        gone = rest["number"][near]
        found.append(pairs_of(gone, np.full(len(gone), first["number"])))
        rest = rest[~near]
    return np.concatenate(found), stay + len(rest), len(rest)

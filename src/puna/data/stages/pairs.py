"""Pairs of documents in the files of tasks: on the way to components, and as the final result."""

import numpy as np

from puna.core.files import write_bytes
from puna.data.dedup.components import UP, turned
from puna.data.dedup.edges import PAIR
from puna.data.dedup.shuffle import Rows
from puna.data.tasks.counts import Counts
from puna.data.tasks.rows import mapped, write_rows
from puna.data.tasks.task import Task

PAIRS, UPWARD, JOINED = "pairs", "upward", "joined"
"""Names of rows: pairs by their higher document, pairs by their lower one, and pairs of a round's first half."""
_FOUND = "found.bin"


def write_both_ways(task: Task, pairs: Rows, partitions: int) -> Counts:
    """Write pairs for the first half of a round."""
    write_rows(task.directory, f"{PAIRS}-00000", [pairs], partitions, PAIR)
    write_rows(task.directory, f"{UPWARD}-00000", [turned(pairs)], partitions, UP)
    return {"pairs": len(pairs)}


def write_pairs(task: Task, pairs: Rows) -> Counts:
    """Write the result of a task: documents that go, each with the one that stays, by number."""
    write_bytes(task.directory / _FOUND, pairs[np.argsort(pairs["number"], kind="stable")].tobytes())
    return {"found": len(pairs)}


def read_pairs(task: Task) -> Rows:
    """The pairs that a task has found, mapped."""
    return mapped(task.checked(_FOUND), PAIR)


def pairs_between(pairs: Rows, low: int, high: int) -> Rows:
    """The pairs with a document's number from `low` to `high`."""
    first = np.searchsorted(pairs["number"], np.uint64(low), side="left")
    last = np.searchsorted(pairs["number"], np.uint64(high), side="right")
    return np.array(pairs[first:last], dtype=PAIR)

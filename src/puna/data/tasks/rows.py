"""Rows that the chunks of a task pass to the tasks of the next stage: hashes, band keys, edges.

The first field of a row decides its partition, or the row itself if it has no fields.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from puna.data.dedup.shuffle import PartitionWriter, Rows, read_partition
from puna.data.tasks.task import Task

HASH = np.dtype("<u8")
"""The dtype of a row that is only a hash."""


def mapped(path: Path, dtype: np.dtype[Any]) -> Rows:
    """The rows of a file, which stay on the disk."""
    return np.memmap(path, dtype=dtype, mode="r") if path.stat().st_size else np.empty(0, dtype=dtype)


def is_among(values: NDArray[np.uint64], ordered: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which values are in a sorted array, which may be on the disk."""
    if not len(ordered):
        return np.zeros(len(values), dtype=bool)
    at = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    return ordered[at] == values


def partition_of(keys: NDArray[np.uint64], partitions: int) -> NDArray[np.int64]:
    """The partition of each key: the same for equal keys, scattered for neighbouring numbers of documents."""
    mixed = keys ^ keys >> np.uint64(33)  # the finaliser of MurmurHash3 (Appleby 2008)
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        mixed = mixed * np.uint64(factor)
        mixed = mixed ^ mixed >> np.uint64(33)
    return (mixed % np.uint64(partitions)).astype(np.int64)


def write_rows(directory: Path, name: str, parts: Iterable[Rows], partitions: int, dtype: np.dtype[Any]) -> list[str]:
    """Write rows by partition; returns the names of the files.

    Raises:
        StorageError: The disk is full or not writable.
    """
    with PartitionWriter(directory, dtype, partitions, name) as writer:
        for rows in parts:
            writer.add(rows, partition_of(rows[dtype.names[0]] if dtype.names else rows, partitions))
    return [f"{name}.index.json", f"{name}.rows"]


def row_parts(tasks: Iterable[Task], kind: str, partition: int, dtype: np.dtype[Any]) -> Iterator[Rows]:
    """The rows of a partition, chunk by chunk of each finished task, in the order of the tasks.

    Raises:
        DataError: A file is missing or has changed.
    """
    for task in tasks:
        for name in task.made(f"{kind}-", ".rows"):
            yield read_partition([task.directory], name.removesuffix(".rows"), partition, dtype)


def read_rows(tasks: Iterable[Task], kind: str, partition: int, dtype: np.dtype[Any]) -> Rows:
    """All rows of a partition, in the order of the tasks; for a moment they are in memory twice.

    Raises:
        DataError: A file is missing or has changed.
    """
    return np.concatenate([np.empty(0, dtype=dtype), *row_parts(tasks, kind, partition, dtype)])

"""Passes rows from every task to every partition through files; a short or damaged file is noticed.

A task writes ONE file `<name>.rows` with its rows in the order of their partitions, and `<name>.index.json` with the
number of rows and the CRC-32 of each partition's part. Both depend on nothing but the rows added and their order. The
task of a partition reads its part from the file of every task.

Memory of a writer: three times `buffer_bytes`, and 18 bytes for each row in them; other rows wait sorted in an unnamed
temporary file, so the disk holds a task's rows twice for a moment. Memory of a reader: the rows of its partition, or of
one task's part of it.
"""

import json
import os
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

import numpy as np
from numpy.typing import NDArray

from puna.core.errors import DataError
from puna.core.files import atomic_file, storage_errors, write_text

SCHEMA = 1
BUFFER_BYTES = 32 << 20
MAX_PARTITIONS = 1 << 16
_COPY_BYTES = 1 << 20

Rows = NDArray[Any]
"""Rows of one dtype, mostly with named fields."""


class PartitionWriter:
    """Gathers one task's rows by partition; the files appear when it is closed, or never.

    Args:
        directory: The directory for the files.
        dtype: The dtype of the rows.
        partitions: How many partitions, up to 65,536.
        name: The name of the files, before `.rows` and `.index.json`.
        buffer_bytes: Bytes of rows that are held before they are sorted and written to the temporary file.
    """

    def __init__(
        self,
        directory: Path,
        dtype: np.dtype[Any],
        partitions: int,
        name: str,
        *,
        buffer_bytes: int = BUFFER_BYTES,
    ) -> None:
        if not 0 < partitions <= MAX_PARTITIONS:
            raise ValueError(f"{partitions} partitions, 1 to {MAX_PARTITIONS} can be written")
        self._path = directory / f"{name}.rows"
        self._partitions = partitions
        capacity = max(1, buffer_bytes // dtype.itemsize)
        self._rows = np.empty(capacity, dtype=dtype)
        self._places = np.empty(capacity, dtype=np.uint16)
        self._held = 0
        self._is_closed = False
        self._runs: list[NDArray[np.int64]] = []
        self._spilled: BinaryIO | None = None

    def add(self, rows: Rows, partition: NDArray[np.integer]) -> None:
        """Add rows, each with its partition."""
        if self._is_closed:
            raise ValueError("the files are written already")
        if rows.dtype != self._rows.dtype or rows.shape != partition.shape:
            raise ValueError(f"{rows.dtype} {rows.shape} for {partition.shape}, expected {self._rows.dtype}")
        if len(rows) and not 0 <= int(partition.min()) <= int(partition.max()) < self._partitions:
            raise ValueError(f"a partition beyond 0 to {self._partitions - 1}")
        taken = 0
        while taken < len(rows):
            count = min(len(rows) - taken, len(self._rows) - self._held)
            self._rows[self._held : self._held + count] = rows[taken : taken + count]
            self._places[self._held : self._held + count] = partition[taken : taken + count]
            self._held += count
            taken += count
            if self._held == len(self._rows):
                self._spill()

    def close(self) -> None:
        """Write the files under their final names, if that is not done yet.

        Raises:
            StorageError: The disk is full or the directory is not writable.
        """
        if self._is_closed:
            return
        if self._held or not self._runs:
            self._spill()
        spilled = cast(BinaryIO, self._spilled)
        with atomic_file(self._path) as temporary, temporary.open("wb") as file:
            checksums = [_gather(pieces, spilled, file) for pieces in self._pieces()]
        index = {
            "schema": SCHEMA,
            "dtype": str(self._rows.dtype.descr),
            "rows": np.sum(self._runs, axis=0).tolist(),
            "crc32": checksums,
        }
        write_text(_index(self._path), json.dumps(index) + "\n")
        self.discard()

    def discard(self) -> None:
        """Drop all rows and take no more; existing files stay as they are."""
        self._is_closed = True
        if self._spilled is not None:
            self._spilled.close()
            self._spilled = None
        self._runs, self._held = [], 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            if kind is None:
                self.close()
        finally:
            self.discard()

    def _spill(self) -> None:
        places = self._places[: self._held]
        ordered = self._rows[np.argsort(places, kind="stable")]
        with storage_errors(self._path):
            if self._spilled is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._spilled = cast(BinaryIO, tempfile.TemporaryFile(dir=self._path.parent))  # noqa: SIM115 (closed by discard)
            self._spilled.write(ordered.view(np.uint8).data)
        self._runs.append(np.bincount(places, minlength=self._partitions))
        self._held = 0

    def _pieces(self) -> Iterator[list[tuple[int, int]]]:
        """For each partition: offset and number of its bytes in the spilled file, run by run."""
        counts = np.stack(self._runs) * self._rows.dtype.itemsize
        starts = np.cumsum(counts).reshape(counts.shape) - counts
        for partition in range(self._partitions):
            yield list(zip(starts[:, partition].tolist(), counts[:, partition].tolist(), strict=True))


def read_partition(directories: Sequence[Path], name: str, partition: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """All rows of a partition, in the order of the directories.

    Raises:
        DataError: A file is missing, short, damaged, or of other rows.
    """
    parts = [_find(directory, name, partition, dtype) for directory in directories]
    rows = np.empty(sum(part.rows for part in parts), dtype=dtype)
    start = 0
    for part in parts:
        _read(part, rows[start : start + part.rows])
        start += part.rows
    return rows


@dataclass(frozen=True, slots=True)
class _Part:
    """One task's rows of one partition."""

    path: Path
    start: int
    """Offset in the file, in bytes."""
    rows: int
    crc32: int


def _index(path: Path) -> Path:
    return path.with_suffix(".index.json")


def _gather(pieces: list[tuple[int, int]], source: BinaryIO, file: BinaryIO) -> int:
    """Append pieces of `source` to `file`; returns their CRC-32."""
    checksum = 0
    for start, size in pieces:
        source.seek(start)
        while size:
            block = source.read(min(size, _COPY_BYTES))
            checksum = zlib.crc32(block, checksum)
            file.write(block)
            size -= len(block)
    return checksum


def _find(directory: Path, name: str, partition: int, dtype: np.dtype[Any]) -> _Part:
    path = directory / f"{name}.rows"
    hint = f"delete {directory} and build again: what other tasks have done is kept"
    try:
        index = json.loads(_index(path).read_bytes())
        schema, kind = index["schema"], index["dtype"]
        counts, checksums = np.array(index["rows"], dtype=np.int64), np.array(index["crc32"], dtype=np.uint32)
        if counts.ndim != 1 or counts.shape != checksums.shape or (counts < 0).any():
            raise ValueError
        size = path.stat().st_size
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror})", hint=hint) from None
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        raise DataError(f"{_index(path)}: is not an index of rows", hint=hint) from None
    if schema != SCHEMA or kind != str(dtype.descr):
        expected = f"format {SCHEMA} of {dtype.descr}"
        raise DataError(f"{_index(path)}: is format {schema} of {kind}, expected {expected}", hint=hint)
    if not 0 <= partition < len(counts):
        raise DataError(f"{_index(path)}: has {len(counts)} partitions, number {partition} is asked for", hint=hint)
    if size != int(counts.sum()) * dtype.itemsize:
        raise DataError(f"{path}: has {size:,} bytes, expected {int(counts.sum()) * dtype.itemsize:,}", hint=hint)
    start = int(counts[:partition].sum()) * dtype.itemsize
    return _Part(path, start, int(counts[partition]), int(checksums[partition]))


def _read(part: _Part, rows: NDArray[Any]) -> None:
    content = rows.view(np.uint8).data
    try:
        with part.path.open("rb", buffering=0) as file:
            file.seek(part.start)
            done = 0
            while done < len(content) and (count := file.readinto(content[done:])):
                done += count
    except OSError as error:
        raise DataError(f"{part.path}: cannot be read ({os.strerror(error.errno or 0)})") from None
    if done < len(content) or zlib.crc32(content) != part.crc32:
        directory = part.path.parent
        raise DataError(
            f"{part.path}: bytes {part.start:,} to {part.start + len(content):,} are damaged: they have another CRC-32",
            hint=f"delete {directory} and build again: what other tasks have done is kept",
        )

"""Groups rows with the same number within bounded memory; on the disk if they do not fit."""

import struct
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

Order = tuple[int, int, int]
"""The order of a row in its group."""

_HEAD = struct.Struct(">qqqqI")
_FIRST_SHIFT, _FINER = 16, 6
"""Rows are divided by ranges of 65,536 numbers; a range that does not fit is divided into 64 smaller ones."""


class RangeJoin:
    """Takes rows in any order and gives them group by group, groups by their number and rows in their order.

    Args:
        directory: An empty one for temporary files.
        room: Bytes of rows that are held in memory at most: of one range, and a quarter for rows that wait to be
            written.
        shift: Each range holds 2^shift numbers.
    """

    def __init__(self, directory: Path, room: int, shift: int = _FIRST_SHIFT) -> None:
        self._directory = directory
        self._room = room
        self._shift = shift
        self._waiting: dict[int, list[bytes]] = {}
        self._size = 0
        self._written: dict[int, int] = {}

    def add(self, group: int, order: Order, row: bytes) -> None:
        """Take a row.

        Raises:
            OSError: The temporary files cannot be written.
        """
        self._add(group, _HEAD.pack(group, *order, len(row)) + row)

    def _add(self, group: int, packed: bytes) -> None:
        self._waiting.setdefault(group >> self._shift, []).append(packed)
        self._size += len(packed)
        if self._size > self._room // 4:
            self._write()

    def _write(self) -> None:
        for part, rows in self._waiting.items():
            with self._path(part).open("ab") as file:
                file.writelines(rows)
            self._written[part] = self._written.get(part, 0) + sum(map(len, rows))
        self._waiting, self._size = {}, 0

    def _path(self, part: int) -> Path:
        return self._directory / f"{part}.rows"

    def groups(self) -> Iterator[tuple[int, list[tuple[Order, bytes]] | int]]:
        """Every group with its rows, or with their size in bytes if they do not fit into `room`.

        Raises:
            OSError: The temporary files cannot be written or read.
        """
        if self._written:
            self._write()
        for part in sorted(self._waiting.keys() | self._written.keys()):
            if part not in self._written:
                yield from _grouped(_unpacked(iter(self._waiting.pop(part))))
                continue
            path = self._path(part)
            if self._written[part] <= self._room:
                with path.open("rb") as file:
                    yield from _grouped(_unpacked(_packed(file)))
            elif self._shift:
                yield from self._finer(part)
            else:
                yield part, self._written[part]
            path.unlink()

    def _finer(self, part: int) -> Iterator[tuple[int, list[tuple[Order, bytes]] | int]]:
        """The groups of a range that does not fit, divided into smaller ranges."""
        directory = self._directory / str(part)
        directory.mkdir()
        finer = RangeJoin(directory, self._room, max(0, self._shift - _FINER))
        with self._path(part).open("rb") as file:
            for packed in _packed(file):
                finer._add(_HEAD.unpack_from(packed)[0], packed)
        yield from finer.groups()


def _packed(file: BinaryIO) -> Iterator[bytes]:
    while head := file.read(_HEAD.size):
        yield head + file.read(_HEAD.unpack(head)[4])


def _unpacked(rows: Iterator[bytes]) -> list[tuple[int, Order, bytes]]:
    unpacked = []
    for packed in rows:
        group, first, second, third, _ = _HEAD.unpack_from(packed)
        unpacked.append((group, (first, second, third), packed[_HEAD.size :]))
    return unpacked


def _grouped(rows: list[tuple[int, Order, bytes]]) -> Iterator[tuple[int, list[tuple[Order, bytes]]]]:
    rows.sort()
    for group, members in groupby(rows, key=lambda row: row[0]):
        yield group, [(order, row) for _, order, row in members]

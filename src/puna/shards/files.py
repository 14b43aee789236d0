"""Reads the files of a directory of token shards at any place, without mapping them into memory.

A mapped file counts as resident memory page by page until the whole data set is resident (nanoGPT's pull request 428
is about that); plain reads at a position leave the pages with the system. The cost is small: see bench/results.
"""

import os
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias

from puna.core.errors import DataError
from puna.shards.format import rebuild

_OPEN_FILES = 64
"""How many files of a split are open at one time; each takes a file descriptor, and a process has 1024 by default."""

_HASH_BLOCK = 1 << 22

_SETTLED_NS = 2_000_000_000
"""Nanoseconds; a file that changed more recently could change again with the same time stamp (as in git's index)."""


class Piece(NamedTuple):
    """Bytes of a file, and the array that they are read into."""

    path: str
    first: int
    into: memoryview


Reader: TypeAlias = Callable[[list[Piece]], None]
"""Fills all pieces, or raises a DataError. Pieces of equal readers can be read in one call."""


class ShardFiles(Protocol):
    """The files of one directory of shards, local or remote."""

    location: str
    """The path or URL of the directory, for people."""

    @property
    def reader(self) -> Reader:
        """Reads pieces of these files."""
        ...

    def path(self, name: str) -> str:
        """A file's name in a `Piece`."""
        ...

    def sizes(self) -> dict[str, int]:
        """All files by name, with their sizes in bytes."""
        ...

    def identity(self, name: str) -> list[int | str] | None:
        """A value that differs after the file has changed; None if that cannot be known now."""
        ...

    def blocks(self, name: str) -> Iterator[bytes]:
        """A file's content from beginning to end."""
        ...

    def local(self, name: str, sha256: str) -> Path:
        """The path of a small file on this machine's disk."""
        ...


class LocalFiles:
    """A directory on this machine, or on a mounted file system."""

    def __init__(self, directory: Path) -> None:
        self.location = str(directory)
        self._directory = directory
        self._file = lru_cache(maxsize=_OPEN_FILES)(_open)

    def reader(self, pieces: list[Piece]) -> None:
        """Fill the pieces one after the other.

        Raises:
            DataError: A file is missing, unreadable or too short.
        """
        for path, first, into in pieces:
            try:
                count = os.preadv(self._file(path).descriptor, [into], first)
            except OSError as error:
                raise DataError(f"{path}: cannot be read ({error.strerror})", hint=rebuild(path)) from None
            if count != into.nbytes:
                raise DataError(f"{path}: ends within the {into.nbytes} bytes from {first} on", hint=rebuild(path))

    def path(self, name: str) -> str:
        """The file's path on this machine."""
        return os.path.join(self.location, name)

    def sizes(self) -> dict[str, int]:
        """All files by name, with their sizes in bytes."""
        with os.scandir(self._directory) as entries:
            return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}

    def identity(self, name: str) -> list[int | str] | None:
        """Size, times of the last change of content and of status, inode; None for a file that was just changed.

        The time of the status cannot be set back; the other time can, by a copy that keeps time stamps.
        """
        stat = os.stat(self.path(name))
        if time.time_ns() - stat.st_ctime_ns < _SETTLED_NS:
            return None
        return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]

    def blocks(self, name: str) -> Iterator[bytes]:
        """A file's content from beginning to end."""
        with open(self.path(name), "rb", buffering=0) as file:
            while block := file.read(_HASH_BLOCK):
                yield block

    def local(self, name: str, sha256: str) -> Path:
        """The path of the file itself."""
        return self._directory / name


class _OpenFile:
    """A descriptor that is closed when its last reader is gone."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        close(self.descriptor)


def _open(path: str) -> _OpenFile:
    return _OpenFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC))

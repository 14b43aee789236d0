"""One process at a time in a directory: a lock that the system releases when its holder dies."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from puna.core.console import warn
from puna.core.errors import StorageError
from puna.core.files import storage_errors


class DirectoryLock:
    """While entered, no other process of this system can enter the same directory's lock.

    Args:
        directory: Made if it is missing; the lock is its file `.lock`, which stays.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        path = self._directory / ".lock"
        with storage_errors(path):
            self._directory.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 100).decode(errors="replace").strip()
            os.close(descriptor)
            raise StorageError(
                f"{self._directory}: another process is at work here{f' (process {holder})' if holder else ''}",
                hint="wait until it is done, or choose another directory",
            ) from None
        except OSError as error:
            # Some network file systems have no locks; everything else works without one.
            warn(f"{path}: this file system has no locks ({error.strerror}); see to it that one process works here")
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        self._descriptor = descriptor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

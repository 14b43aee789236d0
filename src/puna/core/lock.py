"""One process at a time in a directory: a lock that the system releases when its holder dies."""

import contextlib
import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from puna.core.console import warn
from puna.core.errors import StorageError
from puna.core.files import storage_errors

_TRIES = 1000
"""How often a lock is tried for whose file or directory its holders delete at the same moment."""


class DirectoryLock:
    """While entered, no other process of this system can enter the same directory's lock.

    The lock is the file `.lock` in the directory, which goes when the lock is given back. So do the directories that
    were made for it and are still empty: what fails at once leaves nothing behind.

    Args:
        directory: Made if it is missing.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / ".lock"
        self._descriptor: int | None = None
        self._made: list[Path] = []

    def __enter__(self) -> Self:
        self._made = [path for path in (self._directory, *self._directory.parents) if not path.exists()]
        with storage_errors(self._directory):
            self._descriptor = self._locked()
            with contextlib.suppress(OSError):  # on a full disk there is a lock without its holder's number
                os.ftruncate(self._descriptor, 0)
                os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)
        return self

    def _locked(self) -> int:
        """The descriptor of the locked file.

        Raises:
            StorageError: Another process holds it.
        """
        for again in range(_TRIES, -1, -1):
            self._directory.mkdir(parents=True, exist_ok=True)
            try:
                descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            except FileNotFoundError:  # the holder before has deleted the empty directory meanwhile
                if not again:
                    raise
                continue
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
                warn(
                    f"{self._path}: this file system has no locks ({error.strerror}); see to it that one process works "
                    "here"
                )
            if self._is_there(descriptor):
                return descriptor
            os.close(descriptor)  # the holder before has deleted this file meanwhile, and others lock the next one
        raise StorageError(f"{self._directory}: others enter and leave it all the time", hint="try again")

    def _is_there(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self._path))
        except FileNotFoundError:
            return False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is None:
            return
        with contextlib.suppress(OSError):  # the directory may have become read-only, or be gone
            if self._is_there(self._descriptor):
                self._path.unlink()
        os.close(self._descriptor)
        self._descriptor = None
        with contextlib.suppress(OSError):  # one of them holds something
            for path in self._made:
                path.rmdir()

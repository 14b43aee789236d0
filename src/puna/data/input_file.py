"""Input files, here or in an object store, opened as streams of bytes."""

import io
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, cast

_BLOCK = 1 << 18
_VERSIONS, _TIMES = ("ETag", "etag", "sha256"), ("mtime", "LastModified")
"""Keys under which object stores give what changes with a file."""
_TIME = re.compile(r"[0-9.]+|[0-9]{4}-[0-9]{2}-[0-9]{2}[ T].*")


class ChangedFileError(OSError):
    """A file is no longer what was listed: what has been read of it may be of two files."""


def stamp_of(info: Mapping[str, Any]) -> str:
    """The version of a file in an object store, by what the store says of it; empty if it says nothing."""
    return next((str(info[key]) for key in (*_VERSIONS[:2], *_TIMES, _VERSIONS[2]) if info.get(key)), "")


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file of a source."""

    url: str
    """A local path, or a URL that fsspec opens."""
    name: str
    """Its path below the source's root, with `/`; for people and for documents' ids."""
    size: int
    """Size of the file in bytes."""
    stamp: str
    """A version that changes with the file: its modification time or the store's ETag."""
    advance: Callable[[int], None] | None = field(default=None, compare=False, repr=False)
    """Called with the number of bytes read; None if nobody watches."""
    fail: Callable[[Exception], None] | None = field(default=None, compare=False, repr=False)
    """Called with errors of the disk or the network, which are not about the file's content."""

    def open(self) -> BinaryIO:
        """A stream of the stored bytes, from the beginning.

        A file that is watched is compared with what was listed when it is opened and when it is closed. A change is
        reported as an error, which ends the task: nobody could say what was read.

        Raises:
            OSError: It cannot be opened.
            ChangedFileError: It is watched, and not what was listed.
        """
        with _reported(self.fail):
            if "://" not in self.url:
                file = cast(Any, open(self.url, "rb", buffering=0))  # noqa: SIM115 (the caller closes it)
                check, at_once = _local_check(file, self), True
            else:
                import fsspec

                opened = cast(Any, fsspec.open(self.url, "rb"))
                file = opened.open()
                check = _remote_check(opened, self)
                # Of a small object, which comes in one request, the store is asked once, when it has been read.
                at_once = self.size > int(getattr(file, "blocksize", 0) or 0)
            if self.fail and at_once:
                try:
                    check()
                except BaseException:
                    file.close()
                    raise
        return cast(BinaryIO, io.BufferedReader(_Watched(file, self, check if self.fail else None), _BLOCK))

    def watched(self, advance: Callable[[int], None], fail: Callable[[Exception], None]) -> "InputFile":
        """The same file, which reports how far it was read and the errors on the way."""
        return replace(self, advance=advance, fail=fail)


def _local_check(file: Any, listed: InputFile) -> Callable[[], None]:
    """Raises `ChangedFileError` when it is called, if the open file has changed since it was listed."""

    def check() -> None:
        status = os.fstat(file.fileno())
        if status.st_size != listed.size:
            raise ChangedFileError(_grown(listed.size, status.st_size))
        if listed.stamp and str(status.st_mtime_ns) != listed.stamp:
            raise ChangedFileError("it was written to after it was listed")

    return check


def _remote_check(opened: Any, listed: InputFile) -> Callable[[], None]:
    """The same for a file of an object store, which is asked again."""

    def check() -> None:
        opened.fs.invalidate_cache()
        info = opened.fs.info(opened.path)
        # A web server may list files without their sizes.
        if listed.size and (size := info.get("size")) is not None and int(size) != listed.size:
            raise ChangedFileError(_grown(listed.size, int(size)))
        # Stores write a time in one way in a list and in another one when they are asked for the file alone.
        versions = {_plain(str(info[key])) for key in _VERSIONS if info.get(key)}
        if versions and listed.stamp and not _TIME.fullmatch(listed.stamp) and _plain(listed.stamp) not in versions:
            raise ChangedFileError("it was replaced after it was listed")

    return check


def _plain(version: str) -> str:
    """An ETag without its quotes, which some stores leave out in one of their answers (RFC 9110, section 8.8.3)."""
    return version.removeprefix("W/").strip('"')


def _grown(before: int, now: int) -> str:
    return f"it had {before:,} bytes when it was listed and has {now:,} now"


@contextmanager
def _reported(fail: Callable[[Exception], None] | None) -> Iterator[None]:
    """Report errors that may be gone the next time, and turn all into an OSError, as a store's own may be of any class.

    A missing permission is not such an error: it will be missing the next time, too.
    """
    try:
        yield
    except PermissionError:
        raise
    except Exception as error:
        if fail:
            fail(error)
        if isinstance(error, OSError):
            raise
        raise OSError(f"{type(error).__name__}: {error}") from error


class _Watched(io.RawIOBase):
    """A stream that reports how many bytes it has read, errors, and whether the file has changed when it is closed."""

    def __init__(self, file: Any, of: InputFile, check: Callable[[], None] | None) -> None:
        self._file, self._of, self._check = file, of, check

    def readinto(self, buffer: Any) -> int:
        with _reported(self._of.fail):
            count = self._file.readinto(buffer)
        if self._of.advance and count:
            self._of.advance(count)
        return count or 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._file.seekable()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        if not self.closed:
            # A change is reported, and that ends the task; closing a file never fails.
            with suppress(OSError), _reported(self._of.fail):
                if self._check:
                    self._check()
            self._file.close()
        super().close()

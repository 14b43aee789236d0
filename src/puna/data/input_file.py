"""Input files, here or in an object store, opened as streams of bytes."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, cast

_BLOCK = 1 << 18


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

        Raises:
            OSError: It cannot be opened.
        """
        with _reported(self.fail):
            if "://" not in self.url:
                file = cast(Any, open(self.url, "rb", buffering=0))  # noqa: SIM115 (the caller closes it)
            else:
                import fsspec

                file = cast(Any, fsspec.open(self.url, "rb")).open()
        return cast(BinaryIO, io.BufferedReader(_Watched(file, self), _BLOCK))

    def watched(self, advance: Callable[[int], None], fail: Callable[[Exception], None]) -> "InputFile":
        """The same file, which reports how far it was read and the errors on the way."""
        return replace(self, advance=advance, fail=fail)


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
    """A stream that reports how many bytes it has read, and errors."""

    def __init__(self, file: Any, of: InputFile) -> None:
        self._file, self._of = file, of

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
        self._file.close()
        super().close()

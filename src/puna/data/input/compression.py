"""Compressed streams: gzip, bzip2, xz and Zstandard, of one or many parts, read within bounds.

For damage of any kind, reading raises an `OSError` and nothing else; memory is bounded by a window of at most 128 MB
and a few buffers, whatever sizes the bytes state.
"""

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from typing import Any, Protocol

import zstandard

from puna.data.document import UNREADABLE

TOO_DEEP = "archive.too_deep"
BOMB = "archive.bomb"

CUT, TAIL = "cut off before its end", "other bytes after its end"
"""Damage that leaves everything before it whole."""
BUFFER = 1 << 16
"""How many bytes are read at once."""
_ZSTANDARD_PIECE = 256
WINDOW = 1 << 27
"""Most memory for a decompressor's window; `zstd --long=31` and some xz files ask for more."""
RATIO = 1000
"""Most bytes that one byte of a file may expand to. Text reaches some 30; gzip's limit is 1,032."""
FLOOR = 1 << 28
"""Bytes that a file of any size may expand to."""


class BrokenStreamError(OSError):
    """A stream's bytes are damaged or not acceptable.

    Args:
        detail: What is wrong, for people.
        reason: `unreadable`, `archive.too_deep` or `archive.bomb`.
    """

    def __init__(self, detail: str, reason: str = UNREADABLE) -> None:
        super().__init__(detail)
        self.reason = reason


class Budget:
    """How far one file may expand, over all its layers of compression."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.read = 0
        self.spent = 0

    def spend(self, count: int) -> None:
        """Count bytes that were decompressed from the file.

        Raises:
            BrokenStreamError: They are more than an honest file holds.
        """
        self.spent += count
        size = max(self.size, self.read)
        if self.spent > max(FLOOR, RATIO * size):
            detail = f"{size} bytes became more than {RATIO} times as many ({self.spent})"
            raise BrokenStreamError(detail, BOMB)


class Decoder(Protocol):
    """Decompresses one part of a stream."""

    eof: bool

    def feed(self, data: bytes, room: int) -> tuple[bytes, bytes]:
        """At most about `room` decompressed bytes, and the rest of `data`."""
        ...


class _Zlib:
    def __init__(self, window_bits: int) -> None:
        self._inner = zlib.decompressobj(window_bits)
        self.eof = False

    def feed(self, data: bytes, room: int) -> tuple[bytes, bytes]:
        out = self._inner.decompress(data, room)
        self.eof = self._inner.eof
        return out, self._inner.unused_data if self.eof else self._inner.unconsumed_tail


class _Buffering:
    """bzip2 and xz, whose decoders hold the bytes that are not yet decompressed."""

    def __init__(self, inner: bz2.BZ2Decompressor | lzma.LZMADecompressor) -> None:
        self._inner = inner
        self._kept = b""
        self.eof = False

    def feed(self, data: bytes, room: int) -> tuple[bytes, bytes]:
        if self._inner.needs_input:
            out, left = self._inner.decompress(data, room), b""
        else:
            out, left = self._inner.decompress(b"", room), data
        self.eof = self._inner.eof
        return out, self._inner.unused_data + left if self.eof else left


class _Zstandard:
    """Its decoder has no limit, so it gets few bytes at a time.

    `_ZSTANDARD_PIECE` bytes become at most 8 MB (RFC 8878: 4 bytes may be 128 KB).
    """

    def __init__(self) -> None:
        self._inner = zstandard.ZstdDecompressor(max_window_size=WINDOW).decompressobj(write_size=1 << 15)
        self.eof = False

    def feed(self, data: bytes, room: int) -> tuple[bytes, bytes]:
        out = self._inner.decompress(data) if data else b""
        self.eof = self._inner.eof
        return out, self._inner.unused_data if self.eof else b""


DECODERS: dict[str, Callable[[], Decoder]] = {
    "gz": lambda: _Zlib(31),
    "deflate": lambda: _Zlib(-15),
    "zlib": lambda: _Zlib(15),
    "bz2": lambda: _Buffering(bz2.BZ2Decompressor()),
    "xz": lambda: _Buffering(lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=WINDOW)),
    "zst": _Zstandard,
}

_ERRORS = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zstandard.ZstdError)


def compression(head: bytes) -> str:
    """How a stream is compressed, from its first bytes; empty if it is not."""
    if head.startswith(b"\x1f\x8b\x08"):
        return "gz"
    if head.startswith(b"BZh") and head[4:10] in (b"1AY&SY", b"\x17\x72\x45\x38\x50\x90"):
        return "bz2"
    if head.startswith(b"\xfd7zXZ\0"):
        return "xz"
    if head.startswith(b"\x28\xb5\x2f\xfd") or (head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5):
        return "zst"
    return ""


class Reading(io.RawIOBase):
    """A raw stream from any object with `read`, which fails only with `OSError` and fills each buffer."""

    def __init__(self, source: Any, budget: Budget | None = None) -> None:
        self._source = source
        self._budget = budget

    def readable(self) -> bool:
        """Always true: it can be read, but not written."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer; returns the number of bytes, which fill it except at the end."""
        view = memoryview(buffer).cast("B")
        filled = 0
        while filled < len(view):
            try:
                piece = self._source.read(len(view) - filled)
            except OSError:
                raise
            except Exception as error:  # clients of object stores raise errors of any class
                raise BrokenStreamError(f"{type(error).__name__}: {error}") from error
            if not piece:
                break
            view[filled : filled + len(piece)] = piece
            filled += len(piece)
        if self._budget is not None:
            self._budget.read += filled
        return filled

    def close(self) -> None:
        """Close the source too."""
        if not self.closed:
            super().close()
            self._source.close()


class Decompressed(io.RawIOBase):
    """The content of a compressed stream; wrap it in `io.BufferedReader`.

    Args:
        source: The compressed bytes.
        kind: A key of `DECODERS`.
        budget: The budget of the whole file.
        parts: Whether more parts may follow the first one, with zeros between them.
    """

    def __init__(self, source: Any, kind: str, budget: Budget, *, parts: bool = True) -> None:
        self._source = source
        self._kind = kind
        self._budget = budget
        self._parts = parts
        self._decoder: Decoder | None = DECODERS[kind]()
        self._piece = _ZSTANDARD_PIECE if kind == "zst" else BUFFER
        self._left = b""
        self._pending = memoryview(b"")
        self._error: OSError | None = None
        self._fed = b""
        """The bytes that the decoder got last, and whether its part begins with them."""
        self._fresh = True

    def readable(self) -> bool:
        """Always true: it can be read, but not written."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer; returns the number of bytes, which fill it except at the end or before an error.

        Raises:
            BrokenStreamError: The next bytes are damaged, cut off or a bomb.
        """
        view = memoryview(buffer).cast("B")
        filled = 0
        while filled < len(view) and self._error is None:
            try:
                if not self._pending:
                    self._pending = memoryview(self._next(len(view) - filled))
                    self._budget.spend(len(self._pending))
            except BrokenStreamError as error:
                self._error = error
            except _ERRORS as error:
                self._error = BrokenStreamError(f"{self._kind}: {error}")
            if not self._pending:
                break
            piece = self._pending[: len(view) - filled]
            view[filled : filled + len(piece)] = piece
            self._pending = self._pending[len(piece) :]
            filled += len(piece)
        if not filled and self._error is not None:
            raise self._error
        return filled

    def _next(self, room: int) -> bytes:
        """The next bytes, or none at the end."""
        while self._decoder is not None:
            if self._decoder.eof:
                self._begin_part()
                continue
            data, self._left = self._left or self._source.read(self._piece), b""
            self._fed = data
            out, self._left = self._decoder.feed(data, room)
            self._fresh = False
            if out:
                return out
            if not data and not self._decoder.eof:
                raise BrokenStreamError(f"{self._kind}: {CUT}")
        return b""

    def _begin_part(self) -> None:
        """Begin the next part; returns whether there is one."""
        self._decoder = None
        while not (rest := self._left.lstrip(b"\0")):
            self._left = self._source.read(self._piece) if self._parts else b""
            if not self._left:
                return
        while len(rest) < 10 and (more := self._source.read(10)):
            rest += more
        self._fed, self._fresh = rest, True
        if not self._parts or compression(rest) != self._kind:
            raise BrokenStreamError(f"{self._kind}: {TAIL}")
        self._left = rest
        self._decoder = DECODERS[self._kind]()

    def recover(self) -> bool:
        """After an error in the bytes: whether another part begins after it, with which reading goes on.

        Only gzip's parts can be recognised; a false match soon leads to the next error.
        """
        if self._kind != "gz" or not isinstance(self._error, BrokenStreamError) or self._error.reason != UNREADABLE:
            return False
        rest = self._fed[1:] if self._fresh else self._fed
        while True:
            found = rest.find(b"\x1f\x8b\x08")
            if found >= 0:
                break
            more = self._source.read(self._piece)
            if not more:
                return False
            rest = rest[-2:] + more
        self._left, self._error = rest[found:], None
        self._decoder, self._fresh = DECODERS[self._kind](), True
        return True

    def close(self) -> None:
        """Close the source too."""
        if not self.closed:
            super().close()
            self._source.close()

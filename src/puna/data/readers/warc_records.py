"""The records of a WARC file (ISO 28500), and the places where a record is damaged.

FastWARC 2.0, which is the peer in the tests and the benchmark, stops without an error if a file was cut off, a member
is damaged or a length is wrong; this reader reports the damage and goes on at the next record.
"""

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from puna.data.document import TOO_LARGE, UNREADABLE
from puna.data.input.compression import BrokenStreamError, Decompressed
from puna.data.input.streams import UniqueNames, open_stream
from puna.data.input_file import InputFile
from puna.data.readers.http import header_fields

_BEGIN = re.compile(rb"WARC/[0-9]\.[0-9]+\r?\n")
_BEHIND = re.compile(rb"WARC/[0-9]\.[0-9]+\r?\n\Z")
_INSIDE = re.compile(rb"\n(?=WARC/[0-9]\.[0-9]+\r?\n)")
_LINE = 1 << 14
_HEADER = 1 << 17
_RESCANNED = 1 << 16
"""Bytes of the largest record that is searched for the beginning of the next one if its length is wrong."""
_MOST_DAMAGES = 1000
"""After this number of damaged places the rest of a file is given up, because going on takes time."""


@dataclass(frozen=True, slots=True)
class WarcRecord:
    """A record with its headers and its content."""

    id: str
    """`file#WARC-Record-ID`, unique in its file."""
    headers: dict[str, str]
    """Headers, with names in lower case."""
    content: bytes
    resized: bool
    """Whether its length is wrong, so that the content reaches up to the next record."""


@dataclass(frozen=True, slots=True)
class NoRecord:
    """A wanted record that cannot be read, or a place without a record."""

    id: str
    reason: str
    detail: str


class _Cut(Exception):  # noqa: N818 (not an error of its own: the loop turns it into what is reported)
    """The file ends where it must not."""


def warc_records(
    file: InputFile, limit: int, wanted: Callable[[dict[str, str]], bool]
) -> Iterator[WarcRecord | NoRecord]:
    """The wanted records of a file, compressed or not, and what is damaged in it.

    Args:
        file: A WARC or WET file.
        limit: Most bytes of a record's content; a larger one is skipped.
        wanted: Whether a record's content is wanted, from its headers.
    """
    try:
        stream = open_stream(file)
    except OSError as error:
        yield NoRecord(file.name, UNREADABLE, str(error))
        return
    with stream:
        yield from _Records(file.name, stream, limit, wanted)


class _Records:
    def __init__(self, name: str, stream: Any, limit: int, wanted: Callable[[dict[str, str]], bool]) -> None:
        self._name = name
        self._stream = stream
        self._limit = limit
        self._wanted = wanted
        self._names = UniqueNames()
        self._position = 0
        self._ahead = io.BytesIO()
        """Bytes that were read ahead."""
        self._error: OSError | None = None
        """A record that was found ahead."""

    def __iter__(self) -> Iterator[WarcRecord | NoRecord]:
        """Every record, until the end or until nothing can be read."""
        lost = False
        damages = 0
        while True:
            try:
                line = self._line()
                if not line:
                    return
                if _BEGIN.fullmatch(line) or (lost and _BEHIND.search(line)):
                    found = self._record()
                    lost = isinstance(found, NoRecord) and found.reason == UNREADABLE
                elif line.strip() and not lost:
                    lost, found = True, self._damage("no record begins here")
                else:
                    continue
            except _Cut as cut:
                yield cut.args[0]
                return
            except OSError as error:
                found = None if lost else self._damage(str(error))
                lost = True
                if not self._recover(error):
                    if found:
                        yield found
                    return
            if found:
                yield found
            damages += isinstance(found, NoRecord) and found.reason == UNREADABLE
            if damages >= _MOST_DAMAGES:
                yield self._damage(f"the rest is passed over: it is damaged in {damages} places")
                return

    def _recover(self, error: OSError) -> bool:
        """Whether reading can go on after damaged compressed bytes: each record is compressed on its own."""
        self._ahead = io.BytesIO()
        raw = getattr(self._stream, "raw", None)
        return isinstance(error, BrokenStreamError) and isinstance(raw, Decompressed) and raw.recover()

    def _damage(self, detail: str, headers: dict[str, str] | None = None, reason: str = UNREADABLE) -> NoRecord:
        return NoRecord(self._identity(headers or {}), reason, detail)

    def _identity(self, headers: dict[str, str]) -> str:
        own = headers.get("warc-record-id", "").strip("<> ") or str(self._position)
        return self._names.name(f"{self._name}#{own}", self._position)

    def _record(self) -> WarcRecord | NoRecord | None:
        """The record whose first line has been read; None if it is not wanted."""
        self._position += 1
        headers = self._headers()
        length = headers.get("content-length", "")
        if not re.fullmatch("[0-9]{1,18}", length):
            return self._damage(f"Content-Length is {length[:40]!r}", headers)
        wanted, size = self._wanted(headers), int(length)
        if size > (self._limit if wanted else _RESCANNED):
            self._skip(size, headers)
            if wanted:
                return self._damage(f"{size} bytes, at most {self._limit}", headers, TOO_LARGE)
            return None
        content = self._read(size)
        if len(content) < size:
            raise _Cut(self._damage(f"the file ends after {len(content)} of {size} bytes of a record", headers))
        after = self._after()
        resized = bool(after) and not _follows(content, after)
        if resized:
            content = self._resize(content + after)
            if content is None:
                return self._damage("its Content-Length is wrong", headers)
        else:
            self._unread(after)
        return WarcRecord(self._identity(headers), headers, content, resized) if wanted else None

    def _headers(self) -> dict[str, str]:
        lines: list[bytes] = []
        size = 0
        while line := self._line():
            size += len(line)
            if not line.strip() or size > _HEADER:
                return header_fields(lines)
            lines.append(line)
        raise _Cut(self._damage("the file ends in the header of a record", header_fields(lines)))

    def _after(self) -> bytes:
        """The next blank lines, and the first line that is not blank; empty at the end of the file."""
        blank = b""
        try:
            while (line := self._line()) and not line.strip():
                blank = (blank + line)[-_LINE:]
        except OSError as error:  # the record before it is complete
            self._error = error
            return b""
        return blank + line if line else b""

    def _resize(self, content: bytes) -> bytes | None:
        """The bytes before the next record, where reading goes on; None if they are too many."""
        inside = _INSIDE.search(content[: _RESCANNED + _LINE])
        if inside:
            self._unread(content[inside.end() :])
            return _without_end(content[: inside.end()])
        pieces = io.BytesIO()
        pieces.write(content)
        begun = content.endswith(b"\n")
        while line := self._line():
            if begun and _BEGIN.fullmatch(line):
                self._unread(line)
                break
            if pieces.tell() + len(line) > self._limit:
                return None
            begun = line.endswith(b"\n")
            pieces.write(line)
        return _without_end(pieces.getvalue())

    def _skip(self, size: int, headers: dict[str, str]) -> None:
        left = size
        while left:
            piece = self._read(min(left, 1 << 18))
            if not piece:
                raise _Cut(self._damage(f"the file ends after {size - left} of {size} bytes of a record", headers))
            left -= len(piece)

    def _line(self) -> bytes:
        if self._error:
            error, self._error = self._error, None
            raise error
        return self._ahead.readline(_LINE) or self._stream.readline(_LINE)

    def _read(self, size: int) -> bytes:
        pieces = io.BytesIO()
        while pieces.tell() < size:
            left = size - pieces.tell()
            piece = self._ahead.read(left) or self._stream.read(min(left, 1 << 18))
            if not piece:
                break
            pieces.write(piece)
        return pieces.getvalue()

    def _unread(self, data: bytes) -> None:
        self._ahead = io.BytesIO(data + self._ahead.read())


def _follows(content: bytes, after: bytes) -> bool:
    """Whether a record begins after a content, and none begins inside it."""
    if _BEGIN.fullmatch(after.lstrip(b"\r\n")) is None:
        return False
    return after.count(b"\n") == 3 or not _INSIDE.search(content[:_RESCANNED])


def _without_end(content: bytes) -> bytes:
    """A record's content without the two line ends that follow it."""
    end = b"\r\n\r\n" if content.endswith(b"\r\n\r\n") else b"\n\n"
    return content.removesuffix(end)

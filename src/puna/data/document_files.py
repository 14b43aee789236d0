"""Files of documents: JSON lines, compressed by zstd; a file appears complete or not at all.

A line is a document: `id`, `origin`, `text`, and if known `url`, `licence`, `date`, `language`, `scores`,
`licence_from`, of an example of instruction tuning `turns`; during a build also `n`, its number. A dropped document has
`id`, `reason`, `detail` and, if the recipe keeps it, `text`.
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, cast

import orjson
import zstandard

from puna.core.errors import DataError
from puna.core.files import atomic_file
from puna.data.document import Document, Dropped
from puna.shards.format import rebuild

_LEVEL = 3
_OPTIONAL = ("url", "licence", "date", "language", "scores", "licence_from", "turns")


@dataclass(frozen=True, slots=True)
class Numbered:
    """A document on its way through a build."""

    number: int
    document: Document


class LinesWriter:
    """Writes one compressed file of JSON lines; it gets its name when the `with` block ends without an error."""

    def __init__(self, path: Path) -> None:
        self._whole = atomic_file(path)

    def __enter__(self) -> Self:
        self._file: BinaryIO = self._whole.__enter__().open("wb")
        self._stream = zstandard.ZstdCompressor(level=_LEVEL).stream_writer(self._file, closefd=False)
        self._buffer = io.BufferedWriter(cast(Any, self._stream), 1 << 17)
        return self

    def write(self, fields: dict[str, Any]) -> None:
        """Append one line.

        Raises:
            TypeError: A string is not Unicode text.
        """
        self._buffer.write(orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._buffer.flush()
                self._stream.close()
            self._file.close()
        except BaseException as failure:
            self._whole.__exit__(type(failure), failure, failure.__traceback__)
            raise
        self._whole.__exit__(kind, error, trace)


def document_fields(document: Document) -> dict[str, Any]:
    """A document as a line."""
    fields: dict[str, Any] = {"id": document.id, "origin": document.origin, "text": document.text}
    for name in _OPTIONAL:
        if value := getattr(document, name):
            fields[name] = value
    return fields


def dropped_fields(dropped: Dropped, *, with_text: bool) -> dict[str, Any]:
    """A dropped document as a line."""
    fields = {"id": dropped.id, "reason": dropped.reason}
    if dropped.detail:
        fields["detail"] = dropped.detail
    if with_text and dropped.text:
        fields["text"] = dropped.text
    return fields


class _Counted:
    """A file that tells how many bytes of it have been read."""

    def __init__(self, file: BinaryIO, advance: Callable[[int], None]) -> None:
        self._file, self._advance = file, advance

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self._advance(len(block))
        return block


def read_lines(path: Path, advance: Callable[[int], None] | None = None) -> Iterator[dict[str, Any]]:
    """The lines of a file.

    Args:
        path: The file.
        advance: Told how many more of its bytes, as they lie on the disk, have been read.

    Raises:
        DataError: It is missing, or damaged.
    """
    read = 0
    try:
        with path.open("rb") as file:
            counted = cast(Any, _Counted(file, advance) if advance else file)
            data = zstandard.ZstdDecompressor().stream_reader(counted, read_across_frames=True)
            for line in io.BufferedReader(data, 1 << 17):
                fields = orjson.loads(line)
                if not isinstance(fields, dict):
                    raise ValueError("no object")
                yield fields
                read += 1
    except (ValueError, zstandard.ZstdError):
        raise DataError(f"{path}: line {read + 1} is damaged", hint=rebuild(path)) from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})", hint=rebuild(path)) from None


def read_documents(path: Path, source: str, advance: Callable[[int], None] | None = None) -> Iterator[Document]:
    """The documents in a file.

    Args:
        path: The file.
        source: The name that the documents bear.
        advance: Told how many more of its bytes, as they lie on the disk, have been read.

    Raises:
        DataError: It is missing, or a line is damaged.
    """
    for number, fields in enumerate(read_lines(path, advance), start=1):
        yield _document(path, number, source, fields)


def read_numbered(path: Path, source: str) -> Iterator[Numbered]:
    """The documents in a file of an unfinished build, with their numbers.

    Raises:
        DataError: It is missing, or a line is damaged.
    """
    for line, fields in enumerate(read_lines(path), start=1):
        number = fields.pop("n", None)
        if type(number) is not int:
            raise DataError(f"{path}: line {line} is damaged", hint=rebuild(path))
        yield Numbered(number, _document(path, line, source, fields))


def _document(path: Path, number: int, source: str, fields: dict[str, Any]) -> Document:
    try:
        document = Document(source, **fields)
        if not all(type(value) is str for value in (document.id, document.text, document.origin, document.turns)):
            raise TypeError
    except TypeError:
        raise DataError(f"{path}: line {number} is damaged", hint=rebuild(path)) from None
    return document

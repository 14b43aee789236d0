"""The texts of JSON-lines files, to train models on."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import orjson

from puna.core.errors import DataError
from puna.data.input.streams import open_stream
from puna.data.input_file import InputFile


def read_texts(paths: Iterable[Path], field: str = "text") -> Iterator[str]:
    """The texts of documents in JSON-lines files, compressed or not, one after the other.

    Args:
        paths: The files, such as those of a build's documents.
        field: The key of the text.

    Raises:
        DataError: A file cannot be read, or a line is not an object with such a text.
    """
    for path in paths:
        with open_local(path) as stream:
            for number, line in enumerate(lines(stream, path), 1):
                if line.strip():
                    yield _text(line, field, f"{path} line {number}")


def open_local(path: Path) -> BinaryIO:
    """A local file's bytes without its compression.

    Raises:
        DataError: It cannot be opened.
    """
    try:
        return open_stream(InputFile(str(path), path.name, path.stat().st_size, ""))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


def lines(stream: BinaryIO, path: Path) -> Iterator[bytes]:
    """The lines of a file that `open_local` has opened.

    Raises:
        DataError: It is damaged.
    """
    try:
        yield from stream
    except OSError as error:
        raise DataError(f"{path}: cannot be read to its end ({error.strerror or error})") from None


def _text(line: bytes, field: str, place: str) -> str:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise DataError(f"{place}: is not JSON ({error})") from None
    if not isinstance(row, dict) or not isinstance(row.get(field), str):
        raise DataError(f"{place}: expected an object with a text {field!r}")
    return row[field]

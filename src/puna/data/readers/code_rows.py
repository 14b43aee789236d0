"""Files of code as rows: JSON lines such as BigQuery's export of GitHub, and Parquet such as The Stack."""

import posixpath
from collections.abc import Iterator
from typing import Any, BinaryIO

from puna.data.document import TOO_LARGE, UNREADABLE
from puna.data.input.streams import open_stream
from puna.data.input_file import InputFile
from puna.data.readers.json_line import parse_line

BAD_ROW = "code.bad_row"

_PATH = ("path", "file_path", "max_stars_repo_path", "sample_path", "filename")
_REPOSITORY = ("repo_name", "repo", "repository_name", "max_stars_repo_name", "sample_repo_name", "repository")
_LICENCE = ("license", "licenses", "licence", "max_stars_repo_licenses", "detected_licenses", "spdx_license")
_LANGUAGE = ("language", "lang", "programming_language")
_ENCODING = ("src_encoding", "encoding")
COLUMNS = ("content", *_PATH, *_REPOSITORY, *_LICENCE, *_LANGUAGE, *_ENCODING)
"""Names of columns by kind; the first one that a row has counts."""

_COMPRESSED = {".gz", ".bz2", ".xz", ".zst"}
_ROWS = {".json", ".jsonl", ".ndjson"}
_ESCAPED = 2
"""Most bytes of a line for each byte of its content: JSON escapes newlines and quotes."""
_BATCH = 16
"""How many rows of Parquet are in memory at once."""
_PIECE = 1 << 20

Row = dict[str, str] | tuple[str, str]
"""A row's `content`, `path`, `repo`, `licence`, `language`, `encoding`; or a reason and its detail without content.

Content that is bytes, as Parquet may have it, is a string that `encode("utf-8", "surrogateescape")` turns into them
again; only then `encoding` is there, and empty if no column names it.
"""


def is_parquet(name: str) -> bool:
    """Whether a file is Parquet by its name."""
    return name.lower().endswith((".parquet", ".pq"))


def has_rows(file: InputFile, limit: int) -> bool:
    """Whether a file is of JSON lines with `content`, by its first line; a `package.json` is not.

    Raises:
        OSError: It cannot be read.
    """
    stem, ending = posixpath.splitext(file.name.lower())
    if ending in _COMPRESSED:
        ending = posixpath.splitext(stem)[1]
        if ending not in _ROWS and ending.lstrip(".").isalpha():
            return False
    elif ending not in _ROWS:
        return False
    with open_stream(file) as stream:
        line = stream.readline(_ESCAPED * limit)
    row = _parsed(line)
    return isinstance(row, dict) and "content" in row and not isinstance(row["content"], dict | list)


def json_rows(file: InputFile, limit: int) -> Iterator[Row]:
    """The rows of a file of JSON lines, in their order; blank lines are skipped.

    Args:
        file: Compressed or not.
        limit: Most bytes of `content`.
    """
    try:
        with open_stream(file) as stream:
            while line := stream.readline(_ESCAPED * limit + _PIECE):
                if not line.endswith(b"\n") and len(line) >= _ESCAPED * limit + _PIECE:
                    _skip_line(stream)
                    yield TOO_LARGE, f"a line of more than {len(line)} bytes"
                elif line.strip():
                    row = _parsed(line)
                    yield _row(row, limit) if isinstance(row, dict) else (BAD_ROW, "no JSON object")
    except OSError as error:
        yield UNREADABLE, str(error)


def parquet_rows(file: InputFile, limit: int) -> Iterator[Row]:
    """The rows of a Parquet file, in their order, a few in memory at once.

    Args:
        file: The Parquet file; it must not be compressed as a whole.
        limit: Most bytes of `content`.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        with file.open() as stream:
            table = pyarrow.parquet.ParquetFile(stream, buffer_size=_PIECE, pre_buffer=False)
            columns = [name for name in COLUMNS if name in table.schema_arrow.names]
            for batch in table.iter_batches(_BATCH, columns=columns, use_threads=False):
                for row in batch.to_pylist():
                    yield _row(row, limit)
    except (OSError, ValueError, TypeError, pyarrow.ArrowException) as error:
        yield UNREADABLE, str(error)[:500]


def _skip_line(stream: BinaryIO) -> None:
    while (piece := stream.readline(_PIECE)) and not piece.endswith(b"\n"):
        pass


def _parsed(line: bytes) -> Any:
    """The value of a line, or None."""
    try:
        return parse_line(line)
    except ValueError:
        return None


def _row(row: dict[str, Any], limit: int) -> Row:
    content = row.get("content")
    encoding = {}
    if isinstance(content, bytes) and len(content) <= limit:
        content = content.decode("utf-8", "surrogateescape")
        encoding = {"encoding": _first(row, _ENCODING)}
    if isinstance(content, bytes):
        return TOO_LARGE, f"{len(content)} bytes, at most {limit}"
    if not isinstance(content, str):
        return BAD_ROW, "no column `content` with a text"
    if len(content) > limit:
        return TOO_LARGE, f"{len(content)} characters, at most {limit} bytes"
    return {
        "content": content,
        "path": _first(row, _PATH),
        "repo": _first(row, _REPOSITORY),
        "licence": _first(row, _LICENCE),
        "language": _first(row, _LANGUAGE).lower(),
        **encoding,
    }


def _first(row: dict[str, Any], names: tuple[str, ...]) -> str:
    """The value of the first column that the row has; several licences are joined."""
    value = next((row[name] for name in names if row.get(name)), "")
    if isinstance(value, list):
        value = " AND ".join(item for item in value if isinstance(item, str))
    # The fields are written as JSON, which cannot hold lone surrogates.
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else ""

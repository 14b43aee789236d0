"""The columns of rows, and which of them is the text."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

from puna.data.input.encodings import json_lines_as_utf8
from puna.data.input.streams import open_stream
from puna.data.input_file import InputFile
from puna.data.readers.columns import whole_rows
from puna.data.readers.json_line import parse_line

ROWS = ("jsonl", "parquet", "arrow")
"""Formats of which each row is a document."""
_FIRST = 100
"""Rows that are looked at."""
_LONGEST_LINE = 1 << 26
_COMMON = ("text", "content", "raw_content", "body", "document", "article", "story", "markdown", "code")
"""Names that data sets give the column of their text."""
_OFTEN = 0.5
"""Share of the rows that have the text, at least."""
_WORDS = 3
"""Words that a text has on average, at least; names and numbers have fewer."""


def first_rows(file: InputFile, form: str) -> list[dict[str, Any]]:
    """The first rows of a file; none where it is damaged or has none.

    Args:
        file: JSON lines, Parquet or Arrow.
        form: One of `ROWS`.
    """
    rows: list[dict[str, Any]] = []
    with suppress(OSError):
        found = _lines(file) if form == "jsonl" else whole_rows(file, form)
        rows.extend(islice((row for row in found if row is not None), _FIRST))
    return rows


def _lines(file: InputFile) -> Iterator[dict[str, Any]]:
    with open_stream(file) as opened:
        stream = json_lines_as_utf8(opened)
        while line := stream.readline(_LONGEST_LINE):
            try:
                row = parse_line(line.removeprefix(b"\xef\xbb\xbf").strip())
            except ValueError:
                continue
            if isinstance(row, dict):
                yield row


def columns_of(rows: list[dict[str, Any]]) -> list[str]:
    """The names of all columns, in the order in which they come."""
    return list(dict.fromkeys(str(name) for row in rows for name in row))


def text_columns(rows: list[dict[str, Any]]) -> list[str]:
    """The columns that may be the text, likeliest first: those of common names, then by their length."""
    lengths: dict[str, int] = {}
    for name in columns_of(rows):
        texts = [row[name] for row in rows if isinstance(row.get(name), str)]
        words = sum(len(text.split()) for text in texts)
        if texts and len(texts) >= _OFTEN * len(rows) and words >= _WORDS * len(texts):
            lengths[name] = sum(map(len, texts))
    common = [name for name in _COMMON if name in lengths]
    return [*common, *sorted((name for name in lengths if name not in common), key=lambda name: -lengths[name])]

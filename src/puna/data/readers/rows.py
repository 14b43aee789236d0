"""Rows with a column of text: JSON lines (C4, Dolma, RedPajama), Parquet, and saved Hugging Face datasets (Arrow)."""

import contextlib
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import orjson

from puna.config.data import Source
from puna.data.document import EMPTY, INVALID_UTF8, TOO_LARGE, UNREADABLE, Document, Dropped, Raw
from puna.data.input.encodings import json_lines_as_utf8
from puna.data.input.streams import open_stream
from puna.data.input_file import InputFile
from puna.data.readers.columns import arrow_rows, parquet_rows
from puna.data.readers.json_line import json_lines, parse_line
from puna.data.spec import ReaderSpec
from puna.data.text.decode import clean_text

NO_TEXT, BROKEN = "rows.no_text", "rows.broken"

REASONS = {
    NO_TEXT: "Its row has no string in the column that the source's text_field names.",
    BROKEN: "Its line is not a JSON object.",
}
"""A sentence for each reason of this module."""

NAMES = {
    "id": ("id", "doc_id", "uuid"),
    "url": ("url", "source_url", "uri", "warc-target-uri"),
    "date": ("date", "timestamp", "created", "published", "warc-date"),
    "licence": ("license", "licence", "license_type"),
    "language": ("language", "lang"),
}
"""Columns for each field of a document; the first that exists is taken."""
GROUPS = ("meta", "metadata", "warc_headers")
"""Columns that contain such columns: RedPajama, Dolma, OSCAR."""
_IDENTITY = 200
"""Most characters of a row's own id in a document's."""
_ISO = re.compile(r"[0-9]{4}-[0-9]{2}(-[0-9]{2}.*)?", re.DOTALL)
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}([_-][A-Za-z0-9]+)*")


class RowsReader:
    """One row is one document: its id is `file#number`, and `file#number:id` where the row has an id of its own.

    Args:
        name: The source's name.
        source: Its format and its text_field.
        limit: Most bytes of a line, and of a text.
    """

    def __init__(self, name: str, source: Source, limit: int) -> None:
        self._source = name
        self._format = source.format
        self._field = source.text_field
        self._limit = limit

    def records(self, file: InputFile) -> Iterator[Raw | Dropped]:
        """The rows of a file."""
        try:
            yield from self._lines(file) if self._format == "jsonl" else self._rows(file)
        except OSError as error:  # the library for columns also raises it
            yield Dropped(self._source, f"{file.name}#end", UNREADABLE, str(error))

    def document(self, raw: Raw) -> Document | Dropped:
        """The document of a row, with its text."""
        if self._format != "jsonl":
            try:
                return self._document(raw.id, raw.content.decode(), raw.fields)
            except UnicodeDecodeError as error:
                return Dropped(self._source, raw.id, INVALID_UTF8, str(error))
        try:
            row = parse_line(raw.content)
        except ValueError as error:
            return Dropped(self._source, raw.id, BROKEN, str(error))
        if not isinstance(row, dict):
            return Dropped(self._source, raw.id, BROKEN, f"{type(row).__name__}, not an object")
        text = row.get(self._field)
        if not isinstance(text, str):
            return self._no_text(raw.id, text)
        return self._document(raw.id, text, row_fields(row))

    def _lines(self, file: InputFile) -> Iterator[Raw | Dropped]:
        with open_stream(file) as opened:
            for number, line in enumerate(json_lines(json_lines_as_utf8(opened), self._limit)):
                identity = f"{file.name}#{number}"
                if line is None:
                    yield Dropped(self._source, identity, TOO_LARGE, f"a line of more than {self._limit} bytes")
                elif line:
                    yield Raw(identity, line)

    def _rows(self, file: InputFile) -> Iterator[Raw | Dropped]:
        """Rows with their text as bytes, and their other columns."""
        names = (*GROUPS, *(name for names in NAMES.values() for name in names))
        read = parquet_rows if self._format == "parquet" else arrow_rows
        for number, (text, row) in enumerate(read(file, self._field, names)):
            identity = f"{file.name}#{number}"
            if not isinstance(text, bytes):
                yield self._no_text(identity, text)
            elif len(text) > self._limit:
                yield Dropped(self._source, identity, TOO_LARGE, f"{len(text)} bytes, at most {self._limit}")
            else:
                yield Raw(identity, text, row_fields(row))

    def _no_text(self, identity: str, found: Any) -> Dropped:
        what = "nothing" if found is None else type(found).__name__
        return Dropped(self._source, identity, NO_TEXT, f"{what} in {self._field!r}")

    def _document(self, identity: str, text: str, fields: dict[str, str]) -> Document | Dropped:
        own = fields.get("id", "")
        identity = f"{identity}:{own}" if own else identity
        text = clean_text(text)
        if not text:
            return Dropped(self._source, identity, EMPTY)
        return Document(
            self._source,
            identity,
            text,
            identity,
            url=fields.get("url", ""),
            licence=fields.get("licence", ""),
            date=fields.get("date", ""),
            language=fields.get("language", ""),
        )


def row_fields(row: dict[str, Any]) -> dict[str, str]:
    """A document's `id`, `url`, `date`, `licence` and `language`, if a row has them."""
    rows = [row]
    for name in GROUPS:
        group = row.get(name)
        if isinstance(group, str):
            with contextlib.suppress(orjson.JSONDecodeError):
                group = orjson.loads(group)
        if isinstance(group, dict):
            rows.append(group)
    fields = {}
    for field, names in NAMES.items():
        values = (_string(field, source[name]) for source in rows for name in names if name in source)
        if value := next(filter(None, values), ""):
            fields[field] = value
    return fields


def _string(field: str, value: Any) -> str:
    """A value as a field's string; empty if it cannot be one."""
    if isinstance(value, list | tuple) and all(isinstance(part, str) for part in value):
        value = ", ".join(value)
    if field == "date":
        value = _iso_date(value)
    elif field == "id" and isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return ""
    value = clean_text(value).strip()
    if field == "language" and not _LANGUAGE.fullmatch(value):
        return ""
    return value[:_IDENTITY] if field == "id" else value


def _iso_date(value: Any) -> Any:
    """A date in ISO 8601 from a date, from seconds or milliseconds since 1970, or from a string that is one."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, int | float) and not isinstance(value, bool) and 1e8 < value < 1e13:
        return datetime.fromtimestamp(value / 1000 if value > 1e11 else value, UTC).isoformat(timespec="seconds")
    return value if isinstance(value, str) and _ISO.fullmatch(value) else ""


JSONL = ReaderSpec(
    name="jsonl",
    make=RowsReader,
    reads="one document per row; `text_field` names the column",
    reasons=REASONS,
    damage=(NO_TEXT, BROKEN),
)


PARQUET = ReaderSpec(
    name="parquet",
    make=RowsReader,
    reads="one document per row; `text_field` names the column",
    reasons=REASONS,
    damage=(NO_TEXT, BROKEN),
)


ARROW = ReaderSpec(
    name="arrow",
    make=RowsReader,
    reads="one document per row; `text_field` names the column",
    reasons=REASONS,
    damage=(NO_TEXT, BROKEN),
)

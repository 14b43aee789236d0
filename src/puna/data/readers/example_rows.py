"""Rows that hold examples of instruction tuning, in any file that has rows, and what all such readers have in common.

What a file is, its first bytes tell: Parquet, Arrow (a saved Hugging Face dataset), a JSON list, or else JSON lines.
"""

import codecs
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any, BinaryIO, ClassVar, cast

from puna.chat.example import Example
from puna.config.data import Source
from puna.core.errors import GenerateError
from puna.data.document import EMPTY, INVALID_UTF8, TOO_LARGE, UNREADABLE, Document, Dropped, Raw
from puna.data.input.encodings import json_lines_as_utf8
from puna.data.input.streams import open_stream
from puna.data.input_file import InputFile
from puna.data.readers.columns import whole_rows
from puna.data.readers.json_line import json_lines
from puna.data.readers.json_list import list_elements
from puna.data.readers.rows import row_fields
from puna.data.text.decode import turn_text

_PARQUET, _ARROW = b"PAR1", (b"ARROW1", b"\xff\xff\xff\xff")
"""How files of rows begin: Parquet's, and Arrow's with an index or as a stream of batches."""
_HEAD = 1024
_LONGEST_NAME = 200
"""Characters of a task's name that are kept."""
_TASK = ("task", "task_name")
_BESIDE = frozenset({"system", "task", "tools"})
"""Columns that may be named in a recipe while all others are found by their usual names."""

BROKEN, NO_COLUMNS, BAD_VALUE, NO_ANSWER, NOT_SUPPORTED = (
    "broken", "no_columns", "bad_value", "no_answer", "not_supported",
)  # fmt: skip
"""Why a row is not an example; the reader's name stands before it."""


def reasons_of(form: str) -> dict[str, str]:
    """The sentences for the reasons that the readers of all formats of examples have, for one of them."""
    sentences = {
        BROKEN: "Its row is not a JSON object, is nested too deep, or has a key twice.",
        NO_COLUMNS: "Its row has none of the columns that make an example.",
        BAD_VALUE: "A column or turn has a value of another type than it must have, none at all, or an unknown role.",
        NO_ANSWER: "It has no answer to learn from, or an empty one.",
        NOT_SUPPORTED: "It has something besides text, such as an image, or a turn that says how much it counts.",
    }
    return {f"{form}.{kind}": sentence for kind, sentence in sentences.items()}


def damage_of(form: str) -> tuple[str, ...]:
    """Those of these reasons that nobody has chosen."""
    return tuple(f"{form}.{kind}" for kind in (BROKEN, NO_COLUMNS, BAD_VALUE))


class RowError(Exception):
    """A row is not an example.

    Args:
        kind: Why: one of this module's constants, or of the reader's own.
        detail: What is wrong with it, for people.
    """

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind, self.detail = kind, detail


class ExamplesReader:
    """One row is one example: its id is `file#number`, and `file#number:id` where the row has an id of its own.

    Args:
        name: The source's name.
        source: Its section of the recipe.
        limit: Most bytes of a row.
    """

    form: ClassVar[str]
    """The name of the format, with which its reasons begin."""

    def __init__(self, name: str, source: Source, limit: int) -> None:
        self._source, self._limit = name, limit
        self.columns: Mapping[str, str] = {str(column): own for column, own in source.columns.items()}
        """The names of columns in the recipe, by what they are."""

    def example(self, row: dict[str, Any], raw: Raw) -> Example:
        """The example in a row.

        Args:
            row: Its values, as JSON has them.
            raw: The record that it is in.

        Raises:
            RowError: It is not an example.
            GenerateError: It is not one of `puna.chat.messages`.
        """
        raise NotImplementedError

    def records(self, file: InputFile) -> Iterator[Raw | Dropped]:
        """The rows of a file, as JSON."""
        try:
            yield from self._records(file)
        except OSError as error:  # the library for columns also raises it
            yield Dropped(self._source, f"{file.name}#end", UNREADABLE, str(error))

    def document(self, raw: Raw) -> Document | Dropped:
        """The document of a row, with its turns."""
        identity = raw.id
        try:
            row = parsed_row(raw.content)
            fields = row_fields(row)
            identity = document_id(raw, fields)
            example = self.example(row, raw)
        except UnicodeDecodeError as error:
            return Dropped(self._source, identity, INVALID_UTF8, str(error), _as_text(raw.content))
        except RowError as error:
            return Dropped(self._source, identity, f"{self.form}.{error.kind}", error.detail, _as_text(raw.content))
        except GenerateError as error:
            return Dropped(self._source, identity, f"{self.form}.{BAD_VALUE}", error.message, _as_text(raw.content))
        if not example.text:
            return Dropped(self._source, identity, EMPTY, "", _as_text(raw.content))
        return Document(
            self._source, identity, example.text, identity,
            url=fields.get("url", ""), licence=fields.get("licence", ""), date=fields.get("date", ""),
            language=fields.get("language", ""), turns=example.json(),
        )  # fmt: skip

    def value(self, row: Mapping[str, Any], column: str, names: Sequence[str]) -> tuple[str, Any]:
        """What a row has in a column, with the column's name; the first of these names that has a value counts.

        Args:
            row: Its values.
            column: What the column is, as `columns` of the recipe says it.
            names: What it is called where the recipe does not name it.
        """
        if column in self.columns:
            names = (self.columns[column],)
        elif column not in _BESIDE and self.columns.keys() - _BESIDE:
            names = ()
        return next(((name, row[name]) for name in names if row.get(name) is not None), ("", None))

    def task_of(self, row: Mapping[str, Any]) -> str:
        """The name of the task that a row is of; empty if it tells none."""
        _, value = self.value(row, "task", _TASK)
        return " ".join(turn_text(value).split())[:_LONGEST_NAME] if value and isinstance(value, str) else ""

    def _records(self, file: InputFile) -> Iterator[Raw | Dropped]:
        with open_stream(file) as opened:
            head = cast(Any, opened).peek(len(_PARQUET))
            form = "parquet" if head.startswith(_PARQUET) else "arrow" if head.startswith(_ARROW) else ""
            if not form:
                yield from self._checked(file, _json_rows(json_lines_as_utf8(opened), self._limit))
        if form:
            for number, row in enumerate(whole_rows(file, form)):
                if row is None:
                    yield Dropped(self._source, f"{file.name}#{number}", INVALID_UTF8, "a string of the row")
                else:
                    yield from self._checked(file, [(number, _as_json(row))])

    def _checked(self, file: InputFile, rows: Iterable[tuple[int, bytes | None]]) -> Iterator[Raw | Dropped]:
        for number, row in rows:
            identity = f"{file.name}#{number}"
            if row is None or len(row) > self._limit:
                yield Dropped(self._source, identity, TOO_LARGE, f"a row of more than {self._limit} bytes")
            else:
                yield Raw(identity, row)


def document_id(raw: Raw, fields: Mapping[str, str]) -> str:
    """The id of the document that a row with these fields becomes: its place in the file, and an id of its own."""
    return f"{raw.id}:{fields['id']}" if "id" in fields else raw.id


def parsed_row(content: bytes) -> dict[str, Any]:
    """The values of a row that is a JSON object, in which no key occurs twice: nobody could say which one is meant.

    Raises:
        RowError: It is something else.
        UnicodeDecodeError: It is not UTF-8.
    """
    try:
        row = _DECODER.decode(content.decode())
    except UnicodeDecodeError:
        raise
    except (ValueError, RecursionError) as error:
        raise RowError(BROKEN, str(error)) from None
    if not isinstance(row, dict):
        raise RowError(BROKEN, f"{json_kind(row)}, not an object")
    return row


def json_kind(value: Any) -> str:
    """What a value is, in JSON's words: `a list`, `null`."""
    names = {type(None): "null", bool: "a boolean", int: "a number", float: "a number", str: "text", list: "a list"}
    return names.get(type(value), "an object")


def _as_text(content: bytes) -> str:
    """A row as people can look at it."""
    return content.decode("utf-8", "replace")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise RowError(BROKEN, f"the key {twice!r:.80} occurs twice in one object")
    return table


_DECODER = json.JSONDecoder(object_pairs_hook=_once)


def _json_rows(stream: BinaryIO, limit: int) -> Iterator[tuple[int, bytes | None]]:
    """The rows of one JSON list or of JSON lines with their numbers; None in place of one that is too long."""
    head = cast(Any, stream).peek(_HEAD)
    if head.startswith(codecs.BOM_UTF8):
        stream.read(len(codecs.BOM_UTF8))
        head = head.removeprefix(codecs.BOM_UTF8)
    if head.lstrip().startswith(b"["):
        yield from enumerate(list_elements(stream, limit))
    else:
        yield from ((number, line) for number, line in enumerate(json_lines(stream, limit)) if line != b"")


def _as_json(row: dict[str, Any]) -> bytes:
    """A row of columns as JSON: without the columns that have no value in it, and with dates as text."""
    return json.dumps(row, ensure_ascii=False, default=_plain).encode("utf-8", "surrogatepass")


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else None

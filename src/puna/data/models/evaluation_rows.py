"""The rows of evaluation sets, with all their strings."""

import csv
import glob
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from puna.core.errors import DataError
from puna.data.models.texts import lines, open_local

_COMPRESSED = {".gz", ".zst", ".bz2", ".xz"}
_ROW = {".jsonl": "JSON", ".ndjson": "JSON", ".csv": "CSV", ".tsv": "TSV", ".txt": "text"}


@dataclass(frozen=True, slots=True)
class Row:
    """One example of an evaluation set."""

    number: int
    """Its place in its file, from 1: the line of JSON lines, the record of a table including its header, or the
    paragraph of a text."""
    strings: list[str]


def find(name: str, pattern: str) -> list[Path]:
    """The files of an evaluation set, in the order of their names.

    Raises:
        DataError: There are no files, or one is of a kind without rows.
    """
    paths = [Path(path) for path in sorted(glob.glob(str(Path(pattern).expanduser()), recursive=True))]
    paths = [path for path in paths if path.is_file()]
    if not paths:
        raise DataError(f"rules.decontaminate.sets.{name}: no file is found by {pattern!r}")
    for path in paths:
        if _kind(path) is None:
            raise DataError(
                f"rules.decontaminate.sets.{name}: {path} is not of a kind that has rows, expected one of "
                f"{', '.join(_ROW)}, compressed or not"
            )
    return paths


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a file, in the format of its name's ending.

    Raises:
        DataError: It is damaged, or not in the format of its name.
    """
    with open_local(path) as stream:
        content = lines(stream, path)
        match _kind(path):
            case "JSON":
                yield from _json_rows(content, path)
            case "text":
                yield from _paragraphs(content)
            case kind:
                yield from _table_rows(content, path, "\t" if kind == "TSV" else ",")


def _kind(path: Path) -> str | None:
    endings = [ending.lower() for ending in path.suffixes if ending.lower() not in _COMPRESSED]
    return _ROW.get(endings[-1]) if endings else None


def _json_rows(content: Iterable[bytes], path: Path) -> Iterator[Row]:
    for number, line in enumerate(content, 1):
        if line.strip():
            try:
                value = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise DataError(f"{path} line {number}: is not JSON ({error})") from None
            yield Row(number, list(_strings(value)))


def _strings(value: object) -> Iterator[str]:
    """All strings in a JSON value except keys, in their order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


def _table_rows(content: Iterable[bytes], path: Path, delimiter: str) -> Iterator[Row]:
    text = (line.decode("utf-8-sig" if number == 0 else "utf-8", "replace") for number, line in enumerate(content))
    quoting = csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE  # a quotation mark in a TSV is text
    reader = csv.reader(text, delimiter=delimiter, quoting=quoting)
    try:
        for number, cells in enumerate(reader, 1):
            yield Row(number, cells)
    except csv.Error as error:
        raise DataError(f"{path} line {reader.line_num}: is not a table ({error})") from None


def _paragraphs(content: Iterable[bytes]) -> Iterator[Row]:
    number, paragraph = 0, io.StringIO()
    for line in content:
        if line.strip():
            paragraph.write(line.decode("utf-8", "replace"))
        elif paragraph.tell():
            number += 1
            yield Row(number, [paragraph.getvalue()])
            paragraph = io.StringIO()
    if paragraph.tell():
        yield Row(number + 1, [paragraph.getvalue()])

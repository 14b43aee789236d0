"""Rows of the files in which benchmarks are handed out: Arrow, Parquet, JSON lines, JSON, CSV and TSV."""

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from puna.core.bounded import open_regular, parse_json
from puna.core.errors import EvaluateError
from puna.core.packages import missing_package

Rows: TypeAlias = Iterator[dict[str, Any]]

_MOST_CELL = 1 << 24
"""Characters in one cell of a table; Python's own bound, 131,072, is short for articles."""


def read_rows(path: Path) -> Rows:
    """The rows of a file, in the format that its name ends with.

    A table's cells are texts. `.txt` is JSON too, as RACE has it. Null values of Arrow and Parquet are None.

    Raises:
        EvaluateError: It is damaged, or of a kind without rows.
        UserError: It is Arrow or Parquet, and pyarrow is not installed.
    """
    name = path.name.lower()
    packed = name.endswith(".gz")
    ending = Path(name.removesuffix(".gz")).suffix
    if ending in (".arrow", ".parquet"):
        yield from _columns(path, ending)
        return
    if ending not in _BY_ENDING:
        endings = ", ".join([".arrow", ".parquet", *_BY_ENDING])
        raise EvaluateError(f"{path}: is not of a kind that has rows, expected one of {endings}, also with .gz")
    with open_regular(path, EvaluateError) as raw:
        stream = gzip.GzipFile(fileobj=raw) if packed else raw
        try:
            yield from _BY_ENDING[ending](stream, path)  # type: ignore[arg-type]
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise EvaluateError(f"{path}: cannot be unpacked to its end ({error})") from None


def _columns(path: Path, ending: str) -> Rows:
    try:
        import pyarrow as pa
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise missing_package(error) or error from None
    try:
        with open_regular(path, EvaluateError) as file:
            for batch in _batches(pa, file, ending):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise EvaluateError(f"{path}: is not {ending[1:].capitalize()} that can be read ({error})") from None


def _batches(pa: Any, file: BinaryIO, ending: str) -> Iterable[Any]:
    if ending == ".parquet":
        return pa.parquet.ParquetFile(file).iter_batches(batch_size=1024)
    magic = file.read(6)
    file.seek(0)
    if magic == b"ARROW1":
        reader = pa.ipc.open_file(file)
        return (reader.get_batch(number) for number in range(reader.num_record_batches))
    return pa.ipc.open_stream(file)


def _json_lines(stream: BinaryIO, path: Path) -> Rows:
    for number, line in enumerate(stream, 1):
        if content := line.removeprefix(b"\xef\xbb\xbf" if number == 1 else b"").strip():
            where = f"{path}: line {number}"
            yield _object(parse_json(content, where, EvaluateError), where)


def _json(stream: BinaryIO, path: Path) -> Rows:
    found = parse_json(stream.read(), path, EvaluateError)
    for number, row in enumerate(found if isinstance(found, list) else [found], 1):
        yield _object(row, f"{path}: row {number}")


def _object(row: object, where: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise EvaluateError(f"{where}: is {row!r:.80}, expected an object with named fields")
    return row


def _comma_separated(stream: BinaryIO, path: Path) -> Rows:
    return _table(stream, path, csv.excel)


def _tab_separated(stream: BinaryIO, path: Path) -> Rows:
    return _table(stream, path, _Tabs)


class _Tabs(csv.excel_tab):
    """Where a quotation mark is a character like others."""

    quoting = csv.QUOTE_NONE


def _table(stream: BinaryIO, path: Path, dialect: type[csv.Dialect]) -> Rows:
    with io.TextIOWrapper(stream, "utf-8-sig", newline="") as text:
        reader = csv.DictReader(text, dialect=dialect, strict=True)
        yield from _cells(reader, path)


def _cells(reader: "csv.DictReader[str]", path: Path) -> Rows:
    try:
        while (row := _next_row(reader)) is not None:
            if None in row or None in row.values():
                raise EvaluateError(f"{path}: line {reader.line_num}: does not have the columns of the first line")
            yield row
    except csv.Error as error:
        raise EvaluateError(f"{path}: line {reader.line_num}: is not a table ({error})") from None
    except UnicodeDecodeError as error:
        raise EvaluateError(f"{path}: is not text in UTF-8 ({error.reason})") from None


def _next_row(reader: "csv.DictReader[str]") -> dict[str, Any] | None:
    """The next row, None at the end; Python has one bound on cells for all readers of a process, so it is put back."""
    before = csv.field_size_limit(_MOST_CELL)
    try:
        return next(reader, None)
    finally:
        csv.field_size_limit(before)


_BY_ENDING: dict[str, Callable[[BinaryIO, Path], Rows]] = {
    ".jsonl": _json_lines, ".ndjson": _json_lines, ".json": _json, ".txt": _json,
    ".csv": _comma_separated, ".tsv": _tab_separated,
}  # fmt: skip

"""Rows of Parquet and Arrow files, read a few at a time to bound memory for files of any size."""

import io
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from puna.data.input.compression import BrokenStreamError
from puna.data.input.streams import open_stream
from puna.data.input_file import InputFile

Row = tuple[Any, dict[str, Any]]
"""The text as bytes, or another value found in its place; and the other columns by name."""

_ROWS = 16
"""Rows decoded at once: a row may be a book."""
_BUFFER = 1 << 20
_DAMAGE = (pa.ArrowException, ValueError, KeyError, TypeError, IndexError, OverflowError)
_MAGIC = b"ARROW1"


def parquet_rows(file: InputFile, text: str, names: Sequence[str]) -> Iterator[Row]:
    """The rows of a Parquet file.

    Raises:
        OSError: It cannot be opened or is damaged.
    """
    with file.open() as stream:
        try:
            table = pq.ParquetFile(stream, buffer_size=_BUFFER, pre_buffer=False)
            columns = [name for name in (text, *names) if name in table.schema_arrow.names]
            for batch in table.iter_batches(_ROWS, columns=columns, use_threads=False):
                yield from _rows(batch, text)
        except _DAMAGE as error:
            raise BrokenStreamError(f"parquet: {error}") from error


def arrow_rows(file: InputFile, text: str, names: Sequence[str]) -> Iterator[Row]:
    """The rows of an Arrow file: a stream of batches, as `datasets` saves it, or the format with an index.

    Raises:
        OSError: It cannot be opened or is damaged.
    """
    try:
        for batch in _batches(file):
            batch.validate(full=True)  # offsets that point outside would crash the code that reads the values
            columns = [name for name in dict.fromkeys((text, *names)) if name in batch.schema.names]
            for start in range(0, batch.num_rows, _ROWS):
                yield from _rows(batch.select(columns).slice(start, _ROWS), text)
    except _DAMAGE as error:
        raise BrokenStreamError(f"arrow: {error}") from error


def whole_rows(file: InputFile, form: str) -> Iterator[dict[str, Any] | None]:
    """The rows with all their columns; None in place of one with a string that is not UTF-8.

    Args:
        file: The file.
        form: `parquet` or `arrow`.

    Raises:
        OSError: It cannot be opened or is damaged.
    """
    try:
        if form == "arrow":
            for batch in _batches(file):
                batch.validate(full=True)
                _refuse_twins(batch.schema)
                for start in range(0, batch.num_rows, _ROWS):
                    yield from _dicts(batch.slice(start, _ROWS))
            return
        with file.open() as stream:
            table = pq.ParquetFile(stream, buffer_size=_BUFFER, pre_buffer=False)
            _refuse_twins(table.schema_arrow)
            for batch in table.iter_batches(_ROWS, use_threads=False):
                yield from _dicts(batch)
    except _DAMAGE as error:
        raise BrokenStreamError(f"{form}: {error}") from error


def _dicts(batch: pa.RecordBatch) -> list[dict[str, Any] | None]:
    try:
        return batch.to_pylist()
    except UnicodeDecodeError:
        if batch.num_rows == 1:
            return [None]
        return [row for number in range(batch.num_rows) for row in _dicts(batch.slice(number, 1))]


def _refuse_twins(schema: pa.Schema) -> None:
    """Raise a `ValueError` where two columns have one name: a row could have but one of their values."""
    if twins := [name for name in schema.names if schema.names.count(name) > 1]:
        raise ValueError(f"it has two columns that are called {twins[0]!r:.80}")


def _batches(file: InputFile) -> Iterator[pa.RecordBatch]:
    with open_stream(file) as stream:
        if not cast(Any, stream).peek(len(_MAGIC)).startswith(_MAGIC):
            pieces = _Pieces(stream)
            yield from pa.ipc.open_stream(pa.PythonFile(pieces, mode="r"))
            if pieces.is_short:  # Arrow takes the end of the file for that of the stream
                raise BrokenStreamError("arrow: the mark at its end is missing, so that it may be cut off")
            return
    with file.open() as stream:
        indexed = pa.ipc.open_file(pa.PythonFile(_Pieces(stream), mode="r"))
        for number in range(indexed.num_record_batches):
            yield indexed.get_batch(number)


class _Pieces:
    """A stream that allocates no memory for bytes that a damaged file claims but does not have."""

    closed = False

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell
        self.is_short = False
        """Whether fewer bytes were left than were asked for last."""

    def read(self, size: int = -1) -> bytes:
        pieces = io.BytesIO()
        while (left := size - pieces.tell()) > 0 and (piece := self._stream.read(min(left, _BUFFER))):
            pieces.write(piece)
        self.is_short = pieces.tell() < size
        return pieces.getvalue()

    def close(self) -> None:
        """Do nothing: the opener of the stream closes it."""


def _rows(batch: pa.RecordBatch, text: str) -> Iterator[Row]:
    columns = {name: _values(batch.column(name), name == text) for name in batch.schema.names}
    texts = columns.pop(text, [None] * batch.num_rows)
    for number in range(batch.num_rows):
        row = {name: values[number] for name, values in columns.items() if values[number] is not None}
        yield texts[number], row


def _values(column: Any, is_text: bool) -> list[Any]:
    """A column's values; the text as bytes, since a file may declare bytes as a string that are not UTF-8."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    if is_text and (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        column = column.cast(pa.large_binary())
    elif pa.types.is_timestamp(kind):
        column = column.cast(pa.timestamp("us", kind.tz), safe=False)
    try:
        return column.to_pylist()
    except (*_DAMAGE, UnicodeDecodeError):
        return [None] * len(column)

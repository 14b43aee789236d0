"""Rows of Parquet and Arrow files."""

import io
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from puna.data.input_file import InputFile
from puna.data.readers.columns import arrow_rows, parquet_rows

TABLE = pa.table(
    {
        "text": ["first", "naïve", None, "last"],
        "other": [1, 2, 3, 4],
        "url": ["a", None, "c", "d"],
        "meta": [{"x": 1}, {"x": 2}, None, {"x": 4}],
    }
)
ROWS = [
    (b"first", {"url": "a", "meta": {"x": 1}}),
    ("naïve".encode(), {"meta": {"x": 2}}),
    (None, {"url": "c"}),
    (b"last", {"url": "d", "meta": {"x": 4}}),
]
NAMES = ("url", "meta", "id")


def write(path: Path, form: str, table: pa.Table = TABLE, **options: object) -> InputFile:
    if form == "parquet":
        pq.write_table(table, path, **options)
    else:
        make = pa.ipc.new_stream if form == "stream" else pa.ipc.new_file
        with pa.OSFile(str(path), "wb") as sink, make(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=3)
    return InputFile(str(path), path.name, path.stat().st_size, "")


def rows(file: InputFile, form: str, names: tuple[str, ...] = NAMES) -> list[tuple[object, dict[str, object]]]:
    read = parquet_rows if form == "parquet" else arrow_rows
    return list(read(file, "text", names))


FORMS = ["parquet", "stream", "file"]


@pytest.mark.parametrize("form", FORMS)
def test_rows_come_in_order_with_the_columns_that_are_asked_for(tmp_path: Path, form: str):
    assert rows(write(tmp_path / "f", form), form) == ROWS
    remote = InputFile(f"file://{tmp_path / 'f'}", "f", (tmp_path / "f").stat().st_size, "")
    assert rows(remote, form) == ROWS


@pytest.mark.parametrize("form", FORMS)
def test_a_file_without_the_column_has_rows_without_text(tmp_path: Path, form: str):
    file = write(tmp_path / "f", form, TABLE.drop_columns(["text", "url", "meta"]))
    assert rows(file, form) == [(None, {})] * 4


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.binary(), pa.dictionary(pa.int8(), pa.string())], ids=str
)
def test_text_may_have_any_type_of_text(tmp_path: Path, form: str, kind: pa.DataType):
    table = pa.table({"text": pa.array(["a", "é", None]).cast(kind if "dict" not in str(kind) else pa.string())})
    if "dict" in str(kind):
        table = pa.table({"text": table["text"].dictionary_encode()})
    assert [text for text, _ in rows(write(tmp_path / "f", form, table), form)] == [b"a", "é".encode(), None]


@pytest.mark.parametrize("form", FORMS)
def test_bytes_that_are_not_utf8_come_as_they_are(tmp_path: Path, form: str):
    wrong = pa.array([b"\xff", b"x"]).cast(pa.binary()).view(pa.string())
    file = write(tmp_path / "f", form, pa.table({"text": wrong, "url": wrong}))
    if form == "parquet":
        assert [text for text, _ in rows(file, form)] == [b"\xff", b"x"]
    else:  # the library's own check of the file
        with pytest.raises(OSError, match="Invalid UTF8"):
            rows(file, form)


def test_nanoseconds_become_dates(tmp_path: Path):
    stamps = pa.array([1_600_000_000_123_456_789], pa.timestamp("ns", "UTC"))
    ((_, row),) = rows(write(tmp_path / "f", "parquet", pa.table({"url": stamps})), "parquet")
    assert row["url"] == datetime(2020, 9, 13, 12, 26, 40, 123456, UTC)


@pytest.mark.parametrize("form", FORMS)
def test_a_file_that_is_none_or_was_cut_off_is_an_os_error(tmp_path: Path, form: str):
    content = Path(write(tmp_path / "f", form).url).read_bytes()
    for part in (b"", b"text", content[: len(content) // 2], content[:-4] if form != "stream" else content[:-200]):
        (tmp_path / "f").write_bytes(part)
        with pytest.raises(OSError):  # noqa: PT011 (the library has many messages)
            rows(InputFile(str(tmp_path / "f"), "f", len(part), ""), form)


@pytest.mark.parametrize("form", FORMS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=60)
@given(changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8))
def test_damaged_files_are_os_errors_or_rows(tmp_path: Path, form: str, changes: list[tuple[int, int]]):
    file = write(tmp_path / "f", form)
    content = bytearray(Path(file.url).read_bytes())
    for at, value in changes:
        content[at % len(content)] = value
    (tmp_path / "f").write_bytes(content)
    try:
        found = rows(file, form)
    except OSError:
        return
    assert all(isinstance(row, dict) for _, row in found)


MEMORY = """
import resource, sys
from puna.data.input_file import InputFile
from puna.data.readers.columns import arrow_rows, parquet_rows
read = parquet_rows if sys.argv[2] == "parquet" else arrow_rows
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = sum(len(text) for text, _ in read(InputFile(sys.argv[1], "f", 1, ""), "text", ("url",)))
print(count, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


@pytest.mark.parametrize("form", ["parquet", "stream"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, form: str):
    texts = [f"{number} words " * 300 for number in range(24_000)]
    table = pa.table({"text": texts})
    if form == "parquet":
        file = write(tmp_path / "f", form, table, row_group_size=24_000, compression="zstd", use_dictionary=False)
    else:
        with pa.OSFile(str(tmp_path / "f"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=1000)
        file = InputFile(str(tmp_path / "f"), "f", 1, "")
    command = [sys.executable, "-c", MEMORY, file.url, form]
    count, megabytes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert int(count) == sum(map(len, texts)) > 80_000_000
    assert int(megabytes) < 45


def test_a_stream_that_was_cut_between_two_batches_is_said_to_be(tmp_path: Path):
    table = pa.table({"text": [f"text {number}" for number in range(100)]})
    content = io.BytesIO()
    with pa.ipc.new_stream(content, table.schema) as writer:
        writer.write_table(table, max_chunksize=50)
    (path := tmp_path / "f").write_bytes(content.getvalue())
    file = InputFile(str(path), "f", path.stat().st_size, "")
    assert len(list(arrow_rows(file, "text", ()))) == 100
    path.write_bytes(content.getvalue()[:-8])  # the mark at the end has eight bytes (Arrow columnar format, IPC)
    rows = []
    with pytest.raises(OSError, match="the mark at its end is missing"):
        rows.extend(text for text, _ in arrow_rows(file, "text", ()))

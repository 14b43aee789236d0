import contextlib
import csv
import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.benchmarks.readers import read_rows
from puna.core.errors import EvaluateError, UserError

ROWS = [{"a": "x\ty", "b": [1, 2], "c": None}, {"a": 'ä "q"', "b": [], "c": 0.1}]


def write(path: Path, kind: str) -> Path:
    lines = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    table = pa.Table.from_pylist(ROWS)
    match kind:
        case "jsonl":
            path.write_bytes(lines)
        case "jsonl.gz":
            path.write_bytes(gzip.compress(lines))
        case "json":
            path.write_text(json.dumps(ROWS))
        case "parquet":
            pq.write_table(table, path)
        case "arrow":
            with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
                writer.write_table(table, max_chunksize=1)
    return path


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "json", "parquet", "arrow"])
def test_the_same_rows_come_of_every_format(tmp_path: Path, kind: str) -> None:
    assert list(read_rows(write(tmp_path / f"x.{kind}", kind))) == ROWS


def test_arrow_is_read_in_its_file_format_too(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(ROWS)
    with pa.OSFile(str(tmp_path / "x.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    assert list(read_rows(tmp_path / "x.arrow")) == ROWS


def test_cells_of_a_table_are_texts_and_may_have_line_breaks(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text('\ufeffa,b\n"1\n2","say ""so"""\n', encoding="utf-8")
    assert list(read_rows(tmp_path / "x.csv")) == [{"a": "1\n2", "b": 'say "so"'}]


def test_a_quotation_mark_between_tabs_is_a_character(tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_text('a\tb\n"x\t1\n')
    assert list(read_rows(tmp_path / "x.tsv")) == [{"a": '"x', "b": "1"}]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("x.jsonl", b"{}\n{\n", "line 2"),
        ("x.jsonl", b"[1]\n", "expected an object with named fields"),
        ("x.jsonl.gz", gzip.compress(b"{}\n" * 100)[:-9], "cannot be unpacked"),
        ("x.jsonl.gz", b"{}\n", "cannot be unpacked"),
        ("x.csv", b"a,b\n1\n", "line 2: does not have the columns"),
        ("x.csv", b"a,b\n1,2,3\n", "line 2: does not have the columns"),
        ("x.csv", b'a\n"x\n', "is not a table"),
        ("x.csv", b"a\n\xff\n", "is not text in UTF-8"),
        ("x.arrow", b"nothing", "is not Arrow that can be read"),
        ("x.parquet", b"nothing", "is not Parquet that can be read"),
        ("x.docx", b"", "is not of a kind that has rows"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(EvaluateError, match=sentence) as error:
        list(read_rows(tmp_path / name))
    assert str(tmp_path / name) in str(error.value)


@given(
    kind=st.sampled_from(["x.jsonl", "x.jsonl.gz", "x.json", "x.csv", "x.tsv", "x.arrow", "x.parquet"]),
    content=st.binary(max_size=200),
)
def test_whatever_a_file_holds_only_errors_for_users_come_of_it(
    tmp_path_factory: pytest.TempPathFactory, kind: str, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("hostile") / kind
    path.write_bytes(content)
    with contextlib.suppress(UserError):
        assert all(isinstance(row, dict) for row in read_rows(path))


def test_large_cells_are_read_and_the_bound_of_other_readers_stays(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    (tmp_path / "a.csv").write_text("text,n\n" + "y" * 200_000 + ",1\n")
    (row,) = read_rows(tmp_path / "a.csv")
    assert len(row["text"]) == 200_000
    assert csv.field_size_limit() == before

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.data.document import TOO_LARGE, UNREADABLE
from puna.data.input_file import InputFile
from puna.data.readers.code_rows import BAD_ROW, has_rows, is_parquet, json_rows, parquet_rows


def put(tmp_path: Path, name: str, content: bytes) -> InputFile:
    (tmp_path / name).write_bytes(content)
    return InputFile(str(tmp_path / name), name, len(content), "")


def lines(*rows: Any) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@pytest.mark.parametrize(
    ("name", "content", "verdict"),
    [
        ("rows.jsonl", lines({"content": "x"}), True),
        ("rows.json.gz", gzip.compress(lines({"content": "x"})), True),
        ("000000000000.gz", gzip.compress(lines({"content": "x"})), True),
        ("rows.json", lines({"content": None, "id": 1}), True),
        ("package.json", b'{\n  "content": "x"\n}', False),
        ("package.json", lines({"content": {"a": 1}}), False),
        ("rows.json", lines({"text": "x"}), False),
        ("a.py", lines({"content": "x"}), False),
        ("a.tar.gz", gzip.compress(lines({"content": "x"})), False),
        ("empty.jsonl", b"", False),
    ],
)
def test_rows_are_told_by_the_first_line(tmp_path: Path, name: str, content: bytes, verdict: bool) -> None:
    assert has_rows(put(tmp_path, name, content), 1000) is verdict


def test_the_columns_of_known_datasets_are_found(tmp_path: Path) -> None:
    rows = [
        {"content": "a", "path": "a.py", "repo_name": "o/r", "license": "mit"},
        {"content": "b", "max_stars_repo_path": "b.rs", "max_stars_repo_name": "o/s",
         "max_stars_repo_licenses": ["MIT", "X"], "lang": "Rust"},
        {"content": "c"},
    ]  # fmt: skip
    assert list(json_rows(put(tmp_path, "rows.jsonl", lines(*rows)), 100)) == [
        {"content": "a", "path": "a.py", "repo": "o/r", "licence": "mit", "language": ""},
        {"content": "b", "path": "b.rs", "repo": "o/s", "licence": "MIT AND X", "language": "rust"},
        {"content": "c", "path": "", "repo": "", "licence": "", "language": ""},
    ]


def test_bad_rows_are_named_and_the_next_ones_read(tmp_path: Path) -> None:
    content = b'{"content": "a"}\nnot json\n[1]\n\n{"content": 5}\n{"content": "long enough"}\n{"content": "b"}'
    found = list(json_rows(put(tmp_path, "rows.jsonl", content), 10))
    assert [row[0] if isinstance(row, tuple) else row["content"] for row in found] == [
        "a", BAD_ROW, BAD_ROW, BAD_ROW, TOO_LARGE, "b",
    ]  # fmt: skip


def test_a_line_beyond_all_bounds_is_passed_over(tmp_path: Path) -> None:
    content = b'{"content": "' + b"x" * 5_000_000 + b'"}\n{"content": "b"}\n'
    first, second = json_rows(put(tmp_path, "rows.jsonl", content), 10)
    assert first[0] == TOO_LARGE if isinstance(first, tuple) else False
    assert isinstance(second, dict)


def test_a_broken_stream_ends_with_a_reason(tmp_path: Path) -> None:
    content = gzip.compress(lines(*[{"content": "x" * n} for n in range(2000)]))
    *rows, last = json_rows(put(tmp_path, "rows.json.gz", content[:-2000]), 10_000)
    assert rows
    assert isinstance(last, tuple)
    assert last[0] == UNREADABLE


def test_parquet_gives_the_same_rows_as_json(tmp_path: Path) -> None:
    rows = [{"content": f"x{n}", "path": f"{n}.py", "license": ["mit"], "size": n} for n in range(100)]
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet", row_group_size=30)
    file = InputFile(str(tmp_path / "rows.parquet"), "rows.parquet", 0, "")
    assert is_parquet(file.name)
    assert list(parquet_rows(file, 100)) == list(json_rows(put(tmp_path, "rows.jsonl", lines(*rows)), 100))


def test_a_broken_parquet_file_ends_with_a_reason(tmp_path: Path) -> None:
    (row,) = parquet_rows(put(tmp_path, "rows.parquet", b"PAR1 but no more"), 100)
    assert isinstance(row, tuple)
    assert row[0] == UNREADABLE


@given(content=st.one_of(st.binary(), st.text(alphabet='{}[]":,content\\ud8001 \n').map(str.encode)))
def test_any_bytes_give_rows_or_reasons(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_bytes(content)
    list(json_rows(InputFile(str(path), "any.jsonl", len(content), ""), 100))

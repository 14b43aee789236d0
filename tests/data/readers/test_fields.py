"""Which column of rows is the text."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from puna.data.input_file import InputFile
from puna.data.readers.fields import columns_of, first_rows, text_columns

ROWS = [{"id": f"row-{number}", "words": 3, "body": f"Some words, and {number} more."} for number in range(150)]


@pytest.mark.parametrize("form", ["jsonl", "parquet", "arrow"])
def test_first_rows_have_all_their_columns_in_every_format(tmp_path: Path, form: str) -> None:
    path, table = tmp_path / "rows", pa.Table.from_pylist(ROWS)
    if form == "jsonl":
        path.write_text("\n".join(map(json.dumps, ROWS)) + "\nnot JSON\n")
    elif form == "parquet":
        pq.write_table(table, path)
    else:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    assert first_rows(InputFile(str(path), "rows", path.stat().st_size, ""), form) == ROWS[:100]


@pytest.mark.parametrize("form", ["jsonl", "parquet", "arrow"])
def test_damaged_file_has_no_rows(tmp_path: Path, form: str) -> None:
    (tmp_path / "rows").write_bytes(b"\x1f\x8b\x08\0broken")
    assert first_rows(InputFile(str(tmp_path / "rows"), "rows", 10, ""), form) == []


def test_text_is_the_column_of_a_common_name_or_else_the_longest_with_words() -> None:
    assert columns_of(ROWS) == ["id", "words", "body"]
    assert text_columns(ROWS) == ["body"]
    assert text_columns([row | {"notes": "A much longer note, with many more words."} for row in ROWS]) == [
        "body",
        "notes",
    ]
    assert text_columns([{"question": "What is it?", "answer": "It is a longer sentence."}]) == ["answer", "question"]
    assert text_columns([{"text": "Sometimes there is one."}, {}, {}]) == []
    assert text_columns([{"id": "a-b-c"}, {"messages": [{"content": "x y z"}]}]) == []
    assert text_columns([]) == []

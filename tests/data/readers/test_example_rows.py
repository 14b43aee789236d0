"""Rows of examples in files of every kind, and what is wrong with rows."""

import codecs
import gzip
import json
import tracemalloc
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from example_rows import read_file, write_rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from puna.chat.example import Example
from puna.config.data import Source
from puna.data.document import EMPTY, INVALID_UTF8, READER_FAILED, TOO_LARGE, UNREADABLE, Document, Dropped
from puna.data.input_file import InputFile
from puna.data.readers.conversations import ConversationsReader
from puna.data.reasons import UNKNOWN, explain

ROWS = [{"prompt": f"p{number}", "completion": "c", "id": number, "tag": None} for number in range(40)]
SOURCE = Source.model_validate({"path": "x", "include": ["*"], "heldout_fraction": 0.1, "format": "conversations"})
GOOD = {"prompt": "p", "completion": "c"}


@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet", "arrow", "stream"])
def test_files_are_known_by_their_first_bytes(tmp_path: Path, kind: str):
    found = read_file(write_rows(tmp_path / "f", ROWS, kind), "conversations")
    assert [document.id for document in found] == [f"f#{number}:{number}" for number in range(40)]
    assert all(isinstance(document, Document) and document.text.endswith("\n\nc") for document in found)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("kind", ["jsonl", "json"])
def test_json_in_any_encoding_of_unicode_is_read(tmp_path: Path, encoding: str, kind: str):
    text = write_rows(tmp_path / "f", [GOOD | {"prompt": "ä"}] * 3, kind).read_text()
    (tmp_path / "f").write_bytes(text.encode(encoding))
    assert [document.text for document in read_file(tmp_path / "f", "conversations")] == ["ä\n\nc"] * 3


def test_compressed_lists_are_read(tmp_path: Path):
    (tmp_path / "f").write_bytes(gzip.compress(codecs.BOM_UTF8 + b"\n" + json.dumps([GOOD]).encode()))
    assert [document.text for document in read_file(tmp_path / "f", "conversations")] == ["p\n\nc"]


@pytest.mark.parametrize(
    ("row", "reason", "detail"),
    [
        (b"{", "conversations.broken", "Expecting property name"),
        (b"[1]", "conversations.broken", "a list, not an object"),
        (b"17", "conversations.broken", "a number, not an object"),
        (b'{"a": ' + b"[" * 10**5, "conversations.broken", "recursion"),
        (b'{"a": ' + b"1" * 5000 + b"}", "conversations.broken", "integer"),
        (b'{"prompt": "a", "completion": "b", "prompt": "c"}', "conversations.broken", "key 'prompt' occurs twice"),
        (b'{"messages": [{"role": "user", "role": "assistant"}]}', "conversations.broken", "key 'role' occurs twice"),
        (b'{"prompt": "\xff", "completion": "b"}', INVALID_UTF8, "0xff"),
        (b'{"x": "' + b"a" * 10**6 + b'"}', TOO_LARGE, "more than 1000000 bytes"),
        (b"{}", "conversations.no_columns", "it has nothing"),
        (b'{"text": "a", "id": 7}', "conversations.no_columns", "it has text, id"),
    ],
)  # fmt: skip
def test_a_bad_row_is_dropped_for_a_reason_and_costs_no_other_one(tmp_path: Path, row: bytes, reason: str, detail: str):
    good = json.dumps(GOOD).encode()
    (tmp_path / "f").write_bytes(b"\n".join([good, row, good]))
    before, dropped, after = read_file(tmp_path / "f", "conversations")
    assert isinstance(dropped, Dropped)
    assert (dropped.id.partition(":")[0], dropped.reason) == ("f#1", reason)
    assert detail in dropped.detail
    assert explain(reason) != UNKNOWN
    assert before.text == after.text == "p\n\nc"


def test_text_is_made_of_whole_visible_characters(tmp_path: Path):
    prompt = "a\r\nb \ud83d \ud83d\ude00 \x00\u200b "
    (document,) = read_file(write_rows(tmp_path / "f", [GOOD | {"prompt": prompt}]), "conversations")
    assert document.text == "a\nb  😀  \n\nc"
    assert isinstance(document, Document)
    assert Example.parse(document.turns, "f").messages[0].content == "a\nb  😀  "


def test_what_a_row_tells_of_itself_is_the_documents(tmp_path: Path):
    row = GOOD | {"license": "CC0", "url": "http://x", "language": "en", "date": "2024-01-02", "task_name": " a\nb "}
    (document,) = read_file(write_rows(tmp_path / "f", [row]), "conversations")
    assert isinstance(document, Document)
    assert (document.licence, document.url, document.language, document.date) == (
        "CC0", "http://x", "en", "2024-01-02",
    )  # fmt: skip
    assert Example.parse(document.turns, "f").task == "a b"


def test_an_example_that_says_nothing_is_empty(tmp_path: Path):
    call = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
    row = {"messages": [{"role": "assistant", "content": None, "tool_calls": [call]}]}
    (dropped,) = read_file(write_rows(tmp_path / "f", [row]), "conversations")
    assert dropped == Dropped("s", "f#0", EMPTY, "", json.dumps(row))


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_a_string_that_is_not_utf8_costs_its_row_alone(tmp_path: Path, kind: str):
    values = pa.array([b"p" if number != 20 else b"\xff" for number in range(40)], type=pa.binary())
    prompts = pa.Array.from_buffers(pa.string(), 40, values.buffers())
    table = pa.table({"prompt": prompts, "completion": ["c"] * 40})
    if kind == "parquet":
        pq.write_table(table, tmp_path / "f")
    else:
        with pa.ipc.new_stream(str(tmp_path / "f"), table.schema) as file:
            file.write_table(table)
    found = read_file(tmp_path / "f", "conversations")
    dropped = [row for row in found if isinstance(row, Dropped)]
    if kind == "parquet":
        assert (len(found), [(row.id, row.reason) for row in dropped]) == (40, [("f#20", INVALID_UTF8)])
    else:  # a batch of Arrow is checked as a whole before any value is looked at
        assert [(row.id, row.reason) for row in dropped] == [("f#end", UNREADABLE)]


def test_two_columns_of_one_name_are_refused(tmp_path: Path):
    columns = [pa.array([text]) for text in "abc"]
    pq.write_table(pa.Table.from_arrays(columns, names=["prompt", "prompt", "completion"]), tmp_path / "f")
    (dropped,) = read_file(tmp_path / "f", "conversations")
    assert isinstance(dropped, Dropped)
    assert (dropped.reason, "two columns that are called 'prompt'" in dropped.detail) == (UNREADABLE, True)


def test_values_of_every_type_may_stand_beside_the_text(tmp_path: Path):
    beside = {
        "when": [datetime(2024, 1, 1)], "cost": [Decimal("1.5")], "raw": [b"\xff"], "score": [float("nan")],
        "counts": pa.array([[("k", 1)]], type=pa.map_(pa.string(), pa.int64())),
        "tag": pa.array(["x"]).dictionary_encode(),
    }  # fmt: skip
    pq.write_table(pa.table({"prompt": ["p"], "completion": ["c"]} | beside), tmp_path / "f")
    assert [document.text for document in read_file(tmp_path / "f", "conversations")] == ["p\n\nc"]


@pytest.mark.parametrize("kind", ["json", "parquet", "arrow", "stream"])
def test_a_file_that_is_cut_off_gives_what_it_can_and_says_so(tmp_path: Path, kind: str):
    whole = write_rows(tmp_path / "f", ROWS, kind).read_bytes()
    (tmp_path / "f").write_bytes(whole[: len(whole) * 2 // 3])
    *_, last = read_file(tmp_path / "f", "conversations")
    assert isinstance(last, Dropped)
    assert (last.id, last.reason) == ("f#end", UNREADABLE)


def test_memory_does_not_grow_with_the_rows(tmp_path: Path):
    peaks = []
    for count in (1000, 20_000):
        path = write_rows(tmp_path / "f", [GOOD] * count, "json")
        tracemalloc.start()
        reader = ConversationsReader("s", SOURCE, 10**6)
        rows = sum(1 for _ in reader.records(InputFile(str(path), "f", path.stat().st_size, "")))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert rows == count
    assert peaks[1] < peaks[0] + 2_000_000


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(st.characters()),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["messages", "role", "content", "from", "value", "chosen", "rejected", "prompt", "tool_calls"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(row=st.dictionaries(st.sampled_from(["messages", "prompt", "completion", "chosen", "rejected", "system"]), JSON))
def test_any_row_becomes_an_example_or_is_dropped(tmp_path: Path, row: dict[str, Any]):
    path = write_rows(tmp_path / "f", [row])
    for form in ("conversations", "preferences"):
        (found,) = read_file(path, form)
        if isinstance(found, Document):
            assert Example.parse(found.turns, "f").text == found.text
        else:
            assert found.reason != READER_FAILED
            assert explain(found.reason) != UNKNOWN

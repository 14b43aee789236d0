"""Rows as documents."""

import bz2
import gzip
import json
import lzma
import pickle
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from puna.config.data import Source
from puna.data.document import EMPTY, INVALID_UTF8, TOO_LARGE, UNREADABLE, Document, Dropped, Raw
from puna.data.input_file import InputFile
from puna.data.readers.rows import BROKEN, NO_TEXT, REASONS, RowsReader, row_fields


def make(form: str = "jsonl", text_field: str = "text", limit: int = 10**6) -> RowsReader:
    source = Source.model_validate(
        {"path": "x", "include": ["*"], "heldout_fraction": 0.1, "format": form, "text_field": text_field}
    )
    return RowsReader("rows", source, limit)


def read(path: Path, reader: RowsReader) -> list[Document | Dropped]:
    size = path.stat().st_size if path.exists() else 0
    records = reader.records(InputFile(str(path), "f", size, ""))
    return [reader.document(record) if isinstance(record, Raw) else record for record in records]


C4 = {"text": "A page.\r\n", "timestamp": "2019-04-25T12:57:54Z", "url": "http://x/y"}
DOLMA = {"id": "d1", "text": "A paper.", "created": "2020-01-01", "metadata": {"license": ["CC0", "MIT"]}}
REDPAJAMA = {"text": "An article.", "meta": {"url": "http://w", "language": "de", "timestamp": "2023-03-20"}}
OSCAR = {"content": "Seite", "warc_headers": {"warc-target-uri": "http://o", "warc-date": "2022-01-01T00:00:00Z"}}


def test_rows_of_known_data_sets_come_with_what_they_tell(tmp_path: Path):
    (tmp_path / "f").write_bytes(b"\n".join(orjson.dumps(row) for row in (C4, DOLMA, REDPAJAMA)))
    first, second, third = read(tmp_path / "f", make())
    assert first == Document("rows", "f#0", "A page.", "f#0", url="http://x/y", date="2019-04-25T12:57:54Z")
    assert second == Document("rows", "f#1:d1", "A paper.", "f#1:d1", licence="CC0, MIT", date="2020-01-01")
    assert third == Document("rows", "f#2", "An article.", "f#2", url="http://w", language="de", date="2023-03-20")
    (tmp_path / "f").write_bytes(orjson.dumps(OSCAR))
    (oscar,) = read(tmp_path / "f", make(text_field="content"))
    assert oscar == Document("rows", "f#0", "Seite", "f#0", url="http://o", date="2022-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("row", "fields"),
    [
        ({"id": 7, "lang": "pt-BR", "license": " MIT "}, {"id": "7", "language": "pt-BR", "licence": "MIT"}),
        ({"id": True, "lang": "not a code", "license": None, "url": 5}, {}),
        ({"timestamp": 1556197074}, {"date": "2019-04-25T12:57:54+00:00"}),
        ({"timestamp": 1556197074123}, {"date": "2019-04-25T12:57:54+00:00"}),
        ({"date": "yesterday", "created": "2020-05"}, {"date": "2020-05"}),
        ({"meta": '{"url": "http://m"}'}, {"url": "http://m"}),
        ({"meta": "no JSON"}, {}),
        ({"url": "", "metadata": {"url": "http://inner"}}, {"url": "http://inner"}),
        ({"id": "x" * 1000}, {"id": "x" * 200}),
        ({"url": "a\ud800b"}, {"url": "ab"}),
    ],
)
def test_fields_are_taken_from_the_usual_columns(row: dict[str, object], fields: dict[str, str]):
    assert row_fields(row) == fields


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress, zstandard.compress])
def test_lines_are_read_through_any_compression(tmp_path: Path, pack: Callable[[bytes], bytes]):
    (tmp_path / "f").write_bytes(pack(b'{"text": "a"}\n\n') + pack(b'{"text": "b"}'))
    assert [(one.id, one.text) for one in read(tmp_path / "f", make())] == [("f#0", "a"), ("f#2", "b")]


@pytest.mark.parametrize(
    ("line", "reason", "detail"),
    [
        (b"{'text': 1}", BROKEN, "key"),
        (b'{"text": "a"', BROKEN, "unexpected end"),
        (b'{"text": "\xff"}', BROKEN, "UTF-8"),
        (b"[1]", BROKEN, "list, not an object"),
        (b'{"txt": "a"}', NO_TEXT, "nothing in 'text'"),
        (b'{"text": null}', NO_TEXT, "nothing in 'text'"),
        (b'{"text": ["a"]}', NO_TEXT, "list in 'text'"),
        (b'{"text": " \\u0000\\n"}', EMPTY, ""),
    ],
)
def test_a_line_that_is_not_a_document_is_dropped_and_the_next_is_read(
    tmp_path: Path, line: bytes, reason: str, detail: str
):
    (tmp_path / "f").write_bytes(line + b'\n{"text": "next"}\n')
    found, following = read(tmp_path / "f", make())
    assert (found.id, found.reason) == ("f#0", reason)  # type: ignore[union-attr]
    assert detail in found.detail  # type: ignore[union-attr]
    assert following.text == "next"


def test_a_line_over_the_limit_is_passed_over_in_little_memory(tmp_path: Path):
    with (tmp_path / "f").open("wb") as file:
        file.write(b'{"text": "first"}\n{"text": "')
        for _ in range(60):
            file.write(b"x" * 1_000_000)
        file.write(b'"}\n{"text": "last"}\n')
    reader = make(limit=10_000)
    tracemalloc.start()
    found = read(tmp_path / "f", reader)
    assert tracemalloc.get_traced_memory()[1] < 4_000_000
    tracemalloc.stop()
    assert [one.text for one in found] == ["first", "", "last"]
    assert found[1] == Dropped("rows", "f#1", TOO_LARGE, "a line of more than 10000 bytes")


@pytest.mark.parametrize(("size", "kept"), [(100, True), (101, False)])
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_the_limit_is_of_the_line_without_its_end(tmp_path: Path, size: int, kept: bool, end: bytes):
    (tmp_path / "f").write_bytes(b'{"text": "' + b"x" * (size - 12) + b'"}' + end)
    (found,) = read(tmp_path / "f", make(limit=100))
    assert isinstance(found, Document) == kept


def test_a_damaged_file_gives_its_lines_up_to_there(tmp_path: Path):
    lines = b"".join(b'{"text": "%d"}\n' % (number * 7919) for number in range(20_000))
    packed = gzip.compress(lines)
    (tmp_path / "f").write_bytes(packed[: len(packed) // 2])
    *good, last = read(tmp_path / "f", make())
    assert len(good) > 8000
    assert [one.text for one in good] == [str(number * 7919) for number in range(len(good))]
    assert (last.id, last.reason) == ("f#end", UNREADABLE)  # type: ignore[union-attr]


@pytest.mark.parametrize("form", ["jsonl", "parquet", "arrow"])
def test_a_file_that_is_not_there_or_damaged_is_dropped(tmp_path: Path, form: str):
    (found,) = read(tmp_path / "none", make(form))
    assert (found.id, found.reason) == ("f#end", UNREADABLE)  # type: ignore[union-attr]
    (tmp_path / "f").write_bytes(b"\x1f\x8b\x08 damaged")
    (found,) = read(tmp_path / "f", make(form))
    assert (found.id, found.reason) == ("f#end", UNREADABLE)  # type: ignore[union-attr]


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_rows_of_columns_are_documents_too(tmp_path: Path, form: str):
    texts = ["a\r\n", None, "x" * 101, " "]
    table = pa.table({"text": texts, "url": ["u"] * 4, "id": [1, 2, 3, 4], "meta": [{"license": "MIT"}] * 4})
    if form == "parquet":
        pq.write_table(table, tmp_path / "f")
    else:
        with pa.ipc.new_stream(tmp_path / "f", table.schema) as writer:
            writer.write_table(table)
    found = read(tmp_path / "f", make(form, limit=100))
    assert found[0] == Document("rows", "f#0:1", "a", "f#0:1", url="u", licence="MIT")
    assert [one.reason for one in found[1:] if isinstance(one, Dropped)] == [NO_TEXT, TOO_LARGE, EMPTY]


def test_a_string_column_that_is_not_utf8_is_dropped(tmp_path: Path):
    wrong = pa.array([b"\xff", b"x"]).view(pa.string())
    pq.write_table(pa.table({"text": wrong}), tmp_path / "f")
    first, second = read(tmp_path / "f", make("parquet"))
    assert first.reason == INVALID_UTF8  # type: ignore[union-attr]
    assert second.text == "x"


def test_the_real_questions_of_gsm8k_are_read(real: Callable[[str], Path]):
    path = real("eval/gsm8k/test.jsonl.gz")
    expected = [json.loads(line)["question"] for line in gzip.decompress(path.read_bytes()).splitlines()]
    found = read(path, make(text_field="question"))
    assert len(found) == 1319
    plain = [question.replace("\r\n", "\n").replace("\xa0", " ").rstrip() for question in expected]
    assert [one.text for one in found] == plain


MANY = """
import resource, sys
from puna.config.data import Source
from puna.data.input_file import InputFile
from puna.data.readers.rows import RowsReader
reader = RowsReader("s", Source(path="x", include=["*"], heldout_fraction=0.1, format="jsonl"), 10**6)
file = InputFile(sys.argv[1], "f", 1, "")
next(reader.records(file))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = sum(len(reader.document(raw).text) for raw in reader.records(file))
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_many_tiny_documents_take_no_memory(tmp_path: Path):
    (tmp_path / "f").write_bytes(b"".join(b'{"text": "%08d", "id": "%d"}\n' % (n, n) for n in range(100_000)))
    command = [sys.executable, "-c", MANY, str(tmp_path / "f")]
    count, kilobytes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert int(count) == 800_000
    assert int(kilobytes) < 2000


def test_every_reason_is_explained():
    assert set(REASONS) == {NO_TEXT, BROKEN}


def test_the_reader_can_be_sent_to_another_process():
    reader = pickle.loads(pickle.dumps(make()))
    assert reader.document(Raw("a", b'{"text": "x"}')) == Document("rows", "a", "x", "a")


_json = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers(-(10**14), 10**14) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["text", "id", "url", "date", "meta", "license", "lang"]), inner, max_size=5)
    ),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(value=_json, tail=st.binary(max_size=60))
def test_any_line_is_a_document_or_dropped(tmp_path: Path, value: object, tail: bytes):
    (tmp_path / "f").write_bytes(json.dumps(value).encode() + b"\n" + tail)
    for found in read(tmp_path / "f", make()):
        found.text.encode()
        found.id.encode()
        if isinstance(found, Document):
            assert found.text == found.text.rstrip() != ""
            orjson.dumps([found.url, found.licence, found.date, found.language])


@given(st.binary(max_size=100))
def test_any_bytes_of_a_column_are_a_document_or_dropped(content: bytes):
    found = make("parquet").document(Raw("a", content, {"id": "7"}))
    found.text.encode()


def test_what_only_pythons_json_writes_is_not_a_reason_to_lose_a_text() -> None:
    for line, text in ((b'{"text": "a", "score": NaN}', "a"), (b'{"text": "a \\ud83d b"}', "a  b")):
        document = make().document(Raw("f#0", line))
        assert isinstance(document, Document)
        assert document.text == text


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
def test_json_lines_are_read_in_the_encoding_that_they_tell_of(tmp_path: Path, coding):
    (tmp_path / "f").write_bytes('{"text": "Größe"}\n{"text": "Кот"}\n'.encode(coding))
    assert [found.text for found in read(tmp_path / "f", make())] == ["Größe", "Кот"]
    (tmp_path / "f").write_bytes('{"text": "Кот"}\n{"text": "'.encode(coding) + b"\x00\xd8\x01")
    assert [getattr(found, "reason", "") for found in read(tmp_path / "f", make())] == ["", BROKEN]

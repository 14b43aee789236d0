import os
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from puna.core.errors import DataError, StorageError
from puna.data.document import Document, Dropped
from puna.data.document_files import (
    LinesWriter,
    document_fields,
    dropped_fields,
    read_documents,
    read_lines,
    read_numbered,
)  # fmt: skip

WHOLE = Document(
    "web", "a#1", "text\n\u2028x", "dump: a#1", url="https://a", licence="CC0", date="2024", language="en",
    scores={"language": 0.5},
)  # fmt: skip
PLAIN = Document("web", "b", "t", "dump: b")


def _write(path: Path, *lines: dict) -> Path:
    with LinesWriter(path) as file:
        for line in lines:
            file.write(line)
    return path


def test_documents_come_back_as_they_were(tmp_path: Path):
    path = _write(tmp_path / "x.jsonl.zst", document_fields(WHOLE), document_fields(PLAIN))
    assert list(read_documents(path, "web")) == [WHOLE, PLAIN]
    assert set(document_fields(PLAIN)) == {"id", "origin", "text"}


def test_numbers_stand_beside_the_documents(tmp_path: Path):
    path = _write(tmp_path / "x", {"n": 2**64 - 1} | document_fields(WHOLE))
    (numbered,) = read_numbered(path, "web")
    assert (numbered.number, numbered.document) == (2**64 - 1, WHOLE)
    with pytest.raises(DataError, match="line 1 is damaged"):
        list(read_numbered(_write(tmp_path / "y", document_fields(WHOLE)), "web"))


def test_text_of_the_dropped_is_kept_only_if_wanted():
    dropped = Dropped("web", "a", "empty", "0 words", "text")
    assert dropped_fields(dropped, with_text=False) == {"id": "a", "reason": "empty", "detail": "0 words"}
    assert dropped_fields(dropped, with_text=True)["text"] == "text"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=50)
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5))
def test_any_text_survives(tmp_path: Path, texts: list[str]):
    path = _write(tmp_path / "x", *(document_fields(Document("s", "i", text, "o")) for text in texts))
    assert [document.text for document in read_documents(path, "s")] == texts


def test_the_same_lines_make_the_same_bytes(tmp_path: Path):
    lines = [document_fields(WHOLE)] * 1000
    assert _write(tmp_path / "a", *lines).read_bytes() == _write(tmp_path / "b", *lines).read_bytes()


def test_a_failure_leaves_no_file(tmp_path: Path):
    def interrupt() -> None:
        with LinesWriter(tmp_path / "x") as file:
            file.write({"id": "a"})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_sentence_and_leaves_no_file(tmp_path: Path, full_disk):
    with full_disk(4096), pytest.raises(StorageError, match="no space left"):
        _write(tmp_path / "x", *({"id": os.urandom(2000).hex()} for _ in range(100)))
    assert list(tmp_path.iterdir()) == []


def test_a_string_that_is_not_unicode_is_refused(tmp_path: Path):
    with pytest.raises(TypeError), LinesWriter(tmp_path / "x") as file:
        file.write({"id": "\ud800"})


GOOD = b'{"id": "a", "origin": "o", "text": "t"}\n'


@pytest.mark.parametrize(
    "line",
    [
        b'{"id": "a", "origin": "o", "te',
        b'{"id": "a", "origin": "o"}\n',
        b'["a", "o", "t"]\n',
        b'{"id": "a", "origin": "o", "text": 3}\n',
        b'{"id": "a", "origin": "o", "text": "t", "unknown": 1}\n',
        b'{"id": "a", "origin": "o", "text": "\\ud800"}\n',
        b"\xff\n",
        b"[" * 100_000 + b"\n",
        b"\n",
    ],
)
def test_a_damaged_line_is_named_by_its_number(tmp_path: Path, line: bytes):
    path = tmp_path / "x.jsonl.zst"
    path.write_bytes(zstandard.compress(GOOD + GOOD + line))
    documents = read_documents(path, "poems")
    assert next(documents) == Document("poems", "a", "t", "o")
    with pytest.raises(DataError, match=r"x\.jsonl\.zst: line 3 is damaged"):
        list(documents)


def test_a_file_that_is_cut_off_is_damaged(tmp_path: Path):
    whole = _write(tmp_path / "x", *[document_fields(WHOLE) | {"id": str(n)} for n in range(5000)]).read_bytes()
    (tmp_path / "x").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="is damaged"):
        list(read_lines(tmp_path / "x"))


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"x\.jsonl\.zst: cannot be read \(No such file"):
        list(read_documents(tmp_path / "x.jsonl.zst", "poems"))


def test_who_watches_is_told_of_every_byte_of_the_file_and_while_it_is_read(tmp_path: Path):
    texts = [f"{number} {os.urandom(30_000).hex()}" for number in range(40)]
    path = _write(tmp_path / "x", *({"id": "a", "origin": "o", "text": text} for text in texts))
    read: list[int] = []
    seen = [sum(read) for _ in read_documents(path, "web", read.append)]
    assert sum(read) == path.stat().st_size
    assert len(set(seen)) > 5

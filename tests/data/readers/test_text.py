"""Files that are documents."""

import gzip
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.config.data import Source
from puna.data.document import BINARY, EMPTY, INVALID_UTF8, TOO_LARGE, UNREADABLE, Document, Dropped, Raw
from puna.data.input_file import InputFile
from puna.data.readers.text import TextReader

READER = TextReader("shelf", Source(path="x", include=["*"], heldout_fraction=0.1), 1000)


def read(path: Path, name: str = "a") -> list[Document | Dropped]:
    records = READER.records(InputFile(str(path), name, path.stat().st_size if path.exists() else 0, ""))
    return [READER.document(record) if isinstance(record, Raw) else record for record in records]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"\xef\xbb\xbfabc", "abc"),
        (b"a\r\nb\rc\n", "a\nb\nc\n"),
        (b" \n x ", " \n x "),
        ("\u2028▁🦙\x1b[1m".encode(), "\n▁🦙"),
        (b"\x01" + b"a" * 100, "a" * 100),
        ("naïve\r\n".encode("utf-16"), "naïve\n"),
        ("\ufeffnaïve 🦙".encode("utf-16-be"), "naïve 🦙"),
        ("\ufeffnaïve 🦙".encode("utf-32-le"), "naïve 🦙"),
        (gzip.compress(b" packed "), " packed "),
    ],
)
def test_text_is_kept_but_for_what_nobody_sees_and_line_ends(tmp_path: Path, content: bytes, text: str):
    (tmp_path / "a").write_bytes(content)
    assert read(tmp_path / "a") == [Document("shelf", "a", text, "a")]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", EMPTY),
        (b"\xef\xbb\xbf \r\n", EMPTY),
        ("\ufeff".encode("utf-16-le"), EMPTY),
        (b"text\0text", BINARY),
        (bytes(range(1, 32)) * 3, BINARY),
        ("x".encode("utf-16-le"), BINARY),
        ("a\0b".encode("utf-16"), BINARY),
        ("naïve".encode("latin-1"), INVALID_UTF8),
        (b"\xed\xa0\x80", INVALID_UTF8),
        ("x".encode("utf-16")[:-1], INVALID_UTF8),
        (b"\xff\xfe\x00\xd8x\x00", INVALID_UTF8),
        (b"x" * 1001, TOO_LARGE),
        (gzip.compress(b"x" * 1001), TOO_LARGE),
        (gzip.compress(b"x" * 100)[:-3], UNREADABLE),
    ],
)
def test_what_is_not_text_is_dropped_with_its_reason(tmp_path: Path, content: bytes, reason: str):
    (tmp_path / "a").write_bytes(content)
    (found,) = read(tmp_path / "a")
    assert isinstance(found, Dropped)
    assert (found.source, found.id, found.reason) == ("shelf", "a", reason)


def test_a_file_that_is_not_there_is_dropped(tmp_path: Path):
    (found,) = read(tmp_path / "none")
    assert found == Dropped("shelf", "a", UNREADABLE, "No such file or directory")


def test_the_real_archive_of_many_languages_gives_a_document_for_each(real: Callable[[str], Path]):
    path = real("languages/nltk_udhr.zip")
    with zipfile.ZipFile(path) as archive:
        names = {f"a!{info.filename}" for info in archive.infolist() if not info.is_dir()}
    reader = TextReader("udhr", Source(path="x", include=["*"], heldout_fraction=0.1), 10**6)
    records = list(reader.records(InputFile(str(path), "a", path.stat().st_size, "")))
    assert {record.id for record in records} == names
    found = [reader.document(record) for record in records if isinstance(record, Raw)]
    english = next(document for document in found if document.id.endswith("English-Latin1"))
    assert isinstance(english, Document)
    assert "All human beings are born free and equal" in english.text
    assert {getattr(document, "reason", "kept") for document in found} == {"kept", INVALID_UTF8}
    # The archive cuts its files anywhere, eight of them within a character.
    kept = [document for document in found if document.id.endswith("UTF8") and isinstance(document, Document)]
    assert len(kept) == 85


def test_the_reader_can_be_sent_to_another_process():
    assert pickle.loads(pickle.dumps(READER)).document(Raw("a", b"x")) == Document("shelf", "a", "x", "a")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_document_or_dropped(content: bytes):
    found = READER.document(Raw("a", content))
    found.text.encode()
    assert isinstance(found, Document) == bool(found.text.strip())


BIG = """
import resource, sys
from puna.config.data import Source
from puna.data.document import Raw
from puna.data.input_file import InputFile
from puna.data.readers.text import TextReader
path, size, limit = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
reader = TextReader("s", Source(path="x", include=["*"], heldout_fraction=0.1), limit)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for raw in reader.records(InputFile(path, "a", size, "")):
    found = reader.document(raw) if isinstance(raw, Raw) else raw
print(type(found).__name__, len(found.text), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


def test_a_document_of_100_mb_takes_little_memory_where_it_is_too_large_and_a_few_times_its_size_else(tmp_path: Path):
    path = tmp_path / "big"
    line = b"A line of a very long document that has no end.\n"
    with path.open("wb") as file:
        for _ in range(100):
            file.write(line * (1_000_000 // len(line)))
    size = path.stat().st_size

    def run(limit: int) -> list[str]:
        command = [sys.executable, "-c", BIG, str(path), str(size), str(limit)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    kind, characters, megabytes = run(200_000_000)
    assert (kind, int(characters)) == ("Document", size)
    assert int(megabytes) < 450
    kind, characters, megabytes = run(1_000_000)
    assert (kind, int(characters)) == ("Dropped", 0)
    assert int(megabytes) < 20


def test_invisible_characters_stay_in_code_alone():
    content = "a\u00adb\u200b \u202ex".encode()
    texts = [READER.document(Raw(name, content)) for name in ("a.txt", "a.tar/b.py")]
    assert [document.text for document in texts if isinstance(document, Document)] == ["ab x", "a\u00adb\u200b x"]
    assert READER.document(Raw("a.txt", "\u200b\u00ad".encode())).reason == EMPTY  # type: ignore[union-attr]

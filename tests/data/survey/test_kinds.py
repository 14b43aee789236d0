"""What a file is, by its content: never what its name alone says."""

import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from puna.config.data import FORMATS
from puna.data.input_file import InputFile
from puna.data.survey import kinds
from puna.data.survey.kinds import kind_of

ROW = json.dumps({"text": "A row of text."}).encode() + b"\n"
WARC = b"WARC/1.0\r\nWARC-Type: %s\r\nContent-Length: 0\r\n\r\n\r\n\r\n"


def kind(tmp_path: Path, name: str, content: bytes) -> str:
    path = tmp_path / name
    path.write_bytes(content)
    return kind_of(InputFile(str(path), name, len(content), ""))


def tar(name: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.size = 5
        archive.addfile(info, io.BytesIO(b"hello"))
    return packed.getvalue()


def zipped(name: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(name, "hello")
    return packed.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.txt", b"Plain text.\n", "text"),
        ("a.md", b"# Title\n", "text"),
        ("a.txt", "Füße".encode("utf-16"), "text"),
        ("a.txt", ("ä" * 40_000).encode(), "text"),
        ("a.txt", b"Title\n\n*** START OF THE PROJECT GUTENBERG EBOOK X ***\n\ntext", "gutenberg"),
        ("a.jsonl", ROW, "jsonl"),
        ("a.json", b"\xef\xbb\xbf" + ROW, "jsonl"),
        ("a.data", ROW * 9000, "jsonl"),
        ("a.warc", WARC % b"response", "warc"),
        ("a.wet", WARC % b"conversion", "wet"),
        ("a.wat", WARC % b"metadata", kinds.OTHER_WARC),
        ("a.py", b"import os\n", "code"),
        ("a.tar", tar("a/b.py"), "code"),
        ("a.tar", tar("paper.tex"), "arxiv"),
        ("a.zip", zipped("a.txt"), "text"),
        ("a.xml", b'<?xml version="1.0"?>\n<mediawiki xmlns="x">', "wikipedia"),
        ("a.xml", b'<?xml version="1.0"?>\n<posts>', "stackexchange"),
        ("a.xml", b'<?xml version="1.0"?>\n<other>', kinds.OTHER_XML),
        ("a.toml", b"[table]\nkey = 1\n", "text"),
        ("a.json", b'{\n "text": 1\n}\n', kinds.JSON),
        ("a.json", b'[{"text": "x"}]', kinds.JSON),
        ("a.csv", b"a,b\n1,2\n", kinds.TABLE),
        ("a.html", b"<!DOCTYPE html><p>x", kinds.HTML),
        ("a", b"<html><p>x", kinds.HTML),
        ("a.png", b"\x89PNG\r\n\x1a\n\0\0\0", kinds.BINARY),
        ("a.txt", "Füße und Straße".encode("latin-1"), kinds.NOT_UTF8),
        ("a.txt", b"", kinds.EMPTY),
        ("a.gz", b"\x1f\x8b\x08\0broken", kinds.BROKEN),
    ],
)
def test_kind_of_a_file_packed_or_not(tmp_path: Path, name: str, content: bytes, expected: str) -> None:
    assert kind(tmp_path, name, content) == expected
    if expected in FORMATS:
        assert kind(tmp_path, f"{name}.gz", gzip.compress(content)) == expected


def test_tables_of_columns_are_told_by_their_first_bytes(tmp_path: Path) -> None:
    table = pa.table({"text": ["a"]})
    pq.write_table(table, tmp_path / "x")
    assert kind(tmp_path, "anything", (tmp_path / "x").read_bytes()) == "parquet"
    with pa.OSFile(str(tmp_path / "y"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    assert kind(tmp_path, "a.arrow", (tmp_path / "y").read_bytes()) == "arrow"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("common_crawl/whirlwind.warc.gz", "warc"), ("common_crawl/whirlwind.warc.wet.gz", "wet"),
        ("common_crawl/whirlwind.warc.wat.gz", kinds.OTHER_WARC), ("books/pg972_devils_dictionary.txt.gz", "gutenberg"),
        ("books/moby_dick.txt.gz", "text"), ("stackexchange/datascience.meta_Posts.xml.gz", "stackexchange"),
        ("languages/nltk_udhr.zip", "text"), ("eval/gsm8k/test.jsonl.gz", "jsonl"),
        ("eval/truthfulqa/TruthfulQA.csv", kinds.TABLE),
    ],
)  # fmt: skip
def test_real_files_are_what_they_are(real: Callable[[str], Path], name: str, expected: str) -> None:
    path = real(name)
    assert kind_of(InputFile(str(path), name, path.stat().st_size, "")) == expected

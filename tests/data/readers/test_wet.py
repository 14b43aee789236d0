"""Texts of WET files."""

import pickle
import random
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from puna.config.data import Source
from puna.data.document import EMPTY, TOO_LARGE, Document, Dropped, Raw
from puna.data.input_file import InputFile
from puna.data.readers.wet import WetReader

SOURCE = Source(path="x", include=["*"], heldout_fraction=0.1, format="wet")
READER = WetReader("web", SOURCE, 10**6)


def read(path: Path, reader: WetReader = READER) -> list[Document | Dropped]:
    records = reader.records(InputFile(str(path), path.name, path.stat().st_size, ""))
    return [reader.document(record) if isinstance(record, Raw) else record for record in records]


def test_a_real_file_gives_its_page_with_all_of_its_furniture(real: Callable[[str], Path]):
    (document,) = read(real("common_crawl/whirlwind.warc.wet.gz"))
    assert isinstance(document, Document)
    assert document.id == "whirlwind.warc.wet.gz#urn:uuid:ba729a40-ff84-4085-8d48-0a5b2ee0c42d"
    assert (document.url, document.date) == ("https://an.wikipedia.org/wiki/Escopete", "2024-05-18T01:58:10Z")
    assert document.text.startswith("Escopete - Biquipedia, a enciclopedia libre\nIr al contenido\n")
    assert document.text.endswith("límite de anchura del contenido")
    assert len(document.text.encode()) == 4456 - 1  # it ends with a line end


def test_the_sample_of_ccnet_gives_its_three_pages_though_lengths_are_wrong_and_an_id_occurs_twice(
    real: Callable[[str], Path],
):
    found = read(real("common_crawl/ccnet_sample.wet.txt"))
    assert [type(document) for document in found] == [Document] * 3
    assert [document.text.split("\n")[0] for document in found] == [
        "Famous Mark Twain Quotes", "馬克·吐溫名言", "Цитаты знаменитого Марка Твена",
    ]  # fmt: skip
    for document, end in zip(found, ["Truth isn't.", "真理不是。", "Правда нет."], strict=True):
        assert document.text.endswith(end)
    assert found[1].id == found[0].id + "@3"
    assert found[0].text.count("\n") == 5


def _record(content: bytes, kind: str = "conversion") -> bytes:
    return b"WARC/1.0\r\nWARC-Type: %b\r\nContent-Length: %d\r\n\r\n%b\r\n\r\n" % (kind.encode(), len(content), content)


def test_texts_are_cleaned_and_empty_or_large_ones_dropped(tmp_path: Path):
    contents = [b"\xef\xbb\xbf a\r\nb \0\xff\n", b" \n ", b"x" * 101]
    (tmp_path / "f").write_bytes(b"".join(map(_record, contents)) + _record(b"page", "response"))
    first, second, third = read(tmp_path / "f", WetReader("web", SOURCE, 100))
    assert first == Document("web", "f#1", " a\nb \ufffd", "f#1")
    assert second == Dropped("web", "f#2", EMPTY)
    assert (third.id, third.reason) == ("f#3", TOO_LARGE)  # type: ignore[union-attr]


def test_a_real_file_that_was_cut_off_gives_the_first_of_its_documents(real: Callable[[str], Path], tmp_path: Path):
    path = real("common_crawl/ccnet_sample.wet.txt")
    content, whole = path.read_bytes(), [document.text for document in read(path)]
    draw = random.Random(0)
    for size in [draw.randrange(len(content)) for _ in range(80)]:
        (tmp_path / "f").write_bytes(content[:size])
        found = [document.text for document in read(tmp_path / "f") if isinstance(document, Document)]
        assert len(found) <= len(whole)
        assert found[:-1] == whole[: len(found[:-1])]
        assert all(whole[len(found) - 1].startswith(text.rstrip("\ufffd")) for text in found[-1:])


def test_the_reader_can_be_sent_to_another_process():
    assert pickle.loads(pickle.dumps(READER)).document(Raw("a", b"x", {})) == Document("web", "a", "x", "a")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(content=st.binary(max_size=200))
def test_any_text_is_a_document_or_dropped(tmp_path: Path, content: bytes):
    found = READER.document(Raw("a", content, {}))
    found.text.encode()
    assert isinstance(found, Document) == bool(found.text)
    (tmp_path / "f").write_bytes(content)
    assert not any(isinstance(document, Document) for document in read(tmp_path / "f"))

"""How much text files hold: exactly where all is read, else nearly."""

import gzip
import json
from pathlib import Path
from random import Random

import pytest

from puna.config.data import Source
from puna.data.document import Raw
from puna.data.input_file import InputFile
from puna.data.readers.text import TextReader
from puna.data.survey import amount
from puna.data.survey.amount import languages_of, measure

SOURCE = Source(path=".", include=["*"], heldout_fraction=0.5)
LINE = "These are words of a text that nobody will read. "


def files(folder: Path, sizes: list[int]) -> list[InputFile]:
    found = []
    for number, size in enumerate(sizes):
        path = folder / f"{number:03}.txt"
        path.write_text((LINE * (size // len(LINE) + 1))[: size - 6] + f"{number:06}")
        found.append(InputFile(str(path), path.name, size, ""))
    return found


def test_small_files_are_counted_to_the_byte(tmp_path: Path) -> None:
    there = files(tmp_path, [100, 200, 300])
    (tmp_path / "001.txt").write_bytes(b"\0" * 200)
    found = measure("text", SOURCE, there, {})
    assert (found.documents, found.text_bytes, found.is_whole, found.dropped) == (2, 400, True, {"binary": 1})
    assert found.sizes == {"000.txt": 100, "002.txt": 300}
    assert found.beginnings == ["These are words of"]


def test_text_that_has_come_already_counts_once_as_in_a_build(tmp_path: Path) -> None:
    (one,) = files(tmp_path, [100])
    (tmp_path / "copy.txt").write_text(Path(one.url).read_text())
    found = measure("text", SOURCE, [one, InputFile(str(tmp_path / "copy.txt"), "copy.txt", 100, "")], {})
    assert (found.documents, found.text_bytes, found.dropped) == (1, 100, {"duplicate": 1})
    assert found.copies == {"000.txt": ["copy.txt"]}


def test_what_no_reader_can_handle_is_dropped_as_in_a_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(reader: TextReader, record: Raw) -> None:
        raise ZeroDivisionError

    there = files(tmp_path, [100])
    (tmp_path / "folder").mkdir()
    there.append(InputFile(str(tmp_path / "folder"), "folder", 9, ""))
    monkeypatch.setattr(TextReader, "document", fail)
    assert measure("text", SOURCE, there, {}).dropped == {"reader.failed": 1, "unreadable": 1}
    monkeypatch.setattr(TextReader, "records", fail)
    assert measure("text", SOURCE, there, {}).dropped == {"reader.failed": 2}


def test_large_files_are_estimated_from_a_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amount, "SAMPLE_BYTES", 10_000)
    there = files(tmp_path, [1000] * 300)
    found = measure("text", SOURCE, there, {})
    assert not found.is_whole
    assert (found.documents, found.text_bytes) == (pytest.approx(300, rel=0.05), pytest.approx(300_000, rel=0.05))


def test_packed_files_are_estimated_without_what_is_read_ahead_of_their_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(amount, "SAMPLE_BYTES", 2_000_000)
    random, there, size = Random(0), [], 0
    for number in range(20):
        rows = [json.dumps({"text": f"{random.randbytes(300).hex()} words"}) for _ in range(3000)]
        size += sum(len(json.loads(row)["text"]) for row in rows)
        path = tmp_path / f"{number}.jsonl.gz"
        path.write_bytes(gzip.compress("\n".join(rows).encode(), compresslevel=1))
        there.append(InputFile(str(path), path.name, path.stat().st_size, ""))
    source = SOURCE.model_copy(update={"format": "jsonl"})
    found = measure("jsonl", source, there, {})
    assert (found.documents, found.text_bytes) == (pytest.approx(60_000, rel=0.2), pytest.approx(size, rel=0.2))
    assert len(found.sizes) < 45_000


def test_languages_are_shares_of_the_text() -> None:
    english, german = LINE * 30, "Das sind die Wörter eines Textes, den niemand lesen wird. " * 10
    found = languages_of([english, german])
    assert list(found) == ["en", "de"]
    assert found["de"] == pytest.approx(len(german) / (len(english) + len(german)))


def test_without_a_detector_there_are_no_languages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("puna.data.rules.language._PACKAGE", "no_such_package")
    assert languages_of([LINE]) == {}

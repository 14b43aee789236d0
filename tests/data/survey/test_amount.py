"""How much text files hold: exactly where all is read, else nearly."""

from pathlib import Path

import pytest

from puna.config.data import Source
from puna.data.input_file import InputFile
from puna.data.survey import amount
from puna.data.survey.amount import languages_of, measure

SOURCE = Source(path=".", include=["*"], heldout_fraction=0.5)
LINE = "These are words of a text that nobody will read. "


def files(folder: Path, sizes: list[int]) -> list[InputFile]:
    found = []
    for number, size in enumerate(sizes):
        path = folder / f"{number:03}.txt"
        path.write_text((LINE * (size // len(LINE) + 1))[:size])
        found.append(InputFile(str(path), path.name, size, ""))
    return found


def test_small_files_are_counted_to_the_byte(tmp_path: Path) -> None:
    there = files(tmp_path, [100, 200, 300])
    (tmp_path / "001.txt").write_bytes(b"\0" * 200)
    found = measure("text", SOURCE, there)
    assert (found.documents, found.text_bytes, found.is_whole, found.dropped) == (2, 400, True, {"binary": 1})
    assert found.identities == ["000.txt", "002.txt"]
    assert found.beginnings == ["These are words of"]


def test_large_files_are_estimated_from_a_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amount, "SAMPLE_BYTES", 10_000)
    there = files(tmp_path, [1000] * 300)
    found = measure("text", SOURCE, there)
    assert not found.is_whole
    assert (found.documents, found.text_bytes) == (pytest.approx(300, rel=0.05), pytest.approx(300_000, rel=0.05))


def test_languages_are_shares_of_the_text() -> None:
    english, german = LINE * 30, "Das sind die Wörter eines Textes, den niemand lesen wird. " * 10
    found = languages_of([english, german])
    assert list(found) == ["en", "de"]
    assert found["de"] == pytest.approx(len(german) / (len(english) + len(german)))


def test_without_a_detector_there_are_no_languages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("puna.data.rules.language._PACKAGE", "no_such_package")
    assert languages_of([LINE]) == {}

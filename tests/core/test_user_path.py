"""Paths of users that cannot be what they ask for."""

import errno
from pathlib import Path

import pytest

from puna.core.errors import StorageError
from puna.core.files import atomic_directory, atomic_file, storage_errors
from puna.core.user_path import user_path


def test_a_path_that_the_system_refuses_to_make_is_named(tmp_path: Path) -> None:
    for where in (tmp_path / "out", tmp_path / "out" / "inner" / "file"):
        with pytest.raises(StorageError) as caught, storage_errors(where):
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(tmp_path / "out"))
        assert str(caught.value) == f"{where}: cannot be made; nothing new can be in {tmp_path}"
    with pytest.raises(FileNotFoundError), storage_errors(tmp_path / "out"):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", str(tmp_path / "read"))


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no such file system")
def test_file_system_without_room_for_files_of_users_is_a_sentence() -> None:
    for final in (Path("/proc/none"), Path("/proc/none/inner")):
        with pytest.raises(StorageError, match="nothing new can be in /proc"), atomic_file(final):
            pass
        with pytest.raises(StorageError, match="nothing new can be in /proc"), atomic_directory(final):
            pass


def test_an_empty_path_is_not_the_current_directory() -> None:
    assert user_path(".") == Path(".")
    with pytest.raises(StorageError, match="the path is empty"):
        user_path("")


def test_a_path_that_cannot_be_looked_up_is_refused(tmp_path: Path) -> None:
    assert user_path(tmp_path / "missing") == tmp_path / "missing"
    (tmp_path / "file").write_text("")
    assert user_path(tmp_path / "file" / "inner") == tmp_path / "file" / "inner"
    with pytest.raises(StorageError, match=r"xxx: cannot be looked up \(File name too long\)"):
        user_path("x" * 300)
    with pytest.raises(StorageError, match=r"'a\\x00b': is not a path"):
        user_path("a\0b")

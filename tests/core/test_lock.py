"""One process at a time, and none for ever."""

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from puna.core import lock
from puna.core.errors import StorageError
from puna.core.lock import DirectoryLock

HOLD = """
import sys, time
from pathlib import Path
from puna.core.lock import DirectoryLock
with DirectoryLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_second_process_is_refused_until_the_first_dies(tmp_path: Path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(StorageError, match=rf"another process is at work here \(process {holder.pid}\)"):
        DirectoryLock(tmp_path).__enter__()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    with DirectoryLock(tmp_path):
        pass


def test_lock_is_given_back(tmp_path: Path):
    for _ in range(2):
        with DirectoryLock(tmp_path / "new"):
            pass


def test_what_fails_at_once_leaves_nothing_behind(tmp_path: Path):
    def fail(directory: Path) -> None:
        with pytest.raises(ZeroDivisionError), DirectoryLock(directory):
            raise ZeroDivisionError

    fail(tmp_path / "new" / "inner")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "old").mkdir()
    fail(tmp_path / "old")
    assert list((tmp_path / "old").iterdir()) == []


def test_what_was_made_meanwhile_stays(tmp_path: Path):
    with DirectoryLock(tmp_path / "new" / "inner"):
        (tmp_path / "new" / "result").write_text("")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["result"]


def test_a_lock_whose_file_was_deleted_by_its_holder_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Between opening the file and locking it, the holder may delete it; then others lock the next one."""
    taken, flock = [], fcntl.flock

    def late(descriptor: int, operation: int) -> None:
        if not taken:
            (tmp_path / ".lock").unlink()
        taken.append(descriptor)
        flock(descriptor, operation)

    monkeypatch.setattr(lock.fcntl, "flock", late)
    with DirectoryLock(tmp_path):
        assert len(taken) == 2
        with pytest.raises(StorageError, match="another process is at work here"):
            DirectoryLock(tmp_path).__enter__()


def test_a_directory_that_its_holder_deletes_meanwhile_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Between making the directory and opening the file, a holder that failed at once may delete both."""
    opened, open_ = [], os.open

    def late(path: Path, flags: int, mode: int = 0o777) -> int:
        if not opened:
            path.parent.rmdir()
        opened.append(path)
        return open_(path, flags, mode)

    monkeypatch.setattr(lock.os, "open", late)
    with DirectoryLock(tmp_path / "new"):
        assert len(opened) == 2
        assert (tmp_path / "new" / ".lock").is_file()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no such file system")
def test_directory_that_cannot_be_made_is_a_sentence():
    with pytest.raises(StorageError, match="/proc/none: cannot be made"):
        DirectoryLock(Path("/proc/none")).__enter__()


def test_file_in_the_place_of_the_directory_is_named(tmp_path: Path):
    path = tmp_path / "README.md"
    path.write_text("")
    with pytest.raises(StorageError, match=r"README\.md"):
        DirectoryLock(path).__enter__()

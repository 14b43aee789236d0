"""One process at a time, and none for ever."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_file_in_the_place_of_the_directory_is_named(tmp_path: Path):
    path = tmp_path / "README.md"
    path.write_text("")
    with pytest.raises(StorageError, match=r"README\.md"):
        DirectoryLock(path).__enter__()

"""Files appear whole or not at all: after a full disk, a kill at any moment, an exception, and among other writers."""

import errno
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.core import files
from puna.core.errors import ConfigError, DataError, StorageError
from puna.core.files import (
    atomic_directory,
    atomic_file,
    decode_text,
    final_path,
    read_text,
    remove,
    sha256_bytes,
    sha256_file,
    sha256_json,
    storage_errors,
    temporary_sibling,
    write_json,
    write_text,
)


class InterruptedWorkError(Exception):
    """What stops a writer in the middle."""


def write_half(path: Path) -> None:
    """Write something and fail."""
    path.write_text("half")
    raise InterruptedWorkError


def names(directory: Path) -> list[str]:
    """All names in a directory, temporary ones included."""
    return sorted(path.name for path in directory.iterdir())


def run(code: str, *arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, **options)  # pyrefly: ignore


def test_file_appears_with_its_content_and_its_directories(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "text.txt"
    write_text(path, "grüße\n")
    assert path.read_bytes() == "grüße\n".encode()
    assert names(path.parent) == ["text.txt"]


def test_file_is_not_there_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with atomic_file(path) as temporary:
        temporary.write_bytes(b"half")
        assert not path.exists()
        assert temporary.parent == path.parent
    assert path.read_bytes() == b"half"


def test_exception_leaves_the_old_file_and_no_temporary(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(InterruptedWorkError), atomic_file(path) as temporary:
        write_half(temporary)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_directory_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "model"
    with atomic_directory(path) as temporary:
        (temporary / "sub").mkdir()
        (temporary / "sub" / "a").write_text("a")
        assert not path.exists()
    assert (path / "sub" / "a").read_text() == "a"
    assert names(path.parent) == ["model"]


def test_directory_that_exists_is_refused_before_any_work(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.mkdir()
    with pytest.raises(StorageError) as caught, atomic_directory(path):
        pytest.fail("the work has begun")
    assert str(caught.value) == f"{path}: exists already\n  hint: choose another directory, or pass --force"


@pytest.mark.parametrize("path", [".", "..", "/", "a/.."])
def test_names_that_no_new_file_or_directory_can_have_are_refused(path: str) -> None:
    with pytest.raises(StorageError, match="not the name"), atomic_directory(Path(path), replace=True):
        pytest.fail("the work has begun")
    with pytest.raises(StorageError, match="not the name"), atomic_file(Path(path)):
        pytest.fail("the work has begun")


def test_directory_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with pytest.raises(StorageError, match="exists already"), atomic_directory(path):
        write_text(path / "theirs", "")
    assert names(path) == ["theirs"]
    assert names(tmp_path) == ["model"]


@pytest.mark.parametrize("exchange", [True, False])
def test_replaced_directory_stays_until_the_new_one_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    if not exchange:
        monkeypatch.setattr(files, "_exchange", lambda *_: False)
    path = tmp_path / "model"
    with atomic_directory(path) as temporary:
        (temporary / "old").write_text("")
    with pytest.raises(InterruptedWorkError), atomic_directory(path, replace=True) as temporary:
        write_half(temporary / "new")
    assert names(path) == ["old"]
    with atomic_directory(path, replace=True) as temporary:
        (temporary / "new").write_text("")
        assert names(path) == ["old"]
    assert names(path) == ["new"]
    assert names(tmp_path) == ["model"]


def test_directory_may_replace_a_file(tmp_path: Path) -> None:
    (tmp_path / "model").write_text("")
    with atomic_directory(tmp_path / "model", replace=True) as temporary:
        (temporary / "a").write_text("")
    assert names(tmp_path / "model") == ["a"]
    assert names(tmp_path) == ["model"]


KILLED = """
import os, signal, sys
from pathlib import Path
from puna.core import files

path, moment = Path(sys.argv[1]), int(sys.argv[2])
calls = 0
def at_the_moment(function):
    def call(*arguments, **keywords):
        global calls
        result = function(*arguments, **keywords)
        calls += 1
        if calls == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return call
for name in ("fsync", "replace", "mkdir", "unlink", "rmdir"):
    setattr(os, name, at_the_moment(getattr(os, name)))
files._exchange = at_the_moment(files._exchange)
"""
WRITE_FILE = (
    KILLED
    + """
with files.atomic_file(path) as temporary:
    with temporary.open("w") as file:
        file.write("n")
        file.flush()
        os.fsync(file.fileno())
        file.write("ew")
"""
)
WRITE_DIRECTORY = (
    KILLED
    + """
with files.atomic_directory(path, replace=True) as temporary:
    for name in ("a", "b"):
        (temporary / name).write_text("new")
        os.fsync(os.open(temporary, os.O_RDONLY))
"""
)


def kill_at_every_moment(code: str, path: Path, check: Callable[[], None]) -> int:
    """Run `code`, killed after its first, second, … change of the disk; the number of kills until it runs through."""
    for moment in range(1, 40):
        status = run(code, path, str(moment)).returncode
        check()
        if status == 0:
            return moment - 1
        assert status == -signal.SIGKILL
    pytest.fail("it never ran through")


def test_file_killed_at_any_moment_is_old_or_new(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    seen = set()

    def check() -> None:
        seen.add(path.read_text())
        assert seen <= {"old", "new"}
        path.write_text("old")

    path.write_text("old")
    assert kill_at_every_moment(WRITE_FILE, path, check) >= 3
    assert seen == {"old", "new"}
    write_text(path, "next")
    assert names(tmp_path) == ["a.txt"]


def test_directory_killed_at_any_moment_is_old_or_new(tmp_path: Path) -> None:
    path, other = tmp_path / "model", tmp_path / "other"
    path.mkdir()
    other.mkdir()
    if not files._exchange(path, other):
        pytest.skip("this file system cannot exchange two names in one step")
    other.rmdir()

    def make_old() -> None:
        remove(path)
        path.mkdir()
        for name in ("a", "b", "c"):
            (path / name).write_text("old")

    seen = set()

    def check() -> None:
        seen.add(tuple((file.name, file.read_text()) for file in sorted(path.iterdir())))
        make_old()

    make_old()
    assert kill_at_every_moment(WRITE_DIRECTORY, path, check) >= 8
    assert seen == {(("a", "old"), ("b", "old"), ("c", "old")), (("a", "new"), ("b", "new"))}
    with atomic_directory(path, replace=True):
        pass
    assert names(tmp_path) == ["model"]


def test_only_what_dead_processes_left_of_the_same_name_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    dead = run("import os; print(os.getpid())").stdout.strip()
    mine = temporary_sibling(path)
    abandoned = mine.with_name(mine.name.replace(f"-{os.getpid()}-", f"-{dead}-"))
    of_another_name = abandoned.with_name(abandoned.name.replace("a.txt", "other-1-a.txt"))
    of_another_host = abandoned.with_name(f".tmp-elsewhere.example-{dead}-0-a.txt")
    for leftover in (mine, abandoned, of_another_name, of_another_host):
        leftover.write_text("half")
    write_text(path, "whole")
    assert names(tmp_path) == sorted(["a.txt", mine.name, of_another_name.name, of_another_host.name])


def test_concurrent_writers_do_not_mix_their_content(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    contents = [letter * 200_000 for letter in "abcd"]
    failures = []

    def write(text: str) -> None:
        try:
            for _ in range(5):
                write_text(path, text)
                assert path.read_text() in contents
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=[text]) for text in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert path.read_text() in contents
    assert names(tmp_path) == ["a.txt"]


def test_a_writer_that_started_first_and_ends_last_wins_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with atomic_file(path) as slow:
        slow.write_text("slow")
        write_text(path, "quick")
        assert path.read_text() == "quick"
    assert path.read_text() == "slow"


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from puna.core.errors import StorageError
from puna.core.files import atomic_directory, write_bytes
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
path = Path(sys.argv[1])
try:
    if sys.argv[2] == "file":
        write_bytes(path, bytes(1_000_000))
    else:
        with atomic_directory(path, replace=True) as temporary:
            (temporary / "small").write_bytes(bytes(10))
            (temporary / "large").write_bytes(bytes(1_000_000))
except StorageError as error:
    print(error, end="")
"""


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_full_disk_leaves_what_was_there_and_says_so(tmp_path: Path, kind: str) -> None:
    assert hasattr(resource, "RLIMIT_FSIZE")
    path = tmp_path / "target"
    if kind == "file":
        path.write_text("old")
    else:
        path.mkdir()
        (path / "old").write_text("old")
    done = run(FULL_DISK, path, kind)
    assert done.stdout == (
        f"{path}: no space left to write it; what was there before is unchanged\n"
        f"  hint: free space on the disk that holds {tmp_path}, or choose another directory, and run again"
    ), done.stderr
    assert (path if kind == "file" else path / "old").read_text() == "old"
    assert names(tmp_path) == ["target"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_disk_that_fills_while_flushing_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def full(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="no space left"):
        write_text(tmp_path / "a.txt", "text")
    assert names(tmp_path) == []


def test_directory_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file/a\.txt: cannot be written \(File exists: .*file\)"):
        write_text(tmp_path / "file" / "a.txt", "")
    with (
        pytest.raises(StorageError, match="file/sub/a: cannot be written"),
        atomic_directory(tmp_path / "file" / "sub" / "a"),
    ):
        pytest.fail("the work has begun")


def test_file_cannot_replace_a_directory(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(StorageError) as caught:
        write_text(tmp_path / "a", "")
    assert str(caught.value) == f"{tmp_path / 'a'}: cannot be written (Is a directory)"
    assert names(tmp_path) == ["a"]


def test_refused_path_and_its_reason_are_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught, storage_errors(tmp_path / "out"):
        raise PermissionError(errno.EACCES, "Permission denied", "input.txt")
    assert str(caught.value) == f"{tmp_path / 'out'}: cannot be written (Permission denied: input.txt)"


@pytest.mark.parametrize("host", ["node", "node-7-12", "a.b-c"])
def test_errors_inside_something_unfinished_name_the_final_path(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files.platform, "node", lambda: host)
    inner = Path("runs", f".tmp-{host}-12-345-step-5", f".tmp-{host}-12-346-a-1-2-b.bin")
    with pytest.raises(StorageError, match=r"^runs/step-5/a-1-2-b\.bin: no space left"), storage_errors(inner):
        raise OSError(errno.ENOSPC, "full", str(inner))
    assert final_path(Path("runs/.tmp-notes/a")) == Path("runs/.tmp-notes/a")


def test_errors_that_are_not_refusals_pass_through(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_file(tmp_path / "out"):
        (tmp_path / "missing").read_text()
    assert names(tmp_path) == []


def test_file_system_that_cannot_flush_directories_is_not_an_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def refuse_directories(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EINVAL, "Invalid argument")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse_directories)
    write_text(tmp_path / "a.txt", "text")
    assert (tmp_path / "a.txt").read_text() == "text"


def test_remove_takes_files_directories_links_and_nothing(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    (kept / "sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to(kept)
    (tmp_path / "file").write_text("")
    for name in ("link", "file", "missing"):
        remove(tmp_path / name)
    assert names(tmp_path) == ["kept"]
    remove(kept)
    assert names(tmp_path) == []


def test_json_keeps_its_order_and_refuses_what_is_not_finite(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"b": "ü", "a": [1, None]})
    assert path.read_text(encoding="utf-8") == '{\n  "b": "ü",\n  "a": [\n    1,\n    null\n  ]\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"loss": float("nan")})
    assert list(json.loads(path.read_text(encoding="utf-8"))) == ["b", "a"]


@given(st.binary(max_size=300))
def test_hashes_agree_with_hashlib(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "hashed"
    path.write_bytes(content)
    assert sha256_file(path) == sha256_bytes(content) == hashlib.sha256(content).hexdigest()


@given(st.dictionaries(st.text(max_size=5), st.lists(st.integers() | st.text(max_size=5), max_size=3), max_size=5))
def test_fingerprint_of_json_does_not_depend_on_the_order_of_keys(table: dict[str, list[object]]) -> None:
    assert sha256_json(table) == sha256_json(dict(reversed(table.items())))
    assert sha256_json(table) != sha256_json({**table, "one more" + "".join(table): []})


def test_text_that_cannot_be_read_is_the_callers_error_in_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "text"
    with pytest.raises(DataError, match=r"text: cannot be read: No such file or directory$"):
        read_text(file, DataError)
    file.write_bytes(b"a\xe9b")
    with pytest.raises(ConfigError, match=r"text: is not UTF-8 text: invalid continuation byte at byte 1$"):
        read_text(file, lambda sentence: ConfigError([sentence]))


def test_bytes_that_are_not_text_are_the_callers_error_too() -> None:
    assert decode_text("é".encode(), "x", DataError) == "é"
    with pytest.raises(DataError, match=r"^standard input: is not UTF-8 text: invalid start byte at byte 1$"):
        decode_text(b"a\xff", "standard input", DataError)


def test_text_is_read_to_the_characters_asked_for_and_keeps_its_line_ends_where_wanted(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes("é\r\nb".encode())
    assert read_text(tmp_path / "text", DataError) == "é\nb"
    assert read_text(tmp_path / "text", DataError, newline="") == "é\r\nb"
    assert read_text(tmp_path / "text", DataError, most_characters=1) == "é"

"""Files that appear whole or not at all, and the hashes that prove them.

Every file and directory of Puna is written under a temporary name beside its final one, flushed to the disk and then
renamed, so a crash at any moment leaves either the old state or the new one. A temporary name is
`.tmp-<host>-<process>-<number>-<name>`: two writers never share one, the last to finish wins, and temporaries of a
killed process of this host are removed by the next writer of the same name.
"""

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import platform
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from puna.core.errors import StorageError, UserError

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_WRITABLE = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY,
    errno.ENAMETOOLONG, errno.ELOOP, errno.EIO,
}  # fmt: skip
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_ours: set[int] = set()
"""Numbers in the temporary names that this process has given."""


@contextlib.contextmanager
def storage_errors(target: Path) -> Iterator[None]:
    """Turn the operating system's errors on writing `target` into a `StorageError`.

    It names what the user knows: of a path inside something that is still being written, the final path.
    """
    try:
        yield
    except OSError as error:
        target = final_path(target)
        if error.errno in _NO_SPACE:
            raise StorageError(
                f"{target}: no space left to write it; what was there before is unchanged",
                hint=f"free space on the disk that holds {target.parent}, or choose another directory, and run again",
            ) from error
        if error.errno is not None and (error.errno in _NOT_WRITABLE or _cannot_be_made(target, error)):
            other = final_path(Path(os.fsdecode(error.filename))) if error.filename else target
            culprit = "" if other == target else f": {other}"
            if error.errno == errno.ENOENT:
                raise StorageError(f"{target}: cannot be made; nothing new can be in {other.parent}") from error
            raise StorageError(f"{target}: cannot be written ({os.strerror(error.errno)}{culprit})") from error
        raise


def _cannot_be_made(target: Path, error: OSError) -> bool:
    """Whether the error is of `target` or of a directory that leads to it, as ENOENT is below /proc.

    Of any other file it is a defect: something that was to be read is not there.
    """
    if not error.filename:
        return False
    culprit = final_path(Path(os.fsdecode(error.filename)))
    return culprit == target or culprit in target.parents


def final_path(path: Path) -> Path:
    """The path that a file will have when everything around it is complete: temporary names become final."""
    temporary = re.compile(rf"\.tmp-{re.escape(platform.node())}-\d+-\d+-(?=.)")
    return Path(*(temporary.sub("", part, count=1) for part in path.parts))


def temporary_sibling(final: Path) -> Path:
    """A new temporary name for `final`, in the same directory so that a rename is atomic."""
    # Random, because a restarted container has the same host name as before, and often the same process number.
    number = secrets.randbits(48)
    _ours.add(number)
    return final.with_name(f".tmp-{platform.node()}-{os.getpid()}-{number}-{final.name}")


@contextlib.contextmanager
def atomic_file(final: Path) -> Iterator[Path]:
    """Yield a temporary path; on success it becomes `final`, on any failure it vanishes.

    Raises:
        StorageError: The disk is full or the directory is not writable.
    """
    if final.name in ("", ".."):
        raise StorageError(f"{final}: is not the name of a file to write")
    temporary = temporary_sibling(final)
    try:
        with storage_errors(final):
            final.parent.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(final)
            yield temporary
            sync(temporary)
            os.replace(temporary, final)
            sync(final.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_directory(final: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield a fresh temporary directory; on success it becomes `final`, on any failure it vanishes.

    Args:
        final: The directory to make.
        replace: Whether an existing `final` is replaced. It stays in place until the new one is complete. On Linux the
            two are exchanged in one step; other systems need two renames, and a crash just between them leaves nothing
            under the final name.

    Raises:
        StorageError: `final` exists and `replace` is false, the disk is full, or the path is not writable.
    """
    if final.name in ("", ".."):
        raise StorageError(f"{final}: is not the name of a directory to make", hint="choose another directory")
    temporary = temporary_sibling(final)
    try:
        with storage_errors(final):
            if not replace:
                _refuse_existing(final)
            final.parent.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(final)
            temporary.mkdir()
            yield temporary
            for path in sorted(temporary.rglob("*")):
                sync(path)
            sync(temporary)
            if replace and os.path.lexists(final):
                _replace_directory(temporary, final)
            else:
                _refuse_existing(final)
                os.replace(temporary, final)
            sync(final.parent)
    finally:
        with contextlib.suppress(OSError):
            remove(temporary)


def discard(path: Path) -> None:
    """Delete a directory so that a crash in between leaves nothing partial under its name."""
    if os.path.lexists(path):
        with storage_errors(path):
            outgoing = temporary_sibling(path)
            os.replace(path, outgoing)
            remove(outgoing)


def sweep(directory: Path) -> None:
    """Delete all temporaries in a directory whose processes have died on this host."""
    if directory.is_dir():
        _remove_temporaries(directory, re.compile(rf"\.tmp-{re.escape(platform.node())}-(\d+)-(\d+)-.*"))


def _refuse_existing(final: Path) -> None:
    if os.path.lexists(final):
        raise StorageError(f"{final}: exists already", hint="choose another directory, or pass --force")


def _replace_directory(temporary: Path, final: Path) -> None:
    """Give `temporary` its final name; an older directory of that name is deleted only after that."""
    if _exchange(temporary, final):
        outgoing = temporary
    else:
        outgoing = temporary_sibling(final)
        os.replace(final, outgoing)
        os.replace(temporary, final)
    remove(outgoing)


def _exchange(first: Path, second: Path) -> bool:
    """Swap two names in one step by Linux's renameat2(2), which most file systems have; whether it worked."""
    try:
        renameat2 = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    return renameat2(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0


def _remove_abandoned(final: Path) -> None:
    """Delete the temporaries of `final` whose processes have died on this host."""
    name = re.escape(final.name)
    _remove_temporaries(final.parent, re.compile(rf"\.tmp-{re.escape(platform.node())}-(\d+)-(\d+)-{name}"))


def _remove_temporaries(directory: Path, pattern: re.Pattern[str]) -> None:
    for path in directory.iterdir():
        match = pattern.fullmatch(path.name)
        if match and not _is_in_use(int(match[1]), int(match[2])):
            with contextlib.suppress(OSError):  # another writer may be deleting it at this moment
                remove(path)


def _is_in_use(process: int, number: int) -> bool:
    """Whether the process that made a temporary still runs; another process may have its number by now."""
    if process == os.getpid():
        return number in _ours
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True  # it runs under another user
    return True


def remove(path: Path) -> None:
    """Delete a file or a whole directory; nothing happens where there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Flush one file or directory from the page cache to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL or not path.is_dir():
            raise  # else: a network file system that keeps directories in step by itself
    finally:
        os.close(descriptor)


def read_text(
    path: Path, error: Callable[[str], UserError], *, most_characters: int | None = None, newline: str | None = None
) -> str:
    """The UTF-8 text in a file.

    Args:
        path: The file.
        error: Makes the error from a sentence, of the class that the caller's users expect.
        most_characters: How many are read at most; None reads all.
        newline: As for `open`: None makes all line ends alike, an empty text keeps them.

    Raises:
        UserError: The file cannot be read, or is not UTF-8 text.
    """
    try:
        with path.open(encoding="utf-8", newline=newline) as file:
            return file.read(most_characters)
    except OSError as failure:
        raise error(f"{path}: cannot be read: {failure.strerror}") from None
    except UnicodeDecodeError as failure:
        raise error(_not_text(path, failure)) from None


def decode_text(content: bytes, where: str | Path, error: Callable[[str], UserError]) -> str:
    """The text that bytes are in UTF-8.

    Args:
        content: The bytes.
        where: What to call them in errors.
        error: As `read_text` has it.

    Raises:
        UserError: They are not UTF-8 text.
    """
    try:
        return content.decode()
    except UnicodeDecodeError as failure:
        raise error(_not_text(where, failure)) from None


def _not_text(where: str | Path, failure: UnicodeDecodeError) -> str:
    return f"{where}: is not UTF-8 text: {failure.reason} at byte {failure.start}"


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes atomically."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically; keys keep their order, numbers must be finite."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def sha256_bytes(content: bytes) -> str:
    """The SHA-256 of `content` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's content in hexadecimal, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """The SHA-256 of a value's canonical JSON: equal values have equal fingerprints."""
    return sha256_bytes(json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())

"""Files that appear whole or not at all, and the hashes that prove them.

Every file and directory of Puna is written under a temporary name beside its final one, flushed to the disk and
then renamed, so a crash at any moment leaves either the old state or the new one. A temporary name starts with
`.tmp-`; what a killed process left behind is removed by the next writer of the same name.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from puna.core.errors import StorageError

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_WRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG}


@contextlib.contextmanager
def storage_errors(target: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write `target` into a `StorageError`."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise StorageError(
                f"{target}: no space left to write it; what was there before is unchanged",
                hint=f"free space on the disk that holds {target.parent}, or choose another directory, and run again",
            ) from error
        if error.errno in _NOT_WRITABLE:
            raise StorageError(f"{target}: cannot be written ({os.strerror(error.errno or 0)})") from error
        raise


def temporary_sibling(final: Path) -> Path:
    """The one temporary name of `final`, in the same directory so that a rename is atomic."""
    return final.with_name(f".tmp-{final.name}")


@contextlib.contextmanager
def atomic_file(final: Path) -> Iterator[Path]:
    """Yield a temporary path; on success it becomes `final`, on any failure it vanishes.

    Raises:
        StorageError: The disk is full or the directory is not writable.
    """
    temporary = temporary_sibling(final)
    try:
        with storage_errors(final):
            final.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            sync(temporary)
            os.replace(temporary, final)
            sync(final.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_directory(final: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield a fresh temporary directory; on success it becomes `final`, on any failure it vanishes.

    Args:
        final: The directory to make.
        replace: Whether an existing `final` gives way. It stays in place until the new one is complete.

    Raises:
        StorageError: `final` exists and `replace` is false, the disk is full, or the path is not writable.
    """
    temporary = temporary_sibling(final)
    try:
        with storage_errors(final):
            if final.exists() and not replace:
                raise StorageError(f"{final}: exists already", hint="choose another directory, or pass --force")
            remove(temporary)
            temporary.mkdir(parents=True)
            yield temporary
            for path in sorted(temporary.rglob("*")):
                sync(path)
            sync(temporary)
            if final.exists():
                outgoing = final.with_name(f".tmp-old-{final.name}")
                remove(outgoing)
                os.replace(final, outgoing)
                os.replace(temporary, final)
                remove(outgoing)
            else:
                os.replace(temporary, final)
            sync(final.parent)
    finally:
        remove(temporary)


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
    finally:
        os.close(descriptor)


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

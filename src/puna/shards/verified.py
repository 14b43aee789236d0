"""Checks that the files of a directory of shards are those of its manifest.

A file that was compared with its hash once is trusted until it changes: `verified.json` beside the manifest holds its
state at that time (size, times, inode; or the tag that an object store gives to its content). It only saves time;
without it, or if it cannot be written, everything is read again.
"""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from puna.core.console import progress
from puna.core.errors import DataError, StorageError
from puna.core.files import write_json
from puna.shards.files import ShardFiles
from puna.shards.format import rebuild

MEMORY = "verified.json"
SCHEMA = 1

_THREADS = 4
"""How many files are hashed at one time; hashing releases Python's lock."""

_SHARD_FILE = re.compile(r"(tokens|documents|origins)-\d+\.(bin|jsonl)")


def check_files(files: ShardFiles, expected: list[dict[str, Any]]) -> None:
    """Refuse a directory that does not hold exactly the shards of its manifest, by names and sizes.

    Raises:
        DataError: A file is missing, has another size, or is not in the manifest.
    """
    sizes = files.sizes()
    for file in expected:
        path, size = f"{files.location}/{file['name']}", sizes.get(file["name"])
        if size is None:
            raise DataError(f"{path}: is missing", hint=rebuild(path))
        if size != file["bytes"]:
            raise DataError(f"{path}: has {size} bytes instead of {file['bytes']}", hint=rebuild(path))
    extra = {name for name in sizes if _SHARD_FILE.fullmatch(name)} - {file["name"] for file in expected}
    if extra:
        raise DataError(
            f"{files.location}/{min(extra)}: is not in the manifest, so it does not belong to these shards",
            hint=f"delete it, or {rebuild(files.location)}",
        )


def verify_files(directory: Path, files: ShardFiles, expected: list[dict[str, Any]], label: str) -> None:
    """Compare every file with its hash, except files that were compared before and have not changed since.

    Args:
        directory: The directory of `verified.json`.
        files: The files.
        expected: The manifest's entries.
        label: The name of the work, for the progress bar.

    Raises:
        DataError: A file is damaged.
    """
    remembered = _read_memory(directory)
    # Taken before reading, so that a change during reading is found the next time.
    present = {file["name"]: [files.identity(file["name"]), file["sha256"]] for file in expected}
    believed = {name for name, entry in present.items() if entry[0] is not None and remembered.get(name) == entry}
    unknown = [file for file in expected if file["name"] not in believed]
    if not unknown:
        return
    try:
        for name in _compared(files, unknown, label):
            if present[name][0] is not None:
                believed.add(name)
    finally:
        content = {"schema": SCHEMA, "files": {name: present[name] for name in sorted(believed)}}
        with contextlib.suppress(StorageError, OSError):
            if believed:
                write_json(directory / MEMORY, content)


def _compared(files: ShardFiles, unknown: list[dict[str, Any]], label: str) -> Iterator[str]:
    """The name of each file, once its hash was found to be right."""
    total = sum(file["bytes"] for file in unknown)
    with progress(label, total, "bytes") as advance, ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        digests = [pool.submit(_sha256, files, file["name"]) for file in unknown]
        try:
            for file, future in zip(unknown, digests, strict=True):
                if future.result() != file["sha256"]:
                    raise DataError(
                        f"{files.location}/{file['name']}: is damaged, its SHA-256 is not the one written with it",
                        hint=rebuild(f"{files.location}/{file['name']}"),
                    )
                advance(file["bytes"])
                yield file["name"]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _sha256(files: ShardFiles, name: str) -> str:
    digest = hashlib.sha256()
    try:
        for block in files.blocks(name):
            digest.update(block)
    except OSError as error:
        raise DataError(
            f"{files.location}/{name}: cannot be read ({error.strerror})", hint=rebuild(f"{files.location}/{name}")
        ) from None
    return digest.hexdigest()


def _read_memory(directory: Path) -> dict[str, Any]:
    try:
        memory = json.loads((directory / MEMORY).read_bytes())
        return dict(memory["files"]) if memory["schema"] == SCHEMA else {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}

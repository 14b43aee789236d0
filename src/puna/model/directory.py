"""The files of a model directory (`puna.model.files`): which they are, and that each is the one that was written.

Nothing here imports torch, so that hashes can be computed while it is being imported.
"""

import hashlib
import os
import shlex
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from puna.core.bounded import parse_json, read_bounded
from puna.core.errors import CheckpointError
from puna.core.layout import RunDir
from puna.core.records import read_record
from puna.tokenizer.load import find_tokenizer

CONFIG, RECORD = "model.toml", "record.json"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"

_MOST_INDEX = 1 << 25
"""Bytes of an index, as of other formats (`puna.formats.containers.json_object`)."""
_PIECE = 1 << 25
"""Bytes that are hashed at a time. Between two pieces a thread waits for its turn, up to 5 ms while another one runs
Python code, so they are large."""


def weight_files(directory: Path) -> list[Path]:
    """The files that hold a directory's weights, the index included.

    Raises:
        CheckpointError: The index is damaged.
    """
    index = directory / INDEX
    if not index.is_file():
        return [directory / WEIGHTS]
    return [index, *sorted(set(read_index(index).values()))]


def read_index(index: Path) -> dict[str, Path]:
    """The file of every tensor.

    Raises:
        CheckpointError: The index lacks it, or names a file outside of the directory.
    """
    try:
        files = parse_json(read_bounded(index, _MOST_INDEX, CheckpointError), index, CheckpointError)["weight_map"]
        plain = all(Path(file).name == file for file in files.values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index}: does not say the file of every tensor: {error!s:.200}") from None
    if not files or not plain:
        raise CheckpointError(f"{index}: does not say for every tensor a file beside it")
    return {name: index.with_name(file) for name, file in files.items()}


def check_files(directory: Path) -> dict[str, Any]:
    """Check every file of a model directory against the hash in its record; returns the record.

    Raises:
        CheckpointError: A file is missing or is not the one that was written.
    """
    record = read_record(directory / RECORD)
    if record is None:
        raise CheckpointError(f"{directory}: holds no finished Puna model (there is no record.json)")
    outputs = record.get("outputs", {})
    tokenizer = find_tokenizer(directory)
    # A tokenizer without a hash in the record is told: it could replace the model's own.
    files = [path.name for path in (*weight_files(directory), *([tokenizer] if tokenizer else []))]
    names = list(dict.fromkeys((*files, CONFIG, *outputs)))
    for name in names:
        if name not in outputs:
            raise CheckpointError(f"{directory / RECORD}: has no hash of {name}, so it is not a model's record")
        if not (directory / name).is_file():
            raise CheckpointError(f"{directory / name}: is missing")
    check_hashes({directory / name: outputs[name] for name in names})
    return record


def check_hashes(files: Mapping[Path, str], *, hint: str = "") -> None:
    """Check files against their hashes, several at once, on as many threads as there are processors.

    Args:
        files: The SHA-256 of each.
        hint: What a user can do about a damaged one.

    Raises:
        CheckpointError: A file is not the one that was written.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for (path, expected), found in zip(files.items(), pool.map(_sha256, files), strict=True):
            if found != expected:
                raise CheckpointError(f"{path}: is damaged, its SHA-256 is not the one written with it", hint=hint)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        piece = memoryview(bytearray(min(_PIECE, os.fstat(file.fileno()).st_size) + 1))
        while length := file.readinto(piece):
            digest.update(piece[:length])
    return digest.hexdigest()


def resolve_model(path: Path) -> Path:
    """The model directory that `path` names: a run's, or itself.

    Raises:
        CheckpointError: There is no model.
    """
    for candidate in (RunDir(path).model, path):
        if (candidate / CONFIG).is_file():
            return candidate
    if RunDir(path).checkpoints.exists():
        raise CheckpointError(
            f"{path}: has no finished model yet",
            hint=f"`puna train {shlex.quote(str(path))} --resume` finishes it",
        )
    other = f"; `puna import {shlex.quote(str(path))}` makes one of a model in another format" if path.exists() else ""
    raise CheckpointError(f"{path}: holds no Puna model", hint=f"`puna run demo` makes one{other}")

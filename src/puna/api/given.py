"""Files of examples that a user names on the command line, as the source of a recipe that has none."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from puna.api.recipes import PathLike
from puna.core.errors import ConfigError, DataError
from puna.core.files import sha256_json
from puna.core.user_path import user_path
from puna.shards.split import hash_fraction

if TYPE_CHECKING:
    from puna.config.recipe import Recipe

SOURCE = "examples"
"""The name of the source that they make."""
_ROWS = ("*.jsonl*", "*.ndjson*", "*.json", "*.json.*", "*.parquet", "*.arrow")
"""Files that have rows, compressed or not."""
_NOT_ROWS = ("**/dataset_info.json", "**/dataset_dict.json", "**/state.json", "**/cache-*.arrow")
"""What lies beside the rows where Hugging Face's `datasets` has saved them."""
_HELDOUT, _LEAST = 0.05, 4
"""Share of the examples that validate the model; of few examples this number, but a fifth of them at most."""
_FEW = 500
"""From this number of examples on the usual share holds out some of them for certain."""


def files_of(data: PathLike | Sequence[PathLike] | None) -> list[Path]:
    """The files, of which there may be one.

    Raises:
        DataError: One is not there.
    """
    named = [] if data is None else [data] if isinstance(data, str | os.PathLike) else list(data)
    files = [user_path(name) for name in named]
    for file in files:
        if not file.exists():
            raise DataError(f"--data {file}: is not there")
    return files


def with_files(recipe: "Recipe", files: Sequence[Path], build: PathLike | None) -> tuple["Recipe", PathLike]:
    """A recipe that learns from the files, all of them equally often, and the data build that they go into.

    Args:
        recipe: One that names no sources.
        files: Files of examples, or directories of them.
        build: The data build; None is one of its own for these files as they are now, and the recipe's [data].

    Raises:
        ConfigError: The recipe has sources.
        DataError: There is one example alone, so that nothing could be held out.
    """
    from puna.config.data import Source
    from puna.data.stages.before import example_ids

    if recipe.mixture:
        raise ConfigError(
            [f"recipe {recipe.name!r} has sources of its own: {', '.join(recipe.mixture)}"],
            hint="--data is for a recipe without [data.sources]; add the files to its sources instead",
        )
    form = "conversations" if recipe.finetune is None or recipe.finetune.preference is None else "preferences"
    root = os.path.commonpath([os.path.abspath(file if file.is_dir() else file.parent) for file in files])
    source = Source(
        path=os.path.relpath(root), include=[pattern for file in files for pattern in _patterns(file, root)],
        exclude=[*_NOT_ROWS] if any(file.is_dir() for file in files) else [], format=form,
        heldout_fraction=_HELDOUT,
    )  # fmt: skip
    ids = example_ids(SOURCE, source, most=_FEW, limit=recipe.data.max_document_bytes)
    source = source.model_copy(update={"heldout_fraction": _heldout_fraction(ids, files)})
    data = recipe.data.model_copy(update={"sources": {SOURCE: source}})
    changed = recipe.model_copy(update={"data": data, "mixture": {SOURCE: 1.0}})
    return changed, build or Path("data") / f"{recipe.name}-{_fingerprint(files, changed)[:8]}"


def _heldout_fraction(ids: list[str], files: Sequence[Path]) -> float:
    """The share that is held out: larger for few examples, of which the usual one might hold out none.

    Whether an example is held out follows from a hash of its id, so the share lies between two of these hashes.

    Args:
        ids: Of all examples; only the first ones of many; none where the files cannot be read, which the build says.
        files: What the user has named.

    Raises:
        DataError: There is one example alone.
    """
    if len(ids) == 1:
        raise DataError(
            f"--data {files[0]}: has one example alone; one is learned, and another must validate the model",
            hint="name files with more examples",
        )
    hashes = sorted(hash_fraction(f"{SOURCE}/{identity}") for identity in ids)
    wanted = max(1, min(_LEAST, len(hashes) // 5))
    if len(hashes) in (0, _FEW) or hashes[wanted - 1] < _HELDOUT:
        return _HELDOUT
    return (hashes[wanted - 1] + hashes[wanted]) / 2


def _patterns(file: Path, root: str) -> list[str]:
    """The file, or what has rows in the directory."""
    relative = os.path.relpath(os.path.abspath(file), root)
    if not file.is_dir():
        return [glob.escape(relative)]
    below = "" if relative == "." else f"{glob.escape(relative)}/"
    return [f"{below}**/{rows}" for rows in _ROWS]


def _fingerprint(files: Sequence[Path], recipe: "Recipe") -> str:
    """Changes with the files' names, sizes and times, and with what the recipe makes of them."""
    found = [inner for file in files for inner in (sorted(file.rglob("*")) if file.is_dir() else [file])]
    states = [(os.path.abspath(file), file.stat()) for file in found if file.is_file()]
    return sha256_json(
        [[(name, state.st_size, state.st_mtime_ns) for name, state in states], recipe.data.model_dump(mode="json")]
    )

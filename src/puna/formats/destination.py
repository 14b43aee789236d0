"""Where a conversion may be put: never where `--force` would delete its source or something else than a conversion."""

import os
from pathlib import Path

from puna.core.errors import StorageError


def check_destination(out: Path, source: Path, mark: str, *, force: bool) -> None:
    """Refuse a directory that is taken, before anything is read.

    Args:
        out: The directory to make.
        source: What it is made from.
        mark: A file that every directory of this kind has; with `force`, only such a one is replaced, or an empty one.
        force: Whether an existing `out` may be replaced.

    Raises:
        StorageError: `out` exists and may not be replaced.
    """
    if not os.path.lexists(out):
        return
    if not force:
        raise StorageError(f"{out}: exists already", hint="choose another directory, or pass --force")
    if source.resolve().is_relative_to(out.resolve()):
        raise StorageError(
            f"{out}: is or holds {source}, which --force would delete", hint="choose another directory"
        )  # fmt: skip
    if not (out / mark).is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise StorageError(
            f"{out}: holds no {mark}, so it is not what --force is for, and stays",
            hint="choose another directory, or remove this one yourself",
        )

"""Checks that the converted files are the hashed ones: that the source's files did not change meanwhile."""

from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from puna.core.errors import FormatError

States: TypeAlias = dict[Path, tuple[int, ...] | None]


def file_states(path: Path) -> States:
    """Device, inode, size and time of change of a file, or of each in a directory; empty where there is none."""
    return states_of(sorted(path.iterdir()) if path.is_dir() else [path])


def states_of(files: Iterable[Path]) -> States:
    """The same of these files; a model's may lie in directories below its own."""
    return {file: _state(file) for file in files if file.is_file()}


def check_unchanged(before: States) -> None:
    """Refuse files that have changed.

    Raises:
        FormatError: A file was replaced, written to or removed.
    """
    for file, state in before.items():
        if _state(file) != state:
            raise FormatError(f"{file}: was changed while it was read", hint="run it again when nothing writes there")


def _state(file: Path) -> tuple[int, ...] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

"""Paths that users give."""

import os
from pathlib import Path

from puna.core.errors import StorageError


def user_path(place: str | os.PathLike[str]) -> Path:
    """A path that a user gives; an empty one, which Python takes for the current directory, is refused.

    Raises:
        StorageError: It is empty.
    """
    if os.fspath(place) == "":
        raise StorageError("the path is empty, expected that of a file or directory")
    return Path(place)

"""Paths that users give."""

import os
from pathlib import Path

from puna.core.errors import StorageError


def user_path(place: str | os.PathLike[str]) -> Path:
    """A path that a user gives, whether something is there or not.

    Raises:
        StorageError: It is empty, which Python takes for the current directory; or the system cannot say whether
            something is there, as with names that are too long and directories that may not be searched.
    """
    if os.fspath(place) == "":
        raise StorageError("the path is empty, expected that of a file or directory")
    try:
        os.lstat(place)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise StorageError(f"{place}: cannot be looked up ({error.strerror})") from None
    except ValueError as error:
        raise StorageError(f"{os.fspath(place)!r}: is not a path ({error})") from None
    return Path(place)

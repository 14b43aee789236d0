"""Repositories in Hugging Face's cache: `models--OWNER--NAME`, with a directory for each commit under `snapshots`.

`refs/main` holds the commit that its branch was at when it was fetched (huggingface_hub, "Understand caching").
"""

from pathlib import Path

from puna.core.bounded import read_bounded
from puna.core.errors import FormatError

_MOST_REF = 200


def snapshot_of(path: Path) -> Path:
    """The model that a path means: the snapshot of a repository in the cache, any other path itself.

    Raises:
        FormatError: The repository has no snapshot, or several, and `refs/main` names none of them.
    """
    try:
        snapshots = path / "snapshots"
        if not path.resolve().name.startswith("models--") or not snapshots.is_dir():
            return path
        found = sorted(directory for directory in snapshots.iterdir() if directory.is_dir())
        ref = path / "refs" / "main"
        commit = read_bounded(ref, _MOST_REF, FormatError).decode(errors="replace").strip() if ref.is_file() else ""
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error.strerror}") from None
    chosen = [directory for directory in found if directory.name == commit] or found
    if len(chosen) != 1:
        names = ", ".join(directory.name for directory in found[:5]) + (", ..." if len(found) > 5 else "")
        what = f"{len(found)} snapshots ({names}), and refs/main names none of them" if found else "no snapshot"
        raise FormatError(f"{path}: is a repository in a cache with {what}", hint="name one" if found else "")
    return chosen[0]

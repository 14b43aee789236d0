"""Glob patterns that find the files of one source and none of another's, short and open to files that come later.

Files are told apart by the end of their names. Where one ending belongs to several sources, the one with most of these
files has the ending as its pattern and leaves out the others' files. Those are named by whole directories where these
hold nothing else of the ending, and else one by one.
"""

import posixpath
import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)
Patterns = tuple[list[str], list[str]]
"""`include` and `exclude`."""

_COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".zstd", ".lz4")
_SUFFIX = re.compile(r"\.[\w+-]{1,12}")
_MOST = 24
"""Endings of one source, at most; one that has more has everything as its pattern, whatever its name."""


def ending(path: str) -> str:
    """The end of a file's name that tells its kind, with its compression: `.jsonl.gz`; of none, the whole name."""
    base = posixpath.basename(path)
    plain, packed = base, ""
    for suffix in _COMPRESSED:
        if plain.lower().endswith(suffix):
            plain, packed = plain[: -len(suffix)], plain[-len(suffix) :] + packed
    found = posixpath.splitext(plain)[1]
    return found + packed if _SUFFIX.fullmatch(found) else base


def escape(path: str) -> str:
    """A path as a glob pattern that it matches; `?` stands for each byte that is not UTF-8, which TOML cannot hold."""
    return re.sub("[\udc80-\udcff]", "?", re.sub(r"([*?[])", r"[\1]", path))


def patterns(paths: Mapping[str, Key | None]) -> dict[Key, Patterns]:
    """Patterns for each source.

    Args:
        paths: All paths below the root with the source that each belongs to; None is of no source and must not be read.
    """
    endings: dict[Key, set[str]] = defaultdict(set)
    for path, key in paths.items():
        if key is not None:
            endings[key].add(ending(path))
    many = {key for key in endings if len(endings[key]) > _MOST}
    found: dict[Key, Patterns] = {key: ([], []) for key in endings}
    tails: dict[str, dict[str, Key | None]] = defaultdict(dict)
    for path, key in paths.items():
        tails[ending(path)][path] = key
    if many:
        _share(paths, "*", many, found)
    for tail in sorted(tails):
        _share(tails[tail], f"*{escape(tail)}" if tail.startswith(".") else escape(tail), {*endings} - many, found)
    return found


def _share(paths: Mapping[str, Key | None], tail: str, keys: set[Key], found: dict[Key, Patterns]) -> None:
    """Add the patterns of these sources for the files with one tail of their names.

    Args:
        paths: All files whose names match the tail.
        tail: A pattern of names.
        keys: The sources to find patterns for.
        found: Theirs, which grow.
    """
    count = Counter(key for key in paths.values() if key in keys)
    if not count:
        return
    most = min(count, key=lambda key: (-count[key], str(key)))
    for key in count:
        include, exclude = found[key]
        if key == most:
            include.append(f"**/{tail}")
            exclude += _cover(paths, tail, {other for other in paths.values() if other != key})
        else:
            include += _cover(paths, tail, {key})


def _cover(paths: Mapping[str, Key | None], tail: str, keys: set[Key | None]) -> list[str]:
    """Patterns that match the files of some sources and none of the others'."""
    if not keys:
        return []
    mixed = {directory for path, key in paths.items() if key not in keys for directory in _directories(path)}
    covered: dict[str, None] = {}
    for path in (path for path, key in paths.items() if key in keys):
        pure = next((directory for directory in _directories(path) if directory not in mixed), None)
        covered[escape(path) if pure is None else posixpath.join(escape(pure), "**", tail)] = None
    return [*covered]


def _directories(path: str) -> Iterable[str]:
    """The directories that a path lies in, the outermost first: "" is the root."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[:count]) for count in range(len(parts) + 1)]

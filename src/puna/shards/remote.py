"""Data builds in object stores: small files are mirrored on this machine, tokens are read by ranges.

`mirror` makes a local directory like the build, except that a training split has `remote.json` instead of token files,
with their place: `{"url": "s3://bucket/demo/shards/prose/train"}`. The access is fsspec's, so its settings and those of
its packages hold (for S3: AWS's environment variables and files).
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from puna.core.errors import DataError, UserError
from puna.core.files import atomic_file, sha256_file, write_bytes
from puna.core.layout import DataDir, user_cache
from puna.shards.files import LocalFiles, Piece, ShardFiles
from puna.shards.format import MANIFEST, REBUILD, read_manifest
from puna.shards.split import HELDOUT
from puna.tokenizer.load import NAMES as TOKENIZERS

MARKER = "remote.json"
_NEEDED = ("record.json", "config.toml", "card.json")
_HASH_BLOCK = 1 << 25


def mirror(url: str) -> DataDir:
    """A local data directory that mirrors the build at `url`, brought up to date.

    It holds the small files and the held-out text, which every validation reads.

    Raises:
        DataError: No finished build is there, it cannot be reached, or a file of it is damaged.
        StorageError: The mirror cannot be written.
    """
    url = url.rstrip("/")
    fs, root = _open(url)
    with _named(url):
        fs.invalidate_cache()
        paths: list[str] = fs.find(root)
        names = {str(PurePosixPath(path).relative_to(root)) for path in paths}
    for name in _NEEDED:
        if name not in names:
            raise DataError(f"{url}/{name}: is missing, so no finished data build is here")
    if not any(f"tokenizer/{name}" in names for name in TOKENIZERS):
        raise DataError(f"{url}/tokenizer/{TOKENIZERS[0]}: is missing, so no finished data build is here")
    small = [
        name
        for name in sorted(names)
        if name in _NEEDED or name.startswith("tokenizer/") or PurePosixPath(name).match(f"shards/*/*/{MANIFEST}")
    ]
    with _named(url):
        contents: dict[str, bytes] = fs.cat([f"{root}/{name}" for name in small])
    out = DataDir(_cache() / hashlib.sha256(url.encode()).hexdigest()[:16])
    for name in small:
        _write(out.root / name, contents[f"{root}/{name}"])
    for name in small:
        if name.endswith(f"/{MANIFEST}"):
            folder = PurePosixPath(name).parent
            _mirror_split(RemoteFiles(f"{url}/{folder}", out.root / folder), out.root / folder)
    return out


def open_files(directory: Path) -> ShardFiles:
    """The files of a directory of shards, on this machine or at the URL in its mirror's marker.

    Raises:
        DataError: The marker is damaged, or its URL cannot be opened.
    """
    marker = directory / MARKER
    if not marker.exists():
        return LocalFiles(directory)
    try:
        url = str(json.loads(marker.read_bytes())["url"])
    except (OSError, ValueError, KeyError, TypeError):
        raise DataError(f"{marker}: is damaged", hint=f"delete {directory}") from None
    return RemoteFiles(url, directory)


class RemoteFiles:
    """A directory in an object store, and its mirror on this machine."""

    def __init__(self, url: str, directory: Path) -> None:
        self.location = url
        self._directory = directory
        self._fs, self._root = _open(url)
        self._ranges = _Ranges(self._fs)

    @property
    def reader(self) -> "_Ranges":
        """Reads pieces of these files and of all others in the same store, at the same time."""
        return self._ranges

    def path(self, name: str) -> str:
        """The file's path in the store."""
        return f"{self._root}/{name}"

    def sizes(self) -> dict[str, int]:
        """All files by name, with their sizes in bytes."""
        with _named(self.location):
            entries: list[dict[str, Any]] = self._fs.ls(self._root, detail=True)
        return {PurePosixPath(entry["name"]).name: entry["size"] for entry in entries if entry["type"] == "file"}

    def identity(self, name: str) -> list[int | str] | None:
        """A hash of the store's information on the file, for S3 its tag and the time when it was written."""
        with _named(self.location):
            return [self._fs.ukey(self.path(name))]

    def blocks(self, name: str) -> Iterator[bytes]:
        """A file's content from beginning to end."""
        with _named(f"{self.location}/{name}"):
            size = self._fs.size(self.path(name))
            for first in range(0, size, _HASH_BLOCK):
                end = min(size, first + _HASH_BLOCK)
                block: bytes = self._fs.cat_file(self.path(name), start=first, end=end)
                yield block

    def local(self, name: str, sha256: str) -> Path:
        """The file in the mirror, fetched if it is not there yet.

        Raises:
            DataError: It cannot be read, or has another hash than in the manifest.
        """
        target = self._directory / name
        if target.is_file() and sha256_file(target) == sha256:
            return target
        with atomic_file(target) as temporary:
            with temporary.open("wb") as file:
                for block in self.blocks(name):
                    file.write(block)
            if sha256_file(temporary) != sha256:
                raise DataError(
                    f"{self.location}/{name}: is damaged, its SHA-256 is not the one written with it", hint=REBUILD
                )
        return target


@dataclass(frozen=True)
class _Ranges:
    """Reads pieces of any files of one store, all at the same time."""

    fs: Any

    def __call__(self, pieces: list[Piece]) -> None:
        if not pieces:
            return
        paths, firsts, targets = zip(*pieces, strict=True)
        ends = [first + target.nbytes for first, target in zip(firsts, targets, strict=True)]
        with _named(paths[0]):
            contents = self.fs.cat_ranges(list(paths), list(firsts), ends, on_error="return")
        for path, first, target, content in zip(paths, firsts, targets, contents, strict=True):
            if isinstance(content, BaseException):
                raise DataError(f"{path}: cannot be read ({_first_line(content)})") from content
            if len(content) != target.nbytes:
                raise DataError(f"{path}: ends within the {target.nbytes} bytes from {first} on", hint=REBUILD)
            target[:] = content


def _mirror_split(files: RemoteFiles, directory: Path) -> None:
    if directory.name != HELDOUT:
        _write(directory / MARKER, json.dumps({"url": files.location}).encode())
        return
    for file in read_manifest(directory)["files"]:
        files.local(file["name"], file["sha256"])


def _write(target: Path, content: bytes) -> None:
    """Write a file unless it is there already; several processes of a machine may do this at the same time."""
    if not target.is_file() or target.read_bytes() != content:
        write_bytes(target, content)


def _open(url: str) -> tuple[Any, str]:
    """The file system of fsspec, and the path in it."""
    try:
        from fsspec.core import url_to_fs

        return url_to_fs(url)
    except ImportError as error:
        raise DataError(
            f"{url}: reading it needs a package that is not installed ({_first_line(error)})",
            hint="pip install 'puna[s3]' for s3://, or fsspec and its package for another store",
        ) from None
    except ValueError as error:
        raise DataError(f"{url}: cannot be opened ({_first_line(error)})") from None


@contextlib.contextmanager
def _named(what: str) -> Iterator[None]:
    """Turn any error of a store's package into a sentence; these errors have no common base class."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise DataError(f"{what}: cannot be read ({_first_line(error)})") from error


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _cache() -> Path:
    """The directory of this user's mirrors."""
    return user_cache() / "data"

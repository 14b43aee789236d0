"""Files as streams of bytes without their compression, and the files inside archives.

The kind of a file follows from its first bytes, never from its name. Everything is read once and in the stored order,
within bounded memory: an archive in an archive is not unpacked but read as a stream. Only a zip, whose directory comes
last, is copied to a temporary file if its stream cannot seek. Names inside archives are only names: no file is ever
made at `../x`. Directories, links and devices are skipped.
"""

import io
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, BinaryIO, cast

from puna.data.document import TOO_LARGE, UNREADABLE
from puna.data.input.archives import (
    ZIP_METHODS,
    Pieces,
    TarInfo,
    ZipEntry,
    directory_bytes,
    forget_members,
    is_cut,
    is_tar,
)
from puna.data.input.compression import (
    BOMB,
    BUFFER,
    TOO_DEEP,
    BrokenStreamError,
    Budget,
    Decompressed,
    Reading,
    compression,
)
from puna.data.input_file import InputFile

REASONS = {
    TOO_DEEP: "An archive inside archives or compression inside compression, deeper than anybody packs text.",
    BOMB: "Its archive becomes more than a thousand times as large as it lies there, so the rest of it is not read.",
}
"""A sentence for each reason of this module."""

DEPTH = 3
"""How deep archives may be nested, and how often one stream may be compressed."""
DIRECTORY = 1 << 25
"""Most bytes of a zip's directory, which is held in memory: some 300,000 files."""
_SPOOL = 1 << 24


@dataclass(frozen=True, slots=True)
class Member:
    """A file, or one inside an archive."""

    name: str
    """The file's name; in an archive `outer.tar.gz!inner/path`. No two of one file are equal."""
    content: bytes


@dataclass(frozen=True, slots=True)
class BrokenMember:
    """A member that cannot be read, or an archive whose rest cannot be read."""

    name: str
    reason: str
    """`unreadable`, `too_large`, `archive.too_deep` or `archive.bomb`."""
    detail: str


class UniqueNames:
    """Makes names unique: a name that occurred before gets its position appended.

    It holds 8 bytes of a hash of each, not the names.
    """

    def __init__(self) -> None:
        self._seen: set[bytes] = set()

    def name(self, name: str, position: int) -> str:
        """The name itself, or `name@position` if the name was used before."""
        while (digest := blake2b(name.encode("utf-8", "backslashreplace"), digest_size=8).digest()) in self._seen:
            name = f"{name}@{position}"
        self._seen.add(digest)
        return name


def open_stream(file: InputFile) -> BinaryIO:
    """The file's bytes without any compression; reading them raises nothing but `OSError`.

    Raises:
        OSError: It cannot be opened, or its first bytes are damaged.
    """
    budget = Budget(file.size)
    stream = _buffered(Reading(_opened(file), budget))
    try:
        stream = _decompress(stream, budget)
    except BaseException:
        stream.close()
        raise
    return cast(BinaryIO, stream)


def members(file: InputFile, limit: int, depth: int = DEPTH) -> Iterator[Member | BrokenMember]:
    """Every regular file in a file, in the stored order; a plain file is its own only member.

    Args:
        file: A plain or compressed file, or an archive (tar, zip) of such files.
        limit: Most bytes of a member; the rest of a larger one is skipped.
        depth: How deep archives may be nested.
    """
    try:
        opened = _opened(file)
    except OSError as error:
        yield BrokenMember(file.name, UNREADABLE, _detail(error))
        return
    budget = Budget(file.size)
    seekable = cast(BinaryIO, opened) if "://" not in file.url else None
    with _buffered(Reading(opened, budget)) as stream:
        yield from _Walk(limit, depth, budget).walk(file.name, stream, 0, seekable)


def _opened(file: InputFile) -> Any:
    try:
        return file.open()
    except OSError:
        raise
    except Exception as error:  # clients of object stores raise what they like
        raise BrokenStreamError(f"{type(error).__name__}: {error}") from error


def _buffered(raw: io.RawIOBase) -> io.BufferedReader:
    return io.BufferedReader(raw, BUFFER)


def _decompress(stream: io.BufferedReader, budget: Budget) -> io.BufferedReader:
    """The stream without any of its layers of compression."""
    for layer in range(DEPTH + 1):
        try:
            kind = compression(stream.peek(16))
        except OSError:
            if not layer:
                raise
            break  # the reader of the stream will get the error, and may be able to go on
        if not kind:
            break
        if layer == DEPTH:
            raise BrokenStreamError(f"compressed more than {DEPTH} times", TOO_DEEP)
        stream = _buffered(Decompressed(stream, kind, budget))
    return stream


def _detail(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


class _Walk:
    """A pass through one file and the archives in it."""

    def __init__(self, limit: int, depth: int, budget: Budget) -> None:
        self._limit = limit
        self._depth = depth
        self._budget = budget

    def walk(
        self, name: str, stream: io.BufferedReader, level: int, seekable: BinaryIO | None = None
    ) -> Iterator[Member | BrokenMember]:
        """The members in a stream inside `level` archives; `seekable` is the same file from its beginning.

        Raises:
            BrokenStreamError: The whole file is a bomb, and this is not its outermost archive.
        """
        try:
            outer, stream = stream, _decompress(stream, self._budget)
            head = stream.peek(512)
            zipped, tarred = head[:4] in (b"PK\3\4", b"PK\5\6"), is_tar(head)
            if not zipped and not tarred:
                yield self._plain(name, stream)
            elif level == self._depth:
                yield BrokenMember(name, TOO_DEEP, f"in {level} archives, at most {self._depth}")
            elif tarred:
                yield from self._tar(name, stream, level)
            else:
                yield from self._zip(name, stream, level, seekable if stream is outer else None)
        except MemoryError:
            raise
        except Exception as error:  # the bytes may be anything, and so may the library's error
            reason = getattr(error, "reason", UNREADABLE) if isinstance(error, BrokenStreamError) else UNREADABLE
            if reason == BOMB and level:
                raise
            yield BrokenMember(name, reason, _detail(error))

    def _plain(self, name: str, stream: io.BufferedReader) -> Member | BrokenMember:
        content = io.BytesIO()
        while piece := stream.read1(1 << 20):
            if content.tell() + len(piece) > self._limit:
                return BrokenMember(name, TOO_LARGE, f"more than {self._limit} bytes")
            content.write(piece)
        return Member(name, content.getvalue())

    def _tar(self, name: str, stream: io.BufferedReader, level: int) -> Iterator[Member | BrokenMember]:
        names = UniqueNames()
        with tarfile.open(
            fileobj=cast(BinaryIO, Pieces(stream)), mode="r|", bufsize=BUFFER, tarinfo=TarInfo
        ) as archive:
            position = 0
            while (info := archive.next()) is not None:
                forget_members(archive)
                if info.isreg():
                    if info.issparse():
                        self._budget.spend(info.size)
                    inner = names.name(f"{name}!{_printable(info.name)}", position)
                    with _buffered(Reading(archive.extractfile(info))) as content:
                        yield from self.walk(inner, content, level + 1)
                position += 1
            if is_cut(archive):
                yield BrokenMember(name, UNREADABLE, "tar: the empty blocks at its end are missing, it may be cut off")

    def _zip(
        self, name: str, stream: io.BufferedReader, level: int, seekable: BinaryIO | None
    ) -> Iterator[Member | BrokenMember]:
        with tempfile.SpooledTemporaryFile(_SPOOL) as spool:
            if seekable is None:
                while piece := stream.read1(BUFFER):
                    spool.write(piece)
            whole = cast(BinaryIO, spool) if seekable is None else seekable
            size = directory_bytes(whole)
            if size > DIRECTORY:
                yield BrokenMember(name, TOO_LARGE, f"its directory has {size} bytes, at most {DIRECTORY}")
                return
            names = UniqueNames()
            # In the stored order; the directory may have another order.
            entries = sorted(zipfile.ZipFile(whole).infolist(), key=lambda info: info.header_offset)
            for position, info in enumerate(entries):
                if not info.is_dir():
                    inner = names.name(f"{name}!{_printable(info.filename)}", position)
                    yield from self._zipped(inner, whole, info, level)

    def _zipped(self, name: str, whole: BinaryIO, info: zipfile.ZipInfo, level: int) -> Iterator[Member | BrokenMember]:
        """One entry of a zip."""
        if info.flag_bits & 1:
            yield BrokenMember(name, UNREADABLE, "encrypted")
        elif info.compress_type not in ZIP_METHODS:
            yield BrokenMember(name, UNREADABLE, f"zip compression method {info.compress_type}")
        else:
            try:
                content = _buffered(ZipEntry(whole, info, self._budget))
            except OSError as error:
                yield BrokenMember(name, UNREADABLE, _detail(error))
                return
            with content:
                yield from self.walk(name, content, level + 1)


def _printable(name: str) -> str:
    """A name with any characters, changed so that JSON can hold it."""
    return name.encode("utf-8", "backslashreplace").decode()

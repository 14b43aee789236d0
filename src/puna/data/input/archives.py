"""Checks that Python's `tarfile` and `zipfile` lack for archives that may be hostile."""

import io
import struct
import tarfile
import zipfile
import zlib
from typing import Any, BinaryIO, cast

from puna.data.input.compression import BUFFER, BrokenStreamError, Budget, Decompressed

ZIP_METHODS = {0: "", 8: "deflate", 12: "bz2", 93: "zst"}
"""Compressions of a zip's entries, as keys of `DECODERS`; empty: not compressed."""
_HEADER = 1 << 20
"""Most bytes of a tar header's extension: a path has 4,096 bytes."""
HeaderError, ReadError = tarfile.HeaderError, tarfile.ReadError
_END, _NOTHING = (getattr(tarfile, name) for name in ("EOFHeaderError", "EmptyHeaderError"))


class TarInfo(tarfile.TarInfo):
    """A header that reports damage, which Python's takes for the end of the tar, and whose extensions are bounded."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> "TarInfo":
        """The next header.

        Raises:
            tarfile.ReadError: It is damaged.
        """
        try:
            return cast(TarInfo, super().fromtarfile(tarfile))
        except _END:
            raise
        except _NOTHING:
            cast(Any, tarfile).is_cut = True
            raise
        except HeaderError as error:
            raise ReadError(f"tar: {error}") from error

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        """Like tarfile's method, which subclasses may override; tarfile reads an extension of any size at once."""
        if self.size > _HEADER and self.type in (b"L", b"K", b"x", b"g", b"X"):
            raise ReadError(f"tar: an extended header of {self.size} bytes")
        return cast(Any, super())._proc_member(archive)


class Pieces:
    """A stream that returns the bytes read before an error, and raises the error at the next read."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self.read = stream.read1


def forget_members(archive: tarfile.TarFile) -> None:
    """Drop the headers read so far; tarfile would keep them all in memory."""
    cast(Any, archive).members = []


def is_cut(archive: tarfile.TarFile) -> bool:
    """Whether a tar that was read to its end has no empty block there, as POSIX (pax, ustar format) asks for."""
    return getattr(archive, "is_cut", False)


def is_tar(head: bytes) -> bool:
    """Whether a file that begins with these 512 bytes is a tar: its first header's checksum or magic is right."""
    try:
        tarfile.TarInfo.frombuf(head[:512], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return head[257:262] == b"ustar"
    return True


class ZipEntry(io.RawIOBase):
    """The content of an entry, with its checksum checked at the end; wrap it in `io.BufferedReader`.

    Python's own reader checks it too, but expands bzip2 without a bound.
    """

    def __init__(self, whole: BinaryIO, info: zipfile.ZipInfo, budget: Budget) -> None:
        self._expected = info.CRC
        self._sum = 0
        entry = io.BufferedReader(_Slice(whole, info), BUFFER)
        method = ZIP_METHODS[info.compress_type]
        self._budget = None if method else budget  # entries may overlap, so even stored ones may be a bomb
        self._source: Any = Decompressed(entry, method, budget, parts=False) if method else entry

    def readable(self) -> bool:
        """Always true: it can be read, but not written."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer; returns the number of bytes.

        Raises:
            BrokenStreamError: It is damaged.
        """
        count = self._source.readinto(buffer)
        if self._budget is not None:
            self._budget.spend(count)
        self._sum = zlib.crc32(memoryview(buffer)[:count], self._sum)
        if not count and self._sum != self._expected:
            raise BrokenStreamError("zip: its bytes have another checksum")
        return count


class _Slice(io.RawIOBase):
    """The bytes of an entry as stored in the zip."""

    def __init__(self, whole: BinaryIO, info: zipfile.ZipInfo) -> None:
        whole.seek(info.header_offset)
        header = whole.read(30)
        if len(header) < 30 or not header.startswith(b"PK\3\4"):
            raise BrokenStreamError("zip: its directory points to no file")
        self._whole = whole
        self._at = info.header_offset + 30 + sum(struct.unpack("<HH", header[26:]))
        self._end = self._at + info.compress_size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._whole.seek(self._at)
        data = self._whole.read(min(len(buffer), self._end - self._at))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def directory_bytes(whole: BinaryIO) -> int:
    """The size of a zip's directory, from the record at its end; 0 if it has none (PKWARE, APPNOTE, section 4.3)."""
    size = whole.seek(0, io.SEEK_END)
    whole.seek(max(0, size - (1 << 16) - 22 - 20 - 56))
    tail = whole.read()
    end, long = tail.rfind(b"PK\5\6"), tail.rfind(b"PK\6\6")
    found = struct.unpack("<I", tail[end + 12 : end + 16])[0] if 0 <= end <= len(tail) - 16 else 0
    if found == 2**32 - 1 and 0 <= long <= len(tail) - 48:
        return struct.unpack("<Q", tail[long + 40 : long + 48])[0]
    return found

"""Tar and zip where they are hostile."""

import io
import tarfile
import zipfile

import pytest

from puna.data.input.archives import Pieces, TarInfo, ZipEntry, directory_bytes, forget_members, is_tar
from puna.data.input.compression import BrokenStreamError, Budget


def _tar(files: dict[str, bytes], **options: object) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", **options) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def _names(packed: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(packed), mode="r|", tarinfo=TarInfo) as archive:
        names = []
        while (info := archive.next()) is not None:
            forget_members(archive)
            names.append(info.name)
        assert not archive.members[1:]
        return names


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_is_told_by_its_first_header(form: int):
    packed = _tar({"a.txt": b"x"}, format=form)
    assert is_tar(packed[:512])
    assert _names(packed) == ["a.txt"]


def test_an_error_takes_nothing_away_that_came_before_it():
    class Breaking(io.RawIOBase):
        def __init__(self) -> None:
            self.left = [b"first", b"second"]

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:
            if not self.left:
                raise BrokenStreamError("damaged")
            piece = self.left.pop(0)
            buffer[: len(piece)] = piece
            return len(piece)

    pieces = Pieces(io.BufferedReader(Breaking()))
    assert [pieces.read(100), pieces.read(100)] == [b"first", b"second"]
    with pytest.raises(BrokenStreamError):
        pieces.read(100)


@pytest.mark.parametrize("head", [b"", b"text " * 200, bytes(512), b"\xff" * 512])
def test_other_beginnings_are_not_a_tar(head: bytes):
    assert not is_tar(head[:512])


def test_a_damaged_header_is_an_error_where_the_library_takes_it_for_the_end():
    packed = bytearray(_tar({"a": b"x", "b": b"y"}))
    packed[1024 + 150] ^= 7
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        assert archive.getnames() == ["a"]
    with pytest.raises(tarfile.ReadError, match="bad checksum"):
        _names(bytes(packed))


def test_an_extension_that_would_fill_the_memory_is_an_error():
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 1 << 30
    with pytest.raises(tarfile.ReadError, match="extended header of 1073741824 bytes"):
        _names(info.tobuf() + bytes(1 << 16))


def test_long_names_stay_possible():
    name = "d/" * 2000 + "x"
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        assert _names(_tar({name: b"x"}, format=form)) == [name]


def _zip(content: bytes, method: int = zipfile.ZIP_DEFLATED) -> tuple[io.BytesIO, zipfile.ZipInfo]:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        archive.writestr("a", content)
        return packed, archive.infolist()[0]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
@pytest.mark.parametrize("content", [b"", b"text " * 50_000])
def test_entries_are_read(method: int, content: bytes):
    packed, info = _zip(content, method)
    assert io.BufferedReader(ZipEntry(packed, info, Budget(10**6))).read() == content


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_wrong_sum_is_an_error(method: int):
    packed, info = _zip(b"text", method)
    info.CRC ^= 1
    with pytest.raises(BrokenStreamError, match="its bytes have another checksum"):
        io.BufferedReader(ZipEntry(packed, info, Budget(10**6))).read()


def test_an_entry_that_is_elsewhere_is_an_error():
    packed, info = _zip(b"text")
    info.header_offset += 1
    with pytest.raises(BrokenStreamError, match="points to no file"):
        ZipEntry(packed, info, Budget(10**6))


def test_the_size_of_a_directory_is_known_before_it_is_read():
    packed, _ = _zip(b"text")
    size = directory_bytes(packed)
    assert packed.getvalue()[-22 - size :].startswith(b"PK\1\2")
    assert directory_bytes(io.BytesIO(b"no zip")) == 0


def test_the_size_of_a_large_directory_stands_elsewhere():
    import struct

    tail = b"PK\6\6" + bytes(36) + struct.pack("<QQ", 1 << 40, 0) + b"PK\6\7" + bytes(16)
    tail += b"PK\5\6" + bytes(8) + struct.pack("<II", 2**32 - 1, 0) + bytes(2)
    assert directory_bytes(io.BytesIO(tail)) == 1 << 40

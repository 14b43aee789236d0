"""Files without their compression and the files inside archives."""

import bz2
import contextlib
import gzip
import io
import lzma
import stat
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from puna.data.input import compression, streams
from puna.data.input.compression import BrokenStreamError
from puna.data.input.streams import BrokenMember, Member, UniqueNames, members, open_stream
from puna.data.input_file import InputFile

PACK = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstandard.compress}
FILES = [("a.txt", b"first"), ("d/b.txt", b"second " * 1000), ("empty", b"")]


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., InputFile]:
    def make(content: bytes, name: str = "outer") -> InputFile:
        (tmp_path / name).write_bytes(content)
        return InputFile(str(tmp_path / name), name, len(content), "")

    return make


def tar(files: Sequence[tuple[str, bytes]], mode: str = "w") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def zipped(files: Sequence[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, content in files:
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return packed.getvalue()


def as_members(files: Sequence[tuple[str, bytes]], outer: str = "outer") -> list[Member | BrokenMember]:
    return [Member(f"{outer}!{name}", content) for name, content in files]


@pytest.mark.parametrize("kind", [*PACK, "plain"])
@pytest.mark.parametrize("name", ["x", "x.gz", "x.txt"])
def test_compression_is_told_by_the_bytes_and_not_by_the_name(put: Callable[..., InputFile], kind: str, name: str):
    packed = PACK.get(kind, bytes)(b"some text\n" * 10)
    with open_stream(put(packed, name)) as stream:
        assert stream.read() == b"some text\n" * 10
    assert list(members(put(packed, name), 1000)) == [Member(name, b"some text\n" * 10)]


def test_compression_in_compression_is_read_to_a_depth(put: Callable[..., InputFile]):
    packed = b"text"
    for kind in ("gz", "zst", "xz"):
        packed = PACK[kind](packed)
    assert open_stream(put(packed)).read() == b"text"
    with pytest.raises(BrokenStreamError, match="compressed more than 3 times") as error:
        open_stream(put(PACK["bz2"](packed)))
    assert error.value.reason == "archive.too_deep"
    (broken,) = members(put(PACK["bz2"](packed)), 100)
    assert broken == BrokenMember("outer", "archive.too_deep", "compressed more than 3 times")


def test_a_missing_file_is_an_os_error_or_a_broken_member(tmp_path: Path):
    file = InputFile(str(tmp_path / "none"), "none", 0, "")
    with pytest.raises(FileNotFoundError):
        open_stream(file)
    assert list(members(file, 10)) == [BrokenMember("none", "unreadable", "No such file or directory")]


@pytest.mark.parametrize(
    "packed",
    [tar(FILES), tar(FILES, "w:gz"), tar(FILES, "w:xz"), PACK["zst"](tar(FILES)), zipped(FILES), zipped(FILES, 0),
     zipped(FILES, zipfile.ZIP_BZIP2), PACK["gz"](zipped(FILES))],
)  # fmt: skip
def test_the_files_of_an_archive_come_in_its_order(put: Callable[..., InputFile], packed: bytes):
    assert list(members(put(packed), 10_000)) == as_members(FILES)


@pytest.mark.parametrize("pack", [tar, zipped])
def test_archives_in_archives_are_read_to_a_depth(put: Callable[..., InputFile], pack: Callable[..., bytes]):
    inner = zipped([("c", b"deep"), ("c.gz", PACK["gz"](b"deeper"))])
    file = put(pack([("x.tar.gz", tar([("y.zip", inner)], "w:gz")), ("z", b"last")]))
    names = ["outer!x.tar.gz!y.zip!c", "outer!x.tar.gz!y.zip!c.gz", "outer!z"]
    found = [Member(name, content) for name, content in zip(names, [b"deep", b"deeper", b"last"], strict=True)]
    assert list(members(file, 100)) == found
    too_deep = BrokenMember("outer!x.tar.gz!y.zip", "archive.too_deep", "in 2 archives, at most 2")
    assert list(members(file, 100, depth=2)) == [too_deep, found[-1]]


@pytest.mark.parametrize("pack", [tar, zipped])
def test_names_are_only_names_and_no_two_are_equal(
    put: Callable[..., InputFile], pack: Callable[..., bytes], tmp_path: Path
):
    duplicate = pytest.warns(UserWarning, match="Duplicate") if pack is zipped else contextlib.nullcontext()
    with duplicate:
        packed = pack([("../../x", b"1"), ("/etc/x", b"2"), ("a", b"3"), ("a", b"4"), ("a@3", b"5")])
    names = [member.name for member in members(put(packed), 100)]
    assert names == ["outer!../../x", "outer!/etc/x", "outer!a", "outer!a@3", "outer!a@3@4"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outer"]


def test_links_directories_and_devices_are_passed_over(put: Callable[..., InputFile]):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for kind in (tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo("x")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
        info = tarfile.TarInfo("a")
        info.size = 1
        archive.addfile(info, io.BytesIO(b"x"))
    assert list(members(put(packed.getvalue()), 10)) == [Member("outer!a", b"x")]
    directory = zipfile.ZipInfo("d/")
    directory.external_attr = (stat.S_IFDIR | 0o755) << 16
    with zipfile.ZipFile(packed := io.BytesIO(), "w") as archive:
        archive.writestr(directory, b"")
        archive.writestr("a", b"x")
    assert list(members(put(packed.getvalue()), 10)) == [Member("outer!a", b"x")]


@pytest.mark.parametrize("pack", [tar, zipped, lambda files: PACK["gz"](tar(files))])
def test_a_member_over_the_limit_is_passed_over(put: Callable[..., InputFile], pack: Callable[..., bytes]):
    found = list(members(put(pack([("a", b"x" * 10), ("b", b"x" * 11), ("c", b"y")])), 10))
    broken = BrokenMember("outer!b", "too_large", "more than 10 bytes")
    assert found == [Member("outer!a", b"x" * 10), broken, Member("outer!c", b"y")]


def test_the_rest_of_a_damaged_archive_is_one_broken_member(put: Callable[..., InputFile]):
    packed = PACK["gz"](tar([(str(number), bytes([number]) * 2000 + random_bytes(number)) for number in range(9)]))
    found = list(members(put(packed[: len(packed) // 2]), 10**6))
    good = [member for member in found if isinstance(member, Member)]
    assert good
    broken = [(member.name, member.reason) for member in found[len(good) :] if isinstance(member, BrokenMember)]
    assert broken == [(f"outer!{len(good)}", "unreadable"), ("outer", "unreadable")]


def random_bytes(seed: int) -> bytes:
    import random

    return random.Random(seed).randbytes(3000)


def test_damaged_and_encrypted_entries_of_a_zip_are_counted_and_the_others_kept(put: Callable[..., InputFile]):
    packed = bytearray(zipped([("a", b"first"), ("b", random_bytes(1)), ("c", b"last"), ("d", b"x")]))
    packed[bytes(packed).index(random_bytes(1)[100:110])] ^= 1  # what is random is stored as it is
    at = bytes(packed).rindex(b"PK\1\2", 0, bytes(packed).rindex(b"PK\1\2"))
    packed[at + 8] |= 1
    last = bytes(packed).rindex(b"PK\1\2")
    packed[last + 10 : last + 12] = struct.pack("<H", 14)
    found = list(members(put(bytes(packed)), 10**6))
    assert [member.name for member in found] == ["outer!a", "outer!b", "outer!c", "outer!d"]
    assert isinstance(found[0], Member)
    assert [member.reason for member in found[1:] if isinstance(member, BrokenMember)] == ["unreadable"] * 3
    assert [getattr(member, "detail", "") for member in found[2:]] == ["encrypted", "zip compression method 14"]


@pytest.mark.parametrize(
    "content", [b"PK\3\4", b"PK\5\6" + bytes(3), zipped(FILES)[:-30], zipped(FILES)[:60], b"PK\3\4" + bytes(10**5)]
)
def test_a_zip_without_its_end_is_one_broken_member(put: Callable[..., InputFile], content: bytes):
    (broken,) = members(put(content), 10**6)
    assert (broken.name, broken.reason) == ("outer", "unreadable")  # type: ignore[union-attr]


def test_a_zip_with_a_directory_that_fills_the_memory_is_refused(
    put: Callable[..., InputFile], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(streams, "DIRECTORY", 100)
    (broken,) = members(put(zipped(FILES)), 10**6)
    assert broken.reason == "too_large"  # type: ignore[union-attr]


def test_a_zip_that_is_not_here_is_read_from_a_copy(put: Callable[..., InputFile]):
    file = put(zipped(FILES))
    remote = InputFile(f"file://{file.url}", "outer", file.size, "")
    assert list(members(remote, 10**6)) == as_members(FILES)


def _bomb(kind: str) -> bytes:
    """80 MB of zeros in a few kB, or many times as much."""
    zeros = bytes(10_000_000)
    if kind == "tar.gz":
        return tar([(str(number), zeros) for number in range(8)], "w:gz")
    if kind == "zip":
        return zipped([(str(number), zeros) for number in range(8)])
    if kind == "nested zip":
        return zipped([(f"{number}.zip", zipped([("z", zeros)])) for number in range(8)])
    if kind == "overlapping zip":  # every entry of the directory is the same one in the file
        packed = zipped([("0", zeros)])
        start, end = packed.rindex(b"PK\1\2"), packed.rindex(b"PK\5\6")
        tail = struct.pack("<HHII", 50, 50, 50 * (end - start), start)
        return packed[:end] + packed[start:end] * 49 + packed[end : end + 8] + tail + bytes(2)
    return PACK[kind](bytes(80_000_000))


@pytest.mark.parametrize("kind", ["tar.gz", "zip", "nested zip", "overlapping zip", "gz", "bz2", "zst"])
@pytest.mark.parametrize("limit", [1000, 20_000_000])
def test_a_bomb_is_counted_and_takes_no_memory(
    put: Callable[..., InputFile], kind: str, limit: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(compression, "FLOOR", 35_000_000)
    monkeypatch.setattr(compression, "RATIO", 100)
    file = put(_bomb(kind))
    tracemalloc.start()
    kept, reasons = 0, []
    for member in members(file, limit):
        if isinstance(member, Member):
            kept += len(member.content)
        else:
            reasons.append(member.reason)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.3 * min(limit, 10_000_000) + 20_000_000
    assert kept <= 35_000_000
    if kind in PACK or (kind.endswith("zip") and limit == 1000):  # little of it is ever unpacked
        assert set(reasons) == {"too_large"}
    else:
        assert reasons[-1] == "archive.bomb"
        assert reasons.count("archive.bomb") == 1


def test_a_sparse_file_in_a_tar_counts_with_its_size(put: Callable[..., InputFile], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compression, "FLOOR", 1_000_000)
    info = tarfile.TarInfo("s")
    info.type, info.size = tarfile.GNUTYPE_SPARSE, 0
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"77777777777\0"
    header[148:156] = b"        "
    header[148:155] = b"%06o\0" % sum(header)
    (broken,) = members(put(bytes(header) + bytes(1024)), 10**6)
    assert broken.reason == "archive.bomb"  # type: ignore[union-attr]


def test_names_that_are_not_unicode_can_be_written_down(put: Callable[..., InputFile]):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("caf\udce9"), io.BytesIO())
    (member,) = members(put(packed.getvalue()), 10)
    assert member.name == "outer!caf\\udce9"


def test_a_million_names_take_little_memory():
    names = UniqueNames()
    tracemalloc.start()
    for number in range(50_000):
        names.name(f"a/rather/long/path/of/a/file/number/{number}.txt", number)
    assert tracemalloc.get_traced_memory()[1] < 50_000 * 130
    tracemalloc.stop()
    assert names.name("a/rather/long/path/of/a/file/number/7.txt", 9).endswith("7.txt@9")


def test_headers_of_a_long_tar_are_forgotten(put: Callable[..., InputFile]):
    peaks = []
    for count in (300, 4300):
        file = put(tar([(f"{number}", b"") for number in range(count)], "w:gz"))
        tracemalloc.start()
        assert sum(1 for _ in members(file, 10)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 4000 * 200


_good = st.sampled_from(
    [tar(FILES), tar(FILES, "w:gz"), zipped(FILES), PACK["zst"](zipped(FILES)), zipped([("x.zip", zipped(FILES))])]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=150)
@given(
    packed=_good,
    changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=6),
    cut=st.integers(0, 10**6),
)
def test_damaged_archives_never_raise(
    put: Callable[..., InputFile], packed: bytes, changes: list[tuple[int, int]], cut: int
):
    content = bytearray(packed)
    for at, value in changes:
        content[at % len(content)] = value
    found = list(
        members(put(bytes(content[: len(content) - cut % len(content)]) if cut % 2 else bytes(content)), 10**5)
    )
    assert len({member.name for member in found}) == len(found)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    head=st.sampled_from([b"", b"PK\3\4", b"\x1f\x8b\x08", b"BZh91AY&SY", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"]),
    tail=st.binary(max_size=700),
)
def test_random_bytes_never_raise(put: Callable[..., InputFile], head: bytes, tail: bytes):
    assert len(list(members(put(head + tail), 300))) == 1


@pytest.mark.parametrize("blocks", [1, 2])
def test_a_tar_without_empty_blocks_at_its_end_may_be_cut_off(tmp_path: Path, blocks: int):
    with tarfile.open(fileobj=(content := io.BytesIO()), mode="w") as archive:
        for number in range(3):
            info = tarfile.TarInfo(f"{number}.txt")
            info.size = 3
            archive.addfile(info, io.BytesIO(b"abc"))
    path = tmp_path / "f.tar"
    found = {}
    for kept in (3 * 1024, 3 * 1024 + 512 * blocks, 2 * 1024):
        path.write_bytes(content.getvalue()[:kept])
        found[kept] = list(members(InputFile(str(path), "f.tar", kept, ""), 100))
    assert len(found.pop(3 * 1024 + 512 * blocks)) == 3
    for kept, (*whole, last) in found.items():
        assert len(whole) == kept // 1024
        assert isinstance(last, BrokenMember)
        assert (last.name, last.reason) == ("f.tar", "unreadable")
        assert "it may be cut off" in last.detail

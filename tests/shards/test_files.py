import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from puna.core.errors import DataError
from puna.shards import files as shard_files
from puna.shards.files import LocalFiles, Piece

CONTENT = bytes(range(256)) * 4


@pytest.fixture
def files(tmp_path: Path) -> LocalFiles:
    (tmp_path / "a").write_bytes(CONTENT)
    (tmp_path / "b").write_bytes(CONTENT[::-1])
    (tmp_path / "folder").mkdir()
    return LocalFiles(tmp_path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(ranges=st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 1024), st.integers(0, 300)), max_size=8))
def test_pieces_are_filled_with_the_bytes_of_their_ranges(files: LocalFiles, ranges: list[tuple[str, int, int]]):
    ranges = [(name, first, min(count, 1024 - first)) for name, first, count in ranges]
    targets = [bytearray(count) for _, _, count in ranges]
    pieces = [
        Piece(files.path(name), first, memoryview(target))
        for (name, first, _), target in zip(ranges, targets, strict=True)
    ]
    files.reader(pieces)
    contents = {"a": CONTENT, "b": CONTENT[::-1]}
    assert [bytes(target) for target in targets] == [contents[name][first:][:count] for name, first, count in ranges]


def test_a_file_that_is_missing_or_too_short_is_named(files: LocalFiles, tmp_path: Path):
    with pytest.raises(DataError, match=r"/c: cannot be read \(No such file"):
        files.reader([Piece(files.path("c"), 0, memoryview(bytearray(3)))])
    with pytest.raises(DataError, match="/a: ends within the 10 bytes from 1020 on"):
        files.reader([Piece(files.path("a"), 1020, memoryview(bytearray(10)))])


def test_sizes_are_those_of_the_files_in_the_directory(files: LocalFiles):
    assert files.sizes() == {"a": 1024, "b": 1024}


def test_blocks_are_the_whole_file_in_order(files: LocalFiles, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shard_files, "_HASH_BLOCK", 100)
    blocks = list(files.blocks("b"))
    assert len(blocks) == 11
    assert b"".join(blocks) == CONTENT[::-1]


def test_a_changed_file_has_another_identity_though_its_size_and_time_are_the_same(
    files: LocalFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(shard_files, "_SETTLED_NS", 0)
    path = tmp_path / "a"
    before, stat = files.identity("a"), path.stat()
    assert files.identity("a") == before
    path.write_bytes(CONTENT[::-1])
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert path.stat().st_mtime_ns == stat.st_mtime_ns
    assert files.identity("a") != before


def test_a_file_that_was_changed_just_now_has_no_identity_yet(files: LocalFiles, monkeypatch: pytest.MonkeyPatch):
    assert files.identity("a") is None
    monkeypatch.setattr(shard_files, "_SETTLED_NS", 0)
    assert files.identity("a") is not None


@pytest.mark.skipif(sys.platform != "linux", reason="counts descriptors in /proc")
def test_descriptors_are_closed_with_the_files(tmp_path: Path):
    before = len(os.listdir("/proc/self/fd"))
    files = LocalFiles(tmp_path)
    for number in range(100):
        (tmp_path / str(number)).write_bytes(b"x")
        files.reader([Piece(files.path(str(number)), 0, memoryview(bytearray(1)))])
    assert len(os.listdir("/proc/self/fd")) == before + 64
    del files
    assert len(os.listdir("/proc/self/fd")) == before

import json
import os
import shutil
from pathlib import Path

import pytest

from puna.core.errors import DataError
from puna.shards import files as shard_files
from puna.shards import verified
from puna.shards.files import LocalFiles
from puna.shards.shards import TokenShards

DOCUMENTS = [[10 + number] * 30 for number in range(12)]


@pytest.fixture(autouse=True)
def _no_waiting_for_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_files, "_SETTLED_NS", 0)


@pytest.fixture
def directory(write_tokens) -> Path:
    """Shards that were never verified."""
    directory = write_tokens(DOCUMENTS, shard_tokens=100).directory
    (directory / verified.MEMORY).unlink()
    return directory


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files whose content is read."""
    names: list[str] = []
    blocks = LocalFiles.blocks

    def spy(files: LocalFiles, name: str):
        names.append(name)
        return blocks(files, name)

    monkeypatch.setattr(LocalFiles, "blocks", spy)
    return names


def test_a_later_start_believes_what_has_not_changed(directory: Path, read: list[str]):
    TokenShards.open(directory, verify=True)
    assert sorted(read) == sorted({path.name for path in directory.iterdir()} - {"manifest.json", verified.MEMORY})
    read.clear()
    TokenShards.open(directory, verify=True)
    assert read == []


def test_without_verification_nothing_is_read_nor_remembered(directory: Path, read: list[str]):
    TokenShards.open(directory)
    assert read == []
    assert not (directory / verified.MEMORY).exists()


def test_changed_bytes_of_the_same_size_are_found_though_the_file_was_verified(directory: Path, read: list[str]):
    TokenShards.open(directory, verify=True)
    read.clear()
    path = directory / "tokens-00001.bin"
    path.write_bytes(bytes(reversed(path.read_bytes())))
    for _ in range(2):
        with pytest.raises(DataError, match=r"tokens-00001\.bin: is damaged, its SHA-256 is not"):
            TokenShards.open(directory, verify=True)
    assert read == ["tokens-00001.bin"] * 2


def test_a_manifest_of_other_data_is_not_believed(directory: Path):
    TokenShards.open(directory, verify=True)
    manifest = json.loads((directory / "manifest.json").read_text())
    manifest["files"][0]["sha256"] = "0" * 64
    (directory / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DataError, match=r"documents-00000\.bin: is damaged"):
        TokenShards.open(directory, verify=True)


def test_files_that_were_written_again_are_read_again(directory: Path, read: list[str]):
    TokenShards.open(directory, verify=True)
    copy = directory.with_name("copy")
    shutil.copytree(directory, copy)
    read.clear()
    TokenShards.open(copy, verify=True)
    assert len(read) == len(json.loads((copy / "manifest.json").read_text())["files"])


def test_a_file_that_was_written_just_now_is_not_remembered(
    directory: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(shard_files, "_SETTLED_NS", 10**15)
    for _ in range(2):
        read.clear()
        TokenShards.open(directory, verify=True)
        assert "tokens-00000.bin" in read
    assert not (directory / verified.MEMORY).exists()


@pytest.mark.parametrize("content", [b"", b"\xff", b"[]", b'{"schema": 2, "files": {}}', b'{"schema": 1}', b"[" * 9999])
def test_a_damaged_memory_is_not_a_memory(directory: Path, read: list[str], content: bytes):
    (directory / verified.MEMORY).write_bytes(content)
    TokenShards.open(directory, verify=True)
    assert "tokens-00000.bin" in read
    read.clear()
    TokenShards.open(directory, verify=True)
    assert read == []


def test_what_was_compared_before_a_damaged_file_is_remembered(
    directory: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(verified, "_THREADS", 1)
    path = directory / "tokens-00003.bin"
    good = path.read_bytes()
    path.write_bytes(bytes(len(good)))
    with pytest.raises(DataError, match=r"tokens-00003\.bin: is damaged"):
        TokenShards.open(directory, verify=True)
    path.write_bytes(good)
    read.clear()
    TokenShards.open(directory, verify=True)
    assert "tokens-00003.bin" in read
    assert "documents-00000.bin" not in read


def test_data_that_cannot_be_written_to_are_verified_each_time(
    directory: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "replace", refuse)
    for _ in range(2):
        read.clear()
        TokenShards.open(directory, verify=True)
        assert "tokens-00000.bin" in read
    assert sorted(path.name for path in directory.iterdir() if path.name.startswith(".tmp")) == []


def test_a_file_that_cannot_be_read_is_named(directory: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(files: LocalFiles, name: str):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(LocalFiles, "blocks", refuse)
    with pytest.raises(DataError, match=r"-0000\d\.\w+: cannot be read \(Input/output error\)"):
        TokenShards.open(directory, verify=True)

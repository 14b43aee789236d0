"""Against a real S3 protocol: moto's server in this process, and s3fs as users have it."""

import json
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import s3fs
from object_store import URL, s3, server

from puna.config.recipe import Recipe
from puna.core.errors import DataError
from puna.core.layout import DataDir
from puna.shards.files import LocalFiles
from puna.shards.loader import Loader
from puna.shards.prefetch import Prefetch
from puna.shards.remote import RemoteFiles, mirror, open_files
from puna.shards.shards import TokenShards
from puna.shards.split import HELDOUT, TRAIN

__all__ = ["s3", "server"]


def _loader(recipe: Recipe, data: DataDir, *, verify: bool = False) -> Loader:
    shards = {name: TokenShards.open(data.shards / name / TRAIN, verify=verify) for name in recipe.mixture}
    return Loader(shards, recipe)


def test_a_remote_build_gives_the_same_sequences_as_a_local_one(s3, tiny: Recipe, tiny_data: DataDir):
    local, remote = _loader(tiny, tiny_data), _loader(tiny, mirror(URL), verify=True)
    assert remote.fingerprint == local.fingerprint
    assert np.array_equal(remote.batch(5, 40), local.batch(5, 40))
    assert [remote.trace(n) for n in range(9)] == [local.trace(n) for n in range(9)]
    with Prefetch(lambda wanted: remote.batch(*wanted), [(0, 4), (4, 4)]) as batches:
        assert np.array_equal(np.concatenate(list(batches)), local.batch(0, 8))


def test_only_small_files_and_held_out_text_come_to_this_machine(s3, tiny: Recipe, tiny_data: DataDir):
    data = mirror(URL)
    loader = _loader(tiny, data)
    loader.batch(0, 10)
    here = {path.relative_to(data.root): path for path in data.root.rglob("*") if path.is_file()}
    for path, copy in here.items():
        if path.name != "remote.json":
            assert copy.read_bytes() == (tiny_data.root / path).read_bytes()
    assert not any("train" in path.parts and path.suffix in (".bin", ".jsonl") for path in here)
    loader.trace(0)
    fetched = {path.name for path in data.root.rglob("*") if path.is_file()} - {path.name for path in here}
    assert fetched <= {"documents-00000.bin"}
    for name in tiny.mixture:
        assert isinstance(open_files(data.shards / name / HELDOUT), LocalFiles)
        part = TokenShards.open(data.shards / name / HELDOUT, verify=True)
        assert np.array_equal(
            part.read(0, part.tokens), TokenShards.open(tiny_data.shards / name / HELDOUT).read(0, part.tokens)
        )


def test_a_batch_waits_once_whatever_it_is_made_of(s3, tiny: Recipe, monkeypatch: pytest.MonkeyPatch):
    loader = _loader(tiny, mirror(URL))
    asked: list[int] = []
    store = s3fs.S3FileSystem()  # s3fs has one for all
    cat_ranges = store.cat_ranges

    def spy(paths: list[str], *ranges: list[int], on_error: str) -> list[bytes]:
        asked.append(len(paths))
        return cat_ranges(paths, *ranges, on_error=on_error)

    monkeypatch.setattr(store, "cat_ranges", spy)
    assert set(loader.labels(0, 64)) == {0, 1}
    loader.batch(0, 64)
    assert asked == [64]


def test_changed_tokens_are_found_before_they_are_read_and_again_after_they_were_verified(s3, tiny: Recipe):
    data = mirror(URL)
    _loader(tiny, data, verify=True)
    path = "bucket/demo/shards/prose/train/tokens-00000.bin"
    content = s3.cat_file(path)
    s3.pipe_file(path, bytes(reversed(content)))
    data = mirror(URL)
    _loader(tiny, data)  # the size alone does not tell
    with pytest.raises(DataError, match=r"^s3://bucket/demo/shards/prose/train/tokens-00000\.bin: is damaged"):
        _loader(tiny, data, verify=True)
    s3.pipe_file(path, content[:-2])
    data = mirror(URL)
    with pytest.raises(DataError, match=rf"tokens-00000\.bin: has {len(content) - 2} bytes instead of {len(content)}"):
        _loader(tiny, data)
    s3.rm_file(path)
    data = mirror(URL)
    with pytest.raises(DataError, match=r"^s3://.*tokens-00000\.bin: is missing"):
        _loader(tiny, data)


def test_verified_objects_are_believed_until_they_change(s3, tiny: Recipe, monkeypatch: pytest.MonkeyPatch):
    read: list[str] = []
    blocks = RemoteFiles.blocks

    def spy(files: RemoteFiles, name: str):
        read.append(name)
        return blocks(files, name)

    monkeypatch.setattr(RemoteFiles, "blocks", spy)
    data = mirror(URL)
    read.clear()
    _loader(tiny, data, verify=True)
    assert set(read) == {"tokens-00000.bin", "documents-00000.bin", "origins-00000.jsonl"}
    read.clear()
    s3fs.S3FileSystem.clear_instance_cache()
    _loader(tiny, mirror(URL), verify=True)
    assert read == []


def test_tokens_that_vanish_while_training_are_named(s3, tiny: Recipe):
    loader = _loader(tiny, mirror(URL))
    s3.rm_file("bucket/demo/shards/code/train/tokens-00000.bin")
    with pytest.raises(DataError, match=r"bucket/demo/shards/code/train/tokens-00000\.bin: cannot be read \(FileNotF"):
        loader.batch(0, 64)
    s3.pipe_file("bucket/demo/shards/code/train/tokens-00000.bin", b"\0" * 10)
    with pytest.raises(DataError, match=r"tokens-00000\.bin: (ends within|cannot be read)"):
        loader.batch(0, 64)


def test_the_mirror_follows_the_build(s3, tiny_data: DataDir):
    data = mirror(URL)
    card = json.loads(data.card.read_text()) | {"description": "newer"}
    s3.pipe_file("bucket/demo/card.json", json.dumps(card).encode())
    (data.shards / "prose" / TRAIN / "remote.json").write_bytes(b"damaged")
    (data.shards / "prose" / HELDOUT / "tokens-00000.bin").write_bytes(b"damaged")
    assert mirror(URL + "/") == data
    assert json.loads(data.card.read_text())["description"] == "newer"
    TokenShards.open(data.shards / "prose" / HELDOUT, verify=True)
    assert isinstance(open_files(data.shards / "prose" / TRAIN), RemoteFiles)


def test_held_out_text_that_is_damaged_in_the_store_is_named(s3):
    s3.pipe_file("bucket/demo/shards/code/heldout/tokens-00000.bin", b"damaged")
    with pytest.raises(DataError, match=r"^s3://bucket/demo/shards/code/heldout/tokens-00000\.bin: is damaged"):
        mirror(URL)


def test_what_is_not_a_finished_build_is_named(s3):
    with pytest.raises(DataError, match=r"s3://bucket/nothing/record\.json: is missing, so no finished data build"):
        mirror("s3://bucket/nothing")
    with pytest.raises(DataError, match=r"s3://nobody/demo"):
        mirror("s3://nobody/demo")
    s3.rm_file("bucket/demo/card.json")
    with pytest.raises(DataError, match=r"s3://bucket/demo/card\.json: is missing"):
        mirror(URL)


def test_a_store_that_does_not_answer_is_a_sentence(s3, monkeypatch: pytest.MonkeyPatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(DataError, match=r"^s3://bucket/demo: cannot be read \(.*127\.0\.0\.1") as error:
        mirror(URL)
    assert "\n" not in error.value.message


def test_a_missing_package_is_named_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch):
    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(DataError, match="needs a package that is not installed") as error:
        mirror(URL)
    assert "puna[s3]" in error.value.hint


def test_an_unknown_protocol_is_a_sentence():
    with pytest.raises(DataError, match=r"carrier-pigeon://x/y: cannot be opened"):
        mirror("carrier-pigeon://x/y")


def test_a_damaged_marker_is_named(tmp_path: Path):
    (tmp_path / "remote.json").write_bytes(b"{}")
    with pytest.raises(DataError, match=r"remote\.json: is damaged"):
        open_files(tmp_path)

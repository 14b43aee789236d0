import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from searching import WriteBuild

from puna.core.errors import DataError
from puna.core.files import sha256_file
from puna.core.layout import DataDir
from puna.search import build as build_module
from puna.search.build import build_index
from puna.search.index import TextIndex

TEXTS = {
    ("prose", "train"): [f"Document {number} speaks of the sea." for number in range(12)],
    ("prose", "heldout"): ["Nobody reads this one."],
    ("code", "train"): ["x = 1\n" * 20, "def sea(): pass\n"],
}


def _files(data: DataDir) -> dict[str, str]:
    return {str(path.relative_to(data.index)): sha256_file(path) for path in sorted(data.index.glob("*/*/*-*.*"))}


def test_an_index_has_the_same_bytes_with_any_number_of_processes(
    write_build: WriteBuild, monkeypatch: pytest.MonkeyPatch
):
    data = write_build(TEXTS)
    one = build_index(data, workers=1)
    expected = _files(data)
    assert len(expected) == 3 * one.parts
    for path in data.index.rglob("*.*"):
        path.unlink()
    monkeypatch.setattr(build_module, "_FEW", 0)
    assert build_index(data, workers=2) == one
    assert _files(data) == expected


def test_what_is_whole_is_kept_and_what_is_not_is_made_again(
    write_build: WriteBuild, capsys: pytest.CaptureFixture[str]
):
    data = write_build(TEXTS)
    first = build_index(data)
    assert first.made == first.parts > 5
    expected = _files(data)
    directory = data.index / "prose" / "train"
    kept = (directory / "suffixes-00000.bin").stat().st_mtime_ns
    damaged = directory / "suffixes-00001.bin"
    damaged.write_bytes(bytes(damaged.stat().st_size))
    (directory / "firsts-00002.bin").unlink()
    (directory / "part-00003.json").unlink()  # as after a kill
    record = json.loads((directory / "part-00004.json").read_text())
    (directory / "part-00004.json").write_text(json.dumps(record | {"tokens_sha256": "0" * 64}))
    (directory / "suffixes-00099.bin").write_bytes(b"of a shard that is gone")
    again = build_index(data)
    assert (again.made, again.parts) == (4, first.parts)
    assert _files(data) == expected
    assert (directory / "suffixes-00000.bin").stat().st_mtime_ns == kept
    said = capsys.readouterr().err
    assert said.count("is made again") == 3
    assert "part-00004.json: is the index of other tokens than those in" in said


def test_a_killed_build_goes_on_with_the_shards_that_have_none(
    write_build: WriteBuild, monkeypatch: pytest.MonkeyPatch
):
    data = write_build(TEXTS)
    write, calls = build_module._write, []

    def killed(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        write(*arguments)

    monkeypatch.setattr(build_module, "_write", killed)
    with pytest.raises(KeyboardInterrupt):
        build_index(data)
    with pytest.raises(DataError, match="has no index of shard"):
        TextIndex.open(data)
    monkeypatch.setattr(build_module, "_write", write)
    built = build_index(data)
    assert built.made == built.parts - 3


def test_new_shards_need_no_new_index_of_the_others(write_build: WriteBuild, monkeypatch: pytest.MonkeyPatch):
    data = write_build(TEXTS)
    build_index(data)
    kept = data.root.parent / "kept"
    data.index.rename(kept)
    more = write_build(TEXTS | {("prose", "train"): [*TEXTS["prose", "train"], "One more document."]})
    kept.rename(more.index)
    built = build_index(more)
    # The last shard of prose was not full, so it is another one now.
    assert 1 <= built.made <= 2 < built.parts


def test_an_index_takes_four_bytes_per_token_besides_a_table_per_shard(write_build: WriteBuild):
    data = write_build(TEXTS, shard_tokens=10**6)
    built = build_index(data)
    tables = sum(path.stat().st_size for path in data.index.glob("*/*/firsts-*.bin"))
    assert built.bytes - tables == 4 * built.tokens
    assert built.tokens == TextIndex.open(data).tokens


def test_a_directory_without_shards_or_with_a_shard_that_is_too_large_is_refused(
    write_build: WriteBuild, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    data = write_build(TEXTS)
    monkeypatch.setattr(build_module, "MOST_TOKENS", 10)
    with pytest.raises(DataError, match=r"a shard of \d+ tokens is too large for an index, which takes 10"):
        build_index(data)
    empty = write_build({})
    with pytest.raises(DataError, match="holds no token shards"):
        build_index(empty)


def test_workers_are_as_many_as_half_of_the_free_memory_has_room_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(build_module.os, "cpu_count", lambda: 64)
    lines = "MemTotal:       99 kB\nMemAvailable:   16777216 kB\n"
    monkeypatch.setattr(build_module.Path, "read_text", lambda self: lines)
    assert build_module._workers(100_000_000, 32_000) == 6
    assert build_module._workers(100_000_000, 128_000) == 4
    assert build_module._workers(10_000_000_000, 32_000) == 1
    assert build_module._workers(0, 32_000) == 64


def test_ids_that_the_tokenizer_does_not_have_are_refused(write_build: WriteBuild, monkeypatch: pytest.MonkeyPatch):
    data = write_build(TEXTS)
    monkeypatch.setattr(
        "puna.shards.shards.TokenShards.map_tokens", lambda self, number: np.array([1, 60000, 2], np.uint16)
    )
    with pytest.raises(DataError, match="has ids that its tokenizer does not have"):
        build_index(data)


def test_the_index_of_a_source_that_left_the_build_goes_with_it(write_build: WriteBuild):
    data = write_build(TEXTS)
    whole = build_index(data)
    shutil.rmtree(data.shards / "code")
    less = build_index(data)
    assert not (data.index / "code" / "train").exists()
    assert (less.made, less.bytes < whole.bytes) == (0, True)

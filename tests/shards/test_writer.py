from collections.abc import Iterator
from pathlib import Path

import pytest
from shard_files import write_shards

from puna.core.errors import StorageError
from puna.core.files import sha256_file
from puna.shards.format import read_manifest
from puna.shards.shards import TokenShards
from puna.shards.writer import Encoded
from puna.tokenizer.tokenizer import Tokenizer


def _write(out: Path, documents, tokenizer: Tokenizer, shard_tokens: int = 100) -> None:
    write_shards(
        out, documents, tokenizer, source="poems", split="train", shard_tokens=shard_tokens, documents_sha256="d" * 64
    )


def _documents(count: int, length: int = 8) -> Iterator[Encoded]:
    return (Encoded(f"{n}", f"o {n}", [3 + n % 200] * length, length) for n in range(count))


def test_a_document_never_straddles_two_shards_and_a_long_one_has_its_own(tmp_path: Path, tokenizer: Tokenizer):
    documents = [Encoded(str(n), "o", [5] * n, n) for n in (40, 50, 500, 1, 97, 1)]
    _write(tmp_path / "out", documents, tokenizer)
    shards = read_manifest(tmp_path / "out")["shards"]
    assert shards == [
        {"tokens": 94, "documents": 2}, {"tokens": 502, "documents": 1}, {"tokens": 3, "documents": 1},
        {"tokens": 99, "documents": 1}, {"tokens": 3, "documents": 1},
    ]  # fmt: skip


def test_a_document_stands_between_the_tokens_that_begin_and_end_it(
    tmp_path: Path, tokenizer: Tokenizer, byte_tokenizer: Tokenizer
):
    documents = [Encoded(str(n), "o", [50 + n] * n, n) for n in (1, 2)]
    for each, expected in ((tokenizer, [1, 51, 2, 1, 52, 52, 2]), (byte_tokenizer, [0, 51, 0, 52, 52])):
        _write(tmp_path / each.kind, documents, each)
        shards = TokenShards.open(tmp_path / each.kind)
        assert shards.read(0, shards.tokens).tolist() == expected
        assert (shards.bos_id, shards.eos_id) == (each.bos_id, each.eos_id)


def test_the_manifest_proves_every_file_and_names_the_tokenizer(tmp_path: Path, tokenizer: Tokenizer):
    _write(tmp_path / "out", _documents(30), tokenizer)
    manifest = read_manifest(tmp_path / "out")
    files = {path.name for path in (tmp_path / "out").iterdir()} - {"manifest.json"}
    assert {file["name"] for file in manifest["files"]} == files
    for file in manifest["files"]:
        assert sha256_file(tmp_path / "out" / file["name"]) == file["sha256"]
    assert manifest["tokenizer"] == {"sha256": tokenizer.sha256, "vocab_size": 330, "bos_id": 1, "eos_id": 2}
    assert (manifest["documents_sha256"], manifest["shard_tokens"]) == ("d" * 64, 100)


def test_a_failing_source_of_documents_leaves_nothing_and_no_open_file(tmp_path: Path, tokenizer: Tokenizer):
    def interrupted() -> Iterator[Encoded]:
        yield from _documents(20)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _write(tmp_path / "out", interrupted(), tokenizer)  # an open file would warn, and a warning is an error
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_one_sentence_and_leaves_what_was_there(tmp_path: Path, tokenizer: Tokenizer, full_disk):
    _write(tmp_path / "out", _documents(5), tokenizer)
    with full_disk(16384), pytest.raises(StorageError, match=r"out: no space left to write it"):
        _write(tmp_path / "out", _documents(10_000), tokenizer, shard_tokens=10**6)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert TokenShards.open(tmp_path / "out", verify=True).documents == 5


def test_a_directory_of_no_documents_is_readable(tmp_path: Path, tokenizer: Tokenizer):
    _write(tmp_path / "out", [], tokenizer)
    assert TokenShards.open(tmp_path / "out", verify=True).tokens == 0

import os
from pathlib import Path

import pytest

from puna.config.recipe import Recipe
from puna.core.errors import DataError
from puna.core.files import sha256_file
from puna.core.layout import DataDir
from puna.data import tokenize
from puna.data.documents import build_documents, documents_file, read_documents
from puna.data.shards import TokenShards
from puna.data.tokenize import tokenize_documents
from puna.tokenizer.tokenizer import Tokenizer

PARTS = [("poems", "heldout"), ("code", "heldout"), ("poems", "train"), ("code", "train")]


@pytest.fixture
def built(recipe: Recipe, out: DataDir) -> DataDir:
    build_documents(recipe, out)
    return out


def _hashes(out: DataDir) -> dict[str, str]:
    files = [path for path in out.shards.rglob("*") if path.is_file()]
    return {path.relative_to(out.shards).as_posix(): sha256_file(path) for path in files}


def _written(out: DataDir) -> dict[str, int]:
    """Which directory each part is: it is another one once it has been written anew."""
    return {path.parent.relative_to(out.shards).as_posix(): path.parent.stat().st_ino for path in _manifests(out)}


def _manifests(out: DataDir) -> list[Path]:
    return sorted(out.shards.rglob("manifest.json"))


def test_shards_hold_each_document_between_its_marks(recipe: Recipe, built: DataDir, tokenizer: Tokenizer):
    tokenize_documents(recipe, built, tokenizer, threads=2)
    for source, split in PARTS:
        shards = TokenShards.open(built.shards / source / split, tokenizer_sha256=tokenizer.sha256, verify=True)
        documents = list(read_documents(documents_file(built, source, split), source))
        position = 0
        for document in documents:
            ids = tokenizer.encode(document.text, bos=True, eos=True)
            assert shards.read(position, len(ids)).tolist() == ids
            assert shards.document_at(position)[0] == {"id": document.id, "origin": document.origin}
            position += len(ids)
        assert (shards.tokens, shards.documents) == (position, len(documents))
        assert shards.text_bytes == sum(len(document.text.encode()) for document in documents)


def test_the_size_of_batches_and_the_number_of_threads_change_no_byte(
    recipe: Recipe, built: DataDir, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
):
    tokenize_documents(recipe, built, tokenizer, threads=1)
    first = _hashes(built)
    for manifest in _manifests(built):
        manifest.unlink()
    monkeypatch.setattr(tokenize, "_BATCH_CHARACTERS", 300)
    tokenize_documents(recipe, built, tokenizer, threads=3)
    assert _hashes(built) == first


@pytest.mark.parametrize("killed_at", [1, 2, 3, 4])
def test_a_build_that_is_killed_and_run_again_gives_the_bytes_of_one_that_was_not(
    recipe: Recipe, built: DataDir, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch, killed_at: int
):
    tokenize_documents(recipe, built, tokenizer, threads=1)
    uninterrupted = _hashes(built)
    for manifest in _manifests(built):
        for path in manifest.parent.iterdir():
            path.unlink()

    calls = []

    def encode_batch(self: Tokenizer, texts: list[str], *, threads: int = 1) -> list[list[int]]:
        calls.append(texts)
        if len(calls) == killed_at:
            raise KeyboardInterrupt
        return original(self, texts, threads=threads)

    original = Tokenizer.encode_batch
    monkeypatch.setattr(Tokenizer, "encode_batch", encode_batch)
    with pytest.raises(KeyboardInterrupt):
        tokenize_documents(recipe, built, tokenizer, threads=1)
    assert not list(built.shards.rglob(".tmp-*"))
    done = _written(built)
    assert len(done) == killed_at - 1
    tokenize_documents(recipe, built, tokenizer, threads=1)
    assert _hashes(built) == uninterrupted
    assert done.items() <= _written(built).items()


def test_finished_shards_are_kept(recipe: Recipe, built: DataDir, tokenizer: Tokenizer):
    tokenize_documents(recipe, built, tokenizer, threads=1)
    before = _written(built)
    assert len(before) == 4
    tokenize_documents(recipe, built, tokenizer, threads=1)
    assert _written(built) == before


def test_shards_are_written_anew_when_their_documents_change(
    recipe: Recipe, built: DataDir, tokenizer: Tokenizer, shelf: Path
):
    tokenize_documents(recipe, built, tokenizer, threads=1)
    before = _written(built)
    (shelf / "poems" / "read" / "new.txt").write_text("Did he smile his work to see?")
    build_documents(recipe, built)
    tokenize_documents(recipe, built, tokenizer, threads=1)
    changed = {part for part, inode in _written(built).items() if before[part] != inode}
    assert changed == {"poems/train"}


@pytest.mark.parametrize("damage", ["manifest", "truncated", "tokenizer", "shard_tokens"])
def test_shards_that_are_damaged_or_made_otherwise_are_written_anew(
    recipe: Recipe, built: DataDir, tokenizer: Tokenizer, damage: str
):
    tokenize_documents(recipe, built, tokenizer, threads=1)
    good = _hashes(built)
    directory = built.shards / "code" / "train"
    if damage == "manifest":
        (directory / "manifest.json").write_text("{")
    elif damage == "truncated":
        os.truncate(directory / "tokens-00000.bin", 2)
    elif damage == "tokenizer":
        text = (directory / "manifest.json").read_text()
        (directory / "manifest.json").write_text(text.replace(tokenizer.sha256, "0" * 64))
    else:
        larger = recipe.model_copy(update={"data": recipe.data.model_copy(update={"shard_tokens": 10**6})})
        tokenize_documents(larger, built, tokenizer, threads=1)
    assert _hashes(built) != good
    tokenize_documents(recipe, built, tokenizer, threads=1)
    assert _hashes(built) == good


def test_shards_of_a_source_that_left_the_recipe_go_and_other_files_stay(
    recipe: Recipe, built: DataDir, tokenizer: Tokenizer
):
    tokenize_documents(recipe, built, tokenizer, threads=1)
    (built.shards / "code").rename(built.shards / "former")
    (built.shards / "notes").mkdir()
    (built.shards / "README.md").write_text("mine")
    tokenize_documents(recipe, built, tokenizer, threads=1)
    assert sorted(path.name for path in built.shards.iterdir()) == ["README.md", "code", "notes", "poems"]


def test_documents_that_are_not_those_of_the_record_are_refused(recipe: Recipe, built: DataDir, tokenizer: Tokenizer):
    path = documents_file(built, "poems", "train")
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(DataError, match=r"poems\.train\.jsonl: is missing, or is not the file that .*record\.json"):
        tokenize_documents(recipe, built, tokenizer, threads=1)


def test_missing_documents_are_named(recipe: Recipe, out: DataDir, tokenizer: Tokenizer):
    with pytest.raises(DataError, match="documents: no documents are here"):
        tokenize_documents(recipe, out, tokenizer, threads=1)

import io
import json
import os
import random
from pathlib import Path

import pytest

from puna.config.recipe import Recipe
from puna.core.errors import DataError
from puna.core.layout import DataDir
from puna.core.records import read_record
from puna.data import input_file as files
from puna.data.documents import documents_of
from puna.data.stages import read, tokens
from puna.data.stages.plan import _way_out, build_documents, tokenize_documents
from puna.shards.shards import TokenShards
from puna.tokenizer.tokenizer import Tokenizer
from puna.tokenizer.words import Ids

PARTS = [("poems", "heldout"), ("code", "heldout"), ("poems", "train"), ("code", "train")]


def test_documents_are_split_by_the_pattern_and_keep_their_text_and_origin(
    recipe: Recipe, out: DataDir, shelf: Path, lines
):
    build_documents(recipe, out)
    train, heldout = lines("poems", "train"), lines("poems", "heldout")
    assert [line["id"] for line in heldout] == ["kept/00.txt", "kept/04.txt", "kept/08.txt"]
    assert [line["id"] for line in train] == [f"read/{n:02}.txt" for n in range(12) if n % 4]
    for line in train + heldout:
        assert line["text"] == (shelf / "poems" / line["id"]).read_text()
        assert line["origin"] == f"local files: {line['id']}"
        assert "n" not in line


def test_the_record_counts_what_is_in_the_files(recipe: Recipe, out: DataDir, shelf: Path, hashes):
    (shelf / "poems" / "read" / "empty.txt").write_text(" ")
    build_documents(recipe, out)
    record = read_record(out.documents / "record.json")
    assert record is not None
    assert record["outputs"] == {"files.json": hashes(out.documents)["files.json"]}
    listed = json.loads((out.documents / "files.json").read_text())
    found = hashes(out.documents)
    rows = [row for kinds in listed.values() for rows in kinds.values() for row in rows]
    assert {row["path"]: row["sha256"] for row in rows} == {k: v for k, v in found.items() if k != "files.json"}
    for source, counts in record["results"].items():
        for split in ("train", "heldout"):
            texts = [document.text.encode() for document in documents_of(out, source, split)]
            assert counts[split] == {"documents": len(texts), "bytes": sum(map(len, texts))}
    steps = record["results"]["poems"]["steps"]
    assert steps["read"]["dropped"] == {"empty": {"documents": 1, "bytes": 0}}
    assert steps["dedup"]["kept"]["documents"] == 12


def test_the_held_out_text_loses_nothing_to_a_training_document_that_equals_it(
    recipe: Recipe, out: DataDir, shelf: Path, lines
):
    secret = (shelf / "poems" / "kept" / "00.txt").read_text()
    (shelf / "poems" / "ahead.txt").write_text(secret)  # read before it
    for number in range(20):
        (shelf / "code" / f"copy{number}.py").write_text(secret)  # another source, and one that comes later
    build_documents(recipe, out)
    assert secret in [line["text"] for line in lines("poems", "heldout")]
    for source in ("poems", "code"):
        assert secret not in [line["text"] for line in lines(source, "train")]
    dropped = lines("poems", "dropped") + lines("code", "dropped")
    assert len(dropped) == 21
    assert {line["detail"] for line in dropped} == {"poems/kept/00.txt"}
    assert {"id": "ahead.txt", "reason": "duplicate", "detail": "poems/kept/00.txt"} in dropped


def test_equal_texts_of_other_sources_stay_when_duplicates_are_looked_for_within(
    recipe: Recipe, out: DataDir, shelf: Path, lines, changed
):
    for name in ("poems/read/same.txt", "poems/read/same2.txt", "code/same.py"):
        (shelf / name).write_text("the same")
    build_documents(changed(recipe, dedup__exact="within"), out)
    assert [line["id"] for line in lines("poems", "dropped")] == ["read/same2.txt"]
    assert lines("code", "dropped") == []
    build_documents(changed(recipe, dedup__exact="none"), out)
    assert lines("poems", "dropped") == lines("code", "dropped") == []


def test_near_duplicates_and_books_in_books_are_found_across_sources(
    recipe: Recipe, out: DataDir, shelf: Path, lines, changed
):
    words = [f"w{n}" for n in range(30_000)]
    random.Random(0).shuffle(words)
    near = [*words[:500], "other", *words[501:]]
    (shelf / "poems" / "read" / "a-book.txt").write_text(" ".join(words))
    (shelf / "code" / "b-near.py").write_text(" ".join(near))
    (shelf / "code" / "c-part.py").write_text(" ".join(words[10_000:20_000]) + " and an afterword of five words")
    (shelf / "code" / "d-else.py").write_text(" ".join(words[25_000:] + [f"x{n}" for n in range(20_000)]))
    both = ["poems", "code"]
    build_documents(changed(recipe, dedup__near__sources=both, dedup__contained__sources=both, keep_dropped=True), out)
    dropped = {line["id"]: line for line in lines("code", "dropped") if line["id"][0] in "bcd"}
    assert {name: (line["reason"], line["detail"]) for name, line in dropped.items()} == {
        "b-near.py": ("near_duplicate", "poems/read/a-book.txt"),
        "c-part.py": ("contained", "poems/read/a-book.txt"),
    }
    assert dropped["b-near.py"]["text"] == " ".join(near)


def test_building_twice_gives_the_same_bytes_and_does_nothing_twice(recipe: Recipe, out: DataDir, hashes, monkeypatch):
    build_documents(recipe, out)
    first = hashes(out.documents)
    monkeypatch.setattr(read, "make_reader", None)
    build_documents(recipe, out)
    assert hashes(out.documents) == first


@pytest.mark.parametrize(
    "settings", [{"partitions": 3}, {"task_bytes": 300}, {"chunk_bytes": 200}, {"partitions": 1, "task_bytes": 1}]
)
def test_how_the_work_is_divided_changes_no_document(
    recipe: Recipe, out: DataDir, tmp_path: Path, lines, changed, settings: dict, shelf: Path
):
    for number, path in enumerate(sorted(path for path in shelf.rglob("*") if path.is_file())):
        path.write_text(" ".join(f"w{number // 2}-{word}" for word in range(100 + number % 2)))
    near = changed(recipe, dedup__near__sources=["poems", "code"])
    build_documents(near, out)
    kinds = [(source, kind) for source in recipe.data.sources for kind in ("train", "heldout", "dropped")]
    whole = [lines(*kind) for kind in kinds]
    assert len(whole[2]) + len(whole[5]) == 12
    build_documents(changed(near, **settings), out)
    assert [sorted(lines(*kind), key=lambda line: line["id"]) for kind in kinds] == [
        sorted(part, key=lambda line: line["id"]) for part in whole
    ]
    assert [line["id"] for line in lines("poems", "train")] == [line["id"] for line in whole[0]]


def test_only_what_has_changed_is_read_again(recipe: Recipe, out: DataDir, shelf: Path, changed, monkeypatch):
    small = changed(recipe, task_bytes=1)
    build_documents(small, out)
    opened: list[str] = []
    original = read.read_one

    def read_one(reader, raw, source, counts):
        opened.append(raw.id)
        return original(reader, raw, source, counts)

    monkeypatch.setattr(read, "read_one", read_one)
    (shelf / "poems" / "read" / "05.txt").write_text("Another poem.")
    build_documents(small, out)
    assert opened == ["read/05.txt"]
    left = {path.name for path in (out.work / "read").iterdir()}
    assert len(left) == 24


@pytest.mark.parametrize(("pattern", "split"), [("nothing", "heldout"), (".", "train")])
def test_an_empty_split_is_refused_with_the_counts(recipe: Recipe, out: DataDir, pattern: str, split: str, changed):
    refused = changed(recipe, sources__poems__heldout_pattern=pattern)
    with pytest.raises(DataError, match=f"source 'poems': no document is left for the {split} split.* of its 12 files"):
        build_documents(refused, out)
    assert not out.documents.exists()


def test_a_recipe_without_sources_is_refused(out: DataDir):
    with pytest.raises(DataError, match="recipe 'empty' has no sources"):
        build_documents(Recipe(name="empty"), out)


def test_a_build_that_is_interrupted_goes_on_from_its_last_chunk(
    recipe: Recipe, out: DataDir, monkeypatch: pytest.MonkeyPatch, hashes, changed, tmp_path: Path
):
    small = changed(recipe, chunk_bytes=1)
    build_documents(small, other := DataDir(tmp_path / "other"))
    calls: list[str] = []
    original = read.read_one

    def interrupt(reader, raw, source, counts):
        calls.append(raw.id)
        if len(calls) == 9:
            raise KeyboardInterrupt
        return original(reader, raw, source, counts)

    monkeypatch.setattr(read, "read_one", interrupt)
    with pytest.raises(KeyboardInterrupt):
        build_documents(small, out)
    assert not out.documents.exists()
    build_documents(small, out)
    assert len(calls) == 25  # 24 documents, and the one that was interrupted
    assert hashes(out.documents) == hashes(other.documents)


def test_a_full_disk_is_one_sentence_and_leaves_no_documents(recipe: Recipe, out: DataDir, shelf: Path, full_disk):
    (shelf / "poems" / "read" / "long.txt").write_bytes(os.urandom(400_000).hex().encode())
    with full_disk(65536), pytest.raises(DataError, match="no space left to write it"):
        build_documents(recipe, out)
    assert not out.documents.exists()
    build_documents(recipe, out)


@pytest.mark.parametrize("broken", ["open", "read"])
def test_a_disk_that_fails_ends_the_build_and_loses_nothing(
    recipe: Recipe, out: DataDir, monkeypatch: pytest.MonkeyPatch, lines, broken: str
):
    """As a network file system does now and then: the same file can be read the next time."""

    class Failing(io.FileIO):
        def readinto(self, buffer: object) -> int:
            raise OSError(5, "Input/output error")

    def fail(path: str, *arguments: object, **options: object) -> io.FileIO:
        if not path.endswith("05.txt"):
            return io.FileIO(path)
        if broken == "open":
            raise OSError(5, "Input/output error")
        return Failing(path)

    monkeypatch.setattr(files, "open", fail, raising=False)
    with pytest.raises(DataError, match=r"05\.txt: could not be read to its end \(OSError: \[Errno 5\]"):
        build_documents(recipe, out)
    monkeypatch.undo()
    build_documents(recipe, out)
    assert "read/05.txt" in [line["id"] for line in lines("poems", "train")]
    assert lines("poems", "dropped") == []


def test_a_damaged_intermediate_file_is_named(recipe: Recipe, out: DataDir):
    build_documents(recipe, out)
    (out.documents / "record.json").unlink()
    for path in (out.work / "finish").iterdir():
        (path / "task.json").unlink()
    victim = next((out.work / "read").rglob("kept-00000.jsonl.zst"))
    victim.write_bytes(victim.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"kept-00000\.jsonl\.zst: is missing, or is not the file that task\.json"):
        build_documents(recipe, out)


def test_an_intermediate_file_that_is_gone_is_missed(recipe: Recipe, out: DataDir, changed):
    chunked = changed(recipe, chunk_bytes=300)
    build_documents(chunked, out)
    for path in (out.work / "finish").iterdir():
        (path / "task.json").unlink()
    sorted((out.work / "read").rglob("kept-*.jsonl.zst"))[-1].unlink()
    with pytest.raises(DataError, match=r"kept-\d+\.jsonl\.zst: is missing, or is not the file that task\.json"):
        build_documents(chunked, out)


@pytest.fixture
def built(recipe: Recipe, out: DataDir, tokenizer: Tokenizer) -> DataDir:
    build_documents(recipe, out)
    out.tokenizer.mkdir()
    (out.tokenizer / "tokenizer.model").write_bytes(tokenizer.content)
    return out


def _written(out: DataDir) -> dict[str, int]:
    """The directory of each part: it is another one after it has been written again."""
    manifests = sorted(out.shards.rglob("manifest.json"))
    return {path.parent.relative_to(out.shards).as_posix(): path.parent.stat().st_ino for path in manifests}


@pytest.mark.parametrize("task_bytes", [10**9, 300])
def test_shards_hold_each_document_between_its_marks(
    recipe: Recipe, built: DataDir, tokenizer: Tokenizer, task_bytes: int, changed
):
    recipe = changed(recipe, task_bytes=task_bytes)
    build_documents(recipe, built)
    tokenize_documents(recipe, built, tokenizer)
    for source, split in PARTS:
        shards = TokenShards.open(built.shards / source / split, tokenizer_sha256=tokenizer.sha256, verify=True)
        documents = list(documents_of(built, source, split))
        position = 0
        for document in documents:
            ids = tokenizer.encode(document.text, bos=True, eos=True)
            assert shards.read(position, len(ids)).tolist() == ids
            assert shards.document_at(position) == (
                {"id": document.id, "origin": document.origin}, position, len(ids)
            )  # fmt: skip
            position += len(ids)
        assert (shards.tokens, shards.documents) == (position, len(documents))
        assert shards.text_bytes == sum(len(document.text.encode()) for document in documents)


def test_the_size_of_batches_and_the_number_of_workers_change_no_byte(
    recipe: Recipe, built: DataDir, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch, hashes
):
    tokenize_documents(recipe, built, tokenizer, workers=1)
    first = hashes(built.shards)
    for manifest in built.shards.rglob("manifest.json"):
        manifest.unlink()
    for record in (built.work / "tokenize").rglob("task.json"):
        record.unlink()
    monkeypatch.setattr(tokens, "_BATCH_CHARACTERS", 300)
    tokenize_documents(recipe, built, tokenizer, workers=2)
    assert hashes(built.shards) == first


@pytest.mark.parametrize("killed_at", [1, 2, 3, 4])
def test_tokenization_that_is_killed_and_run_again_gives_the_bytes_of_one_that_was_not(
    recipe: Recipe, built: DataDir, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch, killed_at: int, hashes,
    tmp_path: Path,
):  # fmt: skip
    calls = []

    def encode_arrays(self: Tokenizer, texts: list[str], *, threads: int = 1) -> list[Ids]:
        calls.append(texts)
        if len(calls) == killed_at:
            raise KeyboardInterrupt
        return original(self, texts, threads=threads)

    original = Tokenizer.encode_arrays
    monkeypatch.setattr(Tokenizer, "encode_arrays", encode_arrays)
    with pytest.raises(KeyboardInterrupt):
        tokenize_documents(recipe, built, tokenizer)
    assert not built.shards.exists()
    assert not list(built.work.rglob(".tmp-*"))
    tokenize_documents(recipe, built, tokenizer)
    assert len(calls) == 5
    interrupted = hashes(built.shards)
    for record in [*built.shards.rglob("manifest.json"), *(built.work / "tokenize").rglob("task.json")]:
        record.unlink()
    tokenize_documents(recipe, built, tokenizer)
    assert hashes(built.shards) == interrupted


def test_a_full_disk_while_shards_are_written_is_one_sentence_and_leaves_none(
    recipe: Recipe, built: DataDir, tokenizer: Tokenizer, changed, full_disk, shelf: Path
):
    (shelf / "poems" / "read" / "long.txt").write_bytes(os.urandom(10_000).hex().encode())
    large = changed(recipe, shard_tokens=10**6)
    build_documents(large, built)
    with full_disk(16384), pytest.raises(DataError, match="no space left to write it"):
        tokenize_documents(large, built, tokenizer)
    assert not built.shards.exists()
    assert not list(built.work.rglob(".tmp-*"))
    tokenize_documents(large, built, tokenizer)


def test_finished_shards_are_kept(recipe: Recipe, built: DataDir, tokenizer: Tokenizer):
    tokenize_documents(recipe, built, tokenizer)
    before = _written(built)
    assert len(before) == 4
    tokenize_documents(recipe, built, tokenizer)
    assert _written(built) == before


def test_shards_are_written_again_when_their_documents_change(
    recipe: Recipe, built: DataDir, tokenizer: Tokenizer, shelf: Path
):
    tokenize_documents(recipe, built, tokenizer)
    before = _written(built)
    (shelf / "poems" / "read" / "new.txt").write_text("Did he smile his work to see?")
    build_documents(recipe, built)
    tokenize_documents(recipe, built, tokenizer)
    different = {part for part, inode in _written(built).items() if before[part] != inode}
    assert different == {"poems/train"}


@pytest.mark.parametrize("damage", ["manifest", "truncated", "tokenizer", "shard_tokens"])
def test_shards_that_are_damaged_or_made_differently_are_written_again(
    recipe: Recipe, built: DataDir, tokenizer: Tokenizer, damage: str, hashes, changed
):
    tokenize_documents(recipe, built, tokenizer)
    good = hashes(built.shards)
    directory = built.shards / "code" / "train"
    if damage == "manifest":
        (directory / "manifest.json").write_text("{")
    elif damage == "truncated":
        content = (directory / "tokens-00000.bin").read_bytes()
        (directory / "tokens-00000.bin").unlink()  # the task has a second name for it
        (directory / "tokens-00000.bin").write_bytes(content[:2])
    elif damage == "tokenizer":
        text = (directory / "manifest.json").read_text()
        (directory / "manifest.json").write_text(text.replace(tokenizer.sha256, "0" * 64))
    else:
        tokenize_documents(changed(recipe, shard_tokens=10**6), built, tokenizer)
    assert hashes(built.shards) != good
    tokenize_documents(recipe, built, tokenizer)
    assert hashes(built.shards) == good


def test_shards_of_a_source_that_left_the_recipe_go_and_other_files_stay(
    recipe: Recipe, built: DataDir, tokenizer: Tokenizer
):
    tokenize_documents(recipe, built, tokenizer)
    (built.shards / "code").rename(built.shards / "former")
    (built.shards / "notes").mkdir()
    (built.shards / "README.md").write_text("mine")
    tokenize_documents(recipe, built, tokenizer)
    assert sorted(path.name for path in built.shards.iterdir()) == ["README.md", "code", "notes", "poems"]


def test_documents_that_are_not_those_of_the_record_are_refused(recipe: Recipe, built: DataDir, tokenizer: Tokenizer):
    path = built.documents / "poems" / "train" / "00000.jsonl.zst"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError, match=r"poems/train/00000\.jsonl\.zst: is missing, or is not the file that"):
        tokenize_documents(recipe, built, tokenizer)


def test_missing_documents_are_named(recipe: Recipe, out: DataDir, tokenizer: Tokenizer):
    with pytest.raises(DataError, match="documents: no documents are here"):
        tokenize_documents(recipe, out, tokenizer)


@pytest.mark.parametrize(
    ("dropped", "words"),
    [
        ({"invalid_utf8": 9, "empty": 1}, "iconv -f ISO-8859-1 -t UTF-8"),
        ({"rows.no_text": 9}, "data.sources.mine.text_field, the column of the text"),
        ({"empty": 2, "invalid_utf8": 1}, "correct data.sources.mine: its include"),
        ({}, "correct data.sources.mine: its include"),
    ],
)
def test_way_out_of_an_empty_split_follows_from_what_most_was_dropped_for(dropped: dict[str, int], words: str):
    assert words in _way_out("mine", dropped)

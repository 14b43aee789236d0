import json
import resource
from pathlib import Path

import pytest

from puna.config.recipe import Recipe, Source
from puna.core.errors import DataError, StorageError
from puna.core.files import sha256_file
from puna.core.layout import DataDir
from puna.core.records import read_record
from puna.data.document import Document
from puna.data.documents import build_documents, documents_file, hash_fraction, is_heldout, read_documents


def _lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _hashes(out: DataDir) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in out.documents.iterdir() if path.name != "record.json"}


def test_documents_are_split_by_the_pattern_and_keep_their_text_and_origin(recipe: Recipe, out: DataDir, shelf: Path):
    build_documents(recipe, out)
    train, heldout = _lines(documents_file(out, "poems", "train")), _lines(documents_file(out, "poems", "heldout"))
    assert [line["id"] for line in heldout] == ["kept/00.txt", "kept/04.txt", "kept/08.txt"]
    assert [line["id"] for line in train] == [f"read/{n:02}.txt" for n in range(12) if n % 4]
    for line in train + heldout:
        assert line["text"] == (shelf / "poems" / line["id"]).read_text()
        assert line["origin"] == f"{shelf / 'poems'}: {line['id']}"


def test_the_record_counts_what_is_in_the_files(recipe: Recipe, out: DataDir, shelf: Path):
    (shelf / "poems" / "read" / "empty.txt").write_text(" ")
    build_documents(recipe, out)
    record = read_record(out.documents / "record.json")
    assert record is not None
    assert record["outputs"] == _hashes(out)
    assert record["config"] == recipe.data.model_dump(include={"sources"})
    for source, counts in record["results"].items():
        for split in ("train", "heldout"):
            documents = list(read_documents(documents_file(out, source, split), source))
            texts = [document.text.encode() for document in documents]
            assert counts[split] == {"documents": len(texts), "bytes": sum(map(len, texts))}
    assert record["results"]["poems"]["dropped"] == {"empty": 1}


def test_the_held_out_text_loses_nothing_to_a_training_document_that_equals_it(
    recipe: Recipe, out: DataDir, shelf: Path
):
    secret = (shelf / "poems" / "kept" / "00.txt").read_text()
    (shelf / "poems" / "ahead.txt").write_text(secret)  # read before it, were the splits not read one by one
    for number in range(20):
        (shelf / "code" / f"copy{number}.py").write_text(secret)  # another source, and one that comes later
    build_documents(recipe, out)
    assert secret in [line["text"] for line in _lines(documents_file(out, "poems", "heldout"))]
    for source in ("poems", "code"):
        assert secret not in [line["text"] for line in _lines(documents_file(out, source, "train"))]
    dropped = _lines(out.documents / "dropped.jsonl")
    assert len(dropped) == 21
    assert {line["duplicate_of"] for line in dropped} == {"poems/kept/00.txt"}
    assert {"source": "poems", "id": "ahead.txt", "reason": "duplicate", "duplicate_of": "poems/kept/00.txt"} in dropped


def test_documents_that_differ_only_in_their_line_ends_are_duplicates(recipe: Recipe, out: DataDir, shelf: Path):
    text = (shelf / "poems" / "read" / "01.txt").read_bytes()
    (shelf / "poems" / "read" / "windows.txt").write_bytes(b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"))
    build_documents(recipe, out)
    assert [line["id"] for line in _lines(out.documents / "dropped.jsonl")] == ["read/windows.txt"]


def test_the_held_out_fraction_is_kept_and_a_document_never_changes_sides():
    source = Source(kind="files", path="x", include=["*"], heldout_fraction=0.2)
    held = [is_heldout(source, "code", f"{number}.py") for number in range(5000)]
    assert 0.17 < sum(held) / len(held) < 0.23
    more = Source(kind="files", path="x", include=["*"], heldout_fraction=0.4)
    assert all(is_heldout(more, "code", f"{number}.py") for number in range(5000) if held[number])


def test_hash_fractions_are_those_of_every_machine_and_version():
    assert hash_fraction("code/json/decoder.py") == pytest.approx(0.42301608604062685, abs=1e-15)


def test_building_twice_gives_the_same_bytes(recipe: Recipe, out: DataDir):
    build_documents(recipe, out)
    first = _hashes(out)
    build_documents(recipe, out)
    assert _hashes(out) == first


@pytest.mark.parametrize(("pattern", "split"), [("nothing", "heldout"), (".", "train")])
def test_an_empty_split_is_refused_with_the_counts(recipe: Recipe, out: DataDir, pattern: str, split: str):
    sources = recipe.data.sources
    poems = sources["poems"].model_copy(update={"heldout_pattern": pattern})
    changed = recipe.model_copy(update={"data": recipe.data.model_copy(update={"sources": sources | {"poems": poems}})})
    with pytest.raises(DataError, match=f"source 'poems': no document is left for the {split} split .*12"):
        build_documents(changed, out)
    assert not list(out.root.glob("*"))


def test_a_recipe_without_sources_is_refused(out: DataDir):
    with pytest.raises(DataError, match="recipe 'empty' has no sources"):
        build_documents(Recipe(name="empty"), out)


def test_a_failure_in_the_middle_leaves_nothing(recipe: Recipe, out: DataDir, monkeypatch: pytest.MonkeyPatch):
    read = Path.read_bytes
    calls = []

    def interrupt(path: Path) -> bytes:
        calls.append(path)
        if len(calls) == 9:
            raise KeyboardInterrupt
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", interrupt)
    with pytest.raises(KeyboardInterrupt):
        build_documents(recipe, out)
    assert not list(out.root.glob("*"))
    monkeypatch.undo()
    build_documents(recipe, out)
    assert len(_hashes(out)) == 5


def test_a_full_disk_is_one_sentence_and_leaves_nothing(recipe: Recipe, out: DataDir, shelf: Path, full_disk):
    (shelf / "poems" / "read" / "long.txt").write_text("word " * 100_000)
    with full_disk(65536), pytest.raises(StorageError, match=r"documents: no space left to write it"):
        build_documents(recipe, out)
    assert not list(out.root.glob("*"))
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 65536


GOOD = b'{"id": "a", "origin": "o", "text": "t"}\n'


@pytest.mark.parametrize(
    "line",
    [
        b'{"id": "a", "origin": "o", "te',
        b'{"id": "a", "origin": "o"}\n',
        b'["a", "o", "t"]\n',
        b'{"id": "a", "origin": "o", "text": 3}\n',
        b'{"id": "a", "origin": "o", "text": "\\ud800"}\n',
        b"\xff\n",
        b"[" * 100_000 + b"\n",
        b"\n",
    ],
)
def test_a_damaged_line_is_named_by_its_number(tmp_path: Path, line: bytes):
    path = tmp_path / "poems.train.jsonl"
    path.write_bytes(GOOD + GOOD + line)
    documents = read_documents(path, "poems")
    assert next(documents) == Document("poems", "a", "t", "o")
    with pytest.raises(DataError, match=r"poems\.train\.jsonl: line 3 is damaged"):
        list(documents)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"poems\.train\.jsonl: cannot be read \(No such file"):
        list(read_documents(tmp_path / "poems.train.jsonl", "poems"))

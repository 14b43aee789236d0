"""Equal, nearly equal and contained documents, each stage compared with looking at every pair."""

import random
from pathlib import Path

import numpy as np
import pytest

from puna.data.dedup.components import UP
from puna.data.dedup.containment import SHINGLE
from puna.data.dedup.edges import BAND, PAIR
from puna.data.dedup.exact import EXACT
from puna.data.dedup.minhash import band_keys, signature
from puna.data.dedup.similar import sketch_type
from puna.data.numbers import document_number
from puna.data.stages import duplicates
from puna.data.stages.duplicates import Contained, Exact, Keys, Near, Shared, key_makers, read_task
from puna.data.stages.lines import Clean, Lines
from puna.data.stages.pairs import PAIRS, UPWARD, read_pairs
from puna.data.stages.read import Read
from puna.data.tasks.rows import partition_of, read_rows

TYPES = {"exact": EXACT, "near": BAND, "sketch": sketch_type(112), "contained": SHINGLE}
ALL = {"near": {"sources": ["a", "b"]}, "contained": {"sources": ["a", "b"], "sample": 2}}


def number(source: int, file: int, record: int, *, heldout: bool = False) -> int:
    return document_number(heldout=heldout, source=source, file=file, record=record)


def keys_of(reads: list[Read]) -> tuple[Keys, ...]:
    """The keys of the documents, written."""
    keys = tuple(Keys(work=read.work, cleaned=read) for read in reads)
    for task in keys:
        task.run()
    return keys


def found_by(tasks: list) -> list[tuple[int, int]]:
    """What tasks find, all together; each in its own partition."""
    for task in tasks:
        task.run()
        own = read_pairs(task)["number"].copy()
        assert isinstance(task, Exact) or set(partition_of(own, len(tasks))) <= {task.partition}
    return sorted(pair for task in tasks for pair in read_pairs(task).tolist())


def book(seed: int, words: int = 2000) -> str:
    rng = random.Random(seed)
    return " ".join(f"w{rng.randrange(10**6)}" for _ in range(words))


@pytest.mark.parametrize("partitions", [1, 3])
@pytest.mark.parametrize("exact", ["across", "within"])
def test_of_equal_texts_the_first_one_stays(read_texts, exact: str, partitions: int):
    """Held-out text is the first, then the order of sources, files and records."""
    texts = {
        "a": {"1.jsonl": ["one", "two", "one"], "held.jsonl": ["two"]},
        "b": {"1.jsonl": ["one", "three", "three"]},
    }
    keys = keys_of(read_texts(texts, partitions=partitions, dedup={"exact": exact}))
    tasks = [Exact(work=keys[0].work, keys=keys, partition=partition) for partition in range(partitions)]
    first = number(0, 0, 0)
    expected = {
        number(0, 0, 1): number(0, 1, 0, heldout=True),
        number(0, 0, 2): first,
        number(1, 0, 2): number(1, 0, 1),
    }
    if exact == "across":
        expected[number(1, 0, 0)] = first
    assert found_by(tasks) == sorted(expected.items())
    assert {task.reason for task in tasks} == {"duplicate"}


def test_a_source_has_the_keys_that_something_compares(read_texts):
    dedup = {"exact": "none", "near": {"sources": ["a"]}, "contained": {"sources": ["a", "b"]}}
    (read, *_) = read_texts({"a": {"1.jsonl": ["x"]}, "b": {"1.jsonl": ["x"]}, "c": {"1.jsonl": ["x"]}}, dedup=dedup)
    kinds = {source: [maker.kind for maker in key_makers(source, read.data)] for source in "abc"}
    assert kinds == {"a": ["near", "sketch", "contained"], "b": ["contained"], "c": []}


def test_keys_of_a_chunk_that_are_there_are_not_made_again(read_texts, monkeypatch: pytest.MonkeyPatch):
    (read,) = read_texts({"a": {"1.jsonl": ["one", "two", "three"]}}, chunk_bytes=1)
    (keys,) = keys_of([read])
    assert sorted(keys.hashes()) == [f"exact-{n:05d}.{end}" for n in range(3) for end in ("index.json", "rows")]
    (keys.directory / "task.json").unlink()
    for path in keys.directory.glob("exact-00001.*"):
        path.unlink()
    asked: list[str] = []
    text_key = duplicates.text_key
    monkeypatch.setattr(duplicates, "text_key", lambda text: asked.append(text) or text_key(text))
    before = {path.name: path.stat().st_ino for path in keys.directory.iterdir()}
    keys.run()
    assert asked == ["two"]
    assert {name for name, inode in before.items() if (keys.directory / name).stat().st_ino == inode} >= {
        f"exact-{n:05d}.{end}" for n in (0, 2) for end in ("index.json", "rows")
    }
    rows = np.concatenate([read_rows([keys], "exact", part, EXACT) for part in range(read.data.partitions)])
    assert sorted(rows["number"].tolist()) == [number(0, 0, record) for record in range(3)]


@pytest.mark.parametrize("kind", TYPES)
def test_how_many_documents_are_joined_at_one_time_changes_no_byte(
    read_texts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
):
    (read,) = read_texts({"a": {"1.jsonl": [book(n, 300) for n in range(5)]}, "b": {"1.jsonl": ["x"]}}, dedup=ALL)[:1]
    (maker,) = [maker for maker in key_makers("a", read.data) if maker.kind == kind]
    written = []
    for at_once in (4096, 2):
        monkeypatch.setattr(duplicates, "_JOIN_DOCUMENTS", at_once)
        for document in range(5):
            maker.add(document, book(document, 300))
        maker.write(tmp_path / str(at_once), 0, 3)
        written.append(
            [(tmp_path / str(at_once) / f"{kind}-00000.{end}").read_bytes() for end in ("rows", "index.json")]
        )
    assert written[0] == written[1]
    assert len(written[0][0]) >= 5 * TYPES[kind].itemsize
    maker.write(tmp_path / "none", 0, 3)
    assert (tmp_path / "none" / f"{kind}-00000.rows").read_bytes() == b"", "it begins anew"


@pytest.mark.parametrize("partitions", [1, 4])
def test_documents_that_share_a_band_meet(read_texts, partitions: int):
    """Of five versions of a text, each with some words changed, and two others; compared pair by pair."""
    words = book(0, 400).split()
    texts = [book(1), book(2)]
    for version in range(5):
        rng = random.Random(version)
        texts.append(" ".join(word if rng.random() > 0.01 * version else "else" for word in words))
    reads = read_texts(
        {"a": {"1.jsonl": texts[:4]}, "b": {"1.jsonl": texts[4:]}}, dedup=ALL, partitions=partitions
    )  # fmt: skip
    keys = keys_of(reads)
    tasks = [Near(work=keys[0].work, keys=keys, partition=partition) for partition in range(partitions)]
    for task in tasks:
        task.run()
    rules = reads[0].data.dedup.near
    bands = {
        number(source, 0, record): set(band_keys(signature(text, rules.ngram, rules.bands * rules.rows), rules.bands))
        for source, part in enumerate((texts[:4], texts[4:])) for record, text in enumerate(part)
    }  # fmt: skip
    lowest = {key: min(of for of, keys in bands.items() if key in keys) for keys in bands.values() for key in keys}
    expected = {(of, lowest[key]) for of, keys in bands.items() for key in keys if lowest[key] < of}
    down, up = (
        {tuple(row) for part in range(partitions) for row in read_rows(tasks, name, part, dtype).tolist()}
        for name, dtype in ((PAIRS, PAIR), (UPWARD, UP))
    )
    assert down == expected
    assert up == {(kept, goes) for goes, kept in expected}
    assert len(expected) >= 2


def contained_in(reads: list[Read], gone: list) -> list[tuple[int, int]]:
    keys = keys_of(reads)
    parts = range(reads[0].data.partitions)
    shared = tuple(Shared(work=keys[0].work, keys=keys, partition=part) for part in parts)
    for task in shared:
        task.run()
        assert task.results() == {"shingles_in_too_many": 0}
    return found_by([Contained(work=keys[0].work, counted=shared, gone=tuple(gone), partition=part) for part in parts])


@pytest.mark.parametrize("partitions", [1, 3])
def test_a_book_that_lies_in_another_goes_unless_the_other_one_goes(read_texts, wrote, partitions: int):
    whole, other = book(1), book(2)
    words = whole.split()
    texts = {
        "a": {"1.jsonl": [" ".join(words[:800]), other]},
        "b": {"1.jsonl": [whole, " ".join(words[500:1500]) + " " + " ".join(other.split()[:900])]},
    }
    reads = read_texts(texts, dedup=ALL, partitions=partitions)
    assert contained_in(reads, []) == [(number(0, 0, 0), number(1, 0, 0))]
    rows = np.array([(number(1, 0, 0), 0)], dtype=PAIR)
    gone = wrote("gone", lambda task: duplicates.write_pairs(task, rows))
    assert contained_in(reads, [gone]) == []
    less = read_texts(texts, dedup=ALL | {"contained": ALL["contained"] | {"threshold": 0.4}}, partitions=partitions)
    goes = [one for one, _ in contained_in(less, [])]
    assert goes == [number(0, 0, 0), number(1, 0, 1)]


def test_a_task_is_another_one_where_what_it_finds_would_be(read_texts):
    texts = {"a": {"1.jsonl": ["x"]}, "b": {"1.jsonl": ["y"]}}
    names = set()
    for exact in ("across", "within"):
        reads = read_texts(texts, dedup=ALL | {"exact": exact}, partitions=2)
        keys = tuple(Keys(work=read.work, cleaned=read) for read in reads)
        for kind in (Exact, Near, Shared):
            for part in range(2):
                names.add(kind(work=keys[0].work, keys=keys, partition=part).directory)
    # Whether sources are compared with each other decides the equal ones alone.
    assert len(names) == 2 * 2 + 2 + 2


def test_the_task_that_read_is_found_behind_the_one_that_cleaned(read_texts):
    (read,) = read_texts({"a": {"1.jsonl": ["x"]}}, clean=["lines"])
    clean = Clean(work=read.work, read=read, lines=(Lines(work=read.work, reads=(read,), partition=0),))
    assert read_task(read) is read
    assert read_task(clean) is read

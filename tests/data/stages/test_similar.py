"""Groups of near duplicates through the whole build: the figures of the record, and what a least similarity keeps."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from puna.config.recipe import Recipe
from puna.core.layout import DataDir
from puna.core.records import read_record
from puna.data.stages.plan import build_documents


def window(first: int) -> str:
    return " ".join(f"w{number}" for number in range(first, first + 60))


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """A chain over two sources and several tasks: each document resembles its neighbours and no other one."""
    sources = {}
    for name, shift in (("a", 0), ("b", 2)):
        (folder := tmp_path / "in" / name).mkdir(parents=True)
        for part in range(4):
            texts = [window(4 * (10 * part + at) + shift) for at in range(10)]
            texts += [f"held out {name} {part}", f"own {name} {part}"]
            lines = [json.dumps({"id": "held" if "held" in text else "", "text": text}) for text in texts]
            (folder / f"{part}.jsonl").write_text("\n".join(lines))
        sources[name] = {"path": str(folder), "include": ["*"], "format": "jsonl", "heldout_pattern": "held$"}
    data = {"sources": sources, "task_bytes": 1, "partitions": 3, "dedup": {"near": {"sources": ["a", "b"]}}}
    return Recipe.model_validate({"name": "chain", "data": data, "mixture": {"a": 1.0, "b": 1.0}})


def test_a_chain_over_sources_and_tasks_is_told_with_its_size_and_its_least_like_member(recipe: Recipe, out: DataDir):
    build_documents(recipe, out)
    record = read_record(out.documents / "record.json")
    assert record is not None
    near = record["results"]["a"]["near"]
    assert near["sizes"] == {"80": {"0": 1}}
    assert sum(near["like"].values()) == 79
    assert "near" not in record["results"]["b"]
    dropped = [record["results"][name]["steps"]["dedup"]["dropped"]["near_duplicate"]["documents"] for name in "ab"]
    assert dropped == [39, 40]


def test_with_a_least_similarity_what_is_unlike_stays(recipe: Recipe, out: DataDir, changed, lines):
    build_documents(changed(recipe, dedup__near__least=0.5), out)
    record = read_record(out.documents / "record.json")
    assert record is not None
    texts = [line["text"] for name in "ab" for line in lines(name, "train")]
    kept = [int(text.split()[0][1:]) for text in texts if text.startswith("w")]
    gone = [line for name in "ab" for line in lines(name, "dropped")]
    assert len(kept) + len(gone) == 80
    assert len(kept) == record["results"]["a"]["near"]["stay"] + 1
    assert 5 < len(kept) < 25
    order = sorted(kept)
    # Windows of 60 words that begin 14 words apart share 42 of 70 5-grams.
    assert min(second - first for first, second in pairwise(order)) >= 14

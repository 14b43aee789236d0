"""The seven sources of LLaMA from their raw formats, a few real documents of each, through the whole build."""

import json
from pathlib import Path

import pytest

from puna.config.recipe import Recipe
from puna.core.layout import DataDir
from puna.data.documents import documents_of
from puna.data.stages.build import build_data
from puna.shards.shards import TokenShards

SEVEN = ("common_crawl", "c4", "github", "wikipedia", "books", "arxiv", "stackexchange")


@pytest.fixture
def seven(real, tmp_path: Path) -> Recipe:
    """A recipe of the real files beside the project, and of Python's library for code."""
    root = real("README.md").parent
    sources = {
        "common_crawl": {
            "path": f"{root}/common_crawl", "include": ["*.wet.txt", "*.wet.gz"], "format": "wet",
            "heldout_pattern": "27dccd", "clean": ["lines", "language", "gopher-quality", "gopher-repetition"],
        },
        "c4": {
            "path": f"{root}/eval/gsm8k", "include": ["train.jsonl.gz"], "format": "jsonl", "text_field": "question",
            "clean": ["c4", "decontaminate"], "heldout_fraction": 0.05,
        },
        "github": {
            "kind": "python-stdlib", "include": ["json/*.py", "email/*.py"], "format": "code", "clean": ["code"],
            "heldout_fraction": 0.1,
        },
        "wikipedia": {
            "path": f"{root}/wikipedia", "include": ["*.bz2"], "format": "wikipedia", "heldout_fraction": 0.05,
        },
        "books": {
            "path": f"{root}/books", "include": ["*.txt.gz"], "format": "gutenberg", "heldout_pattern": "moby",
        },
        "arxiv": {
            "path": f"{root}/arxiv", "include": ["**/*.tar.gz"], "format": "arxiv", "heldout_pattern": "dnest",
        },
        "stackexchange": {
            "path": f"{root}/stackexchange", "include": ["*Posts.xml.gz"], "format": "stackexchange", "sites": 28,
            "clean": ["pii"], "heldout_fraction": 0.05,
        },
    }  # fmt: skip
    rules = {
        "lines": {"min_chars": 20}, "language": {"keep": []}, "gopher_quality": {"min_words": 5},
        "code": {"licences": []}, "decontaminate": {"sets": {"gsm8k": f"{root}/eval/gsm8k/test.jsonl.gz"}},
    }  # fmt: skip
    return Recipe.model_validate(
        {
            "name": "seven",
            "data": {
                "sources": sources, "rules": rules, "keep_dropped": True,
                "dedup": {"near": {"sources": list(SEVEN[1:4])}, "contained": {"sources": ["books"]}},
            },
            "mixture": dict(zip(SEVEN, (67.0, 15.0, 4.5, 4.5, 4.5, 2.5, 2.0), strict=True)),
            "model": {"dim": 32, "n_layers": 1, "n_heads": 2, "n_kv_heads": 2, "vocab_size": 1000, "context": 64},
            "train": {"tokens": 64_000, "batch_tokens": 6400, "micro_batch_tokens": 6400},
            "optim": {"warmup_steps": 1},
        }
    )  # fmt: skip


@pytest.mark.e2e
def test_seven_raw_formats_become_shards_and_a_card(seven: Recipe, out: DataDir, lines):
    build_data(seven, out, force=False)
    card = json.loads(out.card.read_text())
    assert [source["name"] for source in card["sources"]] == list(SEVEN)
    for name in SEVEN:
        for split in ("train", "heldout"):
            documents = list(documents_of(out, name, split))
            assert documents
            assert TokenShards.open(out.shards / name / split, verify=True).documents == len(documents)
    results = json.loads((out.documents / "record.json").read_text())["results"]
    for name, counts in results.items():
        steps = counts["steps"].values()
        dropped = sum(row["documents"] for step in steps for row in step.get("dropped", {}).values())
        assert dropped == len(lines(name, "dropped"))
        first = counts["steps"]["read"]
        records = first["kept"]["documents"] + sum(row["documents"] for row in first.get("dropped", {}).values())
        assert records == dropped + counts["train"]["documents"] + counts["heldout"]["documents"]
    assert results["wikipedia"]["steps"]["read"]["kept"]["documents"] == 106
    assert results["stackexchange"]["steps"]["read"]["kept"]["documents"] == 257
    assert set(results["common_crawl"]["languages"]) == {"en", "es", "ru"}
    # Questions of the training set that share thirteen words with one of the test set.
    assert results["c4"]["steps"]["decontaminate"]["dropped"]["decontaminate.overlap"]["documents"] == 2
    (paper,) = documents_of(out, "arxiv", "heldout")
    assert "\\section" in paper.text[:200]
    assert paper.url == "https://arxiv.org/abs/1606.03757"

"""What a card says of a build: counted again by hand from the files."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from shard_files import write_shards

from puna.config.recipe import Recipe
from puna.core.errors import DataError
from puna.core.files import sha256_file, write_json
from puna.core.layout import DataDir
from puna.core.schema.card import CardFacts
from puna.data.card import facts
from puna.data.card.facts import PAPER
from puna.data.document_files import LinesWriter
from puna.shards.shards import TokenShards
from puna.shards.writer import Encoded
from puna.tokenizer.tokenizer import Tokenizer

SETS = {"gsm8k": "eval/gsm8k.jsonl", "mbpp": "eval/mbpp.jsonl"}


@pytest.fixture
def recipe(shelf: Path) -> Recipe:
    source = {"kind": "files", "path": str(shelf / "poems"), "include": ["**/*.txt"], "heldout_pattern": "^kept/"}
    return Recipe.model_validate(
        {
            "name": "one",
            "data": {
                "sources": {
                    "books": source | {"licence": "CC0", "clean": ["gopher-quality", "decontaminate"]},
                    "other": source,
                },
                "rules": {"decontaminate": {"sets": SETS}},
            },
            "mixture": {"books": 1.0, "other": 1.0},
            "model": {"dim": 32, "n_layers": 1, "n_heads": 2, "n_kv_heads": 2, "vocab_size": 330, "context": 16},
            "train": {"tokens": 10240, "batch_tokens": 1024, "micro_batch_tokens": 1024},
            "optim": {"warmup_steps": 1},
        }
    )


def _documents(out: DataDir, report: list[list[dict]]) -> dict:
    """The documents' directory as far as the card reads it, and its record."""
    listing: dict = {"books": {"report": []}, "other": {"report": []}}
    for number, rows in enumerate(report):
        path = f"books/report/{number:05d}.jsonl.zst"
        with LinesWriter(out.documents / path) as file:
            for row in rows:
                file.write(row)
        digest = sha256_file(out.documents / path)
        listing["books"]["report"].append({"path": path, "sha256": digest, "bytes": 1, "made_by": "x"})
    write_json(out.documents / "files.json", listing)
    kept = {"documents": 5, "bytes": 500}
    overlap = {"decontaminate.overlap": {"documents": 2, "bytes": 90}}
    steps = {"read": {"kept": kept}, "decontaminate": {"kept": kept, "dropped": overlap}, "dedup": {"kept": kept}}
    record = {
        "schema": 1, "stage": "documents", "config": {}, "started": "2026-01-31T12:00:00+00:00",
        "packages": {"numpy": "2"}, "inputs": {"books": "a shelf", "other": "", "files": "f" * 64},
        "outputs": {"files.json": sha256_file(out.documents / "files.json")},
        "results": {"books": {"steps": steps, "years": {"1999": kept}}, "other": {}},
    }  # fmt: skip
    write_json(out.documents / "record.json", record)
    return record


@pytest.fixture
def shards(out: DataDir, tokenizer: Tokenizer) -> dict[str, TokenShards]:
    return _write_shards(out, tokenizer)


def _write_shards(out: DataDir, tokenizer: Tokenizer) -> dict[str, TokenShards]:
    for source in ("books", "other"):
        for split, words in (("train", "burning bright tyger "), ("heldout", "bright frame ")):
            texts = [f"{words * n}{n}" for n in range(1, 9)]
            encoded = [
                Encoded(f"{n}", f"{n}", tokenizer.encode_batch([text])[0], len(text)) for n, text in enumerate(texts)
            ]
            write_shards(
                out.shards / source / split, encoded, tokenizer, source=source, split=split, shard_tokens=100,
                documents_sha256="d",
            )  # fmt: skip
    return {split: TokenShards.open(out.shards / "books" / split) for split in ("train", "heldout")}


def make_card(*arguments: Any) -> dict[str, Any]:
    """The card as it is written."""
    card = facts.make_card(*arguments)
    assert isinstance(card, CardFacts)
    return card.model_dump(mode="json", by_alias=True)


def _row(document: str, name: str, row: int, file: str = "a") -> dict:
    return {"source": "books", "id": document, "set": name, "file": file, "row": row, "ngrams": 1, "words": 13}


def test_counts_are_what_the_shards_hold(recipe: Recipe, out: DataDir, tokenizer: Tokenizer, shards: dict):
    books = make_card(recipe, out, _documents(out, []), tokenizer)["sources"][0]
    assert list(books["splits"]) == ["train", "heldout"]
    for split, counts in books["splits"].items():
        assert counts["tokens"] == shards[split].tokens
        assert counts["documents"] == 8
        assert counts["bytes"] == shards[split].text_bytes
        assert counts["bytes_per_token"] == pytest.approx(shards[split].text_bytes / shards[split].tokens)


def test_unigram_bits_equal_a_count_by_hand(recipe: Recipe, out: DataDir, any_tokenizer: Tokenizer):
    shards = _write_shards(out, any_tokenizer)
    card = make_card(recipe, out, _documents(out, []), any_tokenizer)
    books = card["sources"][0]
    assert card["tokenizer"] == {
        "kind": any_tokenizer.kind,
        "vocab_size": 330,
        "sha256": any_tokenizer.sha256,
        "text": {},
    }
    train, heldout = shards["train"], shards["heldout"]
    seen = Counter(train.read(0, train.tokens).tolist())
    # <s> says nothing; the token that begins and ends texts does.
    passed_over = 1 if any_tokenizer.kind == "sentencepiece" else None
    total = sum(seen[token] + 1 for token in range(330) if token != passed_over)
    tokens = [token for token in heldout.read(0, heldout.tokens).tolist() if token != passed_over]
    bits = -sum(math.log2((seen[token] + 1) / total) for token in tokens)
    assert books["unigram_bits_per_byte"] == pytest.approx(bits / heldout.text_bytes)


def test_a_document_counts_once_for_each_evaluation_set_that_it_overlaps_with(
    recipe: Recipe, out: DataDir, tokenizer: Tokenizer, shards: dict
):
    report = [
        [_row("a", "gsm8k", 1), _row("a", "gsm8k", 2), _row("a", "mbpp", 1), _row("b", "gsm8k", 1)],
        [{"rule": "mojibake", "id": "e"}, _row("c", "gsm8k", 1, "other"), _row("d", "gsm8k", 2)],
    ]
    documents = _documents(out, report)
    hashes = {"test.jsonl": "0" * 64}
    documents["results"]["books"]["evaluation_sets"] = {
        "gsm8k": {"rows": 9, "compared": 5, "whole": 1, "ngrams": 70, "sha256": hashes}
    }
    books, other = make_card(recipe, out, documents, tokenizer)["sources"]
    assert books["evaluation_sets"] == {
        "gsm8k": {"documents": 4, "rows": 3, "of": 9, "compared": 5, "whole": 1, "sha256": hashes},
        "mbpp": {"documents": 1, "rows": 1, "of": 0, "compared": 0, "whole": 0, "sha256": {}},
    }
    assert other["evaluation_sets"] is None


def test_no_overlap_is_told_set_by_set(recipe: Recipe, out: DataDir, tokenizer: Tokenizer, shards: dict):
    books = make_card(recipe, out, _documents(out, []), tokenizer)["sources"][0]
    nothing = {"documents": 0, "rows": 0, "of": 0, "compared": 0, "whole": 0, "sha256": {}}
    assert books["evaluation_sets"] == dict.fromkeys(SETS, nothing)


def test_rules_are_told_with_thresholds_meanings_and_citations(
    recipe: Recipe, out: DataDir, tokenizer: Tokenizer, shards: dict
):
    card = make_card(recipe, out, _documents(out, []), tokenizer)
    assert list(card["rules"]) == ["gopher-quality", "decontaminate"]
    quality = card["rules"]["gopher-quality"]
    assert quality["about"] == "The quality rules of Gopher (Rae et al. 2021, appendix A.1.1)."
    assert quality["thresholds"][0] == {"name": "min_words", "value": 50, "meaning": "Fewest words of a document."}
    assert len(quality["thresholds"]) == len(recipe.data.rules.gopher_quality.model_dump())
    assert all(row["meaning"] for rule in card["rules"].values() for row in rule["thresholds"])
    assert card["reasons"].keys() == {"decontaminate.overlap"}


def test_the_papers_row_stands_beside_a_source_that_has_its_name(
    recipe: Recipe, out: DataDir, tokenizer: Tokenizer, shards: dict
):
    books, other = make_card(recipe, out, _documents(out, []), tokenizer)["sources"]
    assert (books["paper"], other["paper"]) == ({"share": 0.045, "epochs": 2.23}, None)
    assert sum(row["share"] for row in PAPER.values()) == pytest.approx(1)


def test_the_card_says_where_text_comes_from_and_how_it_was_made(
    recipe: Recipe, out: DataDir, tokenizer: Tokenizer, shards: dict
):
    card = make_card(recipe, out, _documents(out, []), tokenizer)
    books = card["sources"][0]
    assert (books["licence"], books["version"], books["format"]) == ("CC0", "a shelf", "text")
    assert books["clean"] == ["gopher-quality", "decontaminate"]
    assert card["build"]["started"] == "2026-01-31T12:00:00+00:00"
    assert card["build"]["files_sha256"] == "f" * 64
    another = Recipe.model_validate(recipe.model_dump() | {"seed": 1})
    other = make_card(another, out, _documents(out, []), tokenizer)
    assert card["build"]["recipe_sha256"] != other["build"]["recipe_sha256"]


def test_a_damaged_report_is_named(recipe: Recipe, out: DataDir, tokenizer: Tokenizer, shards: dict):
    documents = _documents(out, [[_row("a", "gsm8k", 1)]])
    (out.documents / "books/report/00000.jsonl.zst").write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"books/report/00000\.jsonl\.zst: line 1 is damaged"):
        make_card(recipe, out, documents, tokenizer)

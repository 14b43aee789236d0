"""The card of a build: written whole, read with care, and made again for each mixture."""

import json
from pathlib import Path

import pytest
from shard_files import write_shards

from puna.config.load import load_recipe
from puna.config.recipe import Recipe
from puna.core.errors import DataError, TokenizerError
from puna.core.files import sha256_file, write_json
from puna.core.layout import DataDir
from puna.core.records import Record, read_record
from puna.data.card.card import finish_build
from puna.shards.card import card_json, read_card
from puna.shards.writer import Encoded
from puna.tokenizer.tokenizer import Tokenizer

TEXTS = {"poems": "Tyger Tyger, burning bright", "code": "def frame(symmetry): return symmetry"}


@pytest.fixture
def built(recipe: Recipe, out: DataDir, tokenizer: Tokenizer) -> DataDir:
    """What the stages before the card leave, made by hand."""
    out.tokenizer.mkdir(parents=True)
    (out.tokenizer / "tokenizer.model").write_bytes(tokenizer.content)
    results, listing = {}, {}
    for source, text in TEXTS.items():
        for split, documents in (("train", 6), ("heldout", 2)):
            encoded = [
                Encoded(f"{n}.txt", f"{n}", tokenizer.encode_batch([f"{text} {n}"])[0], len(f"{text} {n}"))
                for n in range(documents)
            ]
            write_shards(
                out.shards / source / split, encoded, tokenizer, source=source, split=split, shard_tokens=200,
                documents_sha256="d",
            )  # fmt: skip
        kept = {"documents": 8, "bytes": 8 * len(text) + 8}
        read = {"kept": kept, "dropped": {"empty": {"documents": 1, "bytes": 0}}}
        results[source] = {"steps": {"read": read, "dedup": {"kept": kept}}}
        listing[source] = {"report": []}
    write_json(out.documents / "files.json", listing)
    record = Record("documents", config=recipe.data.model_dump())
    record.inputs = {"poems": "/shelf/poems", "code": "/shelf/code", "files": "f" * 64}
    record.outputs = {"files.json": sha256_file(out.documents / "files.json")}
    record.results = results
    record.write(out.documents / "record.json")
    finish_build(recipe, out)
    return out


def test_the_record_comes_last_and_its_hashes_prove_the_build(recipe: Recipe, built: DataDir, tokenizer: Tokenizer):
    record = read_record(built.record)
    assert record is not None
    assert record["config"] == recipe.data.model_dump()
    assert record["inputs"]["tokenizer"] == tokenizer.sha256
    assert len(record["outputs"]) == 4
    for name, digest in record["outputs"].items():
        assert sha256_file(built.shards / name) == digest
    assert load_recipe(str(built.config)).recipe == recipe


def test_the_card_is_there_for_programs_and_in_two_forms_for_people(recipe: Recipe, built: DataDir):
    assert read_card(built).name == "shelf"
    assert built.card.with_suffix(".md").read_text().startswith("# Data card: shelf\n")
    assert built.card.with_suffix(".html").read_text().startswith("<!DOCTYPE html>")


def test_the_same_build_gives_the_same_pages(recipe: Recipe, built: DataDir):
    pages = [built.card.with_suffix(suffix) for suffix in (".md", ".html")]
    before = [page.read_bytes() for page in pages]
    finish_build(recipe, built)
    assert [page.read_bytes() for page in pages] == before


def test_a_build_that_cannot_be_finished_has_no_record(recipe: Recipe, built: DataDir):
    built.record.unlink()
    for path in (built.shards / "code" / "heldout").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"code/heldout: holds no token shards"):
        finish_build(recipe, built)
    (built.tokenizer / "tokenizer.model").write_bytes(b"damaged")
    with pytest.raises(TokenizerError, match=r"tokenizer\.model"):
        finish_build(recipe, built)
    (built.documents / "record.json").unlink()
    with pytest.raises(DataError, match="no documents are here"):
        finish_build(recipe, built)
    assert not built.record.exists()


def test_the_example_that_the_pages_are_tested_with_has_the_fields_of_a_card(built: DataDir):
    example = json.loads(Path(__file__).with_name("example_card.json").read_text())
    card = card_json(read_card(built))
    assert example.keys() == card.keys()
    for part in ("build", "run", "dedup", "tokenizer"):
        assert example[part].keys() == card[part].keys()
    for one, other in zip(example["sources"], card["sources"], strict=False):
        assert one.keys() == other.keys()
        assert one["steps"][0].keys() == other["steps"][0].keys()

"""The card of a build: written whole, read with care, and made again for each mixture."""

import json
from pathlib import Path

import numpy as np
import pytest

from puna.config.load import load_recipe
from puna.config.recipe import Recipe
from puna.core.errors import DataError, TokenizerError
from puna.core.files import sha256_file, write_json
from puna.core.layout import DataDir
from puna.core.records import Record, read_record
from puna.data.card.card import finish_build, read_card, with_mixture
from puna.shards.loader import Loader
from puna.shards.shards import TokenShards
from puna.shards.writer import Encoded, write_shards
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
    assert read_card(built)["name"] == "shelf"
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


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}", '{"schema": 1}', "3"])
def test_a_card_that_is_missing_damaged_or_of_another_format_is_named(out: DataDir, content: str | None):
    out.root.mkdir(parents=True)
    if content is not None:
        out.card.write_text(content)
    with pytest.raises(DataError, match=r"card\.json: (is missing or damaged|card format 1, this version)"):
        read_card(out)


def test_planned_shares_are_the_recipes(built: DataDir):
    poems, code = read_card(built)["sources"]
    assert (poems["share"], code["share"]) == (0.75, 0.25)
    assert poems["run_tokens"] == 7680
    assert poems["epochs"] == pytest.approx(7680 / poems["splits"]["train"]["tokens"])
    assert code["epochs"] == pytest.approx(2560 / code["splits"]["train"]["tokens"])
    assert (poems["max_epochs"], code["max_epochs"]) == (None, None)


def test_built_shares_are_those_of_the_order_that_training_reads(recipe: Recipe, built: DataDir):
    loader = Loader({name: TokenShards.open(built.shards / name / "train") for name in TEXTS}, recipe)
    sequences = recipe.train.tokens // recipe.model.context
    seen = np.bincount(loader.labels(0, sequences))
    for label, source in enumerate(read_card(built)["sources"]):
        assert loader.names[label] == source["name"]
        assert source["built"]["tokens"] == seen[label] * recipe.model.context
        assert source["built"]["share"] == seen[label] / sequences
        assert source["built"]["epochs"] == loader.epochs(sequences)[source["name"]]


def test_the_card_counts_the_stages_of_the_run(recipe: Recipe, built: DataDir):
    stages = [{"from_tokens": 4096, "mixture": {"code": 2.0}}, {"from_tokens": 9216, "mixture": recipe.mixture}]
    staged = Recipe.model_validate(recipe.model_dump() | {"stages": stages, "max_epochs": {"code": 9.0}})
    card = with_mixture(read_card(built), staged)
    poems, code = card["sources"]
    assert poems["run_tokens"] == 0.75 * (4096 + 1024)
    assert code["run_tokens"] == 0.25 * (4096 + 1024) + 5120
    assert poems["share"] == poems["run_tokens"] / 10240
    assert code["epochs"] == pytest.approx(code["run_tokens"] / code["splits"]["train"]["tokens"])
    assert code["built"]["tokens"] == pytest.approx(code["run_tokens"], abs=600)
    assert code["max_epochs"] == 9.0
    assert card["run"] == {"tokens": 10240, "stages": 3, "refused": ""}


def test_a_mixture_that_no_run_can_have_leaves_the_card_without_an_order(recipe: Recipe, built: DataDir):
    tiny = Recipe.model_validate(recipe.model_dump() | {"mixture": {"poems": 1.0, "code": 1e-9}})
    card = with_mixture(read_card(built), tiny)
    assert [source["built"] for source in card["sources"]] == [None, None]
    assert "less than one sequence" in card["run"]["refused"]


def test_a_source_without_a_whole_sequence_has_no_epochs_as_built(recipe: Recipe, built: DataDir):
    card = read_card(built)
    card["sources"][1]["splits"]["train"]["tokens"] = 16
    assert with_mixture(card, recipe)["sources"][1]["built"] is None
    card["sources"][1]["splits"]["train"]["tokens"] = 17
    assert with_mixture(card, recipe)["sources"][1]["built"] is not None


def test_the_example_that_the_pages_are_tested_with_has_the_fields_of_a_card(built: DataDir):
    example = json.loads(Path(__file__).with_name("example_card.json").read_text())
    card = read_card(built)
    assert example.keys() == card.keys()
    for part in ("build", "run", "dedup", "tokenizer"):
        assert example[part].keys() == card[part].keys()
    for one, other in zip(example["sources"], card["sources"], strict=False):
        assert one.keys() == other.keys()
        assert one["steps"][0].keys() == other["steps"][0].keys()

import json
import math
from collections import Counter
from pathlib import Path

import pytest

from puna.config.load import load_recipe
from puna.config.recipe import Recipe
from puna.core.errors import DataError, TokenizerError
from puna.core.files import sha256_file
from puna.core.layout import DataDir
from puna.core.records import read_record
from puna.data.card import finish_build, markdown, with_mixture
from puna.data.documents import build_documents
from puna.data.shards import TokenShards
from puna.data.tokenize import tokenize_documents
from puna.tokenizer.tokenizer import Tokenizer


@pytest.fixture
def built(recipe: Recipe, out: DataDir, tokenizer: Tokenizer, shelf: Path) -> DataDir:
    (shelf / "poems" / "read" / "copy.txt").write_bytes((shelf / "poems" / "kept" / "00.txt").read_bytes())
    (shelf / "poems" / "read" / "empty.txt").write_text("")
    build_documents(recipe, out)
    tokenize_documents(recipe, out, tokenizer, threads=1)
    out.tokenizer.mkdir()
    (out.tokenizer / "tokenizer.model").write_bytes(tokenizer.model_bytes)
    finish_build(recipe, out)
    return out


@pytest.fixture
def card(built: DataDir) -> dict:
    return json.loads(built.card.read_text())


def test_the_card_counts_what_the_shards_hold(built: DataDir, card: dict):
    assert [source["name"] for source in card["sources"]] == ["poems", "code"]
    for source in card["sources"]:
        assert list(source["splits"]) == ["train", "heldout"]
        for split, counts in source["splits"].items():
            shards = TokenShards.open(built.shards / source["name"] / split)
            assert counts["tokens"] == shards.tokens
            assert counts["documents"] == shards.documents
            assert counts["bytes"] == shards.text_bytes
            assert counts["bytes_per_token"] == pytest.approx(shards.text_bytes / shards.tokens)


def test_the_card_says_where_text_comes_from_and_what_was_dropped(card: dict, shelf: Path):
    poems, code = card["sources"]
    assert (poems["licence"], poems["version"]) == ("public | domain", str(shelf / "poems"))
    assert poems["dropped"] == {"duplicate": 1, "empty": 1}
    assert code["dropped"] == {}


def test_the_card_says_how_often_the_run_will_read_each_source(card: dict):
    poems, code = card["sources"]
    assert (poems["share"], code["share"]) == (0.75, 0.25)
    assert poems["run_tokens"] == 7680
    assert poems["epochs"] == pytest.approx(7680 / poems["splits"]["train"]["tokens"])
    assert code["epochs"] == pytest.approx(2560 / code["splits"]["train"]["tokens"])


def test_the_card_counts_the_stages_of_the_run(recipe: Recipe, card: dict):
    stages = [{"from_tokens": 4096, "mixture": {"code": 2.0}}, {"from_tokens": 9216, "mixture": recipe.mixture}]
    staged = Recipe.model_validate(recipe.model_dump() | {"stages": stages})
    poems, code = with_mixture(card, staged)["sources"]
    assert poems["run_tokens"] == 0.75 * (4096 + 1024)
    assert code["run_tokens"] == 0.25 * (4096 + 1024) + 5120
    assert poems["share"] == poems["run_tokens"] / 10240
    assert code["epochs"] == pytest.approx(code["run_tokens"] / code["splits"]["train"]["tokens"])


def test_unigram_bits_equal_a_count_by_hand(built: DataDir, card: dict):
    for source in card["sources"]:
        train, heldout = (TokenShards.open(built.shards / source["name"] / split) for split in ("train", "heldout"))
        seen = Counter(train.read(0, train.tokens).tolist())
        total = sum(seen[token] + 1 for token in range(330) if token != 1)
        tokens = [token for token in heldout.read(0, heldout.tokens).tolist() if token != 1]
        bits = -sum(math.log2((seen[token] + 1) / total) for token in tokens)
        assert source["unigram_bits_per_byte"] == pytest.approx(bits / heldout.text_bytes)


def test_the_markdown_has_whole_tables_whatever_stands_in_their_cells(built: DataDir):
    text = built.card.with_suffix(".md").read_text()
    assert "public \\| domain" in text
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 3
    for table in tables:
        assert len({line.replace("\\|", "").count("|") for line in table}) == 1
    assert "| poems | duplicate | 1 |" in text


def test_the_markdown_warns_of_text_that_is_repeated_too_often(card: dict):
    poems, code = card["sources"]
    poems["epochs"], code["epochs"] = 4.0, 4.6
    text = markdown(card)
    assert "**Warning:** code is repeated 4.6 times" in text
    assert "poems is repeated" not in text


def test_the_record_comes_last_and_its_hashes_prove_the_build(recipe: Recipe, built: DataDir, tokenizer: Tokenizer):
    record = read_record(built.record)
    assert record is not None
    assert record["config"] == recipe.data.model_dump()
    assert record["inputs"]["tokenizer"] == tokenizer.sha256
    assert len(record["outputs"]) == 4
    for name, digest in record["outputs"].items():
        assert sha256_file(built.shards / name) == digest
    assert load_recipe(str(built.config)).recipe == recipe


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

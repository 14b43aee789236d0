import json
from pathlib import Path

import pytest

from puna.config.recipe import Recipe
from puna.core.layout import DataDir
from puna.data.card.blocks import Table
from puna.data.card.learned import learned_blocks, learned_from, learned_warnings
from puna.data.stages.build import train_tokenizer


def test_the_page_shows_what_was_wanted_there_was_and_is_taken():
    card = json.loads(Path(__file__).with_name("example_card.json").read_text())
    table, sentence = learned_blocks(card)
    assert isinstance(table, Table)
    assert table.rows == [
        ["common_crawl", "97.0 %", "92.5 MiB", "838.2 GiB", "92.5 MiB", "97.0 %"],
        ["books", "3.0 %", "2.9 MiB", "2.9 MiB", "2.9 MiB", "3.0 %"],
    ]
    assert isinstance(sentence, str)
    assert learned_warnings(card) == []


def test_a_source_that_gives_less_than_its_share_is_warned_of():
    text = {"books": {"wanted": 2048, "available": 1024, "taken": 1024}}
    assert learned_warnings({"tokenizer": {"text": text}}) == [
        "The tokenizer has learned from all 1.0 KiB of books, of 2.0 KiB that its share of the mixture would be; other "
        "sources have filled up."
    ]


def test_a_build_records_it(recipe: Recipe, out: DataDir):
    assert learned_from(out) == {}
    train_tokenizer(recipe, out, force=False)
    text = learned_from(out)
    assert {*text} == {"poems", "code"}
    assert all(0 < portion["taken"] <= portion["available"] for portion in text.values())
    assert sum(portion["wanted"] for portion in text.values()) == pytest.approx(
        sum(portion["taken"] for portion in text.values()), abs=2
    )

import json
from pathlib import Path

import pytest

from puna.config.recipe import Recipe
from puna.core.layout import DataDir
from puna.data.card.blocks import Table
from puna.data.card.learned import learned_blocks, learned_from
from puna.data.stages.build import train_tokenizer


def test_the_page_shows_what_was_wanted_there_was_and_is_taken():
    card = json.loads(Path(__file__).with_name("example_card.json").read_text())
    table, sentence = learned_blocks(card)
    assert isinstance(table, Table)
    assert table.rows == [
        ["common_crawl", "90.0 %", "85.8 MiB", "838.2 GiB", "92.5 MiB", "97.0 %"],
        ["books", "10.0 %", "9.5 MiB", "2.9 MiB", "2.9 MiB", "3.0 %"],
    ]
    assert isinstance(sentence, str)


def test_a_build_records_it(recipe: Recipe, out: DataDir):
    assert learned_from(out) == {}
    train_tokenizer(recipe, out, force=False)
    text = learned_from(out)
    assert {*text} == {"poems", "code"}
    assert all(0 < portion["taken"] <= portion["available"] for portion in text.values())
    assert sum(portion["wanted"] for portion in text.values()) == pytest.approx(
        sum(portion["taken"] for portion in text.values()), abs=2
    )

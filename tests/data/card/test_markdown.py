"""The Markdown of a card: whole tables, and text of a source that stays text."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from puna.data.card.markdown import markdown


@pytest.fixture
def card() -> dict[str, Any]:
    return json.loads(Path(__file__).with_name("example_card.json").read_text())


def test_tables_are_whole_whatever_stands_in_their_cells(card: dict[str, Any]):
    tables = [block.splitlines() for block in markdown(card).split("\n\n") if block.startswith("|")]
    assert len(tables) > 15
    for table in tables:
        assert len({re.sub(r"\\.", "", line).count("|") for line in table}) == 1
        assert re.fullmatch(r"(\|---:?)+\|", table[1])


def test_figures_are_aligned_to_the_right(card: dict[str, Any]):
    assert "| source | split | documents | text | tokens | bytes/token |\n|---|---|---:|---:|---:|---:|\n" in markdown(
        card
    )


def test_markup_in_a_source_stays_text(card: dict[str, Any]):
    text = markdown(card)
    assert "public domain \\<script\\>alert(1)\\</script\\> \\| \\[x\\](javascript:1) \\`a\\` \\& " in text
    assert not re.search(r"(?<!\\)<script", text)
    assert not re.search(r"(?<!\\)\[x", text)
    assert "\n\\# three sources, made up" in text


def test_a_name_with_a_backtick_or_a_newline_is_not_code(card: dict[str, Any]):
    card["sources"][0]["steps"][0]["dropped"] = {"a`|b\nc": {"documents": 1, "bytes": 0}}
    assert "| a\\`\\|b c |" in markdown(card)


def test_warnings_stand_at_the_top_and_reasons_with_their_meaning(card: dict[str, Any]):
    text = markdown(card)
    assert text.index("**Warning:** common_crawl is repeated 20.8 times") < text.index("\n## ")
    assert "| `c4.few_sentences` | Too few sentences are left" in text


def test_a_card_without_a_description_has_no_empty_paragraph(card: dict[str, Any]):
    card["description"] = ""
    assert "\n\n\n" not in markdown(card)
    assert markdown(card).startswith("# Data card: web\n\n3,638 documents from 3 sources; ")

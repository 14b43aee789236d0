"""What the pages of a card say of examples, from a card made by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from puna.data.card.blocks import Table
from puna.data.card.examples import (
    example_blocks,
    has_examples,
    mixture_blocks,
    size_blocks,
    turns_of,
    what_of,
)
from puna.data.card.html import html
from puna.data.card.markdown import markdown

TEXT = json.loads(Path(__file__).with_name("example_card.json").read_text())
AMOUNT = {"documents": 3, "bytes": 30}
NOTHING = {"documents": 0, "bytes": 0}


def figures(tasks: int) -> dict[str, Any]:
    named = {f"task{number}": AMOUNT for number in range(tasks)}
    most = {"named": named, "others": {"names": 2, "documents": 4, "bytes": 5}, "unknown": NOTHING}
    return {"turns": 120, "answers": 50, "pairs": 0, "tasks": most}


@pytest.fixture
def card() -> dict[str, Any]:
    sources = [
        source
        | {"examples": figures(25 - number), "run_tokens": None, "epochs": None, "built": None, "max_epochs": None}
        | {"unigram_bits_per_byte": None}
        | {"splits": {split: AMOUNT | {"tokens": None, "bytes_per_token": None} for split in ("train", "heldout")}}
        for number, source in enumerate(TEXT["sources"])
    ]
    return TEXT | {"sources": sources, "tokenizer": None, "run": {"tokens": None, "stages": 1, "refused": ""}}


def tables(blocks: list[Any]) -> dict[str, list[list[str]]]:
    return {block.caption: block.rows for block in blocks if isinstance(block, Table)}


def test_examples_are_told_from_text_by_the_tokenizer_that_they_lack(card: dict[str, Any]):
    assert (has_examples(card), what_of(card)) == (True, "example")
    assert (has_examples(TEXT), what_of(TEXT)) == (False, "document")


def test_turns_answers_and_tasks_are_counted_by_source(card: dict[str, Any]):
    count = len(card["sources"])
    assert turns_of(card) == (f"{120 * count}", f"turns, {50 * count} of them answers")
    made, tasks = tables(example_blocks(card)).values()
    name = card["sources"][0]["name"]
    assert made[0] == [name, "6", "0", "120", "50", "20.0"]
    assert tasks[0] == [name, "task0", "3", "30 B"]
    assert tasks[20] == [name, "7 others", "19", "155 B"]


def test_sizes_and_shares_have_no_tokens(card: dict[str, Any]):
    ((*_, sizes),) = [[*tables(size_blocks(card)).values()]]
    assert sizes[:2] == [[card["sources"][0]["name"], split, "3", "30 B"] for split in ("train", "held-out")]
    ((row, *_),) = tables(mixture_blocks(card)).values()
    assert row == [card["sources"][0]["name"], f"{100 * card['sources'][0]['share']:.1f} %", "3", "any"]


def test_both_pages_speak_of_examples_and_not_of_tokens(card: dict[str, Any]):
    for page in (markdown(card), html(card)):
        for words in ("Turns and tasks", "From records to examples", "7 others", "tokens are counted in its run"):
            assert words in page, words
        assert "bytes/token" not in page
        assert "bits per byte" not in page

"""What is shown of a batch is what the model is given."""

import re

import pytest
from tuning import pair, recipe_of, talk

from puna.config.recipe import Recipe
from puna.finetune.examples import SourceExample
from puna.finetune.feed import ExampleFeed
from puna.finetune.plan import Plan
from puna.finetune.show import documents_in, show_batch
from puna.finetune.token_files import Examples
from puna.tokenizer.tokenizer import Tokenizer


@pytest.fixture
def feed(recipe: Recipe, examples: Examples, tokenizer: Tokenizer) -> ExampleFeed:
    return ExampleFeed(Plan(examples, recipe), recipe, tokenizer)


def test_documents_are_read_back_from_the_arrays(feed: ExampleFeed, examples: Examples):
    batch, packs = feed.batch(0, 20), feed.plan.packs(0, 20)
    for row, pack in enumerate(packs):
        shown = [document for document in documents_in(batch, row) if document.tokens]
        for document, ((expected,), number) in zip(shown, zip(examples.read(pack), pack, strict=True), strict=True):
            assert [token.id for token in document.tokens] == expected.ids.tolist()
            assert [token.learned for token in document.tokens] == expected.learned.tolist()
            assert document.positions == (0, expected.positions - 1)
            assert document.source == (number >= 70)


def test_a_batch_is_shown_with_weights_positions_and_counts(write, tokenizer: Tokenizer):
    recipe = recipe_of({"talks": 1.0}, rows=1)
    examples = write(recipe, {"train": [SourceExample("talks", "first", talk("Hello", "Hi.", "You\x1b[31m", "Yes"))]})
    text = show_batch(ExampleFeed(Plan(examples, recipe), recipe, tokenizer), tokenizer)
    assert "  document 0: talks/first, positions 0 to" in text
    lines = [line for line in text.splitlines() if line.startswith("    ")]
    assert lines[0].startswith("    0 | <s>⏎You are helpful.") or lines[0].startswith("    0 | <s><|im_start|>system⏎")
    assert lines[1] == "    1 | Hi.<|im_end|>"
    assert lines[2] == "    0 | ⏎<|im_start|>user⏎You\\x1b[31m<|im_end|>⏎<|im_start|>assistant⏎"
    assert lines[3] == "    1 | Yes<|im_end|>"
    assert re.search(r"\n  padding: positions \d+ to 127\n", text)
    assert "1 of 1 sequences shown, tokens learned: talks 8; the loss of the whole batch is divided by 8" in text


def test_colours_tell_the_weight_of_each_token(feed: ExampleFeed, tokenizer: Tokenizer):
    plain, coloured = (show_batch(feed, tokenizer, number=1, sequences=2, colours=on) for on in (False, True))
    green = "".join(re.findall(r"\x1b\[(?:1;)?32m(.*?)\x1b\[0m", coloured))
    assert green == "".join(re.findall(r"(?m)^    1 \| (.*)$", plain))
    other = "".join(re.findall(r"\x1b\[22?m(.*?)\x1b\[0m", coloured))
    assert other == "".join(re.findall(r"(?m)^    0 \| (.*)$", plain))
    assert "2 of 4 sequences shown" in plain


def test_pairs_are_shown_with_the_preferred_answer_first(write, tokenizer: Tokenizer):
    recipe = recipe_of({"talks": 1.0}, rows=1, preference={})
    examples = write(recipe, {"train": [SourceExample("talks", "first", pair("Hello", "Hi.", "No"))]})
    text = show_batch(ExampleFeed(Plan(examples, recipe), recipe, tokenizer), tokenizer)
    assert re.findall(r"talks/first \((\w+)\)", text) == ["chosen", "rejected"]
    assert re.findall(r"    1 \| (.*)", text) == ["Hi.<|im_end|>", "No<|im_end|>"]
    assert "pairs: talks 1; the loss of the whole batch is divided by 1" in text

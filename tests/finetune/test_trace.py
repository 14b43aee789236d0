"""A step of a tuned run is traced to the examples that the arrays of its batch hold."""

from pathlib import Path

import pytest
from pair_runs import PairRun
from tuning import TEMPLATE

from puna.config.recipe import Recipe
from puna.core.errors import DataError
from puna.core.files import sha256_json, write_text
from puna.core.layout import RunDir
from puna.finetune.feed import ExampleFeed
from puna.finetune.plan import Plan
from puna.finetune.show import documents_in
from puna.finetune.token_files import Examples
from puna.finetune.trace import Traced, trace
from puna.tokenizer.chat_template import CHAT_TEMPLATE
from puna.tokenizer.tokenizer import Tokenizer


def shown(feed: ExampleFeed, number: int) -> list[Traced]:
    """The same from the arrays that the model is given."""
    batch, packs = feed.batch(number * feed.rows, feed.rows), feed.plan.packs(number * feed.rows, feed.rows)
    width = feed.examples.width
    return [
        Traced(
            number * feed.rows + row, feed.names[document.source],
            feed.examples.id(packs[row][document.number // width]),
            ("chosen", "rejected")[document.number % width] if width > 1 else "", document.first,
            document.last - document.first + 1, sum(token.learned for token in document.tokens),
        )
        for row in range(feed.rows) for document in documents_in(batch, row) if document.tokens
    ]  # fmt: skip


@pytest.mark.parametrize("number", [0, 3])
def test_documents_are_those_of_the_batch_with_their_ids(
    recipe: Recipe, written: Path, examples: Examples, tokenizer: Tokenizer, number: int
):
    run, feed = RunDir(written.parent), ExampleFeed(Plan(examples, recipe), recipe, tokenizer)
    found = list(trace(run, recipe, number, ""))
    assert found == shown(feed, number)
    assert {traced.sequence for traced in found} == set(range(number * feed.rows, (number + 1) * feed.rows))


def test_of_pairs_both_answers_are_named(pairs: PairRun, tokenizer: Tokenizer):
    feed = ExampleFeed(Plan(pairs.train, pairs.recipe), pairs.recipe, tokenizer)
    found = list(trace(pairs.run, pairs.recipe, 2, ""))
    assert found == shown(feed, 2)
    assert [traced.answer for traced in found[:2]] == ["chosen", "rejected"]


def test_other_examples_than_those_of_the_run_are_refused(pairs: PairRun, tokenizer: Tokenizer):
    write_text(pairs.run.tokenizer / CHAT_TEMPLATE, TEMPLATE)
    data = [(split, one) for split, ones in _ids(pairs).items() for one in ones]
    own = sha256_json([repr(data), TEMPLATE, tokenizer.sha256])
    assert list(trace(pairs.run, pairs.recipe, 0, own))
    with pytest.raises(DataError, match=r"holds other examples than .* was trained on"):
        list(trace(pairs.run, pairs.recipe, 0, "0" * 64))


def _ids(pairs: PairRun) -> dict[str, list[str]]:
    return {
        split: [examples.id(number) for number in range(examples.total)]
        for split, examples in (("train", pairs.train), ("heldout", pairs.heldout))
    }

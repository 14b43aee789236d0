"""The card of a build as a run reads it: written as it was read, and made anew for each mixture."""

import json
from pathlib import Path

import numpy as np
import pytest

from puna.config.recipe import Recipe
from puna.core.errors import DataError
from puna.core.layout import DataDir
from puna.core.schema.card import DataCard
from puna.shards.card import card_json, read_card, with_mixture
from puna.shards.loader import Loader

EXAMPLE = Path(__file__).parents[1] / "data" / "card" / "example_card.json"

TOKENS = {"poems": 600, "code": 200}
SHARES = {"poems": 3.0, "code": 1.0}


def facts(**tokens: int) -> DataCard:
    """The example with these sources, each with so many training tokens."""
    card = json.loads(EXAMPLE.read_text())
    example = json.dumps(card["sources"][0])
    card["sources"] = []
    for name, count in (TOKENS | tokens).items():
        source = json.loads(example) | {"name": name}
        source["splits"]["train"]["tokens"] = count
        card["sources"].append(source)
    return DataCard.model_validate(card)


@pytest.fixture
def run(mixed) -> Recipe:
    """Reads 40 sequences of 8 tokens."""
    recipe = mixed(SHARES)
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"tokens": 320})})


def test_a_card_is_written_as_it_was_read(out: DataDir):
    out.root.mkdir(parents=True)
    out.card.write_text(EXAMPLE.read_text())
    assert json.dumps(card_json(read_card(out))) == json.dumps(json.loads(EXAMPLE.read_text()))


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}", '{"schema": 1}', "3"])
def test_a_card_that_is_missing_damaged_or_of_another_format_is_named(out: DataDir, content: str | None):
    out.root.mkdir(parents=True)
    if content is not None:
        out.card.write_text(content)
    with pytest.raises(DataError, match=r"card\.json: (is missing or damaged|card format 1, this version)"):
        read_card(out)


def test_a_field_that_is_missing_or_wrong_is_named(out: DataDir):
    out.root.mkdir(parents=True)
    card = json.loads(EXAMPLE.read_text())
    card["sources"][0]["steps"][0].pop("in")
    out.card.write_text(json.dumps(card))
    with pytest.raises(DataError, match=r"card\.json: 'sources\.0\.steps\.0\.in' is missing"):
        read_card(out)


def test_planned_shares_are_the_recipes(run: Recipe):
    poems, code = with_mixture(facts(), run).sources
    assert (poems.share, code.share) == (0.75, 0.25)
    assert (poems.run_tokens, code.run_tokens) == (240, 80)
    assert (poems.epochs, code.epochs) == (240 / 600, 80 / 200)
    assert (poems.max_epochs, code.max_epochs) == (None, None)


def test_built_shares_are_those_of_the_order_that_training_reads(run: Recipe, write_tokens):
    shards = {name: write_tokens([[7] * count], name=name) for name, count in TOKENS.items()}
    loader = Loader(shards, run)
    sequences = run.train.tokens // run.model.context
    seen = np.bincount(loader.labels(0, sequences))
    card = with_mixture(facts(**{name: one.tokens for name, one in shards.items()}), run)
    for label, source in enumerate(card.sources):
        assert loader.names[label] == source.name
        assert source.built is not None
        assert source.built.tokens == seen[label] * run.model.context
        assert source.built.share == seen[label] / sequences
        assert source.built.epochs == loader.epochs(sequences)[source.name]


def test_the_card_counts_the_stages_of_the_run(run: Recipe):
    stages = [{"from_tokens": 80, "mixture": {"code": 2.0}}, {"from_tokens": 240, "mixture": SHARES}]
    staged = Recipe.model_validate(run.model_dump() | {"stages": stages, "max_epochs": {"code": 9.0}})
    card = with_mixture(facts(), staged)
    poems, code = card.sources
    assert poems.run_tokens == 0.75 * 160
    assert code.run_tokens == 0.25 * 160 + 160
    assert poems.share == poems.run_tokens / 320
    assert code.epochs == code.run_tokens / 200
    assert code.built is not None
    assert code.built.tokens == pytest.approx(code.run_tokens, abs=24)
    assert code.max_epochs == 9.0
    assert card.run.model_dump() == {"tokens": 320, "stages": 3, "refused": ""}
    assert card.name == staged.name


def test_a_mixture_that_no_run_can_have_leaves_the_card_without_an_order(run: Recipe):
    tiny = Recipe.model_validate(run.model_dump() | {"mixture": {"poems": 1.0, "code": 1e-9}})
    card = with_mixture(facts(), tiny)
    assert [source.built for source in card.sources] == [None, None]
    assert "less than one sequence" in card.run.refused


def test_a_source_without_a_whole_sequence_has_no_epochs_as_built(run: Recipe):
    assert with_mixture(facts(code=8), run).sources[1].built is None
    assert with_mixture(facts(code=9), run).sources[1].built is not None

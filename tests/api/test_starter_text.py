"""The text of a starter recipe is TOML whatever files are called and hold."""

import re
import tomllib
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from puna.api.starter_text import languages, recipe_text
from puna.config.recipe import Recipe
from puna.data.survey.amount import Amount
from puna.data.survey.folder import Found, Survey
from puna.plan.starter import starter

WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


def found(include: list[str], beginnings: list[str], column: str = "") -> Found:
    amount = Amount(
        documents=10, text_bytes=10**6, is_whole=False, sizes={}, copies={}, dropped={}, beginnings=beginnings,
        languages={"en": 0.9, "de": 0.0951, "fr": 0.0049},
    )  # fmt: skip
    return Found(
        name="jsonl" if column else "text", format="jsonl" if column else "text", files=[], include=include,
        exclude=include[1:], amount=amount, text_field=column, other_fields=["b"], heldout_fraction=0.1,
        training_bytes=10**6,
    )  # fmt: skip


@settings(max_examples=50)
@given(st.lists(WORDS, min_size=1, max_size=20), st.lists(WORDS, max_size=3), WORDS, WORDS)
def test_any_names_and_words_give_a_recipe_that_loads(
    names: list[str], beginnings: list[str], column: str, path: str
) -> None:
    sources = [found(names, beginnings), found(names, beginnings, column)]
    survey = Survey(sources=sources, left_out={f"reason {names[0]}": names})
    text = recipe_text("mine", "mine.toml", path, survey, starter(10**6, 1e11, micro_batch_tokens=4096), "fp32")
    recipe = Recipe.model_validate(tomllib.loads(text))
    assert recipe.data.sources["text"].include == names
    assert recipe.data.sources["jsonl"].text_field == column
    assert recipe.data.sources["jsonl"].path == path
    assert len(set(recipe.samples.prompts)) == len(recipe.samples.prompts)
    assert recipe.mixture == {"text": 0.5, "jsonl": 0.5}


def test_rare_languages_are_not_named() -> None:
    assert languages(found(["*"], [])) == "en 90 %, de 10 %"


def test_part_of_a_large_text_is_not_no_epoch() -> None:
    survey = Survey(sources=[found(["*"], [])], left_out={})
    text = recipe_text("mine", "mine.toml", ".", survey, starter(10**10, 1e11, micro_batch_tokens=4096), "fp32")
    assert " 0.0 epochs" not in text
    assert re.search(r" 0\.00\d+ epochs", text)


def test_smallest_of_few_documents_is_named() -> None:
    few = replace(found(["*"], []), heldout_fraction=0.0, heldout_pattern=r"^(a\.txt)$")
    text = recipe_text(
        "mine", "m.toml", ".", Survey(sources=[few], left_out={}), starter(10**6, 1e11, micro_batch_tokens=4096), "fp32"
    )
    source = Recipe.model_validate(tomllib.loads(text)).data.sources["text"]
    assert (source.heldout_pattern, source.heldout_fraction) == (r"^(a\.txt)$", 0.0)

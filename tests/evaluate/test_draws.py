"""Solved examples are drawn as the programs draw them whose requests ours equal, and are never the document itself."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.evaluate.draws import foundry_draws, harness_draws
from puna.evaluate.task import Draws

ROWS = [{"question": f"{number}?", "answer": number} for number in range(40)]


def of_the_harness(rows: list[dict], documents: list[dict], shots: int, *, spare: bool) -> list[list[dict]]:
    from lm_eval.api.samplers import ContextSampler

    sampler = ContextSampler(rows, rnd=1234)
    return [list(sampler.sample(shots, eval_doc=document if spare else None)) for document in documents]


def of_foundry(rows: list[dict], documents: list[dict], shots: int) -> list[list[dict]]:
    """By its description: a set of numbers from one generator; the document's own is replaced by a new draw."""
    found, generator = [], random.Random(1234)
    for number in range(len(documents)):
        chosen = set(generator.sample(range(0, len(rows)), shots))
        if number in chosen:
            chosen.remove(number)
            other = number
            while other == number or other in chosen:
                other = generator.choice(range(0, len(rows)))
            chosen.add(other)
        found.append([rows[place] for place in chosen])
    return found


@pytest.mark.parametrize("shots", [1, 5, 39])
def test_draws_without_a_spare_one_are_the_harness_s_own(shots: int) -> None:
    documents = [{"question": "another", "answer": number} for number in range(7)]
    assert list(harness_draws(spare=False)(ROWS, documents, shots)) == of_the_harness(
        ROWS, documents, shots, spare=False
    )


@pytest.mark.parametrize("shots", [1, 5, 39])
def test_draws_with_a_spare_one_are_the_harness_s_own(shots: int) -> None:
    ours = list(harness_draws(spare=True)(ROWS, ROWS, shots))
    assert ours == of_the_harness(ROWS, ROWS, shots, spare=True)


def test_duplicate_rows_are_drawn_as_by_the_harness() -> None:
    rows = ROWS[:5] * 3
    ours = list(harness_draws(spare=True)(rows, rows, 9))
    assert ours == of_the_harness(rows, rows, 9, spare=True)


@pytest.mark.parametrize("shots", [1, 10, 39])
def test_draws_are_those_that_foundry_describes(shots: int) -> None:
    assert list(foundry_draws(ROWS, ROWS, shots)) == of_foundry(ROWS, ROWS, shots)


@pytest.mark.parametrize("draws", [harness_draws(spare=False), harness_draws(spare=True), foundry_draws])
@given(numbers=st.lists(st.integers(0, 8), min_size=2, max_size=30), data=st.data())
def test_a_document_is_never_its_own_example_even_where_it_has_a_duplicate(
    draws: Draws, numbers: list[int], data: st.DataObject
) -> None:
    rows = [{"question": number} for number in numbers]
    others = min(len(numbers) - numbers.count(number) for number in numbers)
    shots = data.draw(st.integers(0, others))
    for document, drawn in zip(rows, draws(rows, rows, shots), strict=True):
        assert document not in drawn
        assert len(drawn) == shots


def test_foundry_takes_as_many_as_there_are() -> None:
    assert [len(examples) for examples in foundry_draws(ROWS[:4], ROWS[:4], 10)] == [3, 3, 3, 3]

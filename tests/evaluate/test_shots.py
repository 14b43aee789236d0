"""Solved examples: how many, which, and never the document itself."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.core.errors import EvaluateError
from puna.evaluate.example import Answer, Continue, Example, Row
from puna.evaluate.protocols import HARNESS
from puna.evaluate.registry import find_task
from puna.evaluate.shots import Shots
from puna.evaluate.task import Task, Verdict


def example(row: Row, shots: Sequence[Row], id: str) -> Example:
    return Example(id=id, ask=Continue(context=str([*shots]), target=row["q"], text=row["q"]))


def judge(example: Example, answer: Answer) -> Verdict:
    return {"acc": 1.0}, {}


TASK = Task(
    name="small", protocol=HARNESS, title="Small", data="small", split="test", example=example, judge=judge, shots=2,
    shot_split="train",
)  # fmt: skip
ROWS = [{"q": letter, "subject": "vowels" if letter in "aeiou" else "others"} for letter in "abcdefghij"]


def test_the_first_rows_are_taken_in_their_order() -> None:
    assert Shots(TASK, ROWS, []).of(0, {"q": "z"}, "0") == ROWS[:2]


def test_a_document_is_not_among_its_own_examples() -> None:
    shots = Shots(TASK, ROWS, ROWS)
    assert shots.of(0, ROWS[0], "0") == ROWS[1:3]
    assert shots.of(1, ROWS[1], "1") == [ROWS[0], ROWS[2]]


def test_a_row_of_the_same_content_under_another_name_is_passed_over() -> None:
    rows = [{"id": "x", "q": "same"}, {"id": "y", "q": "other"}, {"id": "z", "q": "third"}]
    assert Shots(TASK, rows, []).of(0, {"id": "w", "q": "same"}, "0") == rows[1:]


def test_examples_come_from_the_same_group_only() -> None:
    shots = Shots(replace(TASK, group=lambda row: row["subject"]), ROWS, [])
    assert [row["q"] for row in shots.of(0, {"q": "u", "subject": "vowels"}, "0")] == ["a", "e"]
    with pytest.raises(EvaluateError, match=r"harness/small@2: small has 0 rows of 'signs' in its split 'train' that"):
        shots.of(0, {"q": "!", "subject": "signs"}, "0")


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(EvaluateError, match="has 9 rows in its split 'train' that are not the document itself, but 10"):
        Shots(TASK.with_shots(10), ROWS, []).of(0, ROWS[0], "0")


@pytest.mark.parametrize("name", ["harness/cb", "harness/gsm8k", "llama/mbpp", "core/piqa"])
def test_too_few_rows_for_a_protocol_that_draws_are_refused(name: str) -> None:
    """An id such as mbpp@20 never stands for fewer examples."""
    task = find_task(name)
    assert len(Shots(task.with_shots(9), ROWS, ROWS[:1]).of(0, ROWS[0], "0")) == 9
    with pytest.raises(EvaluateError, match=rf"{name}@10: .* has 9 rows .* but 10 solved examples are wanted"):
        Shots(task.with_shots(10), ROWS, ROWS[:1])


def test_none_are_taken_without_shots_and_where_the_task_has_its_own() -> None:
    assert Shots(TASK.with_shots(0), [], []).of(0, ROWS[0], "0") == ()
    assert Shots(replace(TASK, pick="own"), [], []).of(0, ROWS[0], "0") == ()


@given(st.integers(0, 9), st.integers(1, 9), st.integers(0, 3))
def test_drawn_examples_are_distinct_and_never_the_document(place: int, shots: int, seed: int) -> None:
    task = replace(TASK, pick="draw", shots=shots, seed=seed)
    found = [row["q"] for row in Shots(task, ROWS, []).of(place, ROWS[place], str(place))]
    assert len(set(found)) == shots
    assert ROWS[place]["q"] not in found
    assert found == [row["q"] for row in Shots(task, ROWS, []).of(place, ROWS[place], str(place))]


def test_each_document_and_each_seed_draws_for_itself() -> None:
    task = replace(TASK, pick="draw")
    by_id = {str(Shots(task, ROWS, []).of(0, {"q": "z"}, str(id))) for id in range(20)}
    by_seed = {str(Shots(replace(task, seed=seed), ROWS, []).of(0, {"q": "z"}, "0")) for seed in range(20)}
    assert min(len(by_id), len(by_seed)) > 10


def test_a_protocol_that_draws_for_all_documents_sees_each_group_once_in_the_order_of_the_split() -> None:
    calls = []

    def draws(pool: Sequence[Row], documents: Sequence[Row], shots: int) -> Iterator[Sequence[Row]]:
        calls.append([row["q"] for row in documents])
        yield from ([pool[number % len(pool)]] * shots for number in range(len(documents)))

    task = replace(TASK, draws=draws, group=lambda row: row["subject"])
    shots = Shots(task, ROWS, ROWS)
    assert calls == [["a", "e", "i"], ["b", "c", "d", "f", "g", "h", "j"]]
    assert [row["q"] for row in shots.of(4, ROWS[4], "4")] == ["e", "e"]
    assert [row["q"] for row in shots.of(2, ROWS[2], "2")] == ["c", "c"]

"""Documents of a task: all, or a part that a seed chooses; rows that do not fit are named."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest
from evaluating import hellaswag_rows, opener

from puna.core.errors import EvaluateError
from puna.evaluate.documents import open_documents
from puna.evaluate.example import Choose, Row
from puna.evaluate.registry import find_task

TASK = find_task("harness/hellaswag")
OPEN = opener({("hellaswag", "validation"): hellaswag_rows(40), ("hellaswag", "train"): hellaswag_rows(3)})


def test_all_documents_come_in_the_order_of_the_split() -> None:
    documents = open_documents(TASK, OPEN)
    assert [example.id for example in documents.examples()] == [str(place) for place in range(40)]
    assert (documents.n, documents.of, documents.licence) == (40, 40, "CC0-1.0")


def test_a_smaller_limit_is_a_part_of_a_larger_one_in_the_order_of_the_split() -> None:
    few, more = (
        [int(example.id) for example in open_documents(TASK, OPEN, limit=limit).examples()] for limit in (7, 20)
    )
    assert (len(few), len(more)) == (7, 20)
    assert set(few) < set(more)
    assert few == sorted(few)
    assert few != list(range(7))


def test_another_seed_chooses_others_and_a_limit_above_all_takes_all() -> None:
    assert len({open_documents(TASK, OPEN, limit=7, seed=seed).rows[0][0] for seed in range(9)}) > 1
    documents = open_documents(TASK, OPEN, limit=1000)
    assert (documents.n, documents.of) == (40, 40)


def test_the_hash_covers_the_split_that_solved_examples_come_from() -> None:
    shots = replace(TASK, shots=2, shot_split="train")
    hashes = {open_documents(task, OPEN).data_sha256 for task in (TASK, shots, replace(shots, shot_split="validation"))}
    assert len(hashes) == 2
    assert open_documents(TASK, OPEN).data_sha256 == OPEN("hellaswag", "validation").sha256


def test_a_task_may_change_what_the_rows_are() -> None:
    def twice(rows: Iterable[Row]) -> Iterator[Row]:
        for row in rows:
            yield row
            yield {**row, "ctx_b": "he"}

    documents = open_documents(replace(TASK, rows=twice), OPEN)
    asked = [example.ask for example in documents.examples()]
    assert (documents.of, len(asked)) == (80, 80)
    assert isinstance(asked[1], Choose)
    assert asked[1].options[0].context.endswith("He")


def test_a_row_of_another_form_is_named() -> None:
    rows = [*hellaswag_rows(2), {"question": "?"}]
    documents = open_documents(TASK, opener({("hellaswag", "validation"): rows}))
    with pytest.raises(EvaluateError, match=r"row 2 of hellaswag, split 'validation', .*\(no field 'activity_label'\)"):
        list(documents.examples())


def test_two_documents_with_one_id_are_refused() -> None:
    task = replace(TASK, example=lambda row, shots, id: TASK.example(row, shots, "same"))
    with pytest.raises(EvaluateError, match="harness/hellaswag@0: two documents of hellaswag have the id 'same'"):
        list(open_documents(task, OPEN).examples())


def test_a_split_without_rows_is_refused() -> None:
    with pytest.raises(EvaluateError, match="hellaswag has no rows in its split 'validation'"):
        open_documents(TASK, opener({("hellaswag", "validation"): []}))

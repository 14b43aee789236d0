"""Tasks that cannot be done are named with their reasons before anything is computed."""

from dataclasses import replace

import pytest
from evaluating import hellaswag_rows, opener

from puna.core.errors import EvaluateError
from puna.evaluate.choosing import NOT_ALLOWED, obstacles, stand_ins
from puna.evaluate.registry import find_task

HERE = find_task("harness/hellaswag")
AWAY = replace(HERE, name="away", data="away")
CODE = replace(HERE, name="code", needs_code=True)
SHOTS = replace(HERE, name="few", shots=3, shot_split="train")
OPEN = opener({("hellaswag", "validation"): hellaswag_rows(2)})


def test_each_reason_is_a_sentence_by_the_id_of_its_task() -> None:
    assert obstacles([HERE], [AWAY, CODE, SHOTS], OPEN, allow_code=False) == {
        "harness/away@0": "away, split validation, is not here",
        "harness/code@0": NOT_ALLOWED,
        "harness/few@3": "hellaswag, split train, is not here",
    }


def test_nothing_keeps_tasks_from_being_done_whose_data_is_here() -> None:
    own = replace(SHOTS, pick="own")
    assert obstacles([HERE, own], [SHOTS.with_shots(0), CODE], OPEN, allow_code=True) == {}


def test_tasks_that_are_named_are_refused_with_all_reasons() -> None:
    with pytest.raises(EvaluateError, match=r"harness/away@0: away, .* is not here\nharness/code@0: its answers are"):
        obstacles([HERE, AWAY, CODE], [HERE], OPEN, allow_code=False)


def test_one_task_at_least_has_to_be_possible() -> None:
    other = replace(AWAY, name="other")
    says = r"nothing of this can be done here:\nharness/away@0, harness/other@0: away, split validation, is not here"
    with pytest.raises(EvaluateError, match=says):
        obstacles([], [AWAY, other], OPEN, allow_code=False)
    assert list(obstacles([], [AWAY, other, HERE], OPEN, allow_code=False)) == ["harness/away@0", "harness/other@0"]


def test_what_stands_in_for_a_missing_task_has_to_be_possible_itself() -> None:
    instead = {"harness/away@0": HERE, "harness/code@0": replace(AWAY, name="other"), "harness/few@3": CODE}
    assert stand_ins(["harness/away@0", "harness/unknown@0"], instead, OPEN, allow_code=False) == [HERE]
    assert stand_ins(["harness/code@0", "harness/few@3"], instead, OPEN, allow_code=False) == []
    assert stand_ins(["harness/few@3"], instead, OPEN, allow_code=True) == [CODE]

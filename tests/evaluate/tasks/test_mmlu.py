"""MMLU, against lm-eval and against the form of the benchmark's own code."""

from itertools import groupby

import pytest
from benchmark_rows import Rows
from referee import Referee, by_us

from puna.evaluate.registry import find_task

DEV = [
    {"question": f" What is {n}? ", "subject": "abstract_algebra", "choices": ["0", "1 ", "two", "3"], "answer": n % 4}
    for n in range(5)
]
TEST = [
    {"question": "Which?\n", "subject": "abstract_algebra", "choices": ["a", "b", "c", "d"], "answer": 2},
    {"question": "Who?", "subject": "abstract_algebra", "choices": ["a", "b", "c", "d"], "answer": 0},
]


@pytest.mark.parametrize("shots", [0, 5])
def test_harness_asks_and_scores_as_lm_eval(shots: int) -> None:
    task = find_task(f"harness/mmlu@{shots}")
    ours = by_us(task, TEST, shots=lambda place, row: DEV[:shots])
    theirs = Referee("mmlu/default/mmlu_abstract_algebra.yaml", {"test": TEST, "dev": DEV}, shots=shots)
    assert ours.requests() == theirs.requests()
    assert ours.scores()["acc"] == theirs.scores()["acc,none"]


@pytest.mark.parametrize("shots", [0, 5])
def test_real_subjects_are_asked_as_by_lm_eval(shots: int, real_rows: Rows) -> None:
    task = find_task(f"harness/mmlu@{shots}")
    test, dev = real_rows("mmlu", "test"), real_rows("mmlu", "dev")
    for subject in ("abstract_algebra", "high_school_us_history", "us_foreign_policy"):
        rows = [row for row in test if row["subject"] == subject][:30]
        solved = [row for row in dev if row["subject"] == subject]
        theirs = Referee(f"mmlu/default/mmlu_{subject}.yaml", {"test": rows, "dev": solved}, shots=shots)
        ours = by_us(task, rows, shots=lambda place, row, solved=solved: solved[:shots])
        assert ours.requests() == theirs.requests()
        assert ours.scores()["acc"] == theirs.scores()["acc,none"]


def test_llama_asks_in_the_form_of_the_benchmarks_own_code() -> None:
    task = find_task("llama/mmlu")
    assert task.shots == 5
    context = task.example(TEST[1], DEV[:1], "0").ask.options[0].context
    assert context == (
        "The following are multiple choice questions (with answers) about  abstract algebra.\n\n"
        " What is 0? \nA. 0\nB. 1 \nC. two\nD. 3\nAnswer: A\n\nWho?\nA. a\nB. b\nC. c\nD. d\nAnswer:"
    )


def test_subjects_lie_together_and_there_are_57(real_rows: Rows) -> None:
    for split, n in (("dev", 285), ("test", 14042)):
        rows = real_rows("mmlu", split)
        assert len(rows) == n
        assert len(list(groupby(row["subject"] for row in rows))) == 57

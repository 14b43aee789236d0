"""TruthfulQA by multiple choice, against lm-eval."""

import pytest
from benchmark_rows import Rows
from referee import Referee, by_us

from puna.evaluate.registry import find_task

ROWS = [
    {
        "question": f"What {n}?",
        "mc1_targets": {"choices": ["true", "false one", "two"], "labels": [1, 0, 0]},
        "mc2_targets": {"choices": ["true", "so", "false", "two"], "labels": [1, 1, 0, 0]},
    }
    for n in range(5)
]


@pytest.mark.parametrize("part", ["mc1", "mc2"])
def test_choices_of_the_authors_are_asked_and_scored_as_by_lm_eval(part: str) -> None:
    ours = by_us(find_task(f"harness/truthfulqa_{part}"), ROWS)
    theirs = Referee(f"truthfulqa/truthfulqa_{part}.yaml", {"validation": ROWS})
    assert ours.requests() == theirs.requests()
    assert ours.scores()["acc"] == pytest.approx(theirs.scores()["acc,none"], rel=1e-12)


@pytest.mark.parametrize("part", ["mc1", "mc2"])
def test_choices_made_of_the_csv_are_scored_as_by_lm_eval(part: str, real_rows: Rows) -> None:
    rows = real_rows("truthful_qa", "validation", 100)
    ours = by_us(find_task(f"harness/truthfulqa_csv_{part}"), rows)
    targets = [listed(row) for row in rows]
    theirs = Referee(f"truthfulqa/truthfulqa_{part}.yaml", {"validation": targets})
    assert ours.requests() == theirs.requests()
    assert ours.scores()["acc"] == pytest.approx(theirs.scores()["acc,none"], rel=1e-12)
    assert all(row["best_answer"] in row["correct_answers"] for row in rows)


def listed(row: dict) -> dict:
    right, wrong = row["correct_answers"], row["incorrect_answers"]
    return {
        "question": row["question"],
        "mc1_targets": {"choices": [row["best_answer"], *wrong], "labels": [1] + [0] * len(wrong)},
        "mc2_targets": {"choices": [*right, *wrong], "labels": [1] * len(right) + [0] * len(wrong)},
    }


def test_a_probability_of_very_unlikely_options_is_not_lost() -> None:
    from puna.evaluate.example import Answer, Likelihood

    task = find_task("harness/truthfulqa_mc2")
    example = task.example(ROWS[0], (), "0")
    likelihoods = tuple(Likelihood(logprob=-5000.0, tokens=9, greedy=False) for _ in range(4))
    assert task.judge(example, Answer(likelihoods=likelihoods))[0] == {"acc": 0.5}

"""MATH: Minerva's prompt and votes, and lm-evaluation-harness as referee."""

import re
from typing import Any

import pytest
from benchmark_rows import Rows
from harness_module import harness_module
from referee import Fake, Referee, by_us, number

from puna.evaluate.answers.boxed import boxed
from puna.evaluate.example import Answer, Example, Write, Written
from puna.evaluate.task import Task
from puna.evaluate.tasks.math_problems import TASKS, answer_of
from puna.evaluate.tasks.solved_examples import MINERVA

TASK = {task.id: task for task in TASKS}
ROW = {"problem": "What is $1+1$?", "solution": r"It is $\boxed{2}$.", "level": "Level 1", "type": "Algebra"}


def asked(task: Task, row: dict[str, Any] = ROW) -> Write:
    ask = task.example(row, (), "7").ask
    assert isinstance(ask, Write)
    return ask


def judged(task: Task, *texts: str, gold: str = "2") -> tuple[dict[str, float | None], dict[str, object]]:
    example = Example(id="0", ask=Write(prompt="", max_tokens=1), facts={"answer": gold})
    answer = Answer(written=tuple(Written(text=text, tokens=1, finish="stop") for text in texts))
    values, shown = task.judge(example, answer)
    return dict(values), dict(shown)


def test_the_prompt_has_minerva_s_four_problems_in_its_layout() -> None:
    ask = asked(TASK["llama/math@4"])
    assert ask.prompt.startswith(f"Problem:\n{MINERVA[0][0]}\n\nSolution:\n{MINERVA[0][1]}\n\nProblem:\n")
    assert ask.prompt.endswith("I hope it is correct.\n\nProblem:\nWhat is $1+1$?\n\nSolution:\n")
    assert ask.prompt.count("Problem:\n") == 5
    assert (ask.n, ask.temperature, ask.max_tokens) == (1, 0.0, 512)


def test_majority_takes_256_samples_as_minerva_does() -> None:
    task = TASK["llama/math_majority@4"]
    ask = asked(task)
    assert (ask.n, ask.temperature, ask.top_p, ask.max_tokens) == (256, 0.6, 0.95, 512)
    assert list(task.metrics) == ["maj1@256"]
    assert ask.prompt == asked(TASK["llama/math@4"]).prompt


def test_another_number_of_samples_is_in_the_metric_s_name() -> None:
    task = TASK["llama/math_majority@4"].with_samples(20)
    assert (asked(task).n, list(task.metrics), task.samples) == (20, ["maj1@20"], 20)
    assert TASK["llama/math@4"].with_samples(20) is TASK["llama/math@4"]


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("So.\nFinal Answer: The final answer is $2$. ", 1.0),
        ("Final Answer: The final answer is $2.0$. ", 1.0),
        (r"Final Answer: The final answer is $\frac{4}{2}$. ", 1.0),
        ("Final Answer: The final answer is $3$. ", 0.0),
        (r"It is $\boxed{2}$, I think.", 1.0),
        (r"\boxed{2} but The final answer is 3.", 0.0),
        ("It is 2.", 0.0),
        ("", 0.0),
    ],
)
def test_a_greedy_text_is_judged_by_its_answer(text: str, right: float) -> None:
    assert judged(TASK["llama/math@4"], text)[0] == {"exact_match": right}


def test_a_text_without_an_answer_does_not_vote_and_equal_answers_vote_together() -> None:
    task = TASK["llama/math_majority@4"].with_samples(6)
    said = ["no", "no", "no", "The final answer is 1/2.", "The final answer is $0.5$.", "The final answer is 3."]
    values, shown = judged(task, *said, gold=r"\frac{1}{2}")
    assert values == {"maj1@6": 1.0}
    assert shown == {"answer": "1/2", "answers": [None, None, None, "1/2", "0.5", "3"]}
    assert judged(task, "no", "no")[0] == {"maj1@6": 0.0}


def test_of_answers_with_as_many_votes_the_first_wins() -> None:
    task = TASK["llama/math_majority@4"].with_samples(2)
    assert judged(task, "The final answer is 2.", "The final answer is 3.")[0] == {"maj1@2": 1.0}
    assert judged(task, "The final answer is 3.", "The final answer is 2.")[0] == {"maj1@2": 0.0}


def test_every_solution_of_the_test_set_has_an_answer_that_equals_itself(real_rows: Rows) -> None:
    rows = real_rows("math", "test")
    assert len(rows) == 5000
    task = TASK["llama/math@4"]
    texts = [f"Final Answer: The final answer is ${boxed(row['solution'])}$. " for row in rows]
    wrong = [
        row["solution"]
        for row, text in zip(rows, texts, strict=True)
        if judged(task, text, gold=boxed(row["solution"]) or "")[0] != {"exact_match": 1.0}
    ]
    # Answers that Minerva's rules leave nothing of, such as a unit alone.
    assert len(wrong) <= 5
    assert sum(answer_of(row["solution"]) is None for row in rows) <= 5


def writes(prompt: str) -> str:
    """Right and wrong texts in the form of the prompt, and some without an answer."""
    solved = {"What is $1+1$?": "2", "Half of one?": r"\frac{1}{2}", "A pair?": "(1,2)", "Angle?": r"90^\circ"}
    problem = prompt.rpartition("Problem:")[2].strip().split("\n")[0]
    answer = solved[problem.partition(" Case")[0]]
    return [
        f" It is so.\nFinal Answer: The final answer is ${answer}$. I hope it is correct.\n\nProblem:\nAnother",
        f" ${answer}$",
        " Final Answer: The final answer is $77$. I hope it is correct.",
        " nothing",
        f" {answer}",
    ][int(5 * number(prompt))]


ROWS = [
    {"problem": f"{problem} Case {case}.", "solution": rf"So \boxed{{{answer}}}.", "type": "Algebra"}
    for case in range(8)
    for problem, answer in [
        ("What is $1+1$?", "2"), ("Half of one?", r"\frac{1}{2}"), ("A pair?", "(1,2)"), ("Angle?", r"90^\circ"),
    ]
]  # fmt: skip


def test_hendrycks_math_asks_and_scores_as_the_harness() -> None:
    model = Fake(writes=lambda prompt: writes(prompt.replace("\nAnswer:", "")))
    ours = by_us(TASK["harness/hendrycks_math@0"], ROWS, model=model)
    theirs = Referee("hendrycks_math/hendrycks_math_algebra.yaml", {"test": ROWS}, model=model)
    assert ours.requests() == theirs.requests()
    assert ours.scores()["exact_match"] == theirs.scores()["exact_match,none"]
    assert 0 < (ours.scores()["exact_match"] or 0) < 1


def test_minerva_math_asks_as_the_harness_and_finds_the_same_answers(real_rows: Rows) -> None:
    referee = harness_module("minerva_math/utils.py")
    rows = real_rows("math", "test", 50)
    task = TASK["harness/minerva_math@4"]
    solved = "".join(f"{referee.doc_to_text(shot)} {shot['solution']}\n\n" for shot in referee.list_fewshot_samples())
    for row in rows:
        ask = asked(task, row)
        assert ask.prompt == solved + referee.doc_to_text(row)
        assert ask.stop == ("Problem:",)
        for text in (row["solution"], *writes_final(boxed(row["solution"]) or "")):
            found = referee.get_unnormalized_answer(text)
            values, shown = judged(task, text, gold=boxed(row["solution"]) or "")
            assert shown["answer"] == (None if found == "[invalidanswer]" else found)
            gold = referee.normalize_final_answer(referee.remove_boxed(referee.last_boxed_only_string(row["solution"])))
            if referee.normalize_final_answer(found) == gold != "":
                assert values == {"exact_match": 1.0}


def writes_final(answer: str) -> list[str]:
    return [
        f"Final Answer: The final answer is ${answer}$. I hope it is correct.",
        f"Final Answer: The final answer is ${answer}$.",
        f"Final Answer: The final answer is ${answer}$. ",
        f"Final Answer: The final answer is\n${answer}$. I hope it is correct.",
        re.sub(r"\d", "7", f"Final Answer: The final answer is ${answer}$. I hope it is correct."),
    ]

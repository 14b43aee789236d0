"""GSM8k: numbers as answers, and lm-evaluation-harness as referee."""

import re

import pytest
from benchmark_rows import Rows
from hypothesis import given
from hypothesis import strategies as st
from referee import Fake, Referee, by_us, number

from puna.evaluate.draws import harness_draws
from puna.evaluate.example import Answer, Example, Write, Written
from puna.evaluate.task import Task
from puna.evaluate.tasks.grade_school import TASKS, number_of
from puna.evaluate.tasks.solved_examples import CHAIN_OF_THOUGHT

TASK = {task.id: task for task in TASKS}
ROWS = [
    {"question": f"Problem {place}: how many?", "answer": f"There are {place} of 3.\n#### {1000 * place:,}"}
    for place in range(40)
]


def asked(task: Task) -> Write:
    ask = task.example(ROWS[1], (), "1").ask
    assert isinstance(ask, Write)
    return ask


def judged(task: Task, *texts: str) -> dict[str, float | None]:
    example = Example(id="0", ask=Write(prompt="", max_tokens=1), facts={"answer": "1000"})
    answer = Answer(written=tuple(Written(text=text, tokens=1, finish="stop") for text in texts))
    return dict(task.judge(example, answer)[0])


def test_the_prompt_has_eight_chains_of_thought() -> None:
    ask = asked(TASK["llama/gsm8k@8"])
    question, chain = CHAIN_OF_THOUGHT[0]
    assert ask.prompt.startswith(f"Q: {question}\nA: {chain}\n\nQ: ")
    assert ask.prompt.endswith("The answer is 8.\n\nQ: Problem 1: how many?\nA:")
    assert ask.prompt.count("Q: ") == 9
    assert (ask.n, ask.temperature) == (1, 0.0)


def test_majority_takes_100_samples_and_another_number_is_in_the_metric_s_name() -> None:
    task = TASK["llama/gsm8k_majority@8"]
    assert (asked(task).n, asked(task).temperature, asked(task).top_p) == (100, 0.6, 0.95)
    assert list(task.metrics) == ["maj1@100"]
    assert list(task.with_samples(20).metrics) == ["maj1@20"]
    assert asked(task.with_samples(20)).n == 20


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (" 5 + 4 = 9. The answer is 9.", "9"),
        (" The answer is $1,000.", "1000"),
        (" The answer is 18.00.", "18"),
        (" The answer is -3", "-3"),
        (" The answer is -$3.50.", "-3.5"),
        (" So the answer is: .5", "0.5"),
        (" The answer is 1. No, the answer is 2 dollars.", "2"),
        (" The answer is 007", "7"),
        (" The answer is 0.0", "0"),
        (" The answer is nine.", None),
        (" It is 9.", None),
        ("", None),
    ],
)
def test_the_answer_is_the_number_that_is_called_so(text: str, found: str | None) -> None:
    assert number_of(text) == found


@given(st.text(alphabet="The answer is$-,.0123456789\n", max_size=60))
def test_any_text_has_a_number_or_none(text: str) -> None:
    found = number_of(text)
    assert found is None or re.fullmatch(r"-?\d+(\.\d+)?", found)


def test_texts_without_a_number_do_not_vote() -> None:
    task = TASK["llama/gsm8k_majority@8"].with_samples(5)
    assert judged(task, "no", "no", "no", "The answer is 1,000.", "The answer is $1000") == {"maj1@5": 1.0}
    assert judged(task, "The answer is 7.", "The answer is 1000.") == {"maj1@5": 0.0}
    assert judged(task, "no", "no") == {"maj1@5": 0.0}


def test_every_answer_of_the_test_set_is_a_number_that_its_solution_gives(real_rows: Rows) -> None:
    rows = real_rows("gsm8k", "test")
    assert len(rows) == 1319
    task = TASK["llama/gsm8k@8"]
    for row in rows:
        example = task.example(row, (), "0")
        text = " " + row["answer"].replace("####", "The answer is") + "."
        answer = Answer(written=(Written(text=text, tokens=1, finish="stop"),))
        assert task.judge(example, answer)[0] == {"exact_match": 1.0}


def writes(prompt: str) -> str:
    """Texts with the right number, another one or none, in the forms that the harness looks for."""
    place = int(re.findall(r"Problem (\d+)", prompt)[-1])
    given_number = f"{1000 * place:,}" if number(prompt, "right") < 0.5 else "12"
    forms = [
        f" so 3.\n#### {given_number}\n\nQuestion: more", f" The answer is ${given_number}.", f" it is {given_number}",
        f" The answer is {given_number}.\n\nQ: more", " no number", f"\n#### {given_number}.", " $5 or 1.2.3",
    ]  # fmt: skip
    return forms[int(len(forms) * number(prompt))]


@pytest.mark.parametrize("name", ["gsm8k", "gsm8k_cot"])
def test_requests_and_scores_equal_the_harness_s(name: str) -> None:
    shots = {"gsm8k": 5, "gsm8k_cot": 8}[name]
    task = TASK[f"harness/{name}@{shots}"]
    train = [{"question": f"Solved {place}?", "answer": f"{place}.\n#### {place}"} for place in range(30)]
    drawn = list(harness_draws(spare=False)(train, ROWS, 5)) if name == "gsm8k" else [()] * len(ROWS)
    model = Fake(writes=writes)
    ours = by_us(task, ROWS, shots=lambda place, _: drawn[place], model=model)
    file = {"gsm8k": "gsm8k/gsm8k.yaml", "gsm8k_cot": "gsm8k/gsm8k-cot.yaml"}[name]
    splits = {"train": train, "test": ROWS} if name == "gsm8k" else {"test": ROWS}
    theirs = Referee(file, splits, model=model)
    assert ours.requests() == theirs.requests()
    scores = ours.scores()
    assert scores["strict_match"] == theirs.scores()["exact_match,strict-match"]
    assert scores["flexible_extract"] == theirs.scores()["exact_match,flexible-extract"]
    assert 0 < (scores["strict_match"] or 0) < (scores["flexible_extract"] or 0) < 1

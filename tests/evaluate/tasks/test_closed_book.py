"""NaturalQuestions and TriviaQA: the paper's own example, and lm-evaluation-harness as referee."""

import string
from typing import Any

import pytest
from benchmark_rows import Rows
from hypothesis import example, given
from hypothesis import strategies as st
from referee import Fake, Referee, by_us

from puna.benchmarks.manifest import find_entry
from puna.evaluate.draws import harness_draws
from puna.evaluate.example import Answer, Example, Write, Written
from puna.evaluate.task import Task
from puna.evaluate.tasks.closed_book import TASKS, normalised

TASK = {task.id: task for task in TASKS}
LLAMA_NQ, LLAMA_TRIVIA = TASK["llama/nq_open@0"], TASK["llama/triviaqa@0"]
HARNESS_NQ, HARNESS_TRIVIA = TASK["harness/nq_open@0"], TASK["harness/triviaqa@0"]

NQ = [
    {"question": f"who wrote book {number}", "answer": [f"The Writer {number}", f"Writer, {number}."]}
    for number in range(30)
]
TRIVIA = [
    {
        "question": f"Who, in {number}?", "question_id": f"tc_{number}",
        "answer": {"value": f"Person {number}", "aliases": [f"Person {number}", f"the 'P' {number}"]},
    }
    for number in range(30)
]  # fmt: skip


def asked(task: Task, row: dict[str, Any], *shots: dict[str, Any]) -> Write:
    ask = task.example(row, shots, "0").ask
    assert isinstance(ask, Write)
    return ask


def value(task: Task, answers: list[str], text: str) -> float | None:
    example = Example(id="0", ask=Write(prompt="", max_tokens=1), facts={"answers": answers})
    return task.judge(example, Answer(written=(Written(text=text, tokens=1, finish="stop"),)))[0]["exact_match"]


def test_the_prompt_is_that_of_the_paper_s_figure_3() -> None:
    solved = {"question": "who sang who wants to be a millionaire in high society", "answer": ["Frank Sinatra"]}
    row = {"question": "who wrote the book the origin of species", "answer": ["Charles Darwin"]}
    assert asked(LLAMA_NQ, row, solved).prompt == (
        "Answer these questions:\n"
        "Q: Who sang who wants to be a millionaire in high society?\nA: Frank Sinatra\n"
        "Q: Who wrote the book the origin of species?\nA:"
    )
    town = {"question": "The ancient city of Troy is located in what modern country?", "answer": {}}
    hut = {"question": "In Scotland a bothy/bothie is a?", "answer": {"value": "House", "aliases": ["Houses"]}}
    assert asked(LLAMA_TRIVIA, town | {"answer": hut["answer"]}, hut).prompt == (
        "Answer these questions:\nQ: In Scotland a bothy/bothie is a?\nA: House\n"
        "Q: The ancient city of Troy is located in what modern country?\nA:"
    )


def test_a_question_that_ends_gets_no_second_mark() -> None:
    for text in ('"What is the first name of ""Seinfeld""?"', "Name Batman's butler.", "Who wrote 'Emma'?"):
        assert asked(LLAMA_TRIVIA, {"question": text, "answer": {"value": "x", "aliases": []}}).prompt.endswith(
            f"Q: {text}\nA:"
        )


def test_the_instruction_is_there_without_examples_and_the_text_is_greedy() -> None:
    ask = asked(LLAMA_NQ, NQ[0])
    assert ask.prompt == "Answer these questions:\nQ: Who wrote book 0?\nA:"
    assert (ask.temperature, ask.n) == (0.0, 1)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        (" Charles Darwin", True),
        (" Charles Darwin\nQ: Who", True),
        (" charles darwin, in 1859", True),
        (" The Charles  Darwin.", True),
        (" Charles Darwin. He was", True),
        (" Darwin", False),
        (" Charles Darwin Jr", False),
        ("\nCharles Darwin", False),
        ("", False),
        (" .", False),
    ],
)
def test_an_answer_ends_at_a_line_break_final_dot_or_comma_and_must_match_after_normalising(
    text: str, right: bool
) -> None:
    assert value(LLAMA_NQ, ["Charles Darwin"], text) == float(right)


def test_a_dot_within_a_number_or_name_does_not_end_an_answer() -> None:
    assert value(LLAMA_NQ, ["3.5"], " 3.5 metres"[:4]) == 1.0
    assert value(LLAMA_NQ, ["J.R.R"], " J.R.R") == 1.0


def test_any_listed_answer_counts_and_none_that_is_empty_after_normalising() -> None:
    assert value(LLAMA_TRIVIA, ["Sunset Boulevard", "Sunset Blvd."], " sunset blvd") == 1.0
    assert value(LLAMA_TRIVIA, ["The A"], " the") == 0.0


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.id)
def test_questions_and_solved_examples_have_their_split(task: Task) -> None:
    assert find_entry(task.data, task.split).set.title
    assert find_entry(task.data, task.shot_split).set.title


def test_all_answers_of_triviaqa_are_listed_once_its_value_first() -> None:
    made = LLAMA_TRIVIA.example(TRIVIA[3], (), "0")
    assert made.facts == {"answers": ["Person 3", "the 'P' 3"]}


@given(st.text(alphabet=string.ascii_letters + string.punctuation + " \t"))
def test_normalising_again_changes_nothing_but_articles_that_punctuation_hid(text: str) -> None:
    once = normalised(text)
    assert once == " ".join(once.split())
    assert not set(once) & set(string.punctuation)
    assert not {"a", "an", "the"} & set(once.split())


@pytest.mark.oracle
@pytest.mark.parametrize("shots", [0, 3])
def test_requests_and_scores_of_nq_open_are_the_harness_s(shots: int) -> None:
    model = Fake(writes=lambda prompt: f" Writer {len(prompt) % 5 + 3}, or so")
    drawn = list(harness_draws(spare=True)(NQ[10:], NQ[:10], shots))
    ours = by_us(HARNESS_NQ, NQ[:10], shots=lambda place, _: drawn[place], model=model)
    theirs = Referee(
        "nq_open/nq_open.yaml", {"train": NQ[10:], "validation": NQ[:10]}, shots=shots, model=model
    )  # fmt: skip
    assert ours.requests() == theirs.requests()
    assert [one.values["exact_match"] for one in ours.judged()] == theirs.values("exact_match")
    assert 0 < theirs.scores()["exact_match,remove_whitespace"] == ours.scores()["exact_match"]


@pytest.mark.oracle
@pytest.mark.parametrize("shots", [0, 3])
def test_requests_and_scores_of_triviaqa_are_the_harness_s(shots: int) -> None:
    model = Fake(writes=lambda prompt: f" person {len(prompt) % 5 + 3}\nQuestion")
    drawn = list(harness_draws(spare=True)(TRIVIA[10:], TRIVIA[:10], shots))
    ours = by_us(HARNESS_TRIVIA, TRIVIA[:10], shots=lambda place, _: drawn[place], model=model)
    theirs = Referee(
        "triviaqa/default.yaml", {"train": TRIVIA[10:], "validation": TRIVIA[:10]}, shots=shots, model=model
    )  # fmt: skip
    assert ours.requests() == theirs.requests()
    assert 0 < theirs.scores()["exact_match,remove_whitespace"] == ours.scores()["exact_match"]


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("task", "data", "yaml"),
    [(HARNESS_NQ, "nq_open", "nq_open/nq_open.yaml"), (HARNESS_TRIVIA, "trivia_qa_wikipedia", "triviaqa/default.yaml")],
)
def test_real_questions_are_asked_and_judged_as_by_the_harness(
    task: Task, data: str, yaml: str, real_rows: Rows
) -> None:
    rows = real_rows(data, "validation", 300)
    answers = dict(zip([asked(task, row).prompt for row in rows], map(listed, rows), strict=True))
    model = Fake(writes=lambda prompt: f" {answers[prompt][len(prompt) % len(answers[prompt])].upper()}, it is")
    ours, theirs = by_us(task, rows, model=model), Referee(yaml, {"validation": rows}, model=model)
    assert ours.requests() == theirs.requests()
    assert [one.values["exact_match"] for one in ours.judged()] == theirs.values("exact_match")
    assert 0.5 < (ours.scores()["exact_match"] or 0.0) < 1


def listed(row: dict[str, Any]) -> list[str]:
    return row["answer"] if isinstance(row["answer"], list) else row["answer"]["aliases"]


_WORDS = st.text(alphabet="aAnNtThHeE .,'-3", max_size=12)


@pytest.mark.oracle
@given(text=_WORDS, answers=st.lists(_WORDS, min_size=1, max_size=4))
@example(text="the Theatre", answers=["Theatre", "the Theatre"])
@example(text="An A", answers=["A"])
def test_the_harness_s_match_is_its_own(text: str, answers: list[str]) -> None:
    from lm_eval.api.metrics import exact_match_hf_evaluate

    options = {"ignore_case": True, "ignore_punctuation": True}
    articles = [r"\b(?:The |the |An |A |The |a |an )"]
    predictions = [text.strip()] * len(answers)
    theirs = exact_match_hf_evaluate(predictions, answers, regexes_to_ignore=articles, **options)
    assert value(HARNESS_NQ, answers, text) == float(theirs["exact_match"] > 0)
    theirs = exact_match_hf_evaluate(predictions, answers, **options)
    assert value(HARNESS_TRIVIA, answers, text) == float(theirs["exact_match"] > 0)

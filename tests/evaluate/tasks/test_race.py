"""RACE on made-up articles: every question after the earlier ones, and the harness's last questions."""

from collections.abc import Sequence
from typing import Any

import pytest
from referee import Referee, by_us

from puna.benchmarks.manifest import find_entry
from puna.evaluate.example import Answer, Choose, Likelihood
from puna.evaluate.tasks.race import TASKS

TASK = {task.id: task for task in TASKS}
LLAMA, HARNESS = TASK["llama/race_high@0"], TASK["harness/race@0"]


def rows(*articles: Sequence[str]) -> list[dict[str, Any]]:
    """Articles with questions, whose right answers go round."""
    return [
        {
            "example_id": f"high{number}.txt", "article": f"Text {number}.", "question": question,
            "options": [f"one {place}", f"two {place}", f"three {place}", f"four {place}"], "answer": "ABCD"[place % 4],
        }
        for number, questions in enumerate(articles)
        for place, question in enumerate(questions)
    ]  # fmt: skip


DATA = rows(["What is it?", "It is  _  .", "Who?"], ["Why did he  _  .", "I have  _  ."], ["Alone?"])


def test_every_question_is_asked_after_the_earlier_ones_of_its_article_with_their_answers() -> None:
    ours = by_us(LLAMA, DATA)
    contexts = [requests[0][0] for requests in ours.requests()]
    assert len(contexts) == len(DATA)
    assert contexts[0] == "Article:\nText 0.\n\nQ: What is it?\n\nA:"
    assert contexts[2] == (
        "Article:\nText 0.\n\nQ: What is it?\n\nA: one 0\n\nQ: It is  _  .\n\nA: two 1\n\nQ: Who?\n\nA:"
    )
    assert contexts[3] == "Article:\nText 1.\n\nQ: Why did he  _  .\n\nA:"


def test_options_are_compared_with_what_they_are_worth_after_the_letter_alone() -> None:
    (made, *_) = by_us(LLAMA, DATA).examples
    assert isinstance(made.ask, Choose)
    assert made.ask.own == tuple(("A:", f" {word} 0") for word in ("one", "two", "three", "four"))
    of, own = (-9.0, -4.0, -9.0, -9.0), (-9.0, -2.0, -3.0, -3.0)
    answer = Answer(
        likelihoods=tuple(Likelihood(logprob=logprob, tokens=1, greedy=False) for logprob in of),
        own=tuple(Likelihood(logprob=logprob, tokens=1, greedy=False) for logprob in own),
    )
    values, shown = LLAMA.judge(made, answer)
    assert values == {"acc": 1.0, "acc_character": 0.0}
    assert shown == {"chosen": {"acc": 0, "acc_character": 1}}


@pytest.mark.oracle
def test_requests_and_scores_of_last_questions_are_the_harness_s() -> None:
    articles: dict[str, list[dict[str, Any]]] = {}
    for row in DATA:
        articles.setdefault(row["article"], []).append(
            {"question": row["question"], "answer": row["answer"], "options": row["options"]}
        )
    theirs = Referee(
        "race/race.yaml", {"test": [{"article": text, "problems": repr(found)} for text, found in articles.items()]}
    )
    ours = by_us(HARNESS, DATA)
    assert len(ours.examples) == len(articles)
    assert ours.requests() == theirs.requests()
    assert ours.scores()["acc"] == theirs.scores()["acc,none"]


def test_both_schools_are_tasks_of_the_paper() -> None:
    assert {task.id for task in TASKS} == {"llama/race_middle@0", "llama/race_high@0", "harness/race@0"}
    assert all(find_entry(task.data, task.split).set.licence == task.license_note for task in TASKS)

"""bench/format_following.py judges forms as they are meant, and asks about nothing that the demo was tuned on."""

import json
import math
import re
from importlib import resources
from itertools import pairwise
from typing import Any

import pytest
from scripts import script_module

bench = script_module("bench/format_following.py")
FORMS = {form.name: form for form in bench.FORMS}
HAVE = {
    "yes or no": ["Yes.", "no", "NO."],
    "a number": ["6", "1,861", "12."],
    "one word": ["Warm", "peace.", "well-known"],
    "three of a kind": ["oak, elm, ash", "New York, Rome, Paris.", "a b c, d, e"],
    "upper case": ["WARM", "THE SUN."],
    "a whole sentence": ["A farm is land.", "It grows corn, and wheat."],
    "at most five words": ["Land", "A place where corn grows"],
    "a word twice": ["lamp lamp", "lamp, lamp."],
    "a Python function": ["def f(x):\n    return x", "def f(): return 0"],
}
LACK = {
    "yes or no": ["", "Yes, he was.", "Maybe."],
    "a number": ["", "six", "6 letters", ","],
    "one word": ["", "very warm", "...", "Warm. Warm."],
    "three of a kind": ["", "oak, elm", "oak, elm, oak", "oak, elm, ash, fir", "oak, , ash", "a b c d, e, f"],
    "upper case": ["", "Warm", "12"],
    "a whole sentence": ["", "a farm is land.", "A farm is land", "A farm.", "A farm is land. It is."],
    "at most five words": ["", "one two three four five six", "?"],
    "a word twice": ["", "lamp", "lamp lamp lamp", "lamp light"],
    "a Python function": ["", "x = 1", "def f(x):", "def f(): pass\ndef g(): pass", "def f\0(): pass"],
}


@pytest.mark.parametrize("name", FORMS)
def test_a_form_is_found_where_it_is_and_nowhere_else(name: str) -> None:
    holds = FORMS[name].holds
    assert [text for text in HAVE[name] if not holds(text, "lamp")] == []
    assert [text for text in LACK[name] if holds(text, "lamp")] == []


def _learned() -> list[dict[str, str]]:
    """The turns that the demo is tuned on."""
    text = (resources.files("puna.config") / "recipes" / "demo-chat.jsonl").read_text(encoding="utf-8")
    return [turn for line in text.splitlines() for turn in json.loads(line)["messages"]]


def test_no_subject_and_only_the_known_wordings_were_learned() -> None:
    questions = [turn["content"] for turn in _learned() if turn["role"] == "user"]
    together = "\n".join(questions).lower()
    for form in bench.FORMS:
        assert [subject for subject in form.subjects if subject.lower() in together] == []
        known, other = (re.compile(re.escape(text).replace(r"\{\}", ".+")) for text in (form.known, form.other))
        assert any(known.fullmatch(question) for question in questions), form.known
        assert not any(other.fullmatch(question) for question in questions), form.other
    asked = [question for form in bench.FORMS for _, question, _ in form.questions()]
    assert len(asked) == len(set(asked)) == 216


def test_answers_that_are_learned_have_the_form_that_was_asked_for() -> None:
    turns, judged = _learned(), dict.fromkeys(FORMS, 0)
    for asked, told in pairwise(turns):
        for form in bench.FORMS:
            known = re.compile(re.escape(form.known).replace(r"\{\}", "(.+)"))
            if asked["role"] == "user" and (match := known.fullmatch(asked["content"])):
                assert form.holds(told["content"], match[1]), asked
                judged[form.name] += 1
    assert min(judged.values()) >= 15


@pytest.mark.parametrize(("passed", "n"), [(0, 12), (1, 12), (6, 12), (12, 12), (100, 216)])
def test_bounds_are_the_shares_that_a_test_at_5_percent_just_accepts(passed: int, n: int) -> None:
    share = passed / n
    low, high = bench.wilson(passed, n)
    assert 0 <= low <= share <= high <= 1
    assert low < high
    for bound in (low, high):
        if 0 < bound < 1:
            assert abs(share - bound) / math.sqrt(bound * (1 - bound) / n) == pytest.approx(1.959964, abs=1e-4)


def test_scores_are_counted_by_wording_and_by_form() -> None:
    def answer(question: str, end: str) -> str:
        return "Yes." if question.startswith("Was ") else "two words"

    found: dict[str, Any] = bench.scores(bench.ask(answer))
    assert (found["all"]["n"], found["all"]["passed"]) == (216, 12 + 24)  # two words are at most five
    assert found["wordings"]["known"]["passed"] == 24
    assert found["forms"]["yes or no"]["share"] == 0.5
    assert found["forms"]["one word"]["passed"] == 0

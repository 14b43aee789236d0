"""Truncation by hand, and its promises on examples of any shape."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.finetune.truncation import ANSWER, EMPTY, PROMPT, TOO_LONG, Limits, Marked, fit

BOS = 1


def marked(pattern: str, *, everything: bool = False) -> Marked:
    """A document of which `^` is BOS, `a` a token of an answer, `.` another; ids count up from 10."""
    ids = np.array([BOS if sign == "^" else 10 + at for at, sign in enumerate(pattern)])
    answers = np.array([sign == "a" for sign in pattern])
    return Marked(ids, np.array([sign != "^" for sign in pattern]) if everything else answers, answers)


def limits(positions: int, **changes: object) -> Limits:
    return Limits(**{"positions": positions, "prompt": None, "answer": None, "cut": True} | changes)


def shown(pattern: str, limit: Limits) -> str:
    """What is left of a document: its ids less 10, those that are learned in brackets; or why it is dropped."""
    fitted = fit([marked(pattern, everything=limit.everything)], limit, BOS)
    if fitted.reason:
        return fitted.reason
    (document,) = fitted.documents
    names = ["^" if token == BOS else str(token - 10) for token in document.ids]
    return " ".join(f"[{name}]" if learned else name for name, learned in zip(names, document.learned, strict=True))


@pytest.mark.parametrize(
    ("pattern", "limit", "expected"),
    [
        ("^..aa", limits(4), "^ 1 2 [3] [4]"),
        ("^..aa..", limits(4), "^ 1 2 [3] [4]"),  # what is behind the last target is left out
        ("^..aa", limits(3), "^ 2 [3] [4]"),
        ("^..aa", limits(2), TOO_LONG),  # an answer to nothing
        ("..aa", limits(2), "1 [2] [3]"),
        ("..aa", limits(1), TOO_LONG),
        ("^..aa", limits(3, cut=False), TOO_LONG),
        ("^....", limits(9), EMPTY),
        ("a", limits(9), EMPTY),  # nothing is before it
        ("^..aa..aa", limits(8), "^ 1 2 [3] [4] 5 6 [7] [8]"),
        ("^..aa..aa", limits(6), "^ 3 4 5 6 [7] [8]"),  # an answer whose question is gone is not learned
        ("^..aa..aa", limits(5), "^ 4 5 6 [7] [8]"),  # nor one that lost its beginning
        ("^..aa..aa", limits(7), "^ 2 [3] [4] 5 6 [7] [8]"),
        ("^..aa", limits(9, prompt=2), "^ 2 [3] [4]"),
        ("^..aa", limits(9, prompt=1), TOO_LONG),
        ("^..aa", limits(9, prompt=2, cut=False), PROMPT),
        ("^..aaa", limits(9, answer=2), ANSWER),
        ("^.aaa.a", limits(9, answer=2), ANSWER),
        ("^.aa.aa", limits(9, answer=2), "^ 1 [2] [3] 4 [5] [6]"),
        ("^..aa.", limits(4, everything=True), "^ [2] [3] [4] [5]"),
        ("^..aa", limits(3, everything=True), "^ [2] [3] [4]"),
        ("^..aa..", limits(5, everything=True), "^ [2] [3] [4] [5] [6]"),
        ("^..aa..", limits(4, everything=True), TOO_LONG),  # the last answer stays whole, whatever comes behind it
        ("^..aa.", limits(9, prompt=2, everything=True), "^ [2] [3] [4] [5]"),  # a line end behind it is no prompt
        ("..aa", limits(2, everything=True), "1 [2] [3]"),
        ("^....", limits(3, everything=True), "^ [2] [3] [4]"),
        ("..", limits(9, prompt=1, everything=True), TOO_LONG),  # found by the test below
    ],
)
def test_what_is_left_of_a_conversation(pattern: str, limit: Limits, expected: str):
    assert shown(pattern, limit) == expected


def test_both_prompts_of_a_pair_are_cut_alike_and_share_a_sequence():
    chosen, rejected = marked("^....aa"), marked("^....a")
    fitted = fit([chosen, rejected], limits(8), BOS)
    # Six and five positions: each prompt loses two tokens.
    assert [document.ids.tolist() for document in fitted.documents] == [[BOS, 13, 14, 15, 16], [BOS, 13, 14, 15]]
    assert (fitted.tokens, fitted.targets) == (4, 0)
    assert fit([chosen, rejected], limits(4), BOS).reason == TOO_LONG


@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6)), min_size=1, max_size=5),
    st.booleans(), st.booleans(), st.integers(1, 40), st.one_of(st.none(), st.integers(1, 30)),
)  # fmt: skip
def test_an_example_that_is_kept_fits_and_its_last_answer_is_whole(
    turns: list[tuple[int, int]], bos: bool, everything: bool, positions: int, prompt: int | None
):
    pattern = "^" * bos + "".join("." * asked + "a" * answered for asked, answered in turns)
    whole = marked(pattern, everything=everything)
    fitted = fit([whole], limits(positions, prompt=prompt, everything=everything), BOS)
    if fitted.reason:
        return
    (document,) = fitted.documents
    assert 0 < document.positions <= positions
    assert not document.learned[0]
    assert document.learned[-1]
    assert document.ids[0] == BOS or not bos
    ids = document.ids.tolist()
    last = pattern.rstrip(".").rfind(".") + 1 if "a" in pattern and not everything else None
    if last is not None:
        answer = whole.ids[last : len(pattern.rstrip("."))].tolist()
        assert ids[-len(answer) :] == answer
        assert document.learned[-len(answer) :].all()
        assert prompt is None or len(ids) - len(answer) <= prompt
    targets = int(whole.learned[1:].sum())
    assert int(document.learned.sum()) == targets - fitted.targets
    if not everything:
        # Every answer is learned whole, or not at all.
        learned = {token - 10 for token, mark in zip(ids, document.learned, strict=True) if mark}
        runs, at = [], int(bos)
        for asked, answered in turns:
            runs.append(set(range(max(at + asked, 1), at + asked + answered)))
            at += asked + answered
        assert all(run <= learned or not run & learned for run in runs)

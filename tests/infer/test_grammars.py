"""Masks of tokens: against the definition, and on the way back from guesses."""

from itertools import product
from typing import cast

import numpy as np
import pytest
from engine_twin import fitting
from letters import ByteTokens, letters

from puna.infer.grammars import Guides
from puna.infer.guides import Guide, GuideError
from puna.infer.stops import Text
from puna.tokenizer.tokenizer import Tokenizer

TEXTS = ["ab", "abba", "abbé a", "é", "bbé"]


@pytest.fixture(scope="module")
def guides() -> Guides:
    return Guides(letters(), vocabulary=12)


@pytest.mark.parametrize("stop_ids", [(), (8,), (0, 8)])
def test_masks_of_a_choice_are_what_comparing_with_each_text_gives(guides: Guides, stop_ids: tuple[int, ...]) -> None:
    """All ways through the texts, token by token; the ids behind the vocabulary are never allowed."""
    ways = [[]]
    seen = 0
    while ways:
        way = ways.pop()
        state = guides.begin(Guide.choice(TEXTS), stop_ids=stop_ids)
        assert state.fitting(way) == len(way)
        if way:
            ahead_V = state.allowed(way)
        for token in way:
            state.accept(token)
        expected_V = fitting(way, TEXTS, stop_ids, letters())
        found_V = state.allowed()
        assert found_V.tolist() == [*expected_V.tolist(), False, False]
        if way:
            assert (ahead_V == found_V).all()
        so_far = b"".join(map(letters().bytes_of, way)).decode(errors="replace")
        assert state.complete == (so_far in TEXTS)
        ways += [[*way, token] for token in np.flatnonzero(expected_V).tolist() if token not in stop_ids]
        seen += 1
    assert seen > 20


def test_guesses_leave_a_text_where_it_was(guides: Guides) -> None:
    state = guides.begin(Guide.regex("(ab)*a"), stop_ids=[0])
    before = state.allowed().tolist()
    for guess in product(range(10), repeat=2):
        count = state.fitting(guess)
        if count:
            state.allowed(guess[:count])
        assert state.allowed().tolist() == before
        assert not state.complete


def test_a_text_ends_where_nothing_can_follow(guides: Guides) -> None:
    state = guides.begin(Guide.regex("ab|aba"), stop_ids=[0])
    state.accept(3)
    assert state.complete
    assert not state.ended
    state.accept(1)
    assert state.ended
    assert np.flatnonzero(state.allowed()).tolist() == [0]


def test_a_text_for_which_no_token_is_there_is_stuck_and_not_complete(guides: Guides) -> None:
    state = guides.begin(Guide.choice(["c"]))
    assert not state.allowed().any()
    assert not state.complete


def test_what_the_library_refuses_is_one_sentence_without_the_grammar(guides: Guides) -> None:
    with pytest.raises(GuideError) as error:
        guides.begin(Guide.regex("a(?=b)"))
    assert "look-around" in error.value.message
    assert "\n" not in error.value.message
    assert "llguidance" not in error.value.message


def test_states_of_one_guide_are_independent(guides: Guides) -> None:
    guide = Guide.choice(TEXTS)
    one, other = guides.begin(guide), guides.begin(guide)
    before = other.allowed().tolist()
    one.accept(7)
    assert one.ended
    assert other.allowed().tolist() == before


class _Spaced(ByteTokens):
    """As SentencePiece's: the text right behind a control token begins with a space that is taken off again."""

    space_prefix = True
    contents = (b"", b"", b" ", b" a", b"a", b"b", b" b")

    def is_control(self, token: int) -> bool:
        return not self.contents[token]


@pytest.mark.parametrize("prompt", [(0,), (0, 4), (0, 4, 1)])
def test_the_space_that_is_taken_off_a_text_is_not_the_guides(prompt: tuple[int, ...]) -> None:
    """All ways through a choice give its texts, as the engine gives them out, and each of the texts."""
    tokenizer = cast(Tokenizer, _Spaced())
    choices = ["a", " b", "ab"]
    spaced, ways, texts = Guides(tokenizer), [[]], set()
    while ways:
        way = ways.pop()
        state = spaced.begin(Guide.choice(choices), prompt=prompt)
        for token in way:
            state.accept(token)
        if state.complete:
            text = Text(tokenizer, prompt)
            texts.add("".join([text.push(token)[0] for token in way] + [text.finish()[0]]))
        ways += [[*way, token] for token in np.flatnonzero(state.allowed()).tolist()]
    assert texts == set(choices)

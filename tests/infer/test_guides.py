"""Guides: what they accept, what they refuse, and that they travel between processes."""

import pickle
import re

import pytest
from guided_texts import TOKENS, takes, written, written_ids
from hypothesis import example, given, settings
from hypothesis import strategies as st

from puna.infer.guides import MAX_CHOICES, MAX_SOURCE, Call, Guide, GuideError


@pytest.mark.parametrize(
    "guide",
    [
        Guide.json_schema({"type": "string"}),
        Guide.json_object(),
        Guide.regex("a+"),
        Guide.choice(["a", "b"]),
        Guide.calls([Call(["f("], {"type": "object"}, [")"])]),
    ],
    ids=lambda guide: guide.kind,
)
def test_a_guide_is_the_same_in_another_process(guide: Guide) -> None:
    copy = pickle.loads(pickle.dumps(guide))
    assert copy == guide
    assert hash(copy) == hash(guide)
    assert copy.grammar() == guide.grammar()


def test_a_schema_may_be_given_as_text() -> None:
    assert Guide.json_schema('{"type": "string"}') == Guide.json_schema({"type": "string"})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Guide.choice([]), "there are 0 choices, but must be from 1 to 1,000"),
        (lambda: Guide.choice(["a"] * (MAX_CHOICES + 1)), "there are 1,001 choices, but must be from 1 to 1,000"),
        (lambda: Guide.choice(["a", ""]), "'' is a choice, but must be a text of at least one character"),
        (lambda: Guide.regex("a" * (MAX_SOURCE + 1)), "it has 120,001 characters, but at most 120,000 are read"),
        (lambda: Guide.regex("a\\"), "the regular expression ends with a backslash, which has to escape something"),
        (lambda: Guide.json_schema({"a": {1}}), "the schema cannot be written as JSON"),
        (lambda: Guide.json_schema({"const": float("nan")}), "the schema cannot be written as JSON"),
        (lambda: Guide.calls([]), "there is no function to call"),
        (lambda: Guide("sql", ""), "'sql' is not a kind of guide"),
    ],
)
def test_what_cannot_be_followed_is_refused(make, message: str) -> None:
    with pytest.raises(GuideError) as error:
        make()
    assert error.value.message == message


def test_an_error_of_a_schema_names_the_place() -> None:
    with pytest.raises(GuideError) as error:
        Guide.json_schema({"properties": {"a": {"items": {"contains": {}}}}})
    assert error.value.place == "properties.a.items.contains"
    assert error.value.message.startswith("properties.a.items.contains: the keyword contains is not supported")


REGEXES = [
    r"(\d{3}-){2}\d{4}", "[a-c]{2,5}|xyz", "(ab|é)*", 'a"?\\\\/b', r"[^\n\"]{3}", "(?i)yes|no", "x{1,3}y?", r"\w+ \w+",
    "日本|にほん",
    "(a|b)*a(a|b){3}", r"^a+$", r"[\]^-]{1,3}", "/+", "#.*",
]  # fmt: skip


@pytest.mark.parametrize("pattern", REGEXES)
def test_what_chance_writes_matches_the_regular_expression(pattern: str) -> None:
    """By Python's own."""
    texts = {text for seed in range(40) if (text := written(Guide.regex(pattern), seed)) is not None}
    assert len(texts) > 1
    assert all(re.fullmatch(pattern, text.decode()) for text in texts)


@settings(max_examples=60)
@given(
    choices=st.lists(
        st.text(min_size=1, max_size=6) | st.text('ab"\\/\n', min_size=1, max_size=4), min_size=1, max_size=5
    ),
    seed=st.integers(0, 99),
)
@example(choices=['"', "\\", "/", "\x00", "\x7f", "a\r\nb", "{x}", "[0]", "$"], seed=0)
def test_a_choice_is_one_of_its_texts_and_each_can_come(choices: list[str], seed: int) -> None:
    guide = Guide.choice(choices)
    text = written(guide, seed)
    assert text is not None
    assert text.decode() in choices
    assert all(takes(guide, one) for one in choices)
    assert not takes(guide, choices[0] + "?!")


def test_a_control_token_comes_only_where_the_guide_names_it() -> None:
    guide = Guide.calls([Call([0, "f"], {"enum": [1]}, [2])], closing=["!"])
    assert written_ids(guide, 0) == [0, first_token("f"), first_token("1"), 2, first_token("!")]


def first_token(text: str) -> int:
    return TOKENS.token_bytes().index(text.encode())

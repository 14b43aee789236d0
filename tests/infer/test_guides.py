"""Guides: what they accept, what they refuse, and that they travel between processes."""

import pickle

import pytest

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
        (lambda: Guide.regex("a" * (MAX_SOURCE + 1)), "it has 262,145 characters, but at most 262,144 are read"),
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

"""Which schemas are taken, and how the others are refused."""

import json
import os
import re
from typing import Any

import pytest
from guided_texts import GUIDES, takes, written
from hypothesis import HealthCheck, assume, example, given, reject, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from puna.infer.guide_schema import FORMATS, SchemaError, enforced_schema
from puna.infer.guides import Guide, GuideError


def test_annotations_are_left_out_and_all_else_is_kept_in_order() -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "T",
        "type": "object",
        "properties": {"title": {"type": "string", "description": "d"}, "b": True},
        "required": ["title"],
        "$defs": {"default": {"enum": [1, "a"], "default": 1}},
    }
    assert json.dumps(enforced_schema(json.dumps(schema))) == json.dumps(
        {
            "type": "object",
            "properties": {"title": {"type": "string"}, "b": True},
            "required": ["title"],
            "$defs": {"default": {"enum": [1, "a"]}},
        }
    )


@pytest.mark.parametrize(
    ("schema", "place", "why"),
    [
        ({"patternProperties": {}}, "patternProperties", "the keyword patternProperties is not supported: name the"),
        ({"properties": {"a": {"uniqueItems": True}}}, "properties.a.uniqueItems", "the keyword uniqueItems is not"),
        ({"anyOf": [{}, {"not": {}}]}, "anyOf[1].not", "the keyword not is not supported: say what is valid instead"),
        ({"minProperties": 1}, "minProperties", "the keyword minProperties is not supported"),
        ({"x-guidance": {"lenient": True}}, "x-guidance", "the keyword x-guidance is not supported"),
        ({"$id": "http://a"}, "$id", "the keyword $id is not supported"),
        ({"colour": "string"}, "colour", "the keyword colour is not supported: it would not be enforced"),
        ({"items": [{}]}, "items", "a schema is expected, an object or a boolean, but this is an array"),
        ({"properties": []}, "properties", "an object is expected, but this is an array"),
        ({"anyOf": []}, "anyOf", "an array with something in it is expected"),
        ({"enum": [2**53 + 1]}, "enum", "whole numbers beyond 2^53 are not compared exactly"),
        ({"const": {"a": [2**60]}}, "const", "whole numbers beyond 2^53 are not compared exactly"),
        ({"minimum": True}, "minimum", "a number is expected, but this is a boolean"),
        ({"minLength": -1}, "minLength", "a whole number from 0 on is expected"),
        ({"maxItems": 1.0}, "maxItems", "a whole number from 0 on is expected, but this is a number"),
        ({"format": "regex"}, "format", "the format 'regex' is not one of date, date-time"),
        ({"pattern": "\\pL"}, "pattern", "\\p is not supported in a pattern: name the characters"),
        ({"pattern": "[a&&b]"}, "pattern", "&& is not supported in a pattern"),
        ({"pattern": 1}, "pattern", "a regular expression is expected, but this is a number"),
        ({"multipleOf": 0}, "multipleOf", "it must be above 0"),
        ({"multipleOf": 999983}, "multipleOf", "it must be above 0, and the digits of all multipleOf have"),
        ({"items": {"multipleOf": 97}, "not": 1}, "not", "the keyword not"),
        ({"allOf": [{"multipleOf": 9.97}, {"multipleOf": 991}]}, "allOf[1].multipleOf", "it must be above 0, and the"),
        ({"$ref": "http://a/b"}, "$ref", "a reference must point into this schema: #/$defs/NAME"),
        ({"$ref": "#/$defs/a"}, "$ref", "the reference '#/$defs/a' points at nothing in this schema"),
        ({"$schema": "http://json-schema.org/draft-04/schema#"}, "$schema", "schemas are read as JSON Schema 2020-12"),
    ],
)  # fmt: skip
def test_a_schema_that_would_not_be_enforced_is_refused(schema: Any, place: str, why: str) -> None:
    with pytest.raises(SchemaError) as error:
        enforced_schema(json.dumps(schema))
    assert error.value.place == place
    assert error.value.why.startswith(why)


@pytest.mark.parametrize("source", ["", "{", "[1]", "1", '{"const": NaN}', "[" * 100_000])
def test_what_is_not_a_schema_is_refused(source: str) -> None:
    with pytest.raises(SchemaError):
        enforced_schema(source)


def test_schemas_have_a_bound_on_depth_and_number() -> None:
    deep: dict[str, Any] = {}
    for _ in range(40):
        deep = {"items": deep}
    with pytest.raises(SchemaError, match="nested more than 32 deep"):
        enforced_schema(json.dumps(deep))
    with pytest.raises(SchemaError, match="more than 500 schemas"):
        enforced_schema(json.dumps({"anyOf": [{}] * 500}))


def test_references_may_name_any_part_of_the_schema() -> None:
    schema = {"$defs": {"a/b~c": {"anyOf": [{}, {"type": "null"}]}}, "$ref": "#/$defs/a~1b~0c/anyOf/1"}
    assert enforced_schema(json.dumps(schema)) == schema
    assert enforced_schema('{"items": {"$ref": "#"}}') == {"items": {"$ref": "#"}}


# What comes out, against another implementation of JSON Schema.

NAMES = st.sampled_from(["a", "b", "é", "x y", 'c"'])
NUMBERS = st.one_of(st.integers(-20, 20), st.integers(-2000, 2000), st.decimals(-5, 5, places=2).map(float))
VALUES = st.sampled_from([None, True, 0, 1, -7, 2.5, "a", 'é"\n', "", [1, "a"], {"a": 1}, {"b": [{}]}, 1e10, 100])
PATTERNS = [
    "^a+$", "b", "^[a-c]{2}", r"\d{3}", "^(ab|é)*$", "x$", '^[^"]{1,3}$', r'^[^"\\]{1,3}$', r"^[^\\n]{2}$",
    '^[^]"]{2}$', r"^[^-\\]{2}$", r"\\[^a]", "^.{2,3}$",
]  # fmt: skip


def some(**parts: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=parts)


def of_type(name: str, **parts: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return some(**parts).map(lambda rest: {"type": name, **rest})


STRINGS = of_type("string", minLength=st.integers(0, 4), maxLength=st.integers(2, 8)) | st.one_of(
    st.sampled_from(PATTERNS).map(lambda one: {"type": "string", "pattern": one}),
    st.sampled_from(sorted(FORMATS)).map(lambda one: {"type": "string", "format": one}),
    st.just({"pattern": "a", "minLength": 2, "maxLength": 5, "type": "string"}),
)
BOUNDS = {
    "minimum": NUMBERS, "maximum": NUMBERS, "exclusiveMinimum": NUMBERS, "exclusiveMaximum": NUMBERS,
    "multipleOf": st.sampled_from([2, 3, 5, 10, 0.5, 0.25, 0.1, 0.01]),
}  # fmt: skip
SIMPLE = st.one_of(
    STRINGS, of_type("integer", **BOUNDS), of_type("number", **BOUNDS), of_type("boolean"), of_type("null"),
    st.lists(VALUES, min_size=1, max_size=4).map(lambda values: {"enum": values}),
    VALUES.map(lambda one: {"const": one}),
    st.sampled_from([True, {}, {"$ref": "#/$defs/x"}, {"$ref": "#/$defs/tree"}]),
    some(minLength=st.just(2), maximum=st.just(4), maxItems=st.just(1)).flatmap(
        lambda rest: st.lists(
            st.sampled_from(["string", "integer", "number", "null", "boolean", "array", "object"]), min_size=1,
            max_size=3, unique=True,
        ).map(lambda types: {"type": types, **rest})
    ),
)  # fmt: skip


def larger(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    parts = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        *(parts.map(lambda value, word=word: {word: value}) for word in ("anyOf", "oneOf", "allOf")),
        of_type(
            "object", properties=st.dictionaries(NAMES, inner, max_size=4), required=st.lists(NAMES, unique=True),
            additionalProperties=st.just(False) | inner, maxProperties=st.integers(0, 3),
        ),
        of_type(
            "array", items=inner, prefixItems=parts, minItems=st.integers(0, 3), maxItems=st.integers(0, 3)
        ),
        st.tuples(inner, inner).map(
            lambda two: {**two[0], **two[1]} if isinstance(two[0], dict) and isinstance(two[1], dict) else two[0]
        ),
    )  # fmt: skip


SCHEMAS = st.recursive(SIMPLE, larger, max_leaves=8)
TREE = {"type": "object", "properties": {"n": {"anyOf": [{"$ref": "#/$defs/tree"}, {"type": "null"}]}}}
FORMAT_CHECKER = Draft202012Validator.FORMAT_CHECKER
EXAMPLES = int(os.environ.get("PUNA_GUIDE_EXAMPLES", "150"))


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(schema=SCHEMAS, shared=SIMPLE, seed=st.integers(0, 1000))
@example(schema={"type": "string", "pattern": '^[^"]{1,3}$'}, shared=True, seed=3)
@example(schema={"type": "string", "format": "date"}, shared=True, seed=1)
def test_what_chance_writes_is_valid(schema: Any, shared: Any, seed: int) -> None:
    """Schemas that the library refuses say so before anything is written."""
    whole = {"$defs": {"x": shared, "tree": TREE}, **(schema if isinstance(schema, dict) else {"allOf": [schema]})}
    assume(shared not in ({"$ref": "#/$defs/x"},))
    guide = Guide.json_schema(whole)
    try:
        GUIDES.begin(guide)
    except GuideError:
        reject()
    validator = Draft202012Validator(whole, format_checker=FORMAT_CHECKER)
    for number in range(4):
        if (text := written(guide, 4 * seed + number)) is not None:
            validator.validate(json.loads(text))


@pytest.mark.parametrize("pattern", [one for one in PATTERNS if one[0] + one[-1] == "^$"])
def test_patterns_are_kept_to_whatever_has_to_be_escaped(pattern: str) -> None:
    guide = Guide.json_schema({"type": "string", "pattern": pattern})
    texts = [text for seed in range(60) if (text := written(guide, seed)) is not None]
    assert len(texts) > 10
    assert all(re.search(pattern, json.loads(text)) for text in texts)


DAYS = ["2023-02-28", "2024-02-29", "2000-02-29", "0004-02-29", "2023-12-31", "2023-04-30", "0001-01-01"]
NO_DAYS = ["2023-02-29", "1900-02-29", "2100-02-29", "0000-02-29", "2023-04-31", "2023-13-01", "2023-00-10", "2023-1-1"]


@pytest.mark.parametrize("text", [*DAYS, *NO_DAYS])
def test_dates_are_days_of_the_calendar(text: str) -> None:
    assert FORMAT_CHECKER.conforms(text, "date") == (text in DAYS)
    assert takes(Guide.json_schema({"format": "date", "type": "string"}), f'"{text}"') == (text in DAYS)


@pytest.mark.parametrize(
    ("form", "text", "valid"),
    [
        ("time", "23:59:59Z", True),
        ("time", "23:59:60Z", False),
        ("time", "24:00:00Z", False),
        ("time", "12:00:00", False),
        ("time", "12:00:00.123+05:30", True),
        ("date-time", "2024-02-29T12:00:00Z", True),
        ("date-time", "2023-02-29T12:00:00Z", False),
        ("duration", "P3DT4H", True),
        ("duration", "P", False),
        ("email", "a.b@c.de", True),
        ("email", "a b@c.de", False),
        ("hostname", "a-b.example", True),
        ("hostname", "-a.example", False),
        ("hostname", ".".join(["a" * 63] * 3 + ["b" * 61]), True),
        ("hostname", ".".join(["a" * 63] * 3 + ["b" * 62]), False),
        ("ipv4", "255.0.0.1", True),
        ("ipv4", "256.0.0.1", False),
        ("ipv6", "::1", True),
        ("ipv6", "1::2::3", False),
        ("uuid", "123e4567-e89b-12d3-a456-426614174000", True),
        ("uuid", "123e4567e89b12d3a456426614174000", False),
    ],
)
def test_formats_are_enforced(form: str, text: str, valid: bool) -> None:
    assert takes(Guide.json_schema({"type": "string", "format": form}), json.dumps(text)) == valid


@pytest.mark.parametrize(
    "value",
    [{"a": 1, "b": ["é", None, -0.5, 1e3]}, {}, {"deep": {"er": [[], [{}]]}}, {'quote"d': "\\ \n \t"}],
)
@pytest.mark.parametrize("indent", [None, 1, 2, 4])
def test_json_as_printers_write_it_is_taken(value: Any, indent: int | None) -> None:
    """The bound on white space keeps out none of what `json.dumps` writes."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    assert takes(Guide.json_object(), text)
    assert not takes(Guide.json_object(), text.replace("{", "{" + " " * 2, 1))

"""Which JSON schemas are enforced to the letter; every other keyword is refused, so that none is silently ignored.

llguidance takes some keywords of which it enforces less than they say: `patternProperties` (its issue 265), or
`minProperties` where keys may be written twice. The words below are those whose whole meaning a test has found in the
texts that come out, by another implementation of JSON Schema.
"""

import json
import re
from decimal import Decimal
from math import lcm
from typing import Any

ANNOTATIONS = frozenset(
    {"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment", "$schema"}
)
"""They say nothing about what is valid (JSON Schema 2020-12, Validation, section 9), and are left out."""
ENFORCED = frozenset(
    {
        "type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref", "$defs", "definitions",
        "properties", "required", "additionalProperties", "maxProperties",
        "items", "prefixItems", "minItems", "maxItems",
        "minLength", "maxLength", "pattern", "format",
        "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
    }
)  # fmt: skip
FORMATS = frozenset({"date-time", "date", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})
"""OpenAI's list of supported formats (its guide to structured outputs), all of which llguidance has."""
_YEAR = r"(?:000[1-9]|00[1-9]\d|0[1-9]\d\d|[1-9]\d{3})"
_LEAP = r"(?:0[48]|[2468][048]|[13579][26])"
_DATE = (
    rf"(?:{_YEAR}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)"
    rf"|02-(?:0[1-9]|1\d|2[0-8]))|(?:\d\d{_LEAP}|{_LEAP}00)-02-29)"
)
_TIME = r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)"
_PATTERNS = {"date": f"^{_DATE}$", "time": f"^{_TIME}$", "date-time": f"^{_DATE}T{_TIME}$"}
"""RFC 3339, as days of the calendar and without leap seconds, which few readers take. llguidance's own patterns have
the 29th of February in every year."""
_HOSTNAME = 253
"""Characters of a host's name at most (RFC 1035, section 2.3.4); llguidance bounds only its parts."""
DRAFTS = (
    "https://json-schema.org/draft/2020-12/schema", "https://json-schema.org/draft/2019-09/schema",
    "http://json-schema.org/draft-07/schema",
)  # fmt: skip
"""Those in which the words above mean the same."""
MAX_DEPTH = 32
"""Schemas within schemas; OpenAI takes 10."""
MAX_SCHEMAS = 500
"""In all. To compile as many that are costly, such as dates, takes one or two seconds of a core."""
MAX_MULTIPLE = 10_000
"""Of the digits of all `multipleOf` together: a grammar counts remainders, as many as their least common multiple."""
_EXACT = 2**53
"""Whole numbers up to here are exact as double-precision numbers, which is how bounds are compared."""
_CLASSES = re.compile(r"\\[pP]|(?<!\[\^)\\x00|\\u0000|\\x\{0*\}|\\u\{0*\}|\\0|\x00|\[:|&&|--|~~")
_NEGATED = re.compile(r"\\.|\[\^[\]-]?", re.DOTALL)
_WHY = {
    "patternProperties": "name the properties, or give a schema for all others as additionalProperties",
    "minProperties": "name the properties that must be there in required",
    "uniqueItems": "whether items differ cannot be seen while they are written",
    "not": "say what is valid instead of what is not",
    "if": "give the alternatives as anyOf",
    "then": "give the alternatives as anyOf",
    "else": "give the alternatives as anyOf",
    "additionalItems": "in JSON Schema 2020-12 items says it, behind prefixItems",
    "x-guidance": "white space and escapes are the same for all schemas",
}


class SchemaError(ValueError):
    """What is wrong with a schema, and where in it."""

    def __init__(self, place: str, why: str) -> None:
        super().__init__(f"{place}: {why}" if place else why)
        self.place, self.why = place, why


def enforced_schema(source: str) -> Any:
    """A schema without annotations, of which every word is enforced.

    Args:
        source: Its JSON text.

    Returns:
        The schema, a dict or a bool.

    Raises:
        SchemaError: It is not a schema, too large, or has a word that would not be enforced.
    """
    try:
        schema = json.loads(source, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise SchemaError("", "the schema is not valid JSON") from None
    return _Walk(schema).cleaned(schema, "", 1)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


class _Walk:
    """One way through a schema."""

    def __init__(self, root: Any) -> None:
        self._root, self._seen, self._multiple = root, 0, 1

    def cleaned(self, schema: Any, place: str, depth: int) -> Any:
        """The schema at a place, checked and without annotations."""
        self._seen += 1
        if self._seen > MAX_SCHEMAS:
            raise SchemaError("", f"the schema has more than {MAX_SCHEMAS:,} schemas within it")
        if depth > MAX_DEPTH:
            raise SchemaError(place, f"schemas are nested more than {MAX_DEPTH} deep")
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, dict):
            raise SchemaError(place, f"a schema is expected, an object or a boolean, but this is {_name(schema)}")
        self._refuse(schema, place)
        cleaned = {}
        for word, value in schema.items():
            if word not in ANNOTATIONS:
                cleaned[word] = self._word(word, value, _at(place, word), depth + 1)
        return _with_format(cleaned)

    def _refuse(self, schema: dict[str, Any], place: str) -> None:
        """Refuse words that would not be enforced."""
        for word in schema.keys() - ANNOTATIONS - ENFORCED:
            why = _WHY.get(word, "it would not be enforced")
            raise SchemaError(_at(place, word), f"the keyword {word} is not supported: {why}")
        draft = schema.get("$schema")
        if draft is not None and (not isinstance(draft, str) or draft.rstrip("#") not in DRAFTS):
            raise SchemaError(_at(place, "$schema"), "schemas are read as JSON Schema 2020-12, 2019-09 or draft 7")

    def _word(self, word: str, value: Any, place: str, depth: int) -> Any:
        """The value of a word, checked; schemas within it are cleaned."""
        match word:
            case "properties" | "$defs" | "definitions":
                return {name: self.cleaned(one, _at(place, name), depth) for name, one in _object(value, place).items()}
            case "anyOf" | "oneOf" | "allOf" | "prefixItems":
                parts = _array(value, place)
                return [self.cleaned(one, f"{place}[{number}]", depth) for number, one in enumerate(parts)]
            case "items" | "additionalProperties":
                return self.cleaned(value, place, depth)
            case "$ref":
                self._resolve(value, place)
            case "pattern":
                if not isinstance(value, str):
                    raise SchemaError(place, f"a regular expression is expected, but this is {_name(value)}")
                return _without_nul(value, place)
            case "format":
                if not isinstance(value, str) or value not in FORMATS:
                    raise SchemaError(place, f"the format {value!r} is not one of {', '.join(sorted(FORMATS))}")
            case "enum":
                for one in _array(value, place):
                    _exact(one, place, depth)
            case "const":
                _exact(value, place, depth)
            case "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf":
                if isinstance(value, bool) or not isinstance(value, int | float):
                    raise SchemaError(place, f"a number is expected, but this is {_name(value)}")
                _exact(value, place, depth)
                if word == "multipleOf":
                    self._count(value, place)
            case "minLength" | "maxLength" | "minItems" | "maxItems" | "maxProperties":
                if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                    raise SchemaError(place, f"a whole number from 0 on is expected, but this is {_name(value)}")
        return value

    def _count(self, divisor: float, place: str) -> None:
        """Refuse divisors that would make a grammar of too many remainders."""
        digits = Decimal(str(divisor)).normalize().as_tuple().digits
        self._multiple = lcm(self._multiple, int("".join(map(str, digits))))
        if divisor <= 0 or self._multiple > MAX_MULTIPLE:
            raise SchemaError(
                place, f"it must be above 0, and the digits of all multipleOf have at most {MAX_MULTIPLE:,} as multiple"
            )

    def _resolve(self, reference: Any, place: str) -> None:
        """Refuse a reference that points at nothing in this schema."""
        found = self._root
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise SchemaError(place, "a reference must point into this schema: #/$defs/NAME")
        for step in reference.removeprefix("#").split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict) and step in found:
                found = found[step]
            elif isinstance(found, list) and step.isdecimal() and int(step) < len(found):
                found = found[int(step)]
            else:
                raise SchemaError(place, f"the reference {reference!r} points at nothing in this schema")


def _with_format(schema: dict[str, Any]) -> dict[str, Any]:
    """A cleaned schema whose format is exact."""
    if (pattern := _PATTERNS.get(schema.get("format", ""))) is not None:
        schema = {word: value for word, value in schema.items() if word != "format"}
        schema["allOf"] = [*schema.get("allOf", []), {"pattern": pattern}]
    elif schema.get("format") == "hostname":
        schema["maxLength"] = min(schema.get("maxLength", _HOSTNAME), _HOSTNAME)
    return schema


def _without_nul(pattern: str, place: str) -> str:
    r"""A pattern whose classes do not take U+0000, which is never missed.

    llguidance 1.9.1 takes an escaped quotation mark or backslash for a character of any class that has all control
    characters, also where the class leaves just these two out: `[^"]`. A class without U+0000 is read right. Whatever
    else can make such a class is refused.
    """
    if found := _CLASSES.search(pattern):
        raise SchemaError(place, f"{found[0]} is not supported in a pattern: name the characters, or use [^...]")
    return _NEGATED.sub(lambda found: found[0] if found[0][0] == "\\" else found[0] + r"\x00", pattern)


def _exact(value: Any, place: str, depth: int) -> None:
    """Refuse whole numbers that are not exact as double-precision numbers, also within a value."""
    if depth > MAX_DEPTH:
        raise SchemaError(place, f"values are nested more than {MAX_DEPTH} deep")
    if isinstance(value, int) and abs(value) > _EXACT:
        raise SchemaError(place, "whole numbers beyond 2^53 are not compared exactly")
    parts = value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
    for part in parts:
        _exact(part, place, depth + 1)


def _at(place: str, word: str) -> str:
    return f"{place}.{word}" if place else word


def _object(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SchemaError(place, f"an object is expected, but this is {_name(value)}")
    return value


def _array(value: Any, place: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise SchemaError(place, f"an array with something in it is expected, but this is {_name(value)}")
    return value


def _name(value: Any) -> str:
    kinds = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")

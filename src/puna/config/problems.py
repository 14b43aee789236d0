"""Problems of a recipe as sentences: where the value came from, its key, what was expected, what was found."""

import difflib
from collections.abc import Iterable
from typing import Any, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from puna.config.model import DERIVED
from puna.config.plugins import rule_keys, settings_of
from puna.config.recipe import Recipe
from puna.config.rules import Rules
from puna.config.section import ConflictError
from puna.config.toml import inline

DEFAULT = "default"
"""The origin of a value that was not set."""

_LONGEST_VALUE = 60
"""How many characters of a value a message quotes."""


def describe(error: ValidationError, origins: dict[str, str], source: str) -> list[str]:
    """One sentence for each problem that validation has found.

    Args:
        error: Pydantic's error for the recipe's values.
        origins: Dotted key to where its value came from.
        source: The recipe's file, which is named for a missing key.
    """
    return [
        _one_line(sentence)
        for problem in error.errors(include_url=False)
        for sentence in _Describer(problem, origins, source).sentences()
    ]


class _Describer:
    """One of pydantic's problems, with everything needed to describe it."""

    def __init__(self, problem: ErrorDetails, origins: dict[str, str], source: str) -> None:
        self.kind, self.found, self.context = problem["type"], problem["input"], problem.get("ctx", {})
        self.location = [str(part) for part in problem["loc"]]
        self.message = problem["msg"]
        self.origins, self.source = origins, source

    def sentences(self) -> list[str]:
        """The problem in a sentence; several sentences if several pairs of values conflict."""
        location = self.location
        error = self.context.get("error")
        if isinstance(error, ConflictError):
            return [self._conflict(sentence, keys) for sentence, keys in error.conflicts]
        if location and location[-1] == "[key]":
            where = self._origin([location[:-1]])
            table = ".".join(location[:-2])
            return [f"{where}: the name {location[-2]!r} in {table!r} does not match {self.context.get('pattern')}"]
        where, key = self._origin([location]), ".".join(location)
        if self.kind == "extra_forbidden":
            return [f"{where}: unknown key {key!r}{nearest(location[-1], _keys_at(location[:-1]), location[:-1])}"]
        if self.kind == "missing":
            return [f"{where}: {key!r} is missing"]
        if self.kind == "value_error":
            return [f"{where}: {key!r} {error or self.message}"]
        way = f"; data.sources.{location[-1]} = false leaves a source out" if self._is_no_share() else ""
        return [f"{where}: {key!r} expects {self._expected()}, got {_quoted(self.found)}{way}"]

    def _is_no_share(self) -> bool:
        return self.kind == "greater_than" and self.location[0] == "mixture" and self.found == 0

    def _conflict(self, sentence: str, keys: list[str]) -> str:
        label = f"{'.'.join(self.location)}: " if self.location else ""
        where = self._origin([[*self.location, *key.split(".")] for key in keys])
        return f"{where}: {label}{sentence}{self._not_given(sentence, keys)}"

    def _not_given(self, sentence: str, keys: list[str]) -> str:
        """The end of a sentence about values of which no recipe gives some: which of those that it quotes they are."""
        own = [key for key in keys if f"{key} = " in sentence and not self._given([*self.location, *key.split(".")])]
        derived = [key for key in own if ".".join([*self.location, key]) in DERIVED]
        defaults = [key for key in own if key not in derived]
        parts = [f"{key} is derived from {DERIVED['.'.join([*self.location, key])]}" for key in derived]
        if defaults:
            parts.append(f"{' and '.join(defaults)} {'is the default' if len(defaults) == 1 else 'are defaults'}")
        return "".join(f"; {part}" for part in parts)

    def _given(self, key: list[str]) -> bool:
        return ".".join(key) in self.origins

    def _origin(self, keys: list[list[str]]) -> str:
        """Where the values of these keys came from, or else those of the enclosing table."""
        for up in range(max(map(len, keys))):
            places = [".".join(key[: len(key) - up]) for key in keys]
            found = dict.fromkeys(
                origin
                for place in places
                for key, origin in self.origins.items()
                if key == place or key.startswith(f"{place}.")
            )
            if found:
                return ", ".join(found)
        return self.source

    def _expected(self) -> str:
        context = self.context
        names = {
            "int_type": "a whole number", "float_type": "a number", "finite_number": "a finite number",
            "string_type": "a string", "bool_type": "true or false",
            "list_type": "a list", "dict_type": "a table", "model_type": "a table", "too_short": "at least one entry",
            "greater_than": f"more than {context.get('gt')}", "greater_than_equal": f"at least {context.get('ge')}",
            "less_than": f"less than {context.get('lt')}", "less_than_equal": f"at most {context.get('le')}",
            "literal_error": context.get("expected", ""),
            "string_pattern_mismatch": f"a name that matches {context.get('pattern')}",
        }  # fmt: skip
        return names.get(self.kind, self.message)


def nearest(name: str, known: Iterable[str], table: list[str] | None = None) -> str:
    """The end of a sentence about an unknown `name`: the most similar known name, or all known names."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {'.'.join([*(table or []), close[0]])!r}?"
    return f"; known here: {', '.join(known)}" if known else ""


def _keys_at(location: list[str]) -> list[str]:
    """The keys that a recipe has at a dotted place; none where users choose the keys."""
    kind: Any = Recipe
    for part in location:
        inside = get_args(kind)
        if get_origin(kind) in (dict, list):  # a table by name, a list of tables
            kind = inside[-1]
        elif field := _required(kind).model_fields.get(part):  # no key with an alias is a table
            kind = field.annotation
        else:  # the table of a plug-in
            kind = settings_of(part)
    section = _required(kind)
    fields = [field.alias or name for name, field in section.model_fields.items()]
    return [*fields, *(rule_keys() if section is Rules else ())]


def _required(kind: Any) -> Any:
    """The section of an annotation that may also be None."""
    return next((part for part in get_args(kind) if part is not type(None)), kind)


def _one_line(sentence: str) -> str:
    """The sentence with line ends and control characters from a user's names escaped."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in sentence)


def _quoted(value: Any) -> str:
    if isinstance(value, dict):
        return "a table"
    text = inline(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"

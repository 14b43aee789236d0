"""Overrides with several values each, and all their combinations: `optim.lr=1e-3,2e-3 seed=1,2` are four recipes.

A value with commas that is not TOML is a list of values, where a key can have different values over one data build.
`samples.prompts=["a", "b"]` is one value, for it is TOML, and so is `description="a, b"`.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from puna.config.load import is_toml
from puna.config.toml import inline
from puna.core.errors import ConfigError

_ONE_BUILD = ("name", "description", "data.", "tokenizer.", "model.vocab_size")
"""The beginnings of keys of which all runs over one data build have the same value."""
_TEXTS = ("name", "description", "data.", "tokenizer.", "metrics.")
"""The beginnings of keys whose values may be texts with commas."""

_UNSAFE = re.compile(r"[^A-Za-z0-9.+-]+")
"""Characters of a value that a directory's name does without: those that shells, paths and `RUN@step` read."""
_LONGEST_VALUE = 40


@dataclass(frozen=True)
class Point:
    """One combination of the values."""

    name: str
    """For the directory of its run: `lr=1e-3-seed=1`."""
    overrides: list[str]
    """As on the command line: `optim.lr=1e-3`."""


def split(overrides: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """The overrides with one value each, and the values of those that have several, by their keys."""
    single, several = [], {}
    for override in overrides:
        key, equals, text = override.partition("=")
        key = key.strip()
        parts = [] if not equals or key.startswith(_TEXTS) or is_toml(text) else _parts(text)
        if len(parts) < 2:
            single.append(override)
        elif key in several:
            raise ConfigError([f"command line: {key!r} has several values twice; give all of them at once"])
        else:
            several[key] = parts
    return single, several


def points(several: Mapping[str, Sequence[object]]) -> list[Point]:
    """All combinations of the values, the last key's changing fastest.

    Args:
        several: Values by dotted key; a text is what the command line has behind the `=`.

    Raises:
        ConfigError: A key cannot have several values over one data build, or has none.
    """
    for key, values in several.items():
        if key.startswith(_ONE_BUILD):
            raise ConfigError(
                [f"{key!r} cannot have several values: all runs of a sweep read one data build under one name"],
                hint="train each by itself, over its own data build, and `puna compare` the runs",
            )
        if not values:
            raise ConfigError([f"{key!r} has no value"])
    texts = {key: list(map(_written, values)) for key, values in several.items()}
    short = _short_names(list(texts))
    found: list[Point] = []
    for chosen in itertools.product(*texts.values()):
        pairs = list(zip(texts, chosen, strict=True))
        name = "-".join(f"{short[key]}={_safe(text)}" for key, text in pairs)
        taken = {point.name for point in found}
        number = next(number for number in itertools.count(1) if _numbered(name, number) not in taken)
        found.append(Point(_numbered(name, number), [f"{key}={text}" for key, text in pairs]))
    return found


def _written(value: object) -> str:
    """A value of Python as TOML; a text as it is."""
    return value if isinstance(value, str) else inline(list(value) if isinstance(value, tuple) else value)


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}-{number}"


def _short_names(keys: list[str]) -> dict[str, str]:
    """The last part of each key, or all of it where two have the same."""
    last = [key.rpartition(".")[2] for key in keys]
    return {key: name if last.count(name) == 1 else key for key, name in zip(keys, last, strict=True)}


def _safe(text: str) -> str:
    cleaned = _UNSAFE.sub("_", text.strip().strip("\"'")).strip("_")
    return cleaned[:_LONGEST_VALUE] or "empty"


def _parts(text: str) -> list[str]:
    """The parts of a text between commas that are outside of quotes, brackets and braces."""
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in "[{(":
            depth += 1
        elif character in ")}]":
            depth -= 1
        elif character == "," and depth == 0:
            parts.append("")
            continue
        parts[-1] += character
    return [part.strip() for part in parts if part.strip()]

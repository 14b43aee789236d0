"""Show a recipe: every value with its origin, and the JSON Schema for editors."""

import json
from collections.abc import Iterator
from typing import Any

import tomli_w

from puna.config.load import DEFAULT, Loaded
from puna.config.recipe import Recipe

_ORIGIN_COLUMN = 60


def show(loaded: Loaded) -> str:
    """The resolved recipe as TOML lines, each with the origin of its value behind it."""
    lines = []
    for key, value in flatten(loaded.recipe.model_dump(exclude_none=True)):
        text = f"{key} = {_toml(value)}"
        lines.append(f"{text:<{_ORIGIN_COLUMN}}  # {loaded.origins.get(key, DEFAULT)}")
    return "\n".join(lines)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a recipe file, `extends` included; editors complete and check TOML with it."""
    schema = Recipe.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Puna recipe"
    schema["properties"]["extends"] = {
        "type": "string",
        "description": "The shipped recipe, or the TOML file beside this one, that this recipe changes.",
    }
    schema["required"] = []
    return schema


def flatten(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of a nested table, in order."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """The dotted keys whose values differ, each with both values: `optim.lr: 0.001 -> 0.002`."""
    before, after = dict(flatten(old)), dict(flatten(new))
    changed = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    return [f"{key}: {json.dumps(before.get(key))} -> {json.dumps(after.get(key))}" for key in changed]


def _toml(value: Any) -> str:
    return tomli_w.dumps({"v": value}).strip().removeprefix("v = ")

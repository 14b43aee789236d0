"""Show a recipe: every value with its origin, and the JSON Schema for editors."""

import json
from typing import Any

from puna.config.load import DEFAULT, Loaded
from puna.config.recipe import Recipe
from puna.config.toml import flatten, inline

_LONGEST_ALIGNED = 60
"""Width in characters of the column of values; after a longer value, the origin is further right."""


def show(loaded: Loaded) -> str:
    """The resolved recipe as TOML: one line per value, each followed by its origin."""
    values = list(flatten(loaded.recipe.model_dump(exclude_none=True)))
    texts = [f"{key} = {inline(value)}" for key, value in values]
    column = max(len(text) for text in texts if len(text) <= _LONGEST_ALIGNED)
    return "\n".join(
        f"{text:<{column}}  # {loaded.origins.get(key, DEFAULT)}" for (key, _), text in zip(values, texts, strict=True)
    )


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a recipe file, `extends` included; editors complete and check TOML with it.

    No key is required in it, because a recipe that extends another gives only the differences.
    """
    schema = Recipe.model_json_schema()
    for table in [schema, *schema["$defs"].values()]:
        table.pop("required", None)
        for field in table["properties"].values():
            field["description"] = " ".join(field["description"].split())
            if "patternProperties" in field:
                field["additionalProperties"] = False
    sources = schema["$defs"]["DataConfig"]["properties"]["sources"]["patternProperties"]
    left_out = {"const": False, "description": "Leaves out a source of the recipe that this one extends."}
    for pattern, source in sources.items():
        sources[pattern] = {"anyOf": [source, left_out]}
    extends = {
        "type": "string",
        "description": "The shipped recipe, or the TOML file beside this one, that this recipe changes.",
    }
    schema["properties"] = {"extends": extends} | schema["properties"]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema | {"title": "Puna recipe"}


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """The dotted keys whose values differ, each with both values: `optim.lr: 0.001 -> 0.002`."""
    before, after = ({key: value for key, value in flatten(table) if value != {}} for table in (old, new))
    changed = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    return [f"{key}: {json.dumps(before.get(key))} -> {json.dumps(after.get(key))}" for key in changed]

"""What people see of a recipe: its values with their origins, its schema, and what differs between two."""

import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puna.config.explain import differences, flatten, json_schema, show
from puna.config.load import load_recipe, shipped_recipes

SCHEMA_FILE = Path(__file__).parents[2] / "docs" / "recipe.schema.json"


@pytest.mark.parametrize("name", shipped_recipes())
def test_shown_recipe_is_toml_that_gives_the_recipe(name: str) -> None:
    loaded = load_recipe(name)
    assert tomllib.loads(show(loaded)) == loaded.recipe.model_dump(exclude_none=True)


@settings(max_examples=50)
@given(st.text(), st.lists(st.text(), max_size=4))
def test_any_text_is_shown_on_one_line_of_toml(description: str, prompts: list[str]) -> None:
    loaded = load_recipe("demo")
    samples = loaded.recipe.samples.model_copy(update={"prompts": prompts})
    recipe = loaded.recipe.model_copy(update={"description": description, "samples": samples})
    text = show(type(loaded)(recipe, loaded.origins))
    assert tomllib.loads(text) == recipe.model_dump(exclude_none=True)
    assert len(text.splitlines()) == len(list(flatten(recipe.model_dump(exclude_none=True))))


def test_every_line_is_one_value_with_its_origin() -> None:
    lines = show(load_recipe("demo-smoke", ["optim.lr=1e-3"])).splitlines()
    origins = {line.split(" = ")[0]: line.rpartition("  # ")[2] for line in lines}
    assert len(origins) == len(lines)
    assert origins["optim.lr"] == "command line"
    assert origins["model.dim"] == "demo-smoke.toml"
    assert origins["mixture.prose"] == "demo.toml"
    assert origins["optim.beta1"] == "default"


def test_value_that_follows_from_others_says_from_which() -> None:
    shown = {line.split(" = ")[0]: line for line in show(load_recipe("demo-smoke", ["model.ffn_dim=0"])).splitlines()}
    assert shown["model.ffn_dim"].startswith("model.ffn_dim = 512 ")
    assert shown["model.ffn_dim"].endswith("# derived from dim: 2/3 of 4 x dim, up to a multiple of 256")
    assert shown["model.head_dim"].endswith("# derived from dim / n_heads")
    assert shown["model.n_kv_heads"].endswith("# demo-smoke.toml")


def test_origins_stand_in_one_column_and_lists_on_one_line() -> None:
    lines = show(load_recipe("demo")).splitlines()
    assert len({line.index("  # ") for line in lines if len(line.partition("  # ")[0].rstrip()) <= 60}) == 1
    assert any(line.startswith('samples.prompts = ["The people of the United States", "My fellow') for line in lines)


def test_table_without_entries_is_shown() -> None:
    assert "mixture = {}" in show(load_recipe("llama-7b"))


def test_flat_keys_are_dotted_and_in_order() -> None:
    assert list(flatten({"b": {"c": 1, "d": {}}, "a": [2]})) == [("b.c", 1), ("b.d", {}), ("a", [2])]


def test_differences_name_the_key_and_both_values() -> None:
    old = {"optim": {"lr": 0.001, "eps": 1e-8}, "mixture": {"a": 1.0}, "seed": 1, "unset": None}
    new = {"optim": {"lr": 0.002, "eps": 1e-8}, "mixture": {}, "seed": 1, "name": "x"}
    assert differences(old, new) == ["mixture.a: 1.0 -> null", 'name: null -> "x"', "optim.lr: 0.001 -> 0.002"]
    assert differences(old, old) == []


def test_committed_schema_is_the_one_that_the_code_makes() -> None:
    """After a change: `puna recipes --schema > docs/recipe.schema.json`."""
    assert SCHEMA_FILE.read_text(encoding="utf-8") == json.dumps(json_schema(), indent=2) + "\n"


def test_schema_is_itself_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipe_file_passes_the_schema(name: str) -> None:
    jsonschema.validate(tomllib.loads(shipped_recipes()[name].read_text(encoding="utf-8")), json_schema())


@pytest.mark.parametrize(
    "table",
    [
        {"nonsense": 1}, {"optim": {"lr": 0}}, {"optim": {"lrr": 1.0}}, {"train": {"tokens": "4 apples"}},
        {"train": {"tokens": 0}}, {"train": {"precision": "fp8"}}, {"name": "../x"}, {"extends": 3},
        {"data": {"sources": {"a": {"kind": "web"}}}}, {"mixture": {"a": -1}}, {"mixture": {"a/b": 1}},
    ],
)  # fmt: skip
def test_schema_refuses_what_loading_refuses(table: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(table, json_schema())


def test_every_property_of_the_schema_is_described() -> None:
    schema = json_schema()
    tables = [schema, *schema["$defs"].values()]
    assert len(tables) == 39
    for table in tables:
        for name, field in table["properties"].items():
            assert field["description"].endswith("."), name
            assert "\n" not in field["description"]

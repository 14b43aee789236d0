"""Plans of the Python API."""

from pathlib import Path

import puna


def test_plan_takes_a_name_a_path_or_a_recipe(tiny_toml: Path) -> None:
    recipe = puna.recipe("llama-7b", {"train.recompute": "full"})
    planned = puna.plan(recipe, devices=64)
    assert (planned.share.devices, planned.recipe, planned.verdict) == (64, recipe, "fits")
    assert puna.plan("llama-7b", devices=64).memory.peak.bytes > planned.memory.peak.bytes
    assert puna.plan(tiny_toml, device="1e12").recipe.name == "tiny"


def test_devices_are_those_of_the_layout_where_nobody_says() -> None:
    assert puna.plan(puna.recipe("llama-7b", ["parallel.tensor=4", "parallel.shard=2"])).share.devices == 8

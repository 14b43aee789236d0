"""Which overrides have several values, and their combinations with names that are safe in paths and shells."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.config.grid import points, split
from puna.core.errors import ConfigError


def test_values_between_commas_are_several_where_they_are_not_toml():
    given_ = ["optim.lr=1e-3,2e-3, 3e-3", "train.tokens=1M", "seed = 1,2", 'samples.prompts=["a", "b"]']
    assert split(given_) == (
        ["train.tokens=1M", 'samples.prompts=["a", "b"]'],
        {"optim.lr": ["1e-3", "2e-3", "3e-3"], "seed": ["1", "2"]},
    )


@pytest.mark.parametrize(
    "override",
    [
        "optim.lr=1e-3", "optim.lr=1e-3,", 'optim.schedule="cosine"', "description=one, two", "name=a,b",
        "data.sources.x.licence=MIT, BSD", "tokenizer.from=a,b", "metrics.wandb_project=a,b", "seed",
        'train.init_from="a,b"', "mixture={a = 1, b = 2}",
    ],
)  # fmt: skip
def test_one_value_stays_one(override: str):
    assert split([override]) == ([override], {})


def test_commas_inside_of_brackets_and_quotes_do_not_divide():
    assert split(["samples.prompts=['a, b'],['c']"])[1] == {"samples.prompts": ["['a, b']", "['c']"]}
    assert split(["mixture={a=1, b=2},{a=2, b=1}"])[1] == {"mixture": ["{a=1, b=2}", "{a=2, b=1}"]}


def test_a_key_with_several_values_twice_is_refused():
    with pytest.raises(ConfigError, match=r"'seed' has several values twice"):
        split(["seed=1,2", "seed=3,4"])


def test_combinations_are_those_of_nested_loops():
    several = {"optim.lr": ["1e-3", "2e-3"], "seed": [1, 2, 3]}
    found = points(several)
    assert [point.overrides for point in found] == [
        [f"optim.lr={lr}", f"seed={seed}"] for lr, seed in itertools.product(several["optim.lr"], several["seed"])
    ]
    assert [point.name for point in found][:2] == ["lr=1e-3-seed=1", "lr=1e-3-seed=2"]


def test_equal_last_parts_of_keys_are_told_apart():
    assert points({"model.context": [64], "parallel.context": [1]})[0].name == "model.context=64-parallel.context=1"


def test_values_of_python_are_written_as_toml():
    (point,) = points({"train.compile": [False]})
    assert (point.name, point.overrides) == ("compile=false", ["train.compile=false"])
    (point,) = points({"samples.prompts": [["a b", "c"]]})
    assert (point.name, point.overrides) == ("prompts=a_b_c", ['samples.prompts=["a b", "c"]'])


@pytest.mark.parametrize("key", ["model.vocab_size", "data.seed", "name", "tokenizer.kind"])
def test_what_one_data_build_has_once_is_refused(key: str):
    with pytest.raises(ConfigError, match="cannot have several values"):
        points({key: [1, 2]})
    with pytest.raises(ConfigError, match="has no value"):
        points({"seed": []})


@given(st.lists(st.text(min_size=1), min_size=1, max_size=5))
def test_names_are_safe_and_different_whatever_the_values(values: list[str]):
    names = [point.name for point in points({"train.init_from": values})]
    assert len(set(names)) == len(values)
    assert all(re.fullmatch(r"init_from=[A-Za-z0-9.+_-]+", name) for name in names)

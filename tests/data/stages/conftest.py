"""The shelf's documents, and what looks into a build."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from puna.config.recipe import Recipe
from puna.core.files import sha256_file
from puna.core.layout import DataDir
from puna.data.document_files import read_lines
from puna.data.documents import documents_files

Lines = Callable[[str, str], list[dict[str, Any]]]


@pytest.fixture
def lines(out: DataDir) -> Lines:
    """Reads the lines of a source's files of one kind."""

    def read(source: str, kind: str) -> list[dict[str, Any]]:
        return [line for file in documents_files(out, source, kind) for line in read_lines(out.documents / file.path)]

    return read


@pytest.fixture
def hashes() -> Callable[[Path], dict[str, str]]:
    """Hashes of all files below a directory but records, which hold times and commands."""

    def read(root: Path) -> dict[str, str]:
        files = [path for path in sorted(root.rglob("*")) if path.is_file() and path.name != "record.json"]
        return {path.relative_to(root).as_posix(): sha256_file(path) for path in files}

    return read


@pytest.fixture
def changed() -> Callable[..., Recipe]:
    """A recipe with other values in its data section, by dotted keys."""

    def change(recipe: Recipe, **values: Any) -> Recipe:
        table = recipe.model_dump()
        for key, value in values.items():
            *path, last = key.split("__")
            place = table["data"]
            for part in path:
                place = place[part]
            place[last] = value
        return Recipe.model_validate(table)

    return change

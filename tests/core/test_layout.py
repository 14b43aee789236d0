"""The layout: what is documented is where the paths point, and no two things share a path."""

from pathlib import Path

import pytest

from puna.core import layout
from puna.core.layout import DataDir, EvaluationDir, RunDir

ROOT = Path("somewhere")


def paths(directory: DataDir | EvaluationDir | RunDir) -> dict[str, Path]:
    names = [name for name, value in vars(type(directory)).items() if isinstance(value, property)]
    values = {name: getattr(directory, name) for name in names}
    return {name: value for name, value in values.items() if isinstance(value, Path)}


@pytest.mark.parametrize("kind", [DataDir, RunDir, EvaluationDir])
def test_every_path_lies_below_the_root_and_is_in_the_tree_of_the_docstring(kind: type) -> None:
    found = paths(kind(ROOT))
    assert len(found) >= 6
    assert len(set(found.values())) == len(found)
    for path in found.values():
        assert path.parent == ROOT
        assert f"  {path.name}" in (layout.__doc__ or "")


def test_the_file_of_a_task_has_its_name_and_shots() -> None:
    assert EvaluationDir(ROOT).documents_of("llama/mmlu@5") == ROOT / "documents" / "llama-mmlu-5.jsonl"


def test_directories_with_one_root_are_equal() -> None:
    assert RunDir(ROOT) == RunDir(ROOT) != RunDir(ROOT / "other")

"""docs/guide/benchmarks.md is what the manifest says now."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from puna.benchmarks.manifest import manifest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmarks_page", DOCS / "benchmarks_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_page_is_written_from_the_manifest_as_it_is(writer: ModuleType) -> None:
    assert writer.PAGE.read_text(encoding="utf-8") == writer.page(), "run: python docs/benchmarks_page.py"


def test_every_set_is_on_the_page_with_its_licence(writer: ModuleType) -> None:
    lines = writer.PAGE.read_text(encoding="utf-8").splitlines()
    for entry in manifest().values():
        begins = "`olmes_" if entry.name.startswith("olmes_") else f"| `{entry.name}` |"
        (line,) = (line for line in lines if line.startswith(begins) and f"`{entry.name}`" in line)
        assert entry.name.startswith("olmes_") or f"| {entry.licence} |" in line

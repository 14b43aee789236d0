"""docs/api.md is what the docstrings and signatures say now."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

import puna

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("api_page", DOCS / "api_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_page_is_written_from_the_code_as_it_is(writer: ModuleType) -> None:
    assert (DOCS / "api.md").read_text(encoding="utf-8") == writer.page(), "run: python docs/api_page.py"


def test_every_name_is_on_the_page_and_functions_with_their_signature(writer: ModuleType) -> None:
    assert {*writer.FUNCTIONS, *writer.CLASSES, "__version__"} == set(puna.__all__)
    text = (DOCS / "api.md").read_text(encoding="utf-8")
    for name in puna.__all__:
        assert f"puna.{name}" in text
    for name in writer.FUNCTIONS:
        assert f"```python\n{writer.signature(getattr(puna, name), f'puna.{name}')}\n```" in text


def test_signature_is_the_sources_without_quotes_and_with_values(writer: ModuleType) -> None:
    assert writer.signature(puna.report, "puna.report") == "puna.report(run: PathLike) -> Path"
    assert "    device: str = 'cpu',\n" in writer.signature(puna.load, "puna.load")

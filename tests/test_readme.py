"""The README says what the records say, names commands that exist and folders that are there."""

import doctest
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_tables_are_made_from_the_newest_records():
    spec = importlib.util.spec_from_file_location("tables", ROOT / "bench" / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    pages = [page.read_text(encoding="utf-8") for page in tables.PAGES]
    assert pages[0] == README
    for text in pages:
        assert tables.rewrite(text) == text
    assert set(re.findall(r"<!-- table: (\w+) -->", "".join(pages))) == set(tables.TABLES)


def test_every_test_that_it_cites_exists():
    for path in re.findall(r"`(tests/[\w/.]+)`", README):
        assert (ROOT / path).exists(), path


def test_every_link_leads_to_a_file():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_tree_names_every_folder():
    named = set(re.findall(r"^  (\w+)/  ", README, flags=re.MULTILINE))
    assert named == {path.name for path in (ROOT / "src" / "puna").iterdir() if (path / "__init__.py").exists()}


@pytest.mark.parametrize(
    "command", [match.split()[:2] for match in re.findall(r"^\| `puna ([a-z -]+)", README, flags=re.MULTILINE)]
)
def test_every_command_of_the_table_exists(command: list[str]):
    words = command if command[0] in {"data", "tokenizer"} else command[:1]
    arguments = [sys.executable, "-m", "puna", *words, "--help"]
    assert subprocess.run(arguments, capture_output=True, timeout=60, check=False).returncode == 0


def test_make_targets_of_the_first_screen_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", README, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)


def test_python_session_uses_what_there_is_and_its_plan_is_what_python_says():
    """What a trained model writes differs between machines, a plan doesn't."""
    session = doctest.DocTestParser().get_examples(re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)[0])
    scope: dict[str, Any] = {}
    for example in session[:2]:
        exec(example.source, scope)
    assert repr(eval(session[2].source, scope)) == session[2].want.strip()
    for name in re.findall(r"puna\.(\w+)\(", README):
        assert name in scope["puna"].__all__
    assert len(session) <= 8

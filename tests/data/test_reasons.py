"""Every reason that some module can give has its sentence."""

import ast
import importlib
from pathlib import Path

import pytest

import puna.data
from puna.data.reasons import UNKNOWN, explain

ROOT = Path(puna.data.__file__).parent
MODULES = [
    ".".join(["puna.data", *path.relative_to(ROOT).with_suffix("").parts])
    for path in sorted(ROOT.rglob("*.py"))
    if path.name != "__init__.py"
]


def _given(module: str) -> set[str]:
    """Reasons in a module's source: its REASONS, and what it passes as the reason of what it drops."""
    tree = ast.parse((ROOT.parents[1] / Path(*module.split("."))).with_suffix(".py").read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            place = {"Dropped": 2, "BrokenMember": 1}.get(node.func.id)
            if place is not None and len(node.args) > place:
                found |= _value(module, node.args[place])
    if any(isinstance(node, ast.Name) and node.id == "REASONS" for node in ast.walk(tree)):
        found |= importlib.import_module(module).REASONS.keys()
    return found


def _value(module: str, node: ast.expr) -> set[str]:
    """The string that an expression is, where the source alone tells it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return {node.value}
    if isinstance(node, ast.Name) and node.id.isupper():
        return {getattr(importlib.import_module(module), node.id)}
    return set()


GIVEN = {reason: module for module in MODULES for reason in _given(module)}


def test_the_search_finds_reasons_of_every_kind():
    assert {
        "empty",
        "too_large",
        "unreadable",
        "archive.bomb",
        "wikipedia.redirect",
        "c4.few_sentences",
    } <= GIVEN.keys()
    assert len(GIVEN) > 30


@pytest.mark.parametrize("reason", sorted({*GIVEN, "duplicate", "near_duplicate", "contained", "reader.failed"}))
def test_every_reason_has_a_sentence(reason: str):
    sentence = explain(reason)
    assert sentence != UNKNOWN
    assert sentence[0].isupper() or sentence[0].isdigit()
    assert sentence.endswith(".")
    assert "\n" not in sentence


@pytest.mark.parametrize("reason", ["", "nothing", "c4.nothing", "os.path", "../x.y", "c4"])
def test_a_reason_that_nobody_gives_is_said_to_be_unknown(reason: str):
    assert explain(reason) == UNKNOWN

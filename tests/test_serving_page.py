"""The guide to the server says what the code says: its limits, and that its examples of Python work."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

pytest.importorskip("uvicorn")

from puna.serve.engine_client import EngineLimits
from puna.serve.limits import Limits

PAGE = (Path(__file__).parents[1] / "docs" / "guide" / "serving.md").read_text(encoding="utf-8")
UNITS = {"": 1, " s": 1, " KiB": 1 << 10, " MiB": 1 << 20}


def test_limits_are_those_of_the_code_and_each_has_its_origin() -> None:
    rows = re.findall(r"^\| `(\w+)`(?:: [^|]+)? \| ([^|]+) \| [^|]+ \| ([^|]+) \|$", PAGE, flags=re.MULTILINE)
    coded = {field.name: field.default for limits in (Limits, EngineLimits) for field in fields(limits)}
    assert {name: number_of(shown) for name, shown, _ in rows} == coded
    assert all(origin.strip() for *_, origin in rows)


def number_of(shown: str) -> float | None:
    if shown in ("never", "any number"):
        return None
    found = re.fullmatch(r"(\d+)(.*)", shown)
    assert found is not None, shown
    return int(found[1]) * UNITS[found[2]]

"""The mutation benchmark names modules and tests that exist, and what it counts as killed is killed."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def mutation() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mutation", ROOT / "bench" / "mutation.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutation"] = module
    spec.loader.exec_module(module)
    return module


def test_every_group_has_modules_and_each_of_them_its_tests(mutation: ModuleType):
    assert len(mutation.GROUPS) == 5
    for modules, tests in mutation.GROUPS.values():
        assert {str(Path(module).with_name(f"test_{Path(module).name}")) for module in modules} <= set(tests)
        assert [path for path in modules if not (ROOT / "src" / "puna" / path).is_file()] == []
        assert [path for path in tests if not (ROOT / "tests" / path).is_file()] == []


def test_a_change_is_shown_with_a_little_of_what_stands_around_it(mutation: ModuleType):
    code = (
        "def x_f__mutmut_orig(a, b=1):\n    first = a\n    return first + b * 1000\n"
        "def x_f__mutmut_1(a, b=1):\n    first = a\n    return first - b * 1000\n"
        "def x_f__mutmut_2(a, b=1):\n    first = None\n    return first + b * 1000\n"
    )
    assert mutation._changes(code, ["x_f__mutmut_1", "x_f__mutmut_2"]) == {
        "x_f__mutmut_1": "first = a; return first + b * 1000 -> first = a; return first - b * 1000",
        "x_f__mutmut_2": "a, b=1; first = a; return first + b * 100 -> a, b=1; first = None; return first + b * 100",
    }

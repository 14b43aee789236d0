"""`import puna`: light, lazy, complete; and the folders that are functions too."""

import copy
import importlib
import inspect
import json
import multiprocessing
import pickle
import pydoc
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import dill
import pytest
from ray import cloudpickle

import puna

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "puna"
FUNCTIONS = [name for name in puna.__all__ if name[0].islower()]
FOLDERS = ["evaluate", "finetune", "plan", "report", "serve", "train"]
HEAVY = ("torch", "numpy", "pydantic", "rich", "typer", "tokenizers", "sentencepiece")


def output_of(code: str) -> str:
    """What a fresh Python prints."""
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_all_is_sorted_and_every_name_of_it_is_there() -> None:
    assert sorted(set(puna.__all__)) == puna.__all__
    for name in puna.__all__:
        assert getattr(puna, name) is not None
    assert set(puna.__all__) <= set(dir(puna))


def test_every_name_has_one_home_and_type_checkers_see_the_same_names() -> None:
    assert {*puna._HOMES, "__version__"} == set(puna.__all__)
    text = (SOURCE / "__init__.py").read_text(encoding="utf-8")
    block = text[text.index("if TYPE_CHECKING:") : text.index("__version__ =")]
    seen = {}
    for module, names in re.findall(r"from puna\.([\w.]+) import (\([^)]*\)|.+)", block):
        seen |= dict.fromkeys(re.findall(r"\w+", names), module)
    assert seen == puna._HOMES


def test_import_loads_nothing_heavy() -> None:
    """A bound on modules instead of on time: what else Python starts with is there before."""
    code = "import sys, json; before = set(sys.modules); import puna; print(json.dumps([*set(sys.modules) - before]))"
    loaded = json.loads(output_of(code))
    assert not {name.partition(".")[0] for name in loaded} & set(HEAVY)
    assert {name for name in loaded if name.startswith("puna")} == {"puna", "puna.core", "puna.core.version"}
    assert len(loaded) < 40


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_is_documented_with_each_of_its_arguments(name: str) -> None:
    function = getattr(puna, name)
    doc, arguments = inspect.getdoc(function) or "", inspect.signature(function).parameters
    for argument in arguments:
        assert f"\n    {argument}: " in doc
    assert "\nRaises:\n" in doc


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'puna' has no attribute 'trane'"):
        puna.trane  # type: ignore[missing-attribute]  # noqa: B018


def test_version_is_the_packages() -> None:
    assert puna.__version__ == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_folders_that_are_functions_are_those_that_bear_a_name_of_the_api() -> None:
    folders = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    assert sorted(folders & set(puna.__all__)) == sorted(puna._FOLDERS) == FOLDERS


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize(
    "before",
    [
        "import puna",
        "import puna.{name}; import puna",
        "import puna.{name}.{module}",
        "import puna.{name}.{module} as s; import puna",
        "from puna.{name} import {module}; import puna",
        "from puna import {name}; import puna",
        "from puna import *; import puna",
        "import puna; puna.{name}; import puna.{name}.{module}",
    ],
)
def test_folder_is_a_function_whoever_imported_what_before(name: str, before: str) -> None:
    module = {
        "evaluate": "figure", "finetune": "packing", "plan": "target", "report": "read", "serve": "errors",
        "train": "schedule",
    }[name]  # fmt: skip
    code = before.format(name=name, module=module)
    code += f"\nimport inspect, puna.{name}.{module} as s, importlib, sys\n"
    code += f"assert puna.{name} is sys.modules['puna.{name}'] and puna.{name}.{module} is s\n"
    code += f"assert callable(puna.{name}) and inspect.ismodule(puna.{name})\n"
    code += f"print(inspect.signature(puna.{name}).parameters.keys())"
    first = {"evaluate": "model", "report": "run", "serve": "models"}.get(name, "recipe")
    assert output_of(code).startswith(f"odict_keys(['{first}'")


def test_calling_the_folder_is_calling_the_function() -> None:
    from puna.api.plan import plan

    assert puna.plan("demo", device="1e12").as_dict() == plan("demo", device="1e12").as_dict()
    with pytest.raises(puna.UserError, match="no recipe is called 'dmo'"):
        puna.train("dmo")
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'run'"):
        puna.report()  # type: ignore[missing-argument]


@pytest.mark.parametrize("name", FOLDERS)
def test_help_and_signature_are_the_functions(name: str) -> None:
    folder = getattr(puna, name)
    function = inspect.unwrap(folder)
    assert inspect.isfunction(function)
    assert function.__name__ == name
    assert inspect.signature(folder) == inspect.signature(function)
    text = pydoc.plain(pydoc.render_doc(folder))
    assert f"{name}{inspect.signature(function)}" in text.replace("\n", "")
    assert (inspect.getdoc(function) or "").splitlines()[0] in text


@pytest.mark.parametrize("library", [pickle, cloudpickle, dill])
def test_package_and_folders_are_pickled_by_name(library: Any) -> None:
    for module in (puna, *(getattr(puna, name) for name in FOLDERS)):
        assert library.loads(library.dumps(module)) is module
        assert copy.deepcopy(module) is module
    assert library.loads(library.dumps(puna.load)) is puna.load


def test_function_that_uses_the_package_goes_to_another_process() -> None:
    """As a cluster's workers get it: by value, with the package among its globals."""
    scope: dict[str, Any] = {"puna": puna}
    exec("def figures(name): return puna.plan(name, device='1e12').tokens", scope)
    packed = cloudpickle.dumps(scope["figures"])
    code = f"import pickle; print(pickle.loads({packed!r})('demo'))"
    assert int(output_of(code)) == puna.plan("demo", device="1e12").tokens


def test_spawned_process_gets_the_function() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        (found,) = pool.map(puna.recipe, ["demo"])
        planned = pool.apply(puna.plan, ("demo",), {"device": "1e12"})
    assert found == puna.recipe("demo")
    assert planned.tokens == puna.plan("demo", device="1e12").tokens


def test_modules_inside_of_such_a_folder_can_be_patched_and_loaded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    import puna.plan.plan as module

    monkeypatch.setattr("puna.plan.plan.TIGHT", 0.5)
    assert module.TIGHT == 0.5
    monkeypatch.undo()
    assert module.TIGHT == 0.9
    again = importlib.reload(sys.modules["puna.plan"])
    assert again is sys.modules["puna.plan"]
    assert callable(again)


def test_the_function_can_be_replaced_in_a_test(monkeypatch: pytest.MonkeyPatch) -> None:
    before = puna.plan
    monkeypatch.setattr(puna, "plan", len)
    assert puna.plan("four") == 4  # type: ignore[comparison-overlap]
    monkeypatch.undo()
    assert puna.plan is before


def test_package_can_be_loaded_again() -> None:
    code = "import puna, importlib\npuna.plan\nagain = importlib.reload(puna)\nassert again is puna\n"
    output_of(code + "import puna.train.schedule\nassert callable(puna.plan) and callable(puna.train)")


def test_type_checker_sees_functions_and_not_folders(tmp_path: Path) -> None:
    """A user's file: right calls pass, wrong ones are found."""
    lines = {
        "import puna": "",
        "from puna.plan.plan import TIGHT": "",
        'run: puna.RunDir = puna.train(puna.recipe("demo", {"optim.lr": 1e-3}), resume=True)': "",
        'text: str = puna.load(run).generate("x", seed=3)': "",
        'print(puna.plan("demo").memory.peak.bytes + 1, puna.report(run).name)': "",
        'puna.plan("demo", devises=3)': "devises",
        "puna.report(3)": "Literal[3]",
        'puna.load("x").generate(3)': "Literal[3]",
        "puna.trane": "trane",
    }
    (tmp_path / "mine.py").write_text("\n".join(lines) + "\n")
    (tmp_path / "pyrefly.toml").write_text(f'search-path = ["{SOURCE.parent}"]\nproject-includes = ["mine.py"]\n')
    pyrefly = str(Path(sys.executable).parent / "pyrefly")
    command = [pyrefly, "check", "--output-format", "json", "--python-interpreter-path", sys.executable, "mine.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    errors = {error["line"]: error["description"] for error in json.loads(done.stdout)["errors"]}
    assert sorted(errors) == [number for number, part in enumerate(lines.values(), start=1) if part]
    for number, part in enumerate(lines.values(), start=1):
        assert part in errors.get(number, "")

"""Weights & Biases is asked for the right run, and its refusals are sentences. The package is played by a stand-in."""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from puna.core.errors import TrainError
from puna.core.layout import RunDir
from puna.train.weights_biases import WeightsBiasesRun


class Refusal(Exception):
    """Stands for `wandb.errors.Error`."""


class Wandb(ModuleType):
    """Writes down what is asked of it; refuses the calls that it is told to."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.errors = SimpleNamespace(Error=Refusal)
        self.refused = ""

    def Settings(self, **values: Any) -> dict[str, Any]:
        return values

    def init(self, **values: Any) -> SimpleNamespace:
        self._note("init", **values)
        names = ("define_metric", "log", "finish")
        return SimpleNamespace(**{name: lambda *a, n=name, **k: self._note(n, *a, **k) for name in names})

    def _note(self, call: str, /, *arguments: Any, **values: Any) -> None:
        if call == self.refused:
            raise Refusal("api_key not configured")
        self.calls.append((call, arguments, values))

    def named(self, name: str) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
        return [(arguments, values) for known, arguments, values in self.calls if known == name]


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Wandb:
    module = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    root = tmp_path / "demo"
    root.mkdir()
    return RunDir(root)


def test_numbers_and_texts_go_to_a_run_of_the_project(wandb: Wandb, run: RunDir):
    there = WeightsBiasesRun(run, "llamas", resumed=False)
    there.write(5, 1280, {"train/loss": 2.5}, {"The": "The end"})
    there.close(failed=False)
    [(_, asked)] = wandb.named("init")
    assert (asked["project"], asked["name"], asked["dir"]) == ("llamas", "demo", str(run.root))
    assert "mode" not in asked  # WANDB_MODE decides
    assert wandb.named("log") == [(({"step": 5, "tokens": 1280, "train/loss": 2.5, "The": "The end"},), {})]
    assert wandb.named("define_metric")[-1] == (("*",), {"step_metric": "step"})
    assert wandb.named("finish") == [((), {"exit_code": 0})]


def test_resumed_training_goes_on_with_the_same_run_and_a_new_one_does_not(wandb: Wandb, run: RunDir):
    for resumed in (False, True, False):
        WeightsBiasesRun(run, "llamas", resumed=resumed)
    first, second, third = (values["id"] for _, values in wandb.named("init"))
    assert first == second != third
    assert (run.root / "wandb-id").read_text() == f"{third}\n"
    assert {values["resume"] for _, values in wandb.named("init")} == {"allow"}


def test_failed_training_is_marked_as_failed(wandb: Wandb, run: RunDir):
    WeightsBiasesRun(run, "llamas", resumed=False).close(failed=True)
    assert wandb.named("finish") == [((), {"exit_code": 1})]


@pytest.mark.parametrize("call", ["init", "log", "finish"])
def test_refusal_is_a_sentence(wandb: Wandb, run: RunDir, call: str):
    wandb.refused = call

    def everything() -> None:
        there = WeightsBiasesRun(run, "llamas", resumed=False)
        there.write(1, 256, {}, {})
        there.close(failed=False)

    with pytest.raises(TrainError, match=r"^metrics\.wandb_project = 'llamas': .* refused: api_key not") as caught:
        everything()
    assert "WANDB_MODE=offline" in caught.value.hint


@pytest.mark.parametrize("module", [None, ModuleType("wandb")])
def test_missing_package_is_named_with_its_remedy(
    run: RunDir, module: ModuleType | None, monkeypatch: pytest.MonkeyPatch
):
    """Also where a folder called wandb in the current directory passes for it."""
    if module is None:
        monkeypatch.setattr(sys, "path", [])
        monkeypatch.delitem(sys.modules, "wandb", raising=False)
    else:
        monkeypatch.setitem(sys.modules, "wandb", module)
    with pytest.raises(TrainError, match=r"'llamas' needs the package 'wandb', which is not installed") as caught:
        WeightsBiasesRun(run, "llamas", resumed=False)
    assert caught.value.hint == "pip install wandb"
    assert not (run.root / "wandb-id").exists()

"""Groups of processes on this machine, and what one process makes of the same cases."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from puna.parallel.world import joined

WORKER = Path(__file__).with_name("worker.py")

Outcomes = dict[str, dict[str, torch.Tensor]]


@pytest.fixture(scope="session")
def worker() -> ModuleType:
    """The script that each process runs, as a module."""
    spec = importlib.util.spec_from_file_location("parallel_worker", WORKER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def alone(worker: ModuleType) -> Callable[[dict[str, Any]], dict[str, torch.Tensor]]:
    """What one process without any group makes of a case, eagerly, with nothing recomputed."""

    def run(case: dict[str, Any]) -> dict[str, torch.Tensor]:
        train = {key: value for key, value in case.get("train", {}).items() if key not in ("compile", "recompute")}
        recipe = worker.recipe_of(case | {"train": train, "parallel": {}})
        with joined() as world:
            return worker.step(recipe, world)

    return run


@pytest.fixture
def together(tmp_path: Path) -> Callable[[int, dict[str, Any]], Outcomes]:
    """What a number of processes make of cases."""

    def run(processes: int, cases: dict[str, Any]) -> Outcomes:
        (tmp_path / "cases.json").write_text(json.dumps(cases))
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        command = [sys.executable, *launcher, str(WORKER), str(tmp_path / "cases.json"), str(tmp_path)]
        # A process that aborts shows where it was, in Python and in C++.
        shown = {"PYTHONFAULTHANDLER": "1", "TORCH_SHOW_CPP_STACKTRACES": "1"}
        environment = os.environ | {"OMP_NUM_THREADS": "1"} | shown
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400, check=False)
        assert done.returncode == 0, done.stderr[-8000:]
        return {name: load_file(tmp_path / f"{name}.safetensors") for name in cases}

    return run

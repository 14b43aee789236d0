"""What two processes computed on sharded parameters, for the tests of the optimizers."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch import Tensor


@dataclass(frozen=True)
class ShardedSteps:
    """The results of sharded_steps.py."""

    tensors: dict[str, Tensor]
    """`<layout>/...`: weights and state of all devices after the same steps in each layout."""
    lines: dict[str, list[str]]
    """The description of the groups, sharded and alone."""

    def of(self, layout: str) -> dict[str, Tensor]:
        """The tensors of one layout without its name in theirs."""
        return {
            name.removeprefix(f"{layout}/"): tensor
            for name, tensor in self.tensors.items()
            if name.startswith(f"{layout}/")
        }


@pytest.fixture(scope="session")
def sharded_steps(tmp_path_factory: pytest.TempPathFactory) -> ShardedSteps:
    """Optimizer steps of two processes that speak over gloo."""
    directory = tmp_path_factory.mktemp("sharded-steps")
    script = Path(__file__).with_name("sharded_steps.py")
    processes = [
        subprocess.Popen(
            [sys.executable, script, str(rank), directory], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for rank in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=120)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(outputs)
    return ShardedSteps(
        load_file(directory / "tensors.safetensors"), json.loads((directory / "lines.json").read_text())
    )

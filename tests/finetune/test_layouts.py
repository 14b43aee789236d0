"""A packed batch on two processes, in every layout: the loss and gradient of one process that reads it in one pass."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tuning import CONTEXT
from tuning_steps import gradients

from puna.config.recipe import Recipe
from puna.finetune.feed import ExampleFeed
from puna.finetune.plan import Plan
from puna.finetune.token_files import Examples
from puna.parallel.world import World
from puna.tokenizer.tokenizer import Tokenizer

CASES = {
    "sharded": {"rows": 2, "parallel": {"shard": 2}},
    "sharded, two passes": {"rows": 1, "parallel": {"shard": 2}},
    "replicated": {"rows": 1, "parallel": {"replicate": 2, "shard": 1}},
    "context": {"rows": 2, "parallel": {"context": 2}},
    "tensor": {"rows": 4, "parallel": {"tensor": 2}},
}


@pytest.fixture(scope="session")
def together(written: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, torch.Tensor]]:
    """What two processes compute in each case, over gloo."""
    out = tmp_path_factory.mktemp("packed")
    (out / "cases.json").write_text(json.dumps(CASES))
    here = Path(__file__)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(here.with_name("packed_step.py")), str(out / "cases.json"), str(written)]
    command += [str(here.parents[1] / "fixtures"), str(out)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr[-8000:]
    return {name: load_file(out / f"{name}.safetensors") for name in CASES}


@pytest.mark.parametrize("name", CASES)
def test_packed_loss_and_gradient_do_not_depend_on_the_layout(
    together: dict[str, dict[str, torch.Tensor]], recipe: Recipe, examples: Examples, tokenizer: Tokenizer, name: str
):
    whole = recipe.model_copy(update={"train": recipe.train.model_copy(update={"micro_batch_tokens": 4 * CONTEXT})})
    alone = gradients(
        whole, World(0, 1, torch.device("cpu"), None), ExampleFeed(Plan(examples, whole), whole, tokenizer)
    )
    found = together[name]
    assert found.keys() == alone.keys()
    for key, expected in alone.items():
        torch.testing.assert_close(found[key], expected, rtol=1e-5, atol=1e-6, msg=lambda text: f"{key}: {text}")  # noqa: B023

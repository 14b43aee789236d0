"""Two processes that share a model answer as one that has all of it."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from instruction_sets import has
from model_source import ModelSource, random_model

from puna.ops.cpu.builder import find_compiler
from puna.ops.cpu.decoder import InstructionSet

pytestmark = pytest.mark.skipif(
    find_compiler() is None or not any(map(has, InstructionSet)), reason="no compiler, or neither AVX2 nor AVX-512"
)
WORKER = Path(__file__).with_name("split_worker.py")


def test_two_processes_write_what_one_writes(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("split_worker", WORKER)
    assert spec is not None
    assert spec.loader is not None
    worker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(worker)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    fixtures = Path(__file__).parents[1] / "fixtures"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([*sys.path, str(fixtures)])}
    done = subprocess.run(
        [sys.executable, *launcher, str(WORKER), str(tmp_path / "out.json")], env=environment, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    together = json.loads((tmp_path / "out.json").read_text())
    alone = {
        name: worker.answers(runner)
        for name, runner in worker.runners(ModelSource(random_model(worker.CONFIG))).items()
    }
    assert together.keys() == alone.keys()
    for name, texts in alone.items():
        for text, other in zip(texts, together[name], strict=True):
            assert [token for token, _ in text] == [token for token, _ in other], name
            assert [logprob for _, logprob in text] == pytest.approx([logprob for _, logprob in other], abs=2e-4), name

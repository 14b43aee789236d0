"""bench/gpu.py runs without a GPU, so that it works the first time that it meets one."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[1] / "bench" / "gpu.py"
FIGURES = {"pass_ms", "update_ms", "tokens_per_second", "mfu", "memory_gib"}


@pytest.mark.e2e
def test_a_dry_run_takes_every_section_and_writes_a_record(tmp_path: Path):
    command = [sys.executable, str(BENCH), "--dry", "--record", "--out", str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=900, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    (path,) = tmp_path.iterdir()
    assert json.loads(path.read_text())["lines"] == lines
    assert not [line for line in lines if line["what"] == "failed"]
    counts = Counter(line["what"] for line in lines)
    assert counts["product"] == 13
    assert counts["checkpoint"] == 2
    steps = [line for line in lines if line["what"] == "step"]
    assert {(line["system"], line["size"]) for line in steps} == {
        (system, size) for system in ("puna", "transformers") for size in ("1b", "7b")
    }  # fmt: skip
    assert all(line.keys() >= FIGURES for line in steps)
    assert {line.get("toggle") for line in steps} >= {"none", "loss chunks of 1,024", "flash attention", "eager"}
    assert "tokens/s" in done.stderr


def test_an_unknown_section_is_named():
    done = subprocess.run([sys.executable, str(BENCH), "--only", "2b"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "unknown section '2b'; there are ceilings, waits, 1b" in done.stderr

"""The Slurm script, run by commands that stand in for Slurm's on this machine."""

import os
import subprocess
import sys
from pathlib import Path

from puna.core.layout import DataDir, RunDir
from puna.core.schema.train_state import list_checkpoints

SCRIPT = Path(__file__).parents[1] / "launch" / "train.slurm"

SRUN = """#!/usr/bin/env bash
# As many tasks as Slurm was asked for, each with its number; the first code that is not 0 is the result.
while [[ $1 == --* ]]; do shift; done
pids=()
for task in $(seq 0 $((SLURM_NTASKS - 1))); do
    SLURM_PROCID=$task SLURM_LOCALID=$task "$@" &
    pids+=($!)
done
trap 'kill -TERM "${pids[@]}"' USR1
code=0
for pid in "${pids[@]}"; do
    while kill -0 "$pid" 2>/dev/null; do wait "$pid"; last=$?; done
    if [ "$code" -eq 0 ]; then code=$last; fi
done
exit "$code"
"""

SCONTROL = """#!/usr/bin/env bash
if [ "$1" = show ]; then echo 127.0.0.1; else echo "$@" >> "$CALLS"; fi
"""


def _environment(folder: Path, port: int) -> dict[str, str]:
    commands = {
        "srun": SRUN,
        "scontrol": SCONTROL,
        "puna": f'#!/usr/bin/env bash\nexec {sys.executable} -m puna "$@"\n',
    }
    for name, content in commands.items():
        (folder / name).write_text(content)
        (folder / name).chmod(0o755)
    slurm = {"SLURM_JOB_NODELIST": "node", "SLURM_NTASKS": "2", "SLURM_JOB_ID": "7", "CALLS": str(folder / "calls")}
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    return os.environ | slurm | {"PATH": path, "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}


def test_slurm_script_trains_and_is_queued_again_after_sigterm(
    tiny_toml: Path, tiny_data: DataDir, tmp_path: Path, unused_port: int
):
    run = RunDir(tmp_path / "run")
    environment = _environment(tmp_path, unused_port)
    command = ["bash", str(SCRIPT), str(tiny_toml), "--data-dir", str(tiny_data.root), "--run-dir", str(run.root)]
    # A signal that nobody sends by hand: the tasks send it to themselves when the run has begun.
    waiter = f"(until [ -s {run.metrics} ]; do sleep 0.02; done; pkill -TERM -f 'puna train {tiny_toml}') & exec \"$@\""
    done = subprocess.run(
        ["bash", "-c", waiter, "bash", *command], env=environment, capture_output=True, text=True, timeout=240,
        check=False,
    )  # fmt: skip
    assert done.returncode == 143, done.stderr[-3000:]
    assert (tmp_path / "calls").read_text() == "requeue 7\n"
    assert list_checkpoints(run)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "2 processes: 2 shards" in done.stderr
    assert run.record.exists()

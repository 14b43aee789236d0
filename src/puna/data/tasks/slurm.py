"""Submits the stages of a build to Slurm, each as an array of jobs that waits for the one before it.

A script is complete: it can be read, and handed to `sbatch` again. What a user or a path brings in is quoted as
`sbatch` reads it (sbatch(1): options stand in lines that begin with #SBATCH) or as a shell does, and an option without
a value is left out, since a bare one takes the next line for its value. Other options, such as an account, are given by
the variables that `sbatch` reads: SBATCH_ACCOUNT, SBATCH_QOS and so on (sbatch(1), input environment variables).
"""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import dill
from datatrove.executor.base import DistributedEnvVars
from datatrove.executor.slurm import SlurmPipelineExecutor

from puna.core.console import say
from puna.core.errors import DataError
from puna.core.files import write_text
from puna.data.tasks.executors import MEMORY_GB, ByRecords, Stage, logs, quiet
from puna.data.tasks.task import Task

_LONGEST_ARRAY = 1001
"""Most jobs of an array where the cluster does not say how many (slurm.conf(5): MaxArraySize)."""
_PLAIN = re.compile(r"[\w./:%=,+@-]+", re.ASCII)


class _Slurm(ByRecords, SlurmPipelineExecutor):
    """What each job of a stage unpickles: it finds its task by its place in the array."""

    def get_incomplete_ranks(self, ranks: Any = None, skip_completed: Any = None) -> list[int]:
        # Whether a task is needed is known only when the stages before it are done.
        return [rank for rank, task in enumerate(self.stage.tasks) if not task.is_done]

    def get_distributed_env(self, node_rank: int = -1) -> DistributedEnvVars:
        """The job alone: datatrove would ask `scontrol` for the names of its nodes, which nobody needs here."""
        return DistributedEnvVars(
            datatrove_node_ips="localhost", datatrove_cpus_per_task="1", datatrove_mem_per_cpu=str(MEMORY_GB),
            datatrove_gpus_on_node="0", datatrove_executor="SLURM",
        )  # fmt: skip

    def _run_for_rank(self, rank: int, local_rank: int = 0, node_rank: int = -1) -> Any:
        stats = super()._run_for_rank(rank, local_rank, node_rank)
        if failure := self.stage.tasks[rank].failure():
            raise failure  # the job fails, and those that depend on it are cancelled
        return stats


def submit(stages: list[list[Task]], *, partition: str, time: str, workers: int, setup: str) -> None:
    """Submit all stages to Slurm; each begins when the one before it has succeeded, and is cancelled when it fails.

    Args:
        stages: In order.
        partition: The cluster's partition; empty: its default one.
        time: Longest time of a job, as Slurm writes it; empty: the partition's.
        workers: Tasks at one time.
        setup: Shell commands that a job runs first, such as activating an environment.

    Raises:
        DataError: There is no `sbatch`, or it refuses; then nothing stays in the queue.
    """
    if shutil.which("sbatch") is None:
        raise DataError(
            "--executor slurm: there is no command `sbatch` here", hint="run it on a node that submits jobs"
        )
    for name, value in (("partition", partition), ("time", time)):
        if not value.isprintable():
            raise DataError(f"--{name} {value!r}: is not valid, it must be one line")
    longest, jobs, after = _longest_array(), list[str](), list[str]()
    for place, tasks in enumerate(stages):
        left = [rank for rank, task in enumerate(tasks) if not task.is_done]
        if not left:
            continue
        count = min(len(left), longest)
        # Rounds of one stage have its name, and all are submitted before the first begins.
        directory = logs(tasks[0]).absolute().with_name(f"{place:02}-{tasks[0].stage}")
        text = script(
            f"puna-{tasks[0].stage}", directory, array=f"0-{count - 1}%{workers}", partition=partition, time=time,
            setup=setup,
        )  # fmt: skip
        path = _write(directory, tasks, left, text, longest)
        of_stage: list[str] = []
        for offset in range(-(-len(left) // longest)):
            waits = [f"afterok:{':'.join(after)}"] if after else []
            waits += [f"afterany:{of_stage[-1]}"] if of_stage else []  # so that no more than `workers` run at a time
            try:
                of_stage.append(_sbatch(path, offset, ",".join(waits)))
            except subprocess.CalledProcessError as error:
                _cancel([*jobs, *of_stage])
                said = (error.stderr or error.stdout or "").strip() or f"exit code {error.returncode}"
                raise DataError(
                    f"sbatch refused the stage {tasks[0].stage}: {' '.join(said.split())}",
                    hint=f"nothing stays in the queue; the script is {path}",
                ) from None
        jobs += of_stage
        after = of_stage
    say(f"submitted {len(stages)} stages; their scripts and logs are in {logs(stages[0][0]).parent}")
    if jobs:
        say(f"to cancel all of them: scancel {' '.join(jobs)}")


def script(name: str, directory: Path, *, array: str, partition: str, time: str, setup: str) -> str:
    """The script of a stage.

    Args:
        name: The name of its jobs.
        directory: Where its files are, an absolute path.
        array: The numbers of the jobs, as Slurm writes them, such as `0-9%4`.
        partition: The cluster's partition, or empty.
        time: Longest time of a job, or empty.
        setup: Shell commands that a job runs first.
    """
    options = {
        "job-name": name, "partition": partition, "time": time, "nodes": "1", "ntasks": "1",
        "cpus-per-task": "1", "mem-per-cpu": f"{MEMORY_GB:.0f}G", "array": array,
        "output": f"{directory}/slurm_logs".replace("%", "%%") + "/%A_%a.out", "kill-on-invalid-dep": "yes",
    }  # fmt: skip
    lines = [f"#SBATCH --{name}={_quoted(value)}" for name, value in options.items() if value]
    return "\n".join(
        [
            "#!/bin/bash",
            *lines,
            "#SBATCH --requeue",
            f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"',
            *([setup] if setup else []),
            "set -e",
            "export PYTHONUNBUFFERED=TRUE",
            f"exec python -m datatrove.tools.launch_pickled_pipeline {shlex.quote(f'{directory}/executor.pik')}",
            "",
        ]
    )


def _quoted(value: str) -> str:
    """A value as `sbatch` reads it in a script: in quotes where it holds more than plain characters."""
    if _PLAIN.fullmatch(value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _write(directory: Path, tasks: list[Task], left: list[int], text: str, longest: int) -> Path:
    """Write what the jobs of a stage read, and their script; returns its path."""
    (directory / "slurm_logs").mkdir(parents=True, exist_ok=True)  # Slurm makes no directories
    with quiet():
        executor = _Slurm(
            [Stage(tasks)], tasks=len(tasks), time="", partition="", logging_dir=str(directory), max_array_size=longest
        )  # fmt: skip
        with (directory / "executor.pik").open("wb") as file:
            dill.dump(executor, file, fmode=dill.CONTENTS_FMODE)
    write_text(directory / "ranks_to_run.json", json.dumps(left))
    path = directory / "launch_script.slurm"
    write_text(path, text)
    return path


def _sbatch(path: Path, offset: int, dependency: str) -> str:
    """Submit a script; returns the number of the job.

    Raises:
        CalledProcessError: It is refused.
    """
    waits = [f"--dependency={dependency}"] if dependency else []
    command = ["sbatch", "--parsable", f"--export=ALL,RUN_OFFSET={offset}", *waits, str(path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return said.strip().splitlines()[-1].partition(";")[0]  # the name of the cluster may follow


def _cancel(jobs: list[str]) -> None:
    if jobs and shutil.which("scancel"):
        subprocess.run(["scancel", *jobs], capture_output=True, check=False)


def _longest_array() -> int:
    """How many jobs an array of this cluster may have."""
    if shutil.which("scontrol") is None:
        return _LONGEST_ARRAY
    said = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"^MaxArraySize\s*=\s*([0-9]+)", said, re.MULTILINE)
    return min(_LONGEST_ARRAY, max(1, int(found[1]))) if found else _LONGEST_ARRAY

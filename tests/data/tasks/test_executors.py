"""The same stages on this machine's cores, on a Ray cluster and as Slurm jobs: the same bytes."""

import os
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from puna.config.load import save_recipe
from puna.config.recipe import Recipe
from puna.core.errors import DataError
from puna.core.layout import DataDir
from puna.data.stages import components
from puna.data.stages.build import Execution, build_data
from puna.data.stages.plan import build_documents
from puna.data.tasks import executors
from puna.data.tasks.task import Progress, Task

SBATCH = """#!/usr/bin/env python3
# Stands in for Slurm: runs the tasks of each job at once, in order, and refuses what depends on a job that failed.
import os, re, subprocess, sys
from pathlib import Path
root = Path(os.environ["FAKE_SLURM"])
options = sys.argv[1:-1]
script = Path(sys.argv[-1]).read_text()
job = len(list(root.glob("*.sh"))) + 1
(root / f"{job:03}.sh").write_text(script)
(root / f"{job:03}.options").write_text("\\n".join(options))
wanted = re.findall(r"afterok:(\\d+)", " ".join(options) + script)
failed = any((root / f"{int(n):03}.failed").exists() for n in wanted)
print(f"Submitted batch job {job}")
sys.stdout.flush()
if failed:
    (root / f"{job:03}.failed").touch()
elif "merge_stats" not in script:
    last = int(re.search(r"#SBATCH --array=0-(\\d+)", script)[1])
    for task in range(last + 1):
        env = dict(os.environ, SLURM_ARRAY_TASK_ID=str(task), RUN_OFFSET="0", SLURM_NODELIST="node[1-1]")
        done = subprocess.run(["bash", str(root / f"{job:03}.sh")], env=env, capture_output=True, text=True)
        if done.returncode:
            (root / f"{job:03}.failed").write_text(done.stdout + done.stderr)
"""
SRUN = """#!/usr/bin/env bash
while [[ "$1" == -* ]]; do [[ "$1" == -n ]] && shift; shift; done
exec "$@"
"""
SCONTROL = """#!/usr/bin/env bash
echo node1
"""


@pytest.fixture
def distinct(recipe: Recipe, shelf: Path, changed) -> Recipe:
    """Documents in several tasks; some are near duplicates."""
    for number, path in enumerate(sorted(path for path in shelf.rglob("*") if path.is_file())):
        path.write_text(" ".join(f"w{number // 2}-{word}" for word in range(100 + number % 2)))
    recipe = recipe.model_copy(update={"model": recipe.model.model_copy(update={"vocab_size": 272})})
    return changed(recipe, dedup__near__sources=["poems", "code"], task_bytes=5000, partitions=2)


def test_local_workers_give_the_bytes_of_one_process(
    distinct: Recipe, out: DataDir, tmp_path: Path, hashes, monkeypatch
):
    monkeypatch.setattr(executors, "_SMALL_BYTES", 0)
    build_documents(distinct, out, workers=2)
    build_documents(distinct, alone := DataDir(tmp_path / "alone"), workers=1)
    assert hashes(out.documents) == hashes(alone.documents)


@pytest.mark.e2e
def test_a_ray_cluster_gives_the_bytes_of_one_process(
    distinct: Recipe, out: DataDir, shelf: Path, tmp_path: Path, hashes, changed
):
    """On a cluster of two nodes, each with a worker; RAY_ADDRESS names it, as it would a real one."""
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    for path in (path for path in shelf.rglob("*") if path.is_file()):
        path.write_text(path.read_text() * 300)  # enough that stages are not done at once in the first process
    distinct = changed(distinct, task_bytes=1_500_000)
    save_recipe(distinct, tmp_path / "recipe.toml")
    cluster = cluster_utils.Cluster()
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1, include_dashboard=False)
        done = subprocess.run(
            [
                sys.executable, "-m", "puna", "data", "build", str(tmp_path / "recipe.toml"),
                "--data-dir", str(out.root), "--executor", "ray", "--workers", "2",
            ],
            env=os.environ | {"RAY_ADDRESS": cluster.address}, capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
    finally:
        cluster.shutdown()
    assert done.returncode == 0, done.stderr
    logs = [path.read_text() for path in (out.work / "logs" / "read" / "logs").iterdir()]
    assert len(logs) > 2
    build_documents(distinct, alone := DataDir(tmp_path / "alone"), workers=1)
    assert hashes(out.documents) == hashes(alone.documents)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands that stand in for Slurm's, first on the PATH, and the directory of what was submitted."""
    jobs, commands = tmp_path / "slurm", tmp_path / "bin"
    jobs.mkdir()
    commands.mkdir()
    for name, content in (("sbatch", SBATCH), ("srun", SRUN), ("scontrol", SCONTROL)):
        (commands / name).write_text(content)
        (commands / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("FAKE_SLURM", str(jobs))
    monkeypatch.setenv("PATH", f"{commands}:{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID", raising=False)
    return jobs


@pytest.mark.e2e
def test_slurm_jobs_give_the_bytes_of_one_process(
    distinct: Recipe, out: DataDir, tmp_path: Path, hashes, slurm: Path, monkeypatch: pytest.MonkeyPatch
):
    """Each stage is an array of jobs that waits for the one before it; the last one leaves a finished build."""
    monkeypatch.setattr(components, "ROUNDS", 3)  # every job starts a Python
    build_data(
        distinct, out, force=False, execution=Execution(executor="slurm", workers=4, partition="cpu", time="01:00:00")
    )
    assert not list(slurm.glob("*.failed")), next(slurm.glob("*.failed")).read_text()
    scripts = [path.read_text() for path in sorted(slurm.glob("*.sh"))]
    first = scripts[0]
    for line in ("#SBATCH --partition=cpu", "#SBATCH --time=01:00:00", "#SBATCH --job-name=puna-read"):
        assert line in first
    assert re.search(r"#SBATCH --array=0-\d+%4\n", first)
    assert f"export PATH={Path(sys.executable).parent}:$PATH" in first
    names = [re.search(r"--job-name=puna-(\S+)", script)[1] for script in scripts if "merge_stats" not in script]
    assert names[:4] == ["read", "keys", "exact", "near"]
    assert names[-5:] == ["components", "finish", "join-tokenizer", "tokenize", "join-data"]
    build_data(distinct, alone := DataDir(tmp_path / "alone"), force=False)
    for directory in ("documents", "shards", "tokenizer"):
        assert hashes(out.root / directory) == hashes(alone.root / directory)


def test_without_slurm_there_is_one_sentence(distinct: Recipe, out: DataDir, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(DataError, match="--executor slurm: there is no command `sbatch` here"):
        build_data(distinct, out, force=False, execution=Execution(executor="slurm"))


def test_a_task_that_fails_for_a_reason_that_a_user_can_mend_says_it_in_one_sentence(
    distinct: Recipe, out: DataDir, shelf: Path, monkeypatch: pytest.MonkeyPatch, changed, capfd
):
    monkeypatch.setattr(executors, "_SMALL_BYTES", 0)
    broken = changed(distinct, rules__language__model=str(shelf / "no.bin"), sources__poems__clean=["language"])
    with pytest.raises(DataError, match=r"no\.bin"):
        build_documents(broken, out, workers=2)
    assert "Traceback" not in capfd.readouterr().err


class Suicide(Task):
    """Ends as a process does that the system kills when memory runs out."""

    stage = "suicide"
    made_from = "nothing"
    input_bytes = 10**9

    def work_on(self, progress: Progress) -> dict:
        os.kill(os.getpid(), signal.SIGKILL)
        return {}


def test_a_worker_that_dies_is_one_sentence_and_nobody_waits_for_it(tmp_path: Path):
    with pytest.raises(DataError, match="stage suicide: a worker was killed, most likely because memory ran out"):
        executors.run_stage([Suicide(tmp_path), Suicide(tmp_path / "other")], "local", 2)


def test_workers_die_with_a_build_that_is_killed(distinct: Recipe, tmp_path: Path, shelf: Path):
    for path in (path for path in shelf.rglob("*") if path.is_file()):
        path.write_text(path.read_text() * 2000)
    save_recipe(distinct, tmp_path / "recipe.toml")
    command = [sys.executable, "-m", "puna", "data", "build", str(tmp_path / "recipe.toml"), "--workers", "2"]
    process = subprocess.Popen(
        [*command, "--data-dir", str(tmp_path / "d")], stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 600
    while len(_session(process.pid)) < 4 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(_session(process.pid)) >= 4  # it, the server that makes workers, the tracker of resources, a worker
    process.kill()
    process.wait()
    while _session(process.pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert _session(process.pid) == []


def _session(leader: int) -> list[str]:
    """The processes of a session."""
    listed = subprocess.run(["ps", "-o", "stat=", "-s", str(leader)], capture_output=True, text=True, check=False)
    return [state for state in listed.stdout.split() if not state.startswith("Z")]  # nobody may have buried them yet


class Slow(Task):
    """Tells that it has begun, and takes an hour."""

    stage = "slow"
    input_bytes = 10**9

    @property
    def made_from(self) -> str:
        return self.work.name

    def work_on(self, progress: Progress) -> dict:
        (self.directory / "begun").touch()
        time.sleep(3600)
        return {}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 1)])
def test_a_build_that_is_told_to_end_takes_its_workers_along_and_says_nothing_of_them(
    tmp_path: Path, number: int, code: int
):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys; from pathlib import Path\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_executors import Slow\n"
        "from puna.core.errors import Interrupted\n"
        "from puna.data.tasks.executors import run_stage\n"
        "if __name__ == '__main__':\n"
        "    try:\n"
        f"        run_stage([Slow(Path({str(tmp_path)!r}) / name) for name in 'ab'], 'local', 2)\n"
        "    except KeyboardInterrupt:\n"
        "        sys.exit(1)\n"
        "    except Interrupted as end:\n"
        "        sys.exit(128 + end.signal)\n"
    )
    process = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 600
    while len(list(tmp_path.rglob("begun"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == code
    assert "Traceback" not in errors
    assert "leaked" not in errors
    while _session(process.pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _session(process.pid)

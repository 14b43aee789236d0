"""Stages as arrays of Slurm jobs: scripts that `sbatch` reads as they are meant, and the bytes of one process."""

import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from puna.config.recipe import Recipe
from puna.core.errors import DataError
from puna.core.layout import DataDir
from puna.data.stages import components
from puna.data.stages.build import Execution, build_data
from puna.data.tasks.counts import Counts
from puna.data.tasks.slurm import script, submit
from puna.data.tasks.task import Progress, Task

SBATCH = f"""#!{sys.executable} -S
# Stands in for Slurm: reads options as it does, and puts the job into the queue.
import json, os, shlex, sys
from pathlib import Path
root = Path(os.environ["FAKE_SLURM"])
*options, path = sys.argv[1:]
job = len(list(root.glob("*.json"))) + 1
if os.environ.get("FAKE_REFUSES") == str(job):
    sys.exit("sbatch: error: Batch job submission failed:\\n Invalid account")
lines = [shlex.split(line)[1:] for line in Path(path).read_text().splitlines() if line.startswith("#SBATCH")]
assert all(len(words) == 1 for words in lines), lines
given = dict(word[2:].partition("=")[::2] for (word,) in [*lines, *([option] for option in options)])
assert all(value or name in ("requeue", "parsable") for name, value in given.items()), given
(root / f"{{job:03}}.json").write_text(json.dumps(given | {{"script": path}}))
print(f"be nice\\n{{job}};cluster")
"""
PYTHON = f"""#!/bin/bash
# One job starts a Python of its own, as on a cluster; others are run by one that has imported everything.
[ "$FAKE_JOB" = "$FAKE_WHOLE" ] && exec {shlex.quote(sys.executable)} "$@"
echo "$SLURM_ARRAY_TASK_ID $RUN_OFFSET $3" > "$FAKE_SLURM/ask"
read -r code < "$FAKE_SLURM/answer"
exit "$code"
"""
WORKER = """
import os, sys, traceback
from datatrove.tools.launch_pickled_pipeline import main
root = sys.argv[1]
while True:
    with open(f"{root}/ask") as ask:
        line = ask.readline().rstrip("\\n")
    if line == "end":
        break
    os.environ["SLURM_ARRAY_TASK_ID"], os.environ["RUN_OFFSET"], sys.argv[1] = line.split(" ", 2)
    code = 0
    try:
        main()
    except BaseException:
        traceback.print_exc()
        code = 1
    with open(f"{root}/answer", "w") as answer:
        answer.write(f"{code}\\n")
"""


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory through which one Python is told what to run."""
    root = tmp_path_factory.mktemp("slurm")
    for name in ("ask", "answer"):
        os.mkfifo(root / name)
    process = subprocess.Popen([sys.executable, "-c", WORKER, str(root)], stderr=subprocess.DEVNULL)
    yield root
    with (root / "ask").open("w") as ask:
        ask.write("end\n")
    process.wait()


def command(path: Path, content: str) -> None:
    path.write_text(content)
    path.chmod(stat.S_IRWXU)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands that stand in for Slurm's, first on the PATH, and the directory of what was submitted."""
    jobs, commands = tmp_path / "slurm", tmp_path / "bin"
    jobs.mkdir()
    commands.mkdir()
    command(commands / "sbatch", SBATCH)
    command(commands / "scancel", f'#!/bin/sh\necho "$@" > {jobs}/cancelled\n')
    command(commands / "scontrol", "#!/bin/sh\necho 'Configuration data'; echo 'MaxArraySize            = 2'\n")
    monkeypatch.setenv("FAKE_SLURM", str(jobs))
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID", raising=False)
    return jobs


@pytest.fixture
def running(slurm: Path, worker: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, for jobs whose first command puts a quick Python first on the PATH."""
    for name in ("ask", "answer"):
        (slurm / name).symlink_to(worker / name)
    command(slurm / "python", PYTHON)
    monkeypatch.setattr(components, "ROUNDS", 3)
    return slurm


def submitted(slurm: Path) -> list[dict[str, str]]:
    return [json.loads(path.read_text()) for path in sorted(slurm.glob("*.json"))]


def run_queue(slurm: Path) -> dict[str, list[str]]:
    """Run the jobs in order, when all are submitted; returns the names of those that succeed, fail, are cancelled."""
    states: dict[int, str] = {}
    for number, job in enumerate(submitted(slurm), 1):
        waits = dict(part.split(":", 1) for part in job.get("dependency", "").split(",") if part)
        states[number] = "done"
        if any(states[int(other)] != "done" for other in waits.get("afterok", "").split(":") if other):
            assert job["kill-on-invalid-dep"] == "yes"
            states[number] = "cancelled"
            continue
        last = int(re.fullmatch(r"0-(\d+)%\d+", job["array"])[1])
        offset = re.fullmatch(r"ALL,RUN_OFFSET=(\d+)", job["export"])[1]
        for task in range(last + 1):
            env = os.environ | {"SLURM_ARRAY_TASK_ID": str(task), "RUN_OFFSET": offset, "FAKE_JOB": str(number)}
            parts = {"A": str(number), "a": str(task), "%": "%"}
            log = Path(re.sub("%(.)", lambda found, parts=parts: parts[found[1]], job["output"]))
            with log.open("w") as file:
                if subprocess.run(["bash", job["script"]], env=env, stdout=file, stderr=file, check=False).returncode:
                    states[number] = "failed"
    names = [job["job-name"].removeprefix("puna-") for job in submitted(slurm)]
    return {
        state: [name for number, name in enumerate(names, 1) if states[number] == state]
        for state in ("done", "failed", "cancelled")
    }


def setup(slurm: Path) -> str:
    return f"# two lines\nexport PATH={shlex.quote(str(slurm))}:$PATH"


@pytest.mark.e2e
def test_slurm_jobs_give_the_bytes_of_one_process(
    distinct: Recipe, tmp_path: Path, hashes, running: Path, monkeypatch: pytest.MonkeyPatch
):
    """Each stage is an array of jobs that waits for the one before it; the last one leaves a finished build."""
    out = DataDir(tmp_path / 'it\'s "a" #place, 5%A')
    execution = Execution(executor="slurm", workers=4, partition="cpu", time="01:00:00", setup=setup(running))
    build_data(distinct, out, force=False, execution=execution)
    assert not (out.root / "documents").exists()  # nothing runs before all is submitted
    monkeypatch.setenv("FAKE_WHOLE", "2")
    states = run_queue(running)
    assert states["failed"] == states["cancelled"] == []
    jobs = submitted(running)
    assert {(job["partition"], job["time"], job["mem-per-cpu"]) for job in jobs} == {("cpu", "01:00:00", "4G")}
    names = list(dict.fromkeys(states["done"]))
    assert names[:6] == ["read", "lines", "clean", "keys", "exact", "near"]
    assert "components" in names
    assert names[-4:] == ["finish", "join-tokenizer", "tokenize", "join-data"]
    assert "dependency" not in jobs[0]
    assert all(re.search("afterok:[0-9:]+", job["dependency"]) for job in jobs if job["job-name"] != "puna-read")
    build_data(distinct, alone := DataDir(tmp_path / "alone"), force=False)
    for directory in ("documents", "shards", "tokenizer"):
        assert hashes(out.root / directory) == hashes(alone.root / directory)


def test_what_waits_for_a_stage_that_failed_is_cancelled(distinct: Recipe, out: DataDir, shelf: Path, running: Path):
    build_data(distinct, out, force=False, execution=Execution(executor="slurm", workers=4, setup=setup(running)))
    (shelf / "poems" / "read" / "02.txt").unlink()
    states = run_queue(running)
    assert {*states["done"], *states["failed"]} == {"read"}
    assert states["cancelled"][0] == "lines"
    assert states["cancelled"][-1] == "join-data"
    assert "02.txt: could not be read" in "".join(map(Path.read_text, out.work.glob("read/*/error.json")))


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Job(Task):
    """A task that nobody runs."""

    number: int
    input_bytes = 1

    @property
    def made_from(self) -> int:
        return self.number

    def work_on(self, progress: Progress) -> Counts:
        return {}


def stages(work: Path, *counts: int) -> list[list[Task]]:
    kinds = [type("Stage", (Job,), {"stage": f"stage{place}"}) for place in range(len(counts))]
    return [
        [kind(work=work, number=number) for number in range(count)] for kind, count in zip(kinds, counts, strict=True)
    ]


def test_a_stage_longer_than_an_array_becomes_several_and_the_next_waits_for_all(tmp_path: Path, slurm: Path):
    submit(stages(tmp_path / "w", 5, 1), partition="", time="", workers=3, setup="")
    assert [(job["array"], job["export"], job.get("dependency", "")) for job in submitted(slurm)] == [
        ("0-1%3", "ALL,RUN_OFFSET=0", ""),
        ("0-1%3", "ALL,RUN_OFFSET=1", "afterany:1"),
        ("0-1%3", "ALL,RUN_OFFSET=2", "afterany:2"),
        ("0-0%3", "ALL,RUN_OFFSET=0", "afterok:1:2:3"),
    ]
    assert json.loads((tmp_path / "w/logs/00-stage0/ranks_to_run.json").read_text()) == [0, 1, 2, 3, 4]


def test_when_a_stage_is_refused_nothing_stays_in_the_queue(
    tmp_path: Path, slurm: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FAKE_REFUSES", "3")
    with pytest.raises(DataError) as error:
        submit(stages(tmp_path, 1, 1, 1, 1), partition="", time="", workers=1, setup="")
    assert error.value.message == (
        "sbatch refused the stage stage2: sbatch: error: Batch job submission failed: Invalid account"
    )
    assert (slurm / "cancelled").read_text() == "1 2\n"


@pytest.mark.parametrize("partition", ["", "cpu", "gpu,cpu", "a b", 'it\'s "x"', "#1", "a\\b"])
@pytest.mark.parametrize("time", ["", "1-00:00:00"])
def test_an_option_is_read_as_it_was_given_and_one_without_a_value_is_left_out(
    tmp_path: Path, partition: str, time: str
):
    text = script("x", tmp_path / "a b", array="0-0%1", partition=partition, time=time, setup="")
    lines = [line for line in text.splitlines() if line.startswith("#SBATCH")]
    words = [word for line in lines for word in shlex.split(line)[1:]]
    assert all(len(shlex.split(line)) == 2 for line in lines)
    given = dict(word.removeprefix("--").partition("=")[::2] for word in words)
    assert (given.get("partition", ""), given.get("time", "")) == (partition, time)
    assert [name for name, value in given.items() if not value] == ["requeue"]


def test_what_the_shell_runs_is_quoted_and_a_setup_of_several_lines_stays_so(tmp_path: Path):
    work = tmp_path / "a b'c$HOME"
    text = script("x", work, array="0-0%1", partition="", time="", setup="module load x\nexport Y=1")
    before, *rest = text.partition("module load x\nexport Y=1\nset -e\n")[::2]
    assert before.splitlines()[-1] == f'export PATH={Path(sys.executable).parent}:"$PATH"'
    *_, last = "".join(rest).splitlines()
    assert shlex.split(last)[-1] == f"{work}/executor.pik"
    assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0


@pytest.mark.parametrize(("field", "value"), [("partition", "cpu\n#SBATCH --x"), ("time", "1\r")])
def test_a_value_of_two_lines_is_refused(tmp_path: Path, slurm: Path, field: str, value: str):
    with pytest.raises(DataError, match=f"--{field} .*: is not valid, it must be one line"):
        submit(stages(tmp_path, 1), **{"partition": "", "time": "", "workers": 1, "setup": ""} | {field: value})


def test_without_slurm_there_is_one_sentence(distinct: Recipe, out: DataDir, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(DataError, match="--executor slurm: there is no command `sbatch` here"):
        build_data(distinct, out, force=False, execution=Execution(executor="slurm"))


@pytest.mark.skipif(shutil.which("sbatch") is None, reason="Slurm is not here")
def test_a_real_sbatch_takes_the_script(tmp_path: Path):
    text = script("x", tmp_path / "a b", array="0-0%1", partition="", time="00:01:00", setup="")
    (tmp_path / "script").write_text(text)
    done = subprocess.run(["sbatch", "--test-only", tmp_path / "script"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

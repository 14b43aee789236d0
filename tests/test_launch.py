"""What starts runs on clusters: scripts and the guide's rehearsal run here, manifests and the image are checked."""

import copy
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_lines import problem
from kubernetes import JobSet, PodSpec, PyTorchJob
from pydantic import ValidationError

from puna.core.layout import DataDir, RunDir
from puna.core.schema.train_state import list_checkpoints

ROOT = Path(__file__).parents[1]
LAUNCH = ROOT / "launch"
SCRIPT = LAUNCH / "train.slurm"
CONTAINERFILE = (LAUNCH / "Containerfile").read_text(encoding="utf-8")

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


TELL = """#!/usr/bin/env bash
echo "$NAME $RANK $LOCAL_RANK $WORLD_SIZE $MASTER_ADDR:$MASTER_PORT $*"
"""


def _started(folder: Path, *, path: str | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """The Slurm script with a `puna` of its own for each place that it may come from, which tells its environment."""
    for place in ("venv/bin", ".venv/bin"):
        (folder / place).mkdir(parents=True)
        (folder / place / "puna").write_text(TELL.replace("$NAME", place))
        (folder / place / "puna").chmod(0o755)
        (folder / place / "activate").write_text(f'PATH="{folder / place}:$PATH"\n')
    commands = folder / "commands"
    commands.mkdir()
    for name, content in {"srun": SRUN, "scontrol": SCONTROL}.items():
        (commands / name).write_text(content)
        (commands / name).chmod(0o755)
    for name in ("bash", "env", "seq", "head", "hostname"):
        (commands / name).symlink_to(shutil.which(name) or name)
    slurm = {"SLURM_JOB_NODELIST": "node", "SLURM_NTASKS": "2", "SLURM_JOB_ID": "7", "CALLS": str(folder / "calls")}
    environment = slurm | variables | {"PATH": f"{path}:{commands}" if path else str(commands)}
    command = [str(commands / "bash"), str(SCRIPT), "mine.toml", "name=a b"]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip


@pytest.mark.parametrize(
    ("place", "variables"),
    [
        ("venv/bin", {"PUNA_SETUP": "source venv/bin/activate"}),
        (".venv/bin", {}),
        ("venv/bin", {"path": "venv/bin"}),
        ("venv/bin", {"PUNA": "env X=1 venv/bin/puna"}),
    ],
    ids=["setup", "beside", "path", "command"],
)
def test_slurm_script_activates_an_environment_in_each_task(place: str, variables: dict[str, str], tmp_path: Path):
    done = _started(tmp_path, **variables)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [
        f"{place} {task} {task} 2 127.0.0.1:29500 train mine.toml name=a b --resume" for task in range(2)
    ]


def test_slurm_script_says_where_puna_is_missing(tmp_path: Path):
    done = _started(tmp_path, PUNA="punta")
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: punta is not in PATH on " in done.stderr
    assert "PUNA_SETUP=" in done.stderr


def test_slurm_script_ends_where_the_setup_fails(tmp_path: Path):
    done = _started(tmp_path, PUNA_SETUP="source nowhere/activate")
    assert done.returncode != 0
    assert done.stdout == ""
    assert "nowhere/activate" in done.stderr


@pytest.mark.e2e
def test_rehearsal_of_the_guide_runs_as_it_is_written(tmp_path: Path, unused_port: int):
    guide = (ROOT / "docs" / "guide" / "cluster.md").read_text(encoding="utf-8")
    script = guide.partition("<!-- run: rehearsal -->\n```bash\n")[2].partition("\n```\n")[0]
    environment = _environment(tmp_path, unused_port) | {"PORT": str(unused_port)}
    (tmp_path / "torchrun").write_text(f'#!/usr/bin/env bash\nexec {sys.executable} -m torch.distributed.run "$@"\n')
    (tmp_path / "torchrun").chmod(0o755)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "2 processes: 2 shards" in done.stderr
    assert "stopped at step 12" in done.stderr
    assert "resumed from runs/rehearsal/checkpoints/step-00000012" in done.stderr
    assert RunDir(tmp_path / "runs" / "rehearsal").record.exists()
    assert done.stdout.startswith("def ")


def _manifest(name: str) -> dict[str, Any]:
    return yaml.safe_load((LAUNCH / f"kubernetes-{name}.yaml").read_text(encoding="utf-8"))


def _check_pod(pod: PodSpec, puna: list[str]) -> None:
    """What both manifests' pods must have."""
    (container,) = pod.containers
    assert problem(" ".join(puna)) is None
    assert puna[-1] == "--resume"
    variables = {variable.name: variable.value for variable in container.env}
    assert int(variables["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"]) < pod.terminationGracePeriodSeconds
    volumes = {volume.name: volume for volume in pod.volumes}
    seen = {mount.mountPath: volumes[mount.name] for mount in container.volumeMounts}
    assert seen["/dev/shm"].emptyDir is not None
    assert seen["/dev/shm"].emptyDir.medium == "Memory"
    assert seen[container.workingDir].persistentVolumeClaim is not None
    assert f"WORKDIR {container.workingDir}\n" in CONTAINERFILE
    assert f"XDG_CACHE_HOME={next(path for path in seen if path == '/cache')} " in CONTAINERFILE
    assert re.search(rf"--tag {container.image.partition(':')[0]} ", CONTAINERFILE)


def test_jobset_starts_as_many_processes_as_it_asks_for_gpus():
    job_set = JobSet.model_validate(_manifest("jobset"))
    (jobs,) = job_set.spec.replicatedJobs
    job, (container,) = jobs.template.spec, jobs.template.spec.template.spec.containers
    assert job.completionMode == "Indexed"
    assert jobs.replicas == 1
    _check_pod(
        job.template.spec, [word.replace("$(JOB_COMPLETION_INDEX)", "0") for word in container.command + container.args]
    )
    options = dict(word.split("=", 1) for word in container.args if word.startswith("--") and "=" in word)
    assert int(options["--nnodes"]) == job.completions == job.parallelism
    assert int(options["--nproc-per-node"]) == container.resources.limits["nvidia.com/gpu"]
    assert options["--node-rank"] == "$(JOB_COMPLETION_INDEX)"
    # JobSet names pods SET-JOBS-JOB-POD, below a service with the set's name.
    assert options["--master-addr"] == f"{job_set.metadata.name}-{jobs.name}-0-0.{job_set.metadata.name}"
    assert int(options["--master-port"]) in [port.containerPort for port in container.ports]


def test_pytorchjob_starts_as_many_processes_as_it_asks_for_gpus():
    spec = PyTorchJob.model_validate(_manifest("pytorchjob")).spec
    assert list(spec.pytorchReplicaSpecs) == ["Worker"]
    worker = spec.pytorchReplicaSpecs["Worker"]
    (container,) = worker.template.spec.containers
    _check_pod(worker.template.spec, [*container.command, *container.args])
    assert worker.replicas == spec.elasticPolicy.minReplicas == spec.elasticPolicy.maxReplicas
    assert int(spec.nprocPerNode) == container.resources.limits["nvidia.com/gpu"]
    assert worker.restartPolicy == "OnFailure"


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("spec", "nprocPerNode"), 8),
        (("spec", "pytorchReplicaSpecs", "Worker", "replica"), 4),
        (("spec", "pytorchReplicaSpecs", "Worker", "template", "spec", "containers", 0, "name"), "train"),
        (("spec", "pytorchReplicaSpecs", "Worker", "template", "spec", "volumes", 1, "name"), "other"),
        (("spec", "elasticPolicy", "rdzvBackend"), "static"),
        (("metadata", "name"), "Puna_1"),
    ],
)
def test_a_manifest_with_a_fault_is_refused(place: tuple[str | int, ...], value: Any):
    manifest = copy.deepcopy(_manifest("pytorchjob"))
    *outer, last = place
    part: Any = manifest
    for key in outer:
        part = part[key]
    part[last] = value
    with pytest.raises(ValidationError):
        PyTorchJob.model_validate(manifest)


def test_image_is_made_of_files_and_extras_that_there_are():
    copied = [
        word for line in re.findall(r"^COPY (.+) \S+$", CONTAINERFILE, flags=re.MULTILINE) for word in line.split()
    ]
    assert all((ROOT / name).exists() for name in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"pyproject.toml", "src", project["readme"], *project["license-files"]} <= set(copied)
    (extras,) = re.findall(r"'\.\[([a-z0-9,]+)\]'", CONTAINERFILE)
    assert set(extras.split(",")) <= project["optional-dependencies"].keys()
    (constraint,) = re.findall(r"--constraint (\S+)", CONTAINERFILE)
    assert constraint in copied

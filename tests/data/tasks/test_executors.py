"""The same stages on this machine's cores and on a Ray cluster: the same bytes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from puna.config.load import save_recipe
from puna.config.recipe import Recipe
from puna.core.errors import DataError
from puna.core.layout import DataDir
from puna.data.stages.plan import build_documents
from puna.data.tasks import executors
from puna.data.tasks.task import Progress, Task


def test_local_workers_give_the_bytes_of_one_process(
    distinct: Recipe, out: DataDir, tmp_path: Path, hashes, monkeypatch
):
    monkeypatch.setattr(executors, "_SMALL_BYTES", 0)
    build_documents(distinct, out, workers=2)
    build_documents(distinct, alone := DataDir(tmp_path / "alone"), workers=1)
    assert hashes(out.documents) == hashes(alone.documents)


@pytest.mark.e2e
def test_a_ray_cluster_gives_the_bytes_of_one_process_and_takes_no_rule_of_a_script(
    distinct: Recipe, out: DataDir, tmp_path: Path, hashes
):
    """On a cluster of two nodes, each with a worker; RAY_ADDRESS names it, as it would a real one."""
    from plugins import SHOUTING  # not on the path of the scripts that import this file

    cluster_utils = pytest.importorskip("ray.cluster_utils")
    save_recipe(distinct, tmp_path / "recipe.toml")
    script = tmp_path / "script.py"
    script.write_text(SHOUTING + RAY)
    cluster = cluster_utils.Cluster()
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1, include_dashboard=False)
        done = subprocess.run(
            [sys.executable, str(script), str(tmp_path / "recipe.toml"), str(out.root)],
            env=os.environ | {"RAY_ADDRESS": cluster.address}, capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
    finally:
        cluster.shutdown()
    assert done.stdout == "built\n", done.stderr
    for stage in ("read", "finish"):
        assert len([*(out.work / "logs" / stage / "logs").iterdir()]) == 3
    build_documents(distinct, alone := DataDir(tmp_path / "alone"), workers=1)
    assert hashes(out.documents) == hashes(alone.documents)
    assert "'no-shouting', which is not installed here" in done.stderr


RAY = """
import sys
from pathlib import Path
from puna.config.load import load_recipe
from puna.config.recipe import Recipe
from puna.core.layout import DataDir
from puna.data.stages.plan import build_documents
from puna.data.table import add_rule
from puna.data.tasks import executors

executors._SMALL_BYTES = 10_000  # the stages that read all documents go to the cluster
recipe = load_recipe(sys.argv[1]).recipe
build_documents(recipe, DataDir(Path(sys.argv[2])), executor="ray", workers=2)
print("built")
add_rule(RULE)
table = recipe.model_dump()
table["data"]["sources"]["code"]["clean"] = ["no-shouting"]
executors._SMALL_BYTES = 5_000  # the one task that is not done yet
build_documents(Recipe.model_validate(table), DataDir(Path(sys.argv[2])), executor="ray", workers=2)
"""


def test_a_task_asks_ray_for_the_memory_that_it_may_take(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd):
    """Or for all that a node has: for more, Ray would wait for ever."""
    asked = []
    monkeypatch.setattr(executors._Ray, "run", lambda self: asked.append(self.mem_per_cpu_gb * self.cpus_per_task))
    for offered in ([64, 2], [3, 2], []):
        nodes = [{"Alive": True, "Resources": {"memory": gib * 2**30}} for gib in offered]
        nodes += [{"Alive": False, "Resources": {"memory": 2**40}}, {"Alive": True, "Resources": {"CPU": 1.0}}]
        ray = SimpleNamespace(is_initialized=lambda: True, nodes=lambda nodes=nodes: nodes)
        monkeypatch.setitem(sys.modules, "ray", ray)
        executors._run_on_ray(executors.Stage([Suicide(tmp_path)]), 1)
    assert asked == [4.0, 3.0, 4.0]
    assert capfd.readouterr().err.count("no node of the Ray cluster offers 4 GB of memory; asking for 3.0 GB") == 1


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

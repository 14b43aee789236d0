"""Processes that agree: results, errors and numbers of a group of two."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from puna.core.errors import UserError
from puna.parallel.world import News, World, joined

SCRIPT = """
import sys, torch
from puna.core.errors import DataError, OtherProcessError
from puna.parallel.world import News, end_process, joined
with joined() as world:
    assert world.size == 2
    assert world.first(lambda: {"rank": world.rank}) == {"rank": 0}
    assert world.each(world.rank * 10) == [0, 10]
    assert world.largest(15 if world.rank else 0) == 15
    assert world.sum(torch.tensor([1.0, float(world.rank)])).tolist() == [2.0, 1.0]
    assert world.told("word" if world.main else None) == "word"
    news = News(world)
    numbers = [(0, 0), (3 * world.rank, 1 - world.rank), (2, 2), (0, world.rank)]
    assert [news.hear(pair, False) for pair in numbers] == [(0, 0), (0, 0), (3, 1), (0, 0)]
    assert news.hear((5 * world.rank, 0), True) == (0, 1)
    assert news.hear((5 * world.rank, 0), True) == (5, 0)
    assert news.hear((0, 0), True) == (0, 0)
    assert world.on_main(lambda: sys) is (sys if world.main else None)
    def fail():
        raise DataError("no such thing")
    try:
        world.first(fail)
    except DataError as error:
        sys.stdout.write(f"main: {error}\\n")
    except OtherProcessError as error:
        sys.stdout.write(f"other: {error}\\n")
end_process(0)
"""


def test_processes_agree(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(done.stdout.splitlines()) == [
        "main: no such thing",
        "other: another process of this run says what is wrong",
    ]


def test_one_process_asks_nobody():
    world = World(0, 1, torch.device("cpu"), None)
    assert world.main
    assert world.first(lambda: 3) == 3
    assert world.each("a") == ["a"]
    assert world.largest(4) == 4
    assert world.told("b") == "b"
    assert News(world).hear((15, 0), False) == (15, 0)
    with pytest.raises(UserError, match="sentence"):
        world.first(lambda: (_ for _ in ()).throw(UserError("sentence")))


def test_one_process_joins_no_group():
    with joined() as world:
        assert (world.rank, world.size, world.checkpoint_group) == (0, 1, None)
        assert not torch.distributed.is_initialized()


LIMITS = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (64, int(sys.argv[1])))
from puna.core.errors import OtherProcessError, TrainError
from puna.parallel import world
try:
    world._allow_files(2048, int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"]))
except TrainError as error:
    sys.exit(str(error))
except OtherProcessError:
    sys.exit(2)
sys.stdout.write(str(resource.getrlimit(resource.RLIMIT_NOFILE)[0]))
"""


@pytest.mark.parametrize(
    ("rank", "local_rank", "most", "code", "said"),
    [
        ("0", "0", "4096", 0, "4096"),
        ("0", "0", "2048", 1, "process 0 of 2048 may open 2048 files and sockets, and may need 3072"),
        ("8", "0", "2048", 0, "2048"),
        ("8", "0", "1000", 1, "process 8 of 2048 may open 1000 files and sockets, and may need 1024"),
        ("9", "1", "1000", 2, ""),
    ],
)
def test_files_are_allowed_up_to_the_hard_limit_or_the_run_refused(
    rank: str, local_rank: str, most: str, code: int, said: str
):
    environment = os.environ | {"RANK": rank, "LOCAL_RANK": local_rank}
    command = [sys.executable, "-c", LIMITS, most]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, (done.stdout + done.stderr).splitlines()[:1]) == (code, [said] if said else [])


BUSY = """
import atexit, sys, threading, torch
from puna.parallel.world import end_process
def work():
    values = torch.randn(100)
    while True:
        begun.set()
        values + values
atexit.register(print, "an exit function has run")
begun = threading.Event()
threading.Thread(target=work, daemon=True).start()
begun.wait()
print("written before the end")
end_process(3)
"""
"""A thread in C++ asks for Python's lock all the time, as one of gloo does for a moment after each message."""


def test_process_ends_with_its_exit_code_while_other_threads_ask_for_pythons_lock():
    """`sys.exit(3)` in its place aborts: "terminate called without an active exception"."""
    command = [sys.executable, "-c", BUSY]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout.splitlines() == ["written before the end", "an exit function has run"]

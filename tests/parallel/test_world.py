"""Processes that agree: results, errors and numbers of a group of two."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from puna.core.errors import UserError
from puna.parallel.world import World, joined

SCRIPT = """
import sys, torch
from puna.core.errors import DataError
from puna.parallel.world import joined
with joined() as world:
    assert world.size == 2
    assert world.first(lambda: {"rank": world.rank}) == {"rank": 0}
    assert world.each(world.rank * 10) == [0, 10]
    assert world.largest(15 if world.rank else 0) == 15
    assert world.sum(torch.tensor([1.0, float(world.rank)])).tolist() == [2.0, 1.0]
    assert world.told("word" if world.main else None) == "word"
    def fail():
        raise DataError("no such thing")
    try:
        world.first(fail)
    except DataError as error:
        sys.stdout.write(f"main: {error}\\n")
    except SystemExit as leaving:
        sys.stdout.write(f"other: {leaving.code}\\n")
"""


def test_processes_agree(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(done.stdout.splitlines()) == ["main: no such thing", "other: 2"]


def test_one_process_asks_nobody():
    world = World(0, 1, torch.device("cpu"), None)
    assert world.main
    assert world.first(lambda: 3) == 3
    assert world.each("a") == ["a"]
    assert world.largest(4) == 4
    assert world.told("b") == "b"
    with pytest.raises(UserError, match="sentence"):
        world.first(lambda: (_ for _ in ()).throw(UserError("sentence")))


def test_one_process_joins_no_group():
    with joined() as world:
        assert (world.rank, world.size, world.checkpoint_group) == (0, 1, None)
        assert not torch.distributed.is_initialized()

"""Runs that are killed: while a checkpoint is written, compiled on two threads, and one worker of several."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from puna.core.layout import DataDir, RunDir
from puna.core.metrics import read_metrics
from puna.core.schema.train_state import list_checkpoints

GROUP = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "2"]


def _same(a: RunDir, b: RunDir) -> bool:
    left, right = (load_file(run.model / "model.safetensors") for run in (a, b))
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def _losses(run: RunDir) -> list[tuple[int, float]]:
    return [(line["step"], line["loss"]) for line in read_metrics(run.metrics) if line["kind"] == "train"]


def _start(
    toml: Path, data: DataDir, run: RunDir, *arguments: str, launcher: list[str] | None = None, threads: int = 1
) -> subprocess.Popen[str]:
    run.root.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, *(launcher or []), "-m", "puna", "train", str(toml)]
    command += ["--data-dir", str(data.root), "--run-dir", str(run.root)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    with run.root.with_suffix(".log").open("a") as log:
        return subprocess.Popen([*command, *arguments], stdout=log, stderr=log, text=True, env=environment)


def _wait(process: subprocess.Popen[str], run: RunDir, seen: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and process.poll() is None:
        if seen():
            return
        time.sleep(0.002)
    raise AssertionError(run.root.with_suffix(".log").read_text()[-3000:])


def _finish(process: subprocess.Popen[str], run: RunDir) -> None:
    assert process.wait(timeout=240) == 0, run.root.with_suffix(".log").read_text()[-3000:]


def _reached(run: RunDir, step: int) -> bool:
    return run.metrics.exists() and any(line["step"] >= step for line in read_metrics(run.metrics))


def test_killed_while_a_checkpoint_is_being_written(
    tiny_toml: Path, tiny_data: DataDir, tiny_run: RunDir, tmp_path: Path
):
    """Three times, whenever a directory with a temporary name is there after some more steps; every step saves."""
    run = RunDir(tmp_path / "run")
    for step in (4, 9, 15):
        process = _start(tiny_toml, tiny_data, run, "--resume", "checkpoint.every_steps=1")
        _wait(process, run, lambda step=step: _reached(run, step) and any(run.checkpoints.glob(".tmp-*")))
        process.send_signal(signal.SIGKILL)
        assert process.wait(timeout=300) == -signal.SIGKILL
        assert list_checkpoints(run)
    _finish(_start(tiny_toml, tiny_data, run, "--resume", "checkpoint.every_steps=1"), run)
    assert not list(run.checkpoints.glob(".tmp-*"))
    assert _same(run, tiny_run)
    assert _losses(run) == _losses(tiny_run)


def test_compiled_on_two_threads_with_a_long_context(tiny_toml: Path, tiny_data: DataDir, tmp_path: Path):
    """The path of real runs: compiled blocks, our attention kernel, threads, recomputation, document masks."""
    changes = [
        "model.context=256", "train.batch_tokens=512", "train.micro_batch_tokens=256", "train.tokens=5120",
        "train.compile=true", "train.recompute=llama", "train.document_mask=true", "checkpoint.every_steps=3",
    ]  # fmt: skip
    whole, killed = RunDir(tmp_path / "whole"), RunDir(tmp_path / "killed")
    _finish(_start(tiny_toml, tiny_data, whole, *changes, threads=2), whole)
    process = _start(tiny_toml, tiny_data, killed, *changes, threads=2)
    _wait(process, killed, lambda: _reached(killed, 5))
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=300)
    _finish(_start(tiny_toml, tiny_data, killed, *changes, "--resume", threads=2), killed)
    assert _losses(whole) == _losses(killed)
    assert _same(whole, killed)


def _workers(launcher: int) -> list[int]:
    """The processes that torchrun has started."""
    text = Path(f"/proc/{launcher}/task/{launcher}/children").read_text()
    return [int(word) for word in text.split()]


def test_torchrun_restarts_a_killed_worker_and_the_run_ends_with_the_same_bits(
    tiny_toml: Path, tiny_data: DataDir, tmp_path: Path
):
    whole, killed = RunDir(tmp_path / "whole"), RunDir(tmp_path / "killed")
    process = _start(tiny_toml, tiny_data, killed, "--resume", launcher=GROUP)
    _wait(process, killed, lambda: _reached(killed, 12))
    workers = _workers(process.pid)
    assert len(workers) == 2
    os.kill(workers[1], signal.SIGKILL)
    _finish(process, killed)
    assert "resumed from" in killed.root.with_suffix(".log").read_text()
    _finish(_start(tiny_toml, tiny_data, whole, launcher=GROUP), whole)
    assert _losses(whole) == _losses(killed)
    assert _same(whole, killed)


@pytest.mark.parametrize("signalled", [[0, 1], [1]])
def test_signal_to_any_of_the_workers_saves_on_all_of_them(
    tiny_toml: Path, tiny_data: DataDir, tmp_path: Path, signalled: list[int]
):
    run = RunDir(tmp_path / "run")
    process = _start(tiny_toml, tiny_data, run, "checkpoint.every_steps=1000", launcher=[*GROUP[:-1], "0"])
    _wait(process, run, lambda: _reached(run, 3))
    workers = _workers(process.pid)
    for index in signalled:
        os.kill(workers[index], signal.SIGTERM)
    assert process.wait(timeout=120) != 0
    assert len(list_checkpoints(run)) == 1
    log = run.root.with_suffix(".log").read_text()
    assert "exitcode  : 143" in log
    assert "`--resume` goes on from here" in log

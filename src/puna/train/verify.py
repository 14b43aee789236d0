"""Proof that a run resumes exactly, on its own machine and data.

Two copies of the run are trained for the same steps, in processes of their own, from the newest checkpoint that leaves
room for them (or from the beginning): one straight through; the other is killed with SIGKILL after a checkpoint in the
middle, and resumed. Then every tensor of the training state and every logged loss must be the same.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors import safe_open

from puna.config.load import load_recipe, save_recipe
from puna.config.paths import beside, here
from puna.config.recipe import Recipe
from puna.core.console import say
from puna.core.errors import CheckpointError, TrainError
from puna.core.files import storage_errors, sweep
from puna.core.layout import RunDir
from puna.core.metrics import read_metrics
from puna.core.reference import whole_run
from puna.core.schema.train_state import list_checkpoints, read_header
from puna.ops.bits import same_bits
from puna.train.checkpoint import read_state
from puna.train.restate import restate

_LONGEST_WAIT_S = 3600.0
_LAST_WORDS = 800
"""How many of the last characters of a failed copy's output are shown."""


def verify(run_path: Path, data: str | None, steps: int, processes: int) -> None:
    """Compare `steps` steps of a run with and without a kill in the middle.

    Args:
        run_path: The run; it is only read.
        data: Where its data build lies; None for `data/` and the recipe's name. A run of tuning has its examples with
            it, and needs none.
        steps: How many steps.
        processes: How many processes train each copy.

    Raises:
        CheckpointError: A bit differs, or it is not a run.
        TrainError: A copy of the run could not be trained; its output is shown.
    """
    run = whole_run(run_path, "puna verify-resume {}")
    recipe = load_recipe(str(run.config)).recipe
    start, path = _starting_point(run, recipe, steps)
    middle, end = start + max(1, steps // 2), start + steps
    say(f"{run_path}: steps {start + 1} to {end}, straight through and killed after step {middle}")
    # Beside the run, on the disk that has room for checkpoints; the first checkpoint is linked and takes no room.
    with storage_errors(run_path), tempfile.TemporaryDirectory(prefix=".puna-verify-", dir=run_path.parent) as folder:
        whole, killed = RunDir(Path(folder) / "whole"), RunDir(Path(folder) / "killed")
        # Where no build is, the copies take the examples of the run, whatever lies in data/ by now.
        data = data or str(Path("data" if recipe.finetune is None else folder) / recipe.name)
        for copy in (whole, killed):
            _copy(run, copy, recipe, path, middle)
        _train(whole, data, end, processes)
        _kill_after(killed, data, middle, end, processes)
        _train(killed, data, end, processes)
        tensors, numbers, losses = _compare(whole, killed, end)
    say(f"{tensors} tensors of {numbers} numbers and {losses} losses are the same bits: resume is exact here")


def _starting_point(run: RunDir, recipe: Recipe, steps: int) -> tuple[int, Path | None]:
    """The newest checkpoint that leaves room for the steps."""
    if steps >= recipe.total_steps:
        raise TrainError(f"{run.root}: has {recipe.total_steps} steps in all, too few to compare {steps}")
    for step, path in reversed(list_checkpoints(run)):
        if step + steps < recipe.total_steps:
            return step, path
    return 0, None


def _copy(run: RunDir, copy: RunDir, recipe: Recipe, checkpoint: Path | None, middle: int) -> None:
    """A run directory that goes on from the checkpoint and saves after the middle step."""
    copy.root.mkdir()
    update = {
        "checkpoint": recipe.checkpoint.model_copy(update={"every_steps": middle, "keep": 9}),
        "samples": recipe.samples.model_copy(update={"prompts": []}),
        "train": recipe.train.model_copy(update={"log_every": 1}),
    }
    save_recipe(recipe.model_copy(update=update), copy.config)
    if run.examples.is_dir():  # of instruction tuning: what it begins with, which is only read
        for place, own in ((run.examples, copy.examples), (run.tokenizer, copy.tokenizer)):
            shutil.copytree(place, own)
    if checkpoint is not None:
        read_state(checkpoint)
        state, hashes = read_header(checkpoint)
        # Its paths are from the run's directory, and the copy lies deeper.
        state.recipe = beside(here(state.recipe, run.root), copy.root)
        restate(checkpoint, copy.checkpoints / checkpoint.name, state, hashes)


def _command(run: RunDir, data: str, end: int, processes: int) -> list[str]:
    kind = "train" if load_recipe(str(run.config)).recipe.finetune is None else "finetune"
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    alone = [sys.executable, *(launcher if processes > 1 else [])]
    arguments = [kind, str(run.config), "--data-dir", data, "--run-dir", str(run.root)]
    return [*alone, "-m", "puna", *arguments, "--resume", "--stop-at", str(end)]


def _train(run: RunDir, data: str, end: int, processes: int) -> None:
    done = subprocess.run(_command(run, data, end, processes), capture_output=True, text=True, check=False)
    if done.returncode:
        words = done.stderr.strip()[-_LAST_WORDS:]
        raise TrainError(f"a copy of the run ended with exit code {done.returncode}: {words}")


def _kill_after(run: RunDir, data: str, middle: int, end: int, processes: int) -> None:
    """Train until the checkpoint of the middle step is there, then kill; the steps after it are lost."""
    with tempfile.TemporaryFile("w+") as log:
        command = _command(run, data, end, processes)
        process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + _LONGEST_WAIT_S
        while process.poll() is None and time.monotonic() < deadline:
            if any(step == middle for step, _ in list_checkpoints(run)):
                break
            time.sleep(0.01)
        else:
            log.seek(0)
            raise TrainError(f"no checkpoint of step {middle} came: {log.read().strip()[-_LAST_WORDS:]}")
        # torchrun's workers have sessions of their own, and would go on without it.
        for number in [*_descendants(process.pid), process.pid]:
            os.kill(number, signal.SIGKILL)
        process.wait()
    sweep(run.checkpoints)
    for step, path in list_checkpoints(run):
        if step > middle:
            shutil.rmtree(path)


def _descendants(process: int) -> list[int]:
    """The child processes of a process, and their children."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
    found, added = set(), {process}
    while added:
        added = {child for child, parent in parents.items() if parent in added}
        found |= added
    return sorted(found)


def _compare(whole: RunDir, killed: RunDir, end: int) -> tuple[int, int, int]:
    """How many tensors, numbers and losses were compared.

    Raises:
        CheckpointError: Naming the first tensor or step that differs.
    """
    left, right = (_tensors(dict(list_checkpoints(run))[end]) for run in (whole, killed))
    if left.keys() != right.keys():
        raise CheckpointError("the two states have different tensors")
    for name in left:
        if not same_bits(left[name], right[name]):
            difference = (left[name].double() - right[name].double()).abs().max().item()
            raise CheckpointError(f"resume is not exact here: {name} differs by {difference:.3g}")
    losses = [_losses(run) for run in (whole, killed)]
    shared = losses[0].keys() & losses[1].keys()
    for step in sorted(shared):
        if losses[0][step] != losses[1][step]:
            raise CheckpointError(f"resume is not exact here: the loss of step {step} differs")
    return len(left), sum(tensor.numel() for tensor in left.values()), len(shared)


def _losses(run: RunDir) -> dict[int, float]:
    return {line["step"]: line["loss"] for line in read_metrics(run.metrics) if line["kind"] == "train"}


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors in a checkpoint's shards; a tensor that several processes share comes shard by shard."""
    found = {}
    files = sorted(path.glob("*.safetensors"))
    for file in files:
        with safe_open(file, framework="pt") as shard:
            for name in shard.keys():  # noqa: SIM118 (not a dictionary)
                found[name if len(files) == 1 else f"{file.name}:{name}"] = shard.get_tensor(name)
    return found

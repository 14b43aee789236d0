"""Checkpoints: the whole training state, written by torch.distributed.checkpoint as safetensors, with hashes.

```
checkpoints/step-00000200/
  shard-*.safetensors    model.<parameter> and optim.<parameter>.<key>; each process writes the shards that it holds
  state.json             step, clocks, data fingerprint, recipe, where it was made, SHA-256 of every shard and of itself
```

The directory appears only when it is complete: the processes write into a temporary one, and the main process renames
it after it has the hash of every file. It is read by any number of processes in any layout. There is no pickle in it.
The position in the data is a function of the step, and nothing in training draws from a global random generator, so
this is all that an exact resume needs.
"""

import json
import logging
import re
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from pydantic import TypeAdapter
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

from puna.core.errors import EXIT_CODE, CheckpointError
from puna.core.files import sha256_file, sha256_json, write_json
from puna.core.layout import RunDir
from puna.parallel.world import World
from puna.train.optimizer import ensure_state, named_state
from puna.train.shard_plan import OwnFiles, OwnPlan

FORMAT, VERSION = "puna-checkpoint", 2
_FILE_BYTES = 1 << 30
"""After which a process begins its next file."""
_NAME = re.compile(r"step-(\d{8})")


@dataclass
class TrainState:
    """What a run knows besides its tensors."""

    step: int = 0
    """Optimizer steps done, those that were left out included."""
    train_seconds: float = 0.0
    """Time in optimizer steps, over all sessions."""
    wall_seconds: float = 0.0
    """Time since the start of each session, over all sessions."""
    sessions: int = 0
    """How often the run was started or resumed."""
    peak_memory_bytes: int = 0
    """The most memory that a process has held, over all sessions."""
    data_fingerprint: str = ""
    """The loader's: shards, shares, stages, context and seed."""
    shifts: list[tuple[int, int]] = field(default_factory=list)
    """Rollbacks: from a step on, so many more batches of the data's order are passed over."""
    skipped: int = 0
    """Steps whose batch was left out."""
    history: list[list[float]] = field(default_factory=list)
    """The window of `puna.train.stability`."""
    consecutive: int = 0
    """Batches left out one after another."""
    made_by: dict[str, str] = field(default_factory=dict)
    """What decides the last bits of a step: layout, version of torch, threads, kind of device."""
    recipe: dict[str, Any] = field(default_factory=dict)
    """The resolved recipe."""

    def batch_number(self, step: int) -> int:
        """Which batch of the data's order the step after `step` steps learns from."""
        return step + sum(batches for since, batches in self.shifts if since <= step)


def directory_of(run: RunDir, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return run.checkpoints / f"step-{step:08d}"


def list_checkpoints(run: RunDir) -> list[tuple[int, Path]]:
    """Steps and directories of the run's complete checkpoints, oldest first."""
    found = [(int(match[1]), path) for path in run.checkpoints.glob("step-*") if (match := _NAME.fullmatch(path.name))]
    return sorted(found)


def write_shards(directory: Path, state: dict[str, Tensor], world: World) -> dict[str, str]:
    """Write this process's part of every tensor; all processes call it with the same names, and none waits for others.

    Returns:
        SHA-256 of the files that this process wrote, by name.
    """
    writer = OwnFiles(str(directory), _files(state, world.size), world.rank)
    _dcp(dcp.save, state, storage_writer=writer, planner=OwnPlan(world.rank, world.size))
    mine = sorted(directory.glob(f"shard-{world.rank + 1:05d}-*"))
    return {path.name: sha256_file(path) for path in mine}


def write_state(directory: Path, state: TrainState, hashes: dict[str, str]) -> None:
    """Write what makes the shards a checkpoint."""
    content = {"format": FORMAT, "version": VERSION, "sha256": hashes, "state": asdict(state)}
    write_json(directory / "state.json", content | {"state_sha256": sha256_json(content["state"])})


def read_state(path: Path, world: World | None = None) -> TrainState:
    """The state of a checkpoint after every shard of it has been checked against its hash.

    Args:
        path: The checkpoint.
        world: Processes that share the checking; None where this one does it all.

    Raises:
        CheckpointError: A file is missing, damaged or too many, or the format is another; names the older checkpoint.
    """
    state, hashes = _read_header(path)
    rank, size = (world.rank, world.size) if world else (0, 1)
    problem = ""
    for name, expected in sorted(hashes.items())[rank::size]:
        file = path / name
        if not file.is_file():
            problem = f"{file}: is missing"
        elif sha256_file(file) != expected:
            problem = f"{file}: is damaged, its SHA-256 is not the one written with it"
        if problem:
            break
    if extra := {file.name for file in path.iterdir()} - hashes.keys() - {"state.json"}:
        problem = f"{path / min(extra)}: does not belong to this checkpoint"
    _agree(problem, world, _older(path))
    return state


def load_tensors(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, world: World) -> None:
    """Read a checked checkpoint's tensors into the model and the optimizer, in place, in whatever layout they are.

    Raises:
        CheckpointError: They are not this model's.
    """
    ensure_state(model, optimizer)
    problem = ""
    try:
        _dcp(dcp.load, tensors(model, optimizer), storage_reader=HuggingFaceStorageReader(str(path)))
    except (KeyError, RuntimeError, ValueError) as error:
        problem = f"{path}: does not hold this model's state: {str(error).splitlines()[0]}"
    _agree(problem, world)


def tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Every tensor of the training state by name; they share memory with the model and the optimizer."""
    weights = {f"model.{name}": parameter.detach() for name, parameter in model.named_parameters()}
    return weights | named_state(model, optimizer)


def _agree(problem: str, world: World | None, hint: str = "") -> None:
    """Go on where no process has a problem.

    Raises:
        CheckpointError: The first one's sentence, on the main process; the others leave with the same exit code.
    """
    problems = [sentence for sentence in (world.each(problem) if world else [problem]) if sentence]
    if problems:
        if world and not world.main:
            raise SystemExit(EXIT_CODE)
        raise CheckpointError(problems[0], hint=hint)


def _files(state: dict[str, Tensor], processes: int) -> dict[str, int]:
    """Which of a process's files each tensor goes into, from 1; the library holds two copies of a file in memory."""
    found, filled = {}, 0
    for name, tensor in state.items():
        found[name] = 1 + filled // (_FILE_BYTES * processes)
        filled += tensor.numel() * tensor.element_size()
    return found


def _read_header(path: Path) -> tuple[TrainState, dict[str, str]]:
    """What state.json says: the state, and the hash of every shard."""
    try:
        header = json.loads((path / "state.json").read_text(encoding="utf-8"))
        form, version = header["format"], header["version"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise CheckpointError(f"{path}: state.json is missing or damaged", hint=_older(path)) from None
    if (form, version) != (FORMAT, VERSION):
        raise CheckpointError(
            f"{path}: is {form!r} version {version!r}, this version of Puna reads {FORMAT!r} {VERSION}"
        )
    try:
        hashes = TypeAdapter(dict[str, str]).validate_python(header["sha256"])
        state = TypeAdapter(TrainState).validate_python(header["state"])
        if hashes and sha256_json(header["state"]) == header["state_sha256"]:
            return state, hashes
    except (ValueError, KeyError, TypeError):
        pass
    raise CheckpointError(f"{path}: state.json is missing or damaged", hint=_older(path))


def _older(path: Path) -> str:
    older = [step for step, _ in list_checkpoints(RunDir(path.parent.parent)) if f"step-{step:08d}" < path.name]
    if not older:
        return "there is no older checkpoint; start again with --force"
    return f"delete {path} to resume from the older checkpoint of step {older[-1]}"


def _dcp(action: Any, state: dict[str, Tensor], **options: Any) -> None:
    """Run a save or a load of this process alone, without the library's remarks."""
    logging.getLogger("torch.distributed.checkpoint").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        try:
            action(state, no_dist=True, **options)
        except CheckpointException as error:
            # The library wraps what went wrong in each process; the first of these is the cause.
            raise next(cause for cause, _ in error.failures.values()) from error

"""Checkpoints: the whole training state, written by torch.distributed.checkpoint as safetensors, with hashes.

```
checkpoints/step-00000200/
  shard-*.safetensors    model.<parameter> and optim.<parameter>.<key> of what learns; each process writes the shards
                         that it holds
  state.json             step, clocks, data fingerprint, recipe, where it was made, SHA-256 of every shard and of itself
```

The directory appears only when it is complete: the processes write into a temporary one, and the main process renames
it after it has the hash of every file. It is read by any number of processes in any layout. There is no pickle in it.
The position in the data is a function of the step, and nothing in training draws from a global random generator, so
this is all that an exact resume needs.
"""

import logging
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

from puna.core.errors import CheckpointError, OtherProcessError
from puna.core.files import sha256_file
from puna.core.schema.train_state import TrainState, older_checkpoint, read_header
from puna.model.safetensors import sort_metadata
from puna.parallel.world import World
from puna.train.optimizer import ensure_state, named_state
from puna.train.shard_plan import OwnFiles, OwnPlan

_FILE_BYTES = 1 << 30
"""Bytes of a file after which a process begins the next one."""


def write_shards(directory: Path, state: dict[str, Tensor], world: World) -> dict[str, str]:
    """Write this process's part of every tensor; all processes call it with the same names, and none waits for others.

    Returns:
        SHA-256 of the files that this process wrote, by name.
    """
    writer = OwnFiles(str(directory), _files(state, world.size), world.rank)
    _dcp(dcp.save, state, storage_writer=writer, planner=OwnPlan(world.rank, world.size))
    mine = sorted(directory.glob(f"shard-{world.rank + 1:05d}-*"))
    for path in mine:
        sort_metadata(path)
    return {path.name: sha256_file(path) for path in mine}


def read_state(path: Path, world: World | None = None) -> TrainState:
    """The state of a checkpoint after every shard of it has been checked against its hash.

    Args:
        path: The checkpoint.
        world: Processes that share the checking; None where this one does it all.

    Raises:
        CheckpointError: A file is missing, damaged or does not belong there, or the format is another; names the older
            checkpoint.
    """
    state, hashes = read_header(path)
    check_shards(path, hashes, world)
    return state


def check_shards(path: Path, hashes: dict[str, str], world: World | None = None) -> None:
    """Check every shard of a checkpoint against its hash in the header.

    Args:
        path: The checkpoint.
        hashes: SHA-256 by the shard's name.
        world: Processes that share the checking; None where this one does it all.

    Raises:
        CheckpointError: A file is missing, damaged or does not belong there; names the older checkpoint.
    """
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
    _agree(problem, world, older_checkpoint(path))


def load_tensors(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, world: World) -> None:
    """Read a checked checkpoint's tensors into the model and the optimizer, in place, in whatever layout they are.

    Raises:
        CheckpointError: The tensors are not those of this model.
    """
    ensure_state(model, optimizer)
    problem = ""
    try:
        _dcp(dcp.load, tensors(model, optimizer), storage_reader=HuggingFaceStorageReader(str(path)))
    except (KeyError, RuntimeError, ValueError) as error:
        problem = f"{path}: does not hold this model's state: {str(error).splitlines()[0]}"
    _agree(problem, world)


def tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Every tensor of the training state by name; they share memory with the model and the optimizer.

    Frozen weights are not among them: they are those that the run began with.
    """
    learning = ((name, weight) for name, weight in model.named_parameters() if weight.requires_grad)
    weights = {f"model.{name}": weight.detach() for name, weight in learning}
    return weights | named_state(model, optimizer)


def _agree(problem: str, world: World | None, hint: str = "") -> None:
    """Return if no process has a problem.

    Raises:
        CheckpointError: The first one's sentence, on the main process; the others leave with the same exit code.
    """
    problems = [sentence for sentence in (world.each(problem) if world else [problem]) if sentence]
    if problems:
        if world and not world.main:
            raise OtherProcessError
        raise CheckpointError(problems[0], hint=hint)


def _files(state: dict[str, Tensor], processes: int) -> dict[str, int]:
    """The number, from 1, of the file for each tensor; files are small because the library holds each one twice."""
    found, filled = {}, 0
    for name, tensor in state.items():
        found[name] = 1 + filled // (_FILE_BYTES * processes)
        filled += tensor.numel() * tensor.element_size()
    return found


def _dcp(action: Any, state: dict[str, Tensor], **options: Any) -> None:
    """Run a save or a load of this process alone, without the library's remarks."""
    logging.getLogger("torch.distributed.checkpoint").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        try:
            action(state, no_dist=True, **options)
        except CheckpointException as error:
            # The library wraps the error of each process; the first one is the cause.
            raise next(cause for cause, _ in error.failures.values()) from error

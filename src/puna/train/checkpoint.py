"""Checkpoints: the whole training state, written by torch.distributed.checkpoint as safetensors, with hashes.

```
checkpoints/step-00000200/
  shard-*.safetensors    model.<parameter> and optim.<parameter>.{step,exp_avg,exp_avg_sq}
  state.json             step, clocks, data fingerprint, recipe, SHA-256 of every shard
```

The directory appears only when it is complete. There is no pickle in it. The position in the data is a function of
the step, and nothing in training draws from a global random generator, so this is all that an exact resume needs.
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
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter

from puna.core.errors import CheckpointError
from puna.core.files import atomic_directory, remove, sha256_file, write_json
from puna.core.layout import RunDir
from puna.train.optimizer import ensure_state

FORMAT, VERSION = "puna-checkpoint", 1
_NAME = re.compile(r"step-(\d{8})")


@dataclass
class TrainState:
    """What a run knows besides its tensors."""

    step: int = 0
    """Optimizer steps done."""
    train_seconds: float = 0.0
    """Time in optimizer steps, over all sessions."""
    wall_seconds: float = 0.0
    """Time since the start of each session, over all sessions."""
    sessions: int = 0
    """How often the run was started or resumed."""
    data_fingerprint: str = ""
    """The loader's: shards, shares, context and seed."""
    recipe: dict[str, Any] = field(default_factory=dict)
    """The resolved recipe."""


def save_checkpoint(run: RunDir, state: TrainState, model: nn.Module, optimizer: torch.optim.AdamW, keep: int) -> Path:
    """Write the state of `state.step` and delete all but the newest `keep` checkpoints.

    Raises:
        StorageError: The disk is full; the older checkpoints are untouched.
    """
    final = run.checkpoints / f"step-{state.step:08d}"
    with atomic_directory(final, replace=True) as directory:
        _dcp(dcp.save, tensors(model, optimizer), storage_writer=_writer(directory))
        hashes = {path.name: sha256_file(path) for path in sorted(directory.iterdir())}
        write_json(
            directory / "state.json", {"format": FORMAT, "version": VERSION, "sha256": hashes, "state": asdict(state)}
        )
    for _, old in list_checkpoints(run)[:-keep]:
        remove(old)
    return final


def list_checkpoints(run: RunDir) -> list[tuple[int, Path]]:
    """Steps and directories of the run's complete checkpoints, oldest first."""
    found = [(int(match[1]), path) for path in run.checkpoints.glob("step-*") if (match := _NAME.fullmatch(path.name))]
    return sorted(found)


def read_state(path: Path) -> TrainState:
    """The state of a checkpoint after every shard of it has been checked against its hash.

    Raises:
        CheckpointError: A file is missing or damaged, or the format is another; names the older checkpoint.
    """
    try:
        header = json.loads((path / "state.json").read_text(encoding="utf-8"))
        form, version, hashes = header["format"], header["version"], header["sha256"]
        state = TypeAdapter(TrainState).validate_python(header["state"])
    except (OSError, ValueError, KeyError, TypeError):
        raise CheckpointError(f"{path}: state.json is missing or damaged", hint=_older(path)) from None
    if (form, version) != (FORMAT, VERSION):
        raise CheckpointError(
            f"{path}: is {form!r} version {version!r}, this version of Puna reads {FORMAT!r} {VERSION}"
        )
    for name, expected in hashes.items():
        file = path / name
        if not file.is_file():
            raise CheckpointError(f"{file}: is missing", hint=_older(path))
        if sha256_file(file) != expected:
            raise CheckpointError(f"{file}: is damaged, its SHA-256 is not the one written with it", hint=_older(path))
    return state


def load_tensors(path: Path, model: nn.Module, optimizer: torch.optim.AdamW) -> None:
    """Read a checked checkpoint's tensors into the model and the optimizer, in place."""
    ensure_state(model, optimizer)
    _dcp(dcp.load, tensors(model, optimizer), storage_reader=HuggingFaceStorageReader(str(path)))


def tensors(model: nn.Module, optimizer: torch.optim.AdamW) -> dict[str, Tensor]:
    """Every tensor of the training state by name; they share memory with the model and the optimizer."""
    state: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        state[f"model.{name}"] = parameter.detach()
        for key, moment in optimizer.state[parameter].items():
            state[f"optim.{name}.{key}"] = moment
    return state


def _older(path: Path) -> str:
    older = [step for step, _ in list_checkpoints(RunDir(path.parent.parent)) if f"step-{step:08d}" < path.name]
    if not older:
        return "there is no older checkpoint; start again with --force"
    return f"delete {path} to resume from the older checkpoint of step {older[-1]}"


def _writer(directory: Path) -> HuggingFaceStorageWriter:
    return HuggingFaceStorageWriter(str(directory), save_distributed=True)


def _dcp(action: Any, state: dict[str, Tensor], **storage: Any) -> None:
    """Run a save or a load in this one process, without the library's remark that it is alone."""
    logging.getLogger("torch.distributed.checkpoint").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        try:
            action(state, no_dist=True, **storage)
        except CheckpointException as error:
            # The library wraps what went wrong in each process; the first of these is the cause.
            raise next(cause for cause, _ in error.failures.values()) from error

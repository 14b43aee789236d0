"""`state.json` of a checkpoint: what a training run knows besides its tensors, and the hash of every shard.

It is read without torch too: the data that a run has learned from is a function of its steps and of this.
"""

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from puna.core.errors import CheckpointError
from puna.core.files import sha256_json, write_json
from puna.core.layout import RunDir
from puna.core.schema.lineage import Parent

FORMAT, VERSION = "puna-checkpoint", 2
_NAME = re.compile(r"step-(\d{8})")
_BEGINNING = 200
"""Bytes of state.json in which its format stands, which is written first."""


@dataclass
class TrainState:
    """The state of a run besides its tensors."""

    step: int = 0
    """Optimizer steps done, including those whose batch was left out."""
    train_seconds: float = 0.0
    """Time in optimizer steps, over all sessions."""
    wall_seconds: float = 0.0
    """Time since the start of each session, over all sessions."""
    sessions: int = 0
    """How often the run was started or resumed."""
    peak_memory_bytes: int = 0
    """The most memory that a process has held, over all sessions."""
    data_fingerprint: str = ""
    """Fingerprint of the data, made by the loader: shards, shares, stages, context and seed."""
    shifts: list[tuple[int, int]] = field(default_factory=list)
    """Rollbacks, as pairs: a step, and how many more batches of the data's order are passed over from there on."""
    initial_weights: str = ""
    """SHA-256 of the weights that it began with, if they were not drawn from the seed."""
    tokenizer: str = ""
    """SHA-256 of the tokenizer, whose file lies in the run's directory; empty in states of older versions."""
    lineage: list[Parent] = field(default_factory=list)
    """What it was extended, branched or continued from, oldest first."""
    skipped: int = 0
    """Steps whose batch was left out."""
    history: list[list[float]] = field(default_factory=list)
    """The window of `puna.train.stability`."""
    recent: list[bool] = field(default_factory=list)
    """Whether each of the last batches was learned from."""
    peak_flops: dict[str, float] = field(default_factory=dict)
    """The largest rate of arithmetic measured on a device, in FLOP/s, by the device's name."""
    made_by: dict[str, str] = field(default_factory=dict)
    """What decides the last bits of a step: layout, version of torch, threads, kind of device."""
    recipe: dict[str, Any] = field(default_factory=dict)
    """The resolved recipe."""

    def batch_number(self, step: int) -> int:
        """Which batch of the data's order the step after `step` steps learns from."""
        return step + sum(batches for since, batches in self.shifts if since <= step)


def directory_of(run: RunDir, step: int) -> Path:
    """The directory of the checkpoint of a step."""
    return run.checkpoints / f"step-{step:08d}"


def list_checkpoints(run: RunDir) -> list[tuple[int, Path]]:
    """Steps and directories of the run's complete checkpoints, oldest first."""
    found = [(int(match[1]), path) for path in run.checkpoints.glob("step-*") if (match := _NAME.fullmatch(path.name))]
    return sorted(found)


def names_checkpoint(path: Path) -> bool:
    """Whether a path is that of a checkpoint in its run, there or not."""
    return _NAME.fullmatch(path.name) is not None and path.parent.name == "checkpoints"


def is_checkpoint(directory: Path) -> bool:
    """Whether a directory is that of a checkpoint, complete or damaged; a copy may have any name."""
    if _NAME.fullmatch(directory.name):
        return directory.is_dir()
    try:
        with (directory / "state.json").open("rb") as file:
            return f'"{FORMAT}"'.encode() in file.read(_BEGINNING)
    except OSError:
        return False


def write_state(directory: Path, state: TrainState, hashes: dict[str, str]) -> None:
    """Write state.json, which makes the shards a checkpoint.

    Args:
        directory: The directory of the checkpoint.
        state: The state of the run.
        hashes: SHA-256 of every shard, by name.
    """
    fields = asdict(state) | {"lineage": [parent.model_dump() for parent in state.lineage]}
    content = {"format": FORMAT, "version": VERSION, "sha256": hashes, "state": fields}
    write_json(directory / "state.json", content | {"state_sha256": sha256_json(content["state"])})


def read_header(directory: Path) -> tuple[TrainState, dict[str, str]]:
    """Read state.json: the state, and the SHA-256 of every shard by name; the shards are not read.

    Raises:
        CheckpointError: It is missing, damaged or of another version; names the older checkpoint.
    """
    file = directory / "state.json"
    try:
        header = json.loads(file.read_text(encoding="utf-8"))
        form, version = header["format"], header["version"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        if not directory.exists():
            raise removed(directory) from None
        raise CheckpointError(f"{file}: is missing or damaged", hint=older_checkpoint(directory)) from None
    if (form, version) != (FORMAT, VERSION):
        raise CheckpointError(
            f"{directory}: is {form!r} version {version!r}, this version of Puna reads {FORMAT!r} {VERSION}"
        )
    try:
        hashes = TypeAdapter(dict[str, str]).validate_python(header["sha256"])
        state = TypeAdapter(TrainState).validate_python(header["state"])
        if not hashes or sha256_json(header["state"]) != header["state_sha256"]:
            raise ValueError("state.json is not what was written")
    except (ValueError, KeyError, TypeError):
        raise CheckpointError(f"{file}: is missing or damaged", hint=older_checkpoint(directory)) from None
    if (match := _NAME.fullmatch(directory.name)) and int(match[1]) != state.step:
        raise CheckpointError(
            f"{directory}: holds the checkpoint of step {state.step}, so it was renamed or copied",
            hint=f"rename it to {directory_of(RunDir(directory.parent.parent), state.step).name}, or delete it",
        )
    return state, hashes


def removed(directory: Path) -> CheckpointError:
    """The error about a checkpoint that was there a moment ago: training goes on, and keeps the newest ones only."""
    return CheckpointError(
        f"{directory}: was removed meanwhile, by a run that goes on and keeps its newest checkpoints only",
        hint="name another one, such as RUN@last; checkpoint.keep and checkpoint.keep_every say how many are kept",
    )


def older_checkpoint(directory: Path) -> str:
    """The hint of an error about a checkpoint: the older checkpoint to use instead."""
    run = RunDir(directory.parent.parent)
    older = [step for step, path in list_checkpoints(run) if path.name < directory.name]
    if not older:
        return "there is no older checkpoint; start again with --force"
    return f"delete {directory} to go on from the older checkpoint of step {older[-1]}"

"""The weights' files of a run's checkpoint: which they are, and that each is the one that was written.

Nothing here imports torch, so that hashes can be computed while it is being imported.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from puna.config.recipe import ModelConfig
from puna.core.errors import CheckpointError
from puna.core.schema.train_state import TrainState, older_checkpoint, read_header, removed
from puna.model.directory import check_hashes

PREFIX = "model."
"""What the names of weights begin with in a checkpoint; the optimizer's tensors have another beginning."""
_SHARDING = "DCP_SHARDING_INFO"
"""The key of a file's own texts under which torch.distributed.checkpoint writes where its tensors lie in the whole."""


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """A rectangle of a weight, which one file holds."""

    file: Path
    offset: tuple[int, ...]
    """Where in the whole weight it begins, along each axis."""
    shape: tuple[int, ...]
    dtype: str
    """As safetensors has it: F32, BF16."""


def check_weights(directory: Path) -> None:
    """Check every file that holds weights against its hash; files of the optimizer alone are not read.

    Raises:
        CheckpointError: One is missing or is not the one that was written, or the checkpoint was removed meanwhile.
    """
    _, hashes = read_header(directory)
    try:
        files = sorted({chunk.file for chunks in read_chunks(directory, hashes).values() for chunk in chunks})
        check_hashes({file: hashes[file.name] for file in files}, hint=older_checkpoint(directory))
    except (CheckpointError, OSError):
        raise_if_removed(directory)
        raise


def read_chunks(directory: Path, hashes: dict[str, str]) -> dict[str, list[Chunk]]:
    """The rectangles of every weight, by its name in the model, from the headers of the checkpoint's files.

    Args:
        directory: The checkpoint.
        hashes: Its files, as state.json lists them.

    Raises:
        CheckpointError: A file is missing, or is not one that a run has written.
    """
    found: dict[str, list[Chunk]] = {}
    for name in sorted(hashes):
        file = directory / name
        if Path(name).name != name or not file.is_file():
            raise CheckpointError(f"{file}: is missing", hint=older_checkpoint(directory))
        try:
            with safe_open(file, framework="numpy") as opened:
                places = json.loads((opened.metadata() or {})[_SHARDING])
                for key in opened.keys():  # noqa: SIM118 - it is not a dict
                    if key.startswith(PREFIX):
                        part = opened.get_slice(key)
                        chunk = _chunk(file, part, places[key]["saved_offsets"])
                        found.setdefault(key.removeprefix(PREFIX), []).append(chunk)
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"{file}: is not a readable file of a checkpoint: {error!s:.200}", hint=older_checkpoint(directory)
            ) from None
    return found


def _chunk(file: Path, part: Any, offset: Any) -> Chunk:
    shape = part.get_shape()
    if len(offset) != len(shape) or not all(type(start) is int and start >= 0 for start in offset):
        raise ValueError(f"a tensor of shape {shape} has its place at {offset!r:.80}")
    return Chunk(file=file, offset=tuple(offset), shape=tuple(shape), dtype=part.get_dtype())


def decoder_of(directory: Path, state: TrainState) -> ModelConfig:
    """The decoder of a checkpoint, from the recipe in its state.

    Raises:
        CheckpointError: The recipe has none that this version of Puna knows.
    """
    try:
        return ModelConfig.model_validate(state.recipe["model"])
    except KeyError:
        raise CheckpointError(f"{directory / 'state.json'}: its recipe has no [model]") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(["model", *map(str, first["loc"])])
        raise CheckpointError(f"{directory / 'state.json'}: {where}: {first['msg']}") from None


def raise_if_removed(directory: Path) -> None:
    """Say that a checkpoint is gone, where it is: a run that goes on removes its older ones.

    Raises:
        CheckpointError: It is.
    """
    if not directory.is_dir():
        raise removed(directory) from None

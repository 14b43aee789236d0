"""A checkpoint under another state: the same tensors, for a run that was extended or branched."""

import os
import shutil
from pathlib import Path

from puna.core.files import atomic_directory
from puna.core.schema.train_state import TrainState, write_state


def restate(source: Path, target: Path, state: TrainState, hashes: dict[str, str]) -> None:
    """Make `target` the checkpoint of `state` with the tensors of `source`, which it may replace; all or nothing.

    The shards are linked, not copied, where both are on one disk: nothing ever writes into a shard.

    Args:
        source: A checkpoint.
        target: The directory of the other one.
        state: Its state.
        hashes: SHA-256 of every shard, by name.

    Raises:
        StorageError: The disk is full or not writable.
    """
    with atomic_directory(target, replace=True) as directory:
        for name in hashes:
            try:
                os.link(source / name, directory / name)
            except OSError:  # another disk, or a file system without links
                shutil.copyfile(source / name, directory / name)
        write_state(directory, state, hashes)

"""When and how checkpoints are written, while training goes on and all or nothing, and which of them stay.

A save copies the tensors into the host's memory and lets training go on; a thread then writes, flushes and hashes them.
When every process has done so, the main process renames the directory. The next save waits for the last one.

From a GPU the copies are under way while training goes on: page-locked memory, made once, takes them on a stream of
their own, and only the next optimizer step waits for them, on the device.
"""

import threading
import time
from copy import deepcopy
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

from puna.config.recipe import CheckpointConfig
from puna.core.errors import StorageError
from puna.core.files import atomic_directory, discard, storage_errors
from puna.core.layout import RunDir
from puna.core.schema.train_state import TrainState, directory_of, list_checkpoints, write_state
from puna.parallel.world import World
from puna.train.checkpoint import tensors, write_shards
from puna.train.staging import Staging


class Saver:
    """Writes a run's checkpoints; leave the context to wait for the last one.

    Args:
        run: Where to.
        config: The recipe's section.
        world: The processes; all of them call everything here, in the same order.
    """

    def __init__(self, run: RunDir, config: CheckpointConfig, world: World) -> None:
        self.run = run
        self._config, self._world = config, world
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._staging = Staging(world.device)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.wait()
        elif self._thread is not None and not isinstance(error, KeyboardInterrupt):
            self._thread.join()

    def save(self, state: TrainState, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> float:
        """Save the state of `state.step`; returns the seconds that training stood still for it.

        Raises:
            StorageError: This save, or the one before it, found the disk full; older checkpoints are untouched.
        """
        started = time.perf_counter()
        self.wait()
        named = tensors(model, optimizer)
        if self._config.asynchronous:
            copies = self._staging.copied(named)
            self._thread = threading.Thread(target=self._guarded, args=(deepcopy(state), copies), daemon=True)
            self._thread.start()
        else:
            self._write(state, named)
        return time.perf_counter() - started

    def wait(self) -> None:
        """Return when the last checkpoint is complete.

        Raises:
            StorageError: It could not be written.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def before_update(self) -> None:
        """Make the device finish the copies before its next work; this process does not wait."""
        self._staging.before_update()

    @property
    def failed(self) -> bool:
        """Whether the last save has failed; `wait` raises its error."""
        return self._error is not None

    def _guarded(self, state: TrainState, named: dict[str, Tensor]) -> None:
        try:
            if self._world.device.type == "cuda":
                torch.cuda.set_device(self._world.device)  # a thread begins on the first one
            self._staging.wait()
            self._write(state, named)
        except BaseException as error:
            self._error = error

    def _write(self, state: TrainState, named: dict[str, Tensor]) -> None:
        final = directory_of(self.run, state.step)
        if not self._world.main:
            directory = self._world.told(None)
            if directory:
                self._write_part(Path(directory), named)
            # No process leaves before the directory has its name: launchers stop all when one has ended.
            if not directory or not self._world.told(None):
                raise StorageError(f"{final}: cannot be written by the main process")
            return
        told = False
        try:
            with atomic_directory(final, replace=True) as directory:
                told = bool(self._world.told(str(directory)))
                hashes = self._write_part(directory, named)
                told = False
                write_state(directory, state, hashes)
        except StorageError:
            if not told:
                self._world.told("")
            raise
        self._world.told(str(final))
        self._prune()

    def _write_part(self, directory: Path, named: dict[str, Tensor]) -> dict[str, str]:
        """Write this process's shards; returns the hashes of all shards on the main process."""
        hashes: dict[str, str] = {}
        problem: BaseException | None = None
        try:
            with storage_errors(directory):
                hashes = write_shards(directory, named, self._world)
        except (OSError, StorageError, RuntimeError) as error:
            problem = error
        parts = self._world.each((hashes, str(problem or "")), self._world.checkpoint_group)
        if problem is not None:
            raise problem
        for _, sentence in parts:
            if sentence:
                raise StorageError(f"another process could not write its part: {sentence}")
        return {name: digest for part, _ in parts for name, digest in part.items()}

    def _prune(self) -> None:
        """Delete all checkpoints except the newest `keep` and those at multiples of `keep_every`."""
        every = self._config.keep_every
        for step, path in list_checkpoints(self.run)[: -self._config.keep]:
            if not every or step % every:
                discard(path)

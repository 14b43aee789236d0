"""The processes of a run: which one this is, and how they exchange data.

A run is started alone, by `torchrun` or by Slurm through `torchrun`; what differs is the environment that torchrun sets
(RANK, WORLD_SIZE, LOCAL_RANK). Rank 0 is the main process: it alone writes shared files and prints messages.

GPUs use NCCL, CPUs gloo; a run on GPUs has both, because checkpoints and decisions pass through the hosts.

Gloo connects two processes when they first send to each other (docs/decisions/0013). A mesh of all connections
would be 2,047 sockets of each of 2,048 processes in each group, and each process would read their addresses, 34 MB,
from one key-value store. Messages go in rings and trees, so a process has a dozen neighbours.
"""

import atexit
import contextlib
import os
import resource
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist

from puna.core.errors import OtherProcessError, TrainError, UserError
from puna.parallel.host_memory import keep_freed_memory
from puna.parallel.rendezvous import own_store

_TIMEOUT = timedelta(hours=2)
"""How long a process waits for the others: as long as the main one may take to hash terabytes of shards the first time.
A process that dies is noticed by torchrun at once."""

_FILES = 1024
"""Files and sockets that a process may need besides those that grow with the run: shards, gloo's and NCCL's sockets."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class World:
    """All processes of the run, seen from this one."""

    rank: int
    size: int
    device: torch.device
    """The device that this process computes on."""
    checkpoint_group: dist.ProcessGroup | None
    """Process group over the hosts, for checkpoints only, which are written during training; None without groups."""

    @property
    def main(self) -> bool:
        """Whether this is the main process, which writes shared files and prints messages."""
        return self.rank == 0

    def first(self, action: Callable[[], Result]) -> Result:
        """Run `action` on the main process; every process gets its result.

        Raises:
            UserError: The action failed, on the main process.
            OtherProcessError: It failed, on the others.
        """
        if self.size == 1:
            return action()
        outcome: list[Any] = [None, None]
        error: BaseException | None = None
        if self.main:
            try:
                outcome[0] = action()
            except UserError as failure:
                outcome[1], error = str(failure), failure
        dist.broadcast_object_list(outcome, src=0, device=torch.device("cpu"))
        if error is not None:
            raise error
        if outcome[1] is not None:
            raise OtherProcessError
        return outcome[0]

    def on_main(self, action: Callable[[], Result]) -> Result | None:
        """Run `action` on the main process, which alone gets its result; the others get None.

        Raises:
            UserError: The action failed, on the main process.
            OtherProcessError: It failed, on the others.
        """
        made: list[Result] = []

        def run() -> None:
            made.append(action())

        self.first(run)
        return made[0] if made else None

    def each(self, value: Any, group: dist.ProcessGroup | None = None) -> list[Any]:
        """The values that all processes bring, by rank, on every process."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value, group=group or self.checkpoint_group)
        return values

    def told(self, value: str | None) -> str:
        """The main process's value, sent to every process over the hosts."""
        if self.size == 1:
            return value or ""
        words = [value]
        dist.broadcast_object_list(words, src=0, group=self.checkpoint_group)
        return words[0] or ""

    def largest(self, number: int) -> int:
        """The largest of the numbers that the processes bring."""
        if self.size == 1:
            return number
        value = torch.tensor(number)
        dist.all_reduce(value, op=dist.ReduceOp.MAX)
        return int(value)

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The sum of the processes' tensors, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values


class News:
    """The largest numbers that any process brings; all processes get them at the same call, the next one.

    So no process waits after a step for the slowest one. A process that is alone gets its own numbers at once.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._under_way: tuple[torch.Tensor, dist.Work] | None = None

    def hear(self, numbers: tuple[int, ...], at_once: bool) -> tuple[int, ...]:
        """The largest number at each place of the previous call; or of this call, if they were 0 and `at_once` is true.

        All processes call it equally often, with as many numbers and the same `at_once`. If a result of the previous
        call is not 0, `numbers` are not sent.
        """
        if self._world.size == 1:
            return numbers
        heard = self._arrived()  # nothing at the first call
        if any(heard):
            return heard
        values = torch.tensor(numbers)
        work = dist.all_reduce(values, op=dist.ReduceOp.MAX, async_op=True)
        self._under_way = (values, work)
        return self._arrived() if at_once else (0,) * len(numbers)

    def _arrived(self) -> tuple[int, ...]:
        if self._under_way is None:
            return ()
        values, work = self._under_way
        work.wait()
        self._under_way = None
        return tuple(values.tolist())


def end_process(code: int) -> NoReturn:
    """End a process that was in a group as Python does, but for taking itself apart.

    A thread of gloo may still be about to free tensors, for which it needs Python's lock. While Python takes itself
    apart, up to 3.13 a thread that asks for the lock is ended, which within a C++ destructor aborts the process
    (PyTorch's issue 190489): its exit code would be SIGABRT's after all work was done.
    """
    threading._shutdown()  # pyrefly: ignore[missing-attribute]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # closed, or its reader has gone
            stream.flush()
    os._exit(code)


@contextlib.contextmanager
def joined() -> Iterator[World]:
    """The world that the environment describes, joined for as long as the context lasts; alone there are no groups.

    A process that was in a group should end by `end_process`.
    """
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda", local_rank) if on_gpu else torch.device("cpu")
    if on_gpu:
        # Growing blocks of memory leave no gaps between tensors of many sizes; PyTorch reads it at the first
        # allocation.
        os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
        torch.cuda.set_device(device)
    else:
        keep_freed_memory()
    if size == 1:
        yield World(0, 1, device, None)
        return
    _allow_files(size, rank, local_rank)
    os.environ["TORCH_GLOO_LAZY_INIT"] = "1"
    backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
    store, rank, size = next(dist.rendezvous("env://", timeout=_TIMEOUT))
    dist.init_process_group(backend, store=own_store(store, rank, size), rank=rank, world_size=size, timeout=_TIMEOUT)
    try:
        group: Any = dist.new_group(backend="gloo", timeout=_TIMEOUT)
        yield World(rank, size, device, group)
    finally:
        dist.destroy_process_group()


def _allow_files(size: int, rank: int, local_rank: int) -> None:
    """Let this process open as many files as the system allows, and refuse a run that needs more.

    The main process may host the key-value store, with a connection to every process.

    Raises:
        TrainError: On one process of each machine.
        OtherProcessError: On the others.
    """
    needed = _FILES + (size if rank == 0 else 0)
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # where "unlimited" is more than the system takes
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        allowed = most
    if allowed == resource.RLIM_INFINITY or allowed >= needed:
        return
    if local_rank:
        raise OtherProcessError
    raise TrainError(
        f"process {rank} of {size} may open {allowed} files and sockets, and may need {needed}",
        hint=f"raise the hard limit where the run is launched: ulimit -Hn {needed}, or LimitNOFILE of the service",
    )

"""Runs the tasks of a stage on this machine's cores or on a Ray cluster, by datatrove's executors.

A stage is one datatrove `PipelineStep`, and the rank is the number of the task, so that these and the jobs of
`puna.data.tasks.slurm` run the same definition.
Finished tasks are known by their own records, not by datatrove's markers, which do not hold a task's inputs.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast, get_args

# On import, loguru starts to send datatrove's messages to stderr, where only ours belong.
import multiprocess
from datatrove.executor.base import DistributedEnvVars, PipelineExecutor
from datatrove.executor.ray import RayPipelineExecutor
from datatrove.pipeline.base import PipelineStep
from loguru import logger

from puna.core.console import progress, warn
from puna.core.errors import DataError
from puna.core.terminate import orderly_end
from puna.core.workers import worker_pool
from puna.data.tasks.task import Task

Executor: TypeAlias = Literal["local", "ray", "slurm"]
EXECUTORS: tuple[Executor, ...] = get_args(Executor)

_SMALL_BYTES = 4_000_000
"""Bytes; a stage that reads less runs in this process, because workers take longer to start."""
_WATCH_S = 0.5
MEMORY_GB = 4.0
"""Memory requested from a cluster for a task: data.max_document_bytes times about ten, and numba's code."""


class Stage(PipelineStep):
    """Independent tasks, as a step of a datatrove pipeline."""

    type = "puna"

    def __init__(self, tasks: list[Task]) -> None:
        self.name = tasks[0].stage
        super().__init__()
        self.tasks = tasks

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Any:
        """Run one task; its only results are files."""
        self.tasks[rank].run()
        return data

    def __deepcopy__(self, memo: dict[int, Any]) -> "Stage":
        return self

    @property
    def left(self) -> list[int]:
        """The tasks that are not done."""
        return [rank for rank, task in enumerate(self.tasks) if not task.is_done and task.is_needed]


class ByRecords(PipelineExecutor):
    """An executor that reads from the tasks' records whether they are done."""

    def get_incomplete_ranks(self, ranks: Any = None, skip_completed: Any = None) -> list[int]:
        """The tasks that are not done, of those in `ranks`, or of all."""
        left = self.stage.left
        return left if ranks is None else [rank for rank in ranks if rank in set(left)]

    def is_rank_completed(self, rank: int) -> bool:
        """Whether a task is done."""
        return self.stage.tasks[rank].is_done

    def save_executor_as_json(self, indent: int = 4) -> None:
        """Do nothing: the recipe is beside the build."""

    @property
    def stage(self) -> Stage:
        """The stage that it runs."""
        return cast(Stage, self.pipeline[0])


class _Local(ByRecords):
    """Workers of this machine.

    datatrove's own executor keeps a manager process that outlives a killed build, and waits for ever for a worker that
    the system has killed for lack of memory.
    """

    def __init__(self, stage: Stage, workers: int, logging_dir: str) -> None:
        super().__init__([stage], logging_dir)
        self._workers = workers

    @property
    def world_size(self) -> int:
        return len(self.stage.tasks)

    def get_distributed_env(self, node_rank: int = -1) -> DistributedEnvVars:
        return DistributedEnvVars(
            datatrove_node_ips="localhost", datatrove_cpus_per_task="-1", datatrove_mem_per_cpu="-1",
            datatrove_gpus_on_node="-1", datatrove_executor="LOCAL",
        )  # fmt: skip

    def run(self) -> None:
        """Run the unfinished tasks.

        Raises:
            DataError: A worker died.
        """
        ranks = self.get_incomplete_ranks()
        if self._workers == 1:
            for rank in ranks:
                self._run_for_rank(rank, local_rank=1)  # rank 0's log would go to stderr
            return
        killed = f"stage {self.stage.name}: a worker was killed, most likely because memory ran out"
        hint = "run it again with fewer --workers, or a smaller data.task_bytes: what is done is kept"
        # Workers end first, as after Ctrl-C.
        with orderly_end(), worker_pool(self._workers, _begin_worker, self, killed=killed, hint=hint) as pool:
            for future in as_completed([pool.submit(_work, rank) for rank in ranks]):
                future.result()


_executor: "_Local | None" = None
"""In a worker: the executor whose tasks it runs. Sent once, since it holds all tasks."""


def _begin_worker(executor: "_Local") -> None:
    global _executor
    _executor = executor
    logger.disable("datatrove")


def _work(rank: int) -> None:
    cast(_Local, _executor)._run_for_rank(rank, local_rank=1)


class _Ray(ByRecords, RayPipelineExecutor):
    def __setstate__(self, state: dict[str, Any]) -> None:
        """Unpickle in one of Ray's workers, which would run a task in a child process.

        That would fork a process with many threads, and the child sometimes waits for ever for a lock that one of them
        held.
        """
        cast(Any, multiprocess).set_start_method("forkserver", force=True)
        self.__dict__.update(state)


def run_stage(tasks: list[Task], executor: Executor, workers: int) -> None:
    """Run the rest of a stage, here or on a Ray cluster, and show its progress.

    Args:
        tasks: All of one stage.
        executor: `local` or `ray`.
        workers: Tasks at one time.

    Raises:
        DataError: The error of the first task that failed.
    """
    if not tasks:
        return
    stage = Stage(tasks)
    left = [tasks[rank] for rank in stage.left]
    if not left:
        return
    total = sum(task.input_bytes for task in tasks)
    with quiet(), _watched(stage.name, tasks, total):
        small = sum(task.input_bytes for task in left) < _SMALL_BYTES
        if executor == "ray" and not small:
            _run_on_ray(stage, workers)
        else:
            workers = 1 if small else min(workers, len(left))
            _Local(stage, workers, str(logs(tasks[0]))).run()
    check(tasks)


def check(tasks: list[Task]) -> None:
    """Raise an error unless all tasks of a stage are done.

    Raises:
        DataError: The error of the first task that failed.
    """
    for task in tasks:
        if not task.is_done and task.is_needed:
            raise task.failure() or DataError(
                f"stage {task.stage}: a task ended without a result; its log is in {logs(task)}",
                hint="run the same command again: what is done is kept",
            )


def _run_on_ray(stage: Stage, workers: int) -> None:
    import ray

    ours = not ray.is_initialized()
    if ours:
        # The cluster that RAY_ADDRESS names, or a new one on this machine.
        ray.init(log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
    try:
        _Ray(
            [stage], tasks=len(stage.tasks), workers=workers, logging_dir=str(logs(stage.tasks[0])),
            mem_per_cpu_gb=_memory_on_ray(ray.nodes()),
        ).run()  # fmt: skip
    finally:
        if ours:
            ray.shutdown()


def _memory_on_ray(nodes: list[dict[str, Any]]) -> float:
    """GB to ask for a task: what it may take, or all that the largest node has, since Ray would wait for ever for more.

    Args:
        nodes: What `ray.nodes()` tells.
    """
    offered = max((node["Resources"].get("memory", 0) for node in nodes if node["Alive"]), default=0) / 2**30
    if offered >= MEMORY_GB or not offered:
        return MEMORY_GB
    warn(f"no node of the Ray cluster offers {MEMORY_GB:g} GB of memory; asking for {offered:.1f} GB for a task")
    return offered


def logs(task: Task) -> Path:
    """The directory of the logs of a task's stage."""
    return task.work / "logs" / task.stage


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress datatrove's own messages, which are in the logs of the tasks."""
    logger.disable("datatrove")
    try:
        yield
    finally:
        logger.enable("datatrove")


@contextmanager
def _watched(name: str, tasks: list[Task], total: int) -> Iterator[None]:
    """Show how much of the stage's input is done, wherever its tasks run."""
    stop = threading.Event()
    with progress(name, total, "bytes") as advance:
        watcher = threading.Thread(target=_watch, args=(tasks, advance, stop), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            stop.set()
            watcher.join()


def _watch(tasks: list[Task], advance: Callable[[float], None], stop: threading.Event) -> None:
    shown = 0
    while not stop.wait(_WATCH_S):
        done = sum(task.done_bytes() for task in tasks)
        if done > shown:
            advance(done - shown)
            shown = done

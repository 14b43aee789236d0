"""Inference on several processes, of which one talks and the others compute with it.

Only the main process schedules, samples and answers. It sends the rows of each step to the others, which do nothing but
compute their part of the model for them. So whatever drives an engine, a command, a chat or a server, need not know of
them.
"""

import atexit
import contextlib
import sys
from collections.abc import Callable
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from puna.config.recipe import ModelConfig
from puna.core.errors import GenerateError
from puna.infer.part import PartSource
from puna.infer.runner import Rows, Runner
from puna.infer.source import Source
from puna.parallel.world import joined

_PATIENCE = timedelta(days=365)
"""How long the others wait for rows: a chat may stand still over a weekend."""

_PARTS = ("tokens_M", "positions_M", "sequences_M", "tables_SP", "wanted_W", "copies_C2", "adapters_M")


class LeadingRunner:
    """The main process's runner: the other processes compute each step with it.

    Args:
        runner: Of this process's part.
        whole: The whole model's shape.
        hosts: A gloo group of the processes, over which rows are told; it waits as long as nobody asks anything.
    """

    def __init__(self, runner: Runner, whole: ModelConfig, hosts: dist.ProcessGroup) -> None:
        self._runner, self._hosts = runner, hosts
        self.config, self.page_size, self.pages = whole, runner.page_size, runner.pages
        self.adapters = runner.adapters
        # Of this process: each reads its own part.
        self.weight_bytes, self.position_bytes = runner.weight_bytes, runner.position_bytes
        # Two numbers have one sum; of more, gloo and NCCL choose the order by the size of what is summed.
        self.exact = runner.exact and dist.get_world_size(hosts) == 2
        self.title = f"{runner.title}, on {dist.get_world_size(hosts)} processes"

    def logits(self, rows: Rows) -> Tensor:
        """As the runner's; every process computes its part."""
        parts = [getattr(rows, name) for name in _PARTS]
        columns = rows.tables_SP.shape[1]
        sizes = torch.tensor([columns, *(part.numel() for part in parts)])
        dist.broadcast(sizes, src=0, group=self._hosts)
        dist.broadcast(torch.cat([part.flatten().to("cpu", torch.int64) for part in parts]), src=0, group=self._hosts)
        return self._runner.logits(rows)

    def close(self) -> None:
        """Let the other processes' `follow` return."""
        dist.broadcast(torch.zeros(1 + len(_PARTS), dtype=torch.int64), src=0, group=self._hosts)


def follow(runner: Runner, hosts: dist.ProcessGroup) -> None:
    """Compute steps with the main process until it closes its runner.

    Args:
        runner: Of this process's part.
        hosts: The group of the main process's `LeadingRunner`.
    """
    while True:
        sizes = torch.empty(1 + len(_PARTS), dtype=torch.int64)
        dist.broadcast(sizes, src=0, group=hosts)
        columns, *counts = sizes.tolist()
        if not columns:
            return
        told = torch.empty(sum(counts), dtype=torch.int64)
        dist.broadcast(told, src=0, group=hosts)
        parts = dict(zip(_PARTS, told.split(counts), strict=True))
        runner.logits(
            Rows(
                tokens_M=parts["tokens_M"], positions_M=parts["positions_M"].int(),
                sequences_M=parts["sequences_M"].int(), tables_SP=parts["tables_SP"].int().view(-1, columns),
                wanted_W=parts["wanted_W"], copies_C2=parts["copies_C2"].view(-1, 2),
                adapters_M=parts["adapters_M"].int(),
            )
        )  # fmt: skip


def share(source: Source, make: Callable[[Source, torch.device], Runner]) -> Runner:
    """The main process's runner for a model that all processes share; the other processes do not come back.

    They compute with the main process until it ends, and then end with exit code 0.

    Args:
        source: The whole model; each process reads its part.
        make: Makes a runner of a part, on the device that the process has.

    Raises:
        GenerateError: The model cannot be split over the processes, or they share one already.
    """
    if dist.is_initialized():
        raise GenerateError("the processes share a model already, and they can share only one")
    together = contextlib.ExitStack()
    with together:
        world = together.enter_context(joined())
        hosts = dist.new_group(backend="gloo", timeout=_PATIENCE)
        assert isinstance(hosts, dist.ProcessGroup)  # noqa: S101 - this process is in it
        runner = make(PartSource(source), world.device)
        if not world.main:
            follow(runner, hosts)
            together.close()
            sys.exit(0)
        leading = LeadingRunner(runner, source.config, hosts)
        atexit.register(together.pop_all().close)  # after the others have been told, which is registered later
        atexit.register(leading.close)
    return leading

"""What the sections of bench/gpu.py share: sizes, sessions, clocks and lines."""

import contextlib
import gc
import json
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from puna.config.recipe import Recipe
from puna.ops.attention import gpu_kernels
from puna.parallel.world import World
from puna.train.device import Device, find_device
from puna.train.session import Session
from puna.train.synthetic import synthetic_session

T = 2048
SIZES: dict[str, dict[str, Any]] = {
    "1b": {"dim": 2048, "n_layers": 24, "n_heads": 16, "n_kv_heads": 16, "ffn_dim": 5632, "vocab_size": 32_000},
    "7b": {"dim": 4096, "n_layers": 32, "n_heads": 32, "n_kv_heads": 32, "ffn_dim": 11_008, "vocab_size": 32_000},
}
TINY = {"dim": 64, "n_layers": 2, "n_heads": 2, "n_kv_heads": 2, "ffn_dim": 96, "vocab_size": 512}
BATCH = 2**19
"""Tokens of an optimizer step: half a million, as small as such models are trained with."""


class Bench:
    """What all sections share: the device, the sizes and where lines go."""

    def __init__(self, world: World, *, dry: bool, until: float) -> None:
        self.world, self.dry, self.until = world, dry, until
        self.context = 64 if dry else T
        self.device = Device(world.device, "cpu", 1e12, "none: a dry run", 1.0, "none") if dry else self._found()
        self.lines: list[dict[str, Any]] = []
        self.began = time.perf_counter()

    def _found(self) -> Device:
        recipe = self.recipe("1b", T)
        return find_device("bf16", recipe.energy, self.world.device)

    def say(self, what: str, **figures: Any) -> None:
        """One line."""
        figures = {name: round(x, 4) if isinstance(x, float) else x for name, x in figures.items()}
        self.lines.append({"what": what, "at": round(time.perf_counter() - self.began, 1), **figures})
        print(json.dumps(self.lines[-1]), flush=True)

    def recipe(self, size: str, micro: int, *, batch: int = 0, **train: Any) -> Recipe:
        """A recipe of a size, with passes of this number of tokens."""
        context = getattr(self, "context", T)
        micro = micro * context // T
        train = {"precision": "bf16", "compile": not self.dry} | train
        batch = (batch or 4 * micro * T // context) * context // T
        return Recipe.model_validate(
            {
                "name": "gpu",
                "model": (TINY if self.dry else SIZES[size]) | {"context": context},
                "train": {"tokens": 64 * batch, "batch_tokens": batch, "micro_batch_tokens": micro} | train,
                "optim": {"warmup_steps": 0},
            }
        )

    def milliseconds(self, action: Callable[[], Any], runs: int = 10, warm: int = 3) -> float:
        """Median of several runs, the device's work included."""
        runs, warm = (1, 1) if self.dry else (runs, warm)
        for _ in range(warm):
            action()
        times = []
        for _ in range(runs):
            self.device.synchronize()
            started = time.perf_counter()
            action()
            self.device.synchronize()
            times.append(1e3 * (time.perf_counter() - started))
        return statistics.median(times)

    def power(self) -> dict[str, float]:
        """What the GPU draws and at which clock it runs, while it works; empty where nothing tells."""
        if not self.device.on_gpu:
            return {}
        try:
            return {"watts": torch.cuda.power_draw() / 1e3, "mhz": float(torch.cuda.clock_rate())}
        except (ImportError, RuntimeError):
            return {}

    def random(self, *shape: int) -> torch.Tensor:
        """Numbers of a normal distribution in bfloat16: products of zeros run faster than any real ones."""
        return torch.randn(*shape, device=self.world.device, dtype=torch.bfloat16)


@contextlib.contextmanager
def session_of(bench: Bench, recipe: Recipe, *, shapes_repeat: bool = True) -> Iterator[Session]:
    """A session whose memory is given back; its attention as in training, or as where shapes don't repeat."""
    clean(bench)
    session = synthetic_session(recipe, bench.world, bench.device)
    try:
        with gpu_kernels(shapes_repeat=shapes_repeat):
            yield session
    finally:
        del session
        clean(bench)


def clean(bench: Bench) -> None:
    """Give back memory and compiled code."""
    gc.collect()
    torch.compiler.reset()
    if bench.device.on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()

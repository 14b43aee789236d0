"""What a run is planned for: a known GPU, this machine's CPU, or a rate of arithmetic; no torch."""

import math
import time
from dataclasses import dataclass

from puna.config.recipe import Recipe
from puna.core.errors import ConfigError
from puna.core.records import machine
from puna.core.units import counted
from puna.plan.hardware import GPUS, WATTS_PER_CORE, Gpu, Link, full_name
from puna.plan.kernels import ATTENTION_SHARE, MEMORY_SHARE, Rates
from puna.plan.layout import CPU, GPU
from puna.plan.links import Links

GPU_UTILISATION = 0.485
"""Share of the peak rate that the matrix products and causal attention of LLaMA 65B took: 380 tokens/s on each A100
(Touvron et al. 2023, section 2.4), 398 GFLOP per token, 312 TFLOP/s."""
GPU_SOURCE = "LLaMA 65B's on A100s (380 tokens/s, section 2.4)"

NODE_DEVICES = 8
"""GPUs of a machine: NVIDIA's DGX and HGX."""

CPU_UTILISATION = {True: 0.83, False: 0.82}
"""Compiled and eager, of the rate of a large product: bench/results/train_cpu_2026-11-21.json."""
CPU_SOURCE = "measured for 60M parameters (bench/results/train_cpu_2026-11-21.json)"

_KNOWN = ", ".join(GPUS)
_SIZE, _RUNS = 2048, 5


@dataclass(frozen=True, kw_only=True)
class Target:
    """The device that a run is planned for."""

    name: str
    kind: str
    """`cpu` or `gpu`: Puna runs different code on them, and different things take memory."""
    peak_flops: float
    """FLOP/s that count as 100 %."""
    peak_source: str
    watts: float | None
    """Power under load in watts; None if unknown."""
    watts_source: str
    memory_bytes: int | None
    """Memory in bytes; None if unknown."""
    utilisation: float
    """Utilisation counted in the FLOPs that are computed, recomputation included; used where `rates` is None."""
    utilisation_source: str
    rates: Rates | None = None
    """The rates of its kernels; None where only the peak is known."""
    links: Links | None = None
    """Its links to other devices; None where `rates` is None."""


def find_target(
    name: str, recipe: Recipe, devices: int, *, node_devices: int | None = None, network_gbps: float | None = None
) -> Target:
    """The device of that name.

    Args:
        name: A GPU such as `a100`, `rtx-4090` or `NVIDIA L40S`, `cpu` for this machine's, or FLOP/s of a GPU.
        recipe: Its precision decides the rate; its energy.device_watts counts more than a datasheet's.
        devices: Processes that share a CPU.
        node_devices: GPUs of a machine; None is `NODE_DEVICES`.
        network_gbps: Of each GPU to other machines, in Gbit/s; None is that of NVIDIA's own machines.

    Raises:
        ConfigError: The name is none of these, or a network is given for a device without known rates, or the device
            cannot multiply in float8 or bfloat16 and the recipe asks for it.
    """
    own_watts, precision = recipe.energy.device_watts, recipe.train.precision
    watts_source = "energy.device_watts" if own_watts else ""
    full = full_name(name) or name
    gpu = GPUS.get(full)
    if recipe.train.float8 and (name.lower() == CPU or (gpu is not None and gpu.float8_share is None)):
        sentence = "train.float8 = true needs a GPU of compute capability 8.9, such as an H100"
        raise ConfigError([f"{sentence}; --device is {name}"])
    if gpu is not None:
        if (peak := gpu.flops(precision)) is None:
            sentence = f"train.precision = {precision}: {full} cannot multiply in bfloat16"
            raise ConfigError([sentence], hint="add train.precision=fp32 to the command")
        return Target(
            name=full, kind=GPU, peak_flops=peak, peak_source="datasheet",
            watts=own_watts or gpu.watts, watts_source=watts_source or "datasheet", memory_bytes=gpu.memory_bytes,
            utilisation=GPU_UTILISATION, utilisation_source=GPU_SOURCE, rates=rates_of(gpu, peak),
            links=_links(gpu, node_devices, network_gbps),
        )  # fmt: skip
    if given := [
        option
        for option, value in (("--devices-per-node", node_devices), ("--network-gbps", network_gbps))
        if value is not None
    ]:
        raise ConfigError([f"{given[0]} needs a known GPU, and --device is {name}"], hint=f"known are {_KNOWN}")
    if name.lower() == CPU:
        return _this_cpu(recipe, devices)
    try:
        flops = float(name)
    except ValueError:
        flops = math.nan
    if not (math.isfinite(flops) and flops > 0):
        expected = "expected a known GPU, such as a100 or rtx-4090, cpu, or FLOP/s such as 4e14"
        raise ConfigError([f"--device {name!r:.60}: {expected}"], hint=f"known are {_KNOWN}")
    return Target(
        name=f"{flops:.3g} FLOP/s", kind=GPU, peak_flops=flops, peak_source="given", watts=own_watts,
        watts_source=watts_source or "unknown", memory_bytes=None, utilisation=GPU_UTILISATION,
        utilisation_source=GPU_SOURCE,
    )  # fmt: skip


def rates_of(gpu: Gpu, peak: float) -> Rates:
    """The rates of the GPU's kernels where its peak is `peak` FLOP/s."""
    return Rates(
        products=gpu.product_share * peak,
        attention=ATTENTION_SHARE * peak,
        memory=MEMORY_SHARE * gpu.memory_bytes_per_s,
        float8=2 * peak * (gpu.float8_share or 0.0),
    )


def _links(gpu: Gpu, node_devices: int | None, network_gbps: float | None) -> Links:
    network = gpu.network
    if network_gbps is not None:
        network = Link(network.name, network_gbps * 1e9 / 8, network.hop_s)
    return Links(gpu.node, network, node_devices or NODE_DEVICES)


def _this_cpu(recipe: Recipe, processes: int) -> Target:
    """One process's part of this machine."""
    about, own_watts = machine(), recipe.energy.device_watts
    cores, memory = about["cores"], about["memory_bytes"]
    return Target(
        name=f"{about['processor']}, {counted(cores, 'core')}"
        + (f", shared by {processes} processes" if processes > 1 else ""),
        kind=CPU,
        peak_flops=sgemm_rate() / processes,
        peak_source="measured sgemm",
        watts=own_watts or WATTS_PER_CORE * cores / processes,
        watts_source="energy.device_watts" if own_watts else f"{WATTS_PER_CORE} W per core, Cloud Carbon Footprint",
        memory_bytes=memory // processes if memory else None,
        utilisation=CPU_UTILISATION[recipe.train.compile],
        utilisation_source=CPU_SOURCE,
    )


def sgemm_rate() -> float:
    """FLOP/s of a float32 matrix product of 2,048 in NumPy on this machine, the best of five."""
    import numpy as np

    left, right = np.random.default_rng(0).random((2, _SIZE, _SIZE), dtype=np.float32)
    durations = []
    for _ in range(_RUNS):
        started = time.perf_counter()
        left @ right
        durations.append(time.perf_counter() - started)
    return 2 * _SIZE**3 / min(durations)

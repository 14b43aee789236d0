"""The device that trains: its name, its peak rate of arithmetic and its power.

A GPU's peak and power are its datasheet's; a CPU's peak is the rate of fp32 matrix products measured here, because
no datasheet states what this number of these cores sustains.
"""

import time
from dataclasses import dataclass, replace

import torch

from puna.config.recipe import EnergyConfig
from puna.core.errors import TrainError
from puna.core.records import machine
from puna.core.units import counted
from puna.plan.hardware import WATTS_PER_CORE, find_gpu

MEASURED, MEASURED_GPU = "measured sgemm", "measured matrix product"
"""How the peak of a CPU is known, and of a GPU of which no datasheet is known."""

BF16_CAPABILITY = (8, 0)
"""Compute capability from which NVIDIA's GPUs multiply in bfloat16 (CUDA C++ programming guide, arithmetic
instructions); older ones convert every number, and the compiler refuses them."""

_MEASURED_SIZE = 2048
_MEASURED_RUNS = 7


@dataclass(frozen=True)
class Device:
    """The device on which the model is trained."""

    torch_device: torch.device
    name: str
    """For people: `AMD EPYC, 2 cores`."""
    peak_flops: float
    """FLOP/s that count as 100 %."""
    peak_source: str
    """The source of `peak_flops`: `datasheet` or a measurement."""
    watts: float
    """Power under load, in watts."""
    watts_source: str
    """The source of `watts`."""
    dtype: torch.dtype = torch.float32
    """Of the products by which a peak is measured."""

    @property
    def on_gpu(self) -> bool:
        """Whether it is a GPU, which works while this process goes on."""
        return self.torch_device.type == "cuda"

    @property
    def _is_measured(self) -> bool:
        """Whether its peak is a measurement, as that of a CPU and of a GPU that is not in the list of datasheets."""
        return self.peak_source in (MEASURED, MEASURED_GPU)

    def peak_memory_bytes(self) -> int:
        """The most memory held so far: the device's allocations on a GPU, the process's on a CPU."""
        if self.on_gpu:
            return torch.cuda.max_memory_allocated(self.torch_device)
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def measured_again(self) -> "Device":
        """This device with the better of its peak and one measured now, where its peak is a measurement.

        What other programs took during the first measurement would otherwise make training look too good.
        """
        return self.with_peak(matmul_rate(self.torch_device, self.dtype)) if self._is_measured else self

    def with_peak(self, flops: float) -> "Device":
        """This device with a peak of at least this rate, in FLOP/s, where its peak is a measurement."""
        return replace(self, peak_flops=max(self.peak_flops, flops)) if self._is_measured else self

    def at_rate(self, flops: float) -> "Device":
        """This device with a peak that a rate which it has reached does not exceed, where its peak is a measurement.

        Where the rate exceeds the peak, the peak was measured in a disturbed moment, so it is measured again.
        """
        return self if flops <= self.peak_flops else self.measured_again().with_peak(flops)

    def synchronize(self) -> None:
        """Wait until the device has finished its work."""
        if self.on_gpu:
            torch.cuda.synchronize(self.torch_device)


def find_device(precision: str, energy: EnergyConfig, torch_device: torch.device) -> Device:
    """The description of a device, with its peak for `precision`.

    Raises:
        TrainError: The GPU cannot multiply in bfloat16 and the precision asks for it.
    """
    if torch_device.type == "cuda":
        return _gpu(precision, energy, torch_device)
    cores = torch.get_num_threads()
    those = f"each of {cores} cores" if cores > 1 else "1 core"
    watts, source = WATTS_PER_CORE * cores, f"{WATTS_PER_CORE} W for {those}, Cloud Carbon Footprint"
    return Device(
        torch.device("cpu"),
        name=f"{machine()['processor']}, {counted(cores, 'core')}",
        peak_flops=matmul_rate(),
        peak_source=MEASURED,
        watts=energy.device_watts or watts,
        watts_source="energy.device_watts" if energy.device_watts else source,
    )


def _gpu(precision: str, energy: EnergyConfig, torch_device: torch.device) -> Device:
    name = torch.cuda.get_device_name(torch_device)
    known, dtype = find_gpu(name), torch.float32 if precision == "fp32" else torch.bfloat16
    if dtype is torch.bfloat16 and torch.cuda.get_device_capability(torch_device) < BF16_CAPABILITY:
        raise TrainError(
            f"train.precision = {precision}: {name} cannot multiply in bfloat16",
            hint="add train.precision=fp32 to the command",
        )
    datasheet = known.flops(precision) if known else None
    watts, source = (known.watts, "datasheet") if known else (300.0, "a guess of 300 W")
    return Device(
        torch_device,
        name=name,
        peak_flops=datasheet or matmul_rate(torch_device, dtype),
        peak_source="datasheet" if datasheet else MEASURED_GPU,
        watts=energy.device_watts or watts,
        watts_source="energy.device_watts" if energy.device_watts else source,
        dtype=dtype,
    )


def matmul_rate(device: torch.device | None = None, dtype: torch.dtype = torch.float32) -> float:
    """FLOP/s of a square matrix product of 2,048; the best of seven, because other programs slow down some of them."""
    device = device or torch.device("cpu")
    left = torch.randn(_MEASURED_SIZE, _MEASURED_SIZE, device=device, dtype=dtype)
    right = torch.randn(_MEASURED_SIZE, _MEASURED_SIZE, device=device, dtype=dtype)
    durations = []
    for _ in range(_MEASURED_RUNS + 2):
        started = time.perf_counter()
        left @ right
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        durations.append(time.perf_counter() - started)
    return 2 * _MEASURED_SIZE**3 / min(durations[2:])

"""What known GPUs can do, draw and hold, by NVIDIA's datasheets; and what is assumed of a CPU.

Rates are dense: datasheets give twice of it for sparse matrices. A datasheet's GB of memory are GiB, of which the
driver keeps about a hundredth.
"""

from dataclasses import dataclass

GIB = 2**30

WATTS_PER_CORE = 3.5
"""Of a CPU: Cloud Carbon Footprint's figure for a fully used virtual core (methodology, AWS maximum)."""


@dataclass(frozen=True)
class Gpu:
    """One form of a GPU."""

    bf16_flops: float
    """FLOP/s of bfloat16 matrix products with float32 sums."""
    fp32_flops: float
    """FLOP/s in float32."""
    watts: float
    """The most that it draws."""
    memory_bytes: int

    def flops(self, precision: str) -> float:
        """FLOP/s that count as 100 % in `train.precision`."""
        return self.fp32_flops if precision == "fp32" else self.bf16_flops


GPUS = {
    # NVIDIA A100 datasheet (2021)
    "A100-SXM4-80GB": Gpu(312e12, 19.5e12, 400.0, 80 * GIB),
    "A100-SXM4-40GB": Gpu(312e12, 19.5e12, 400.0, 40 * GIB),
    "A100 80GB PCIe": Gpu(312e12, 19.5e12, 300.0, 80 * GIB),
    "A100-PCIE-40GB": Gpu(312e12, 19.5e12, 250.0, 40 * GIB),
    # NVIDIA H100 architecture whitepaper (2022), table 2; the NVL form: H100 datasheet (2024)
    "H100 80GB HBM3": Gpu(989e12, 66.9e12, 700.0, 80 * GIB),
    "H100 PCIe": Gpu(756e12, 51.2e12, 350.0, 80 * GIB),
    "H100 NVL": Gpu(835e12, 60e12, 400.0, 94 * GIB),
    # NVIDIA H200 datasheet (2024)
    "H200": Gpu(989e12, 66.9e12, 700.0, 141 * GIB),
    "H200 NVL": Gpu(835e12, 60e12, 600.0, 141 * GIB),
}
"""By the driver's name for them, without the `NVIDIA` that newer drivers put in front. The names are whole: a part of
a divided GPU (MIG) is called otherwise and has none of these rates."""

SHORT_NAMES = {"a100": "A100-SXM4-80GB", "h100": "H100 80GB HBM3", "h200": "H200"}
"""What people type, and the form that they most often mean: the paper's A100-80GB, and SXM."""


def find_gpu(driver_name: str) -> Gpu | None:
    """The GPU that the driver calls so, or None where nothing is known of it."""
    return GPUS.get(driver_name.removeprefix("NVIDIA "))

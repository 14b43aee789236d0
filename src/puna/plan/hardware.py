"""Rates, power, memory and links of known GPUs, by NVIDIA's datasheets; and the power assumed for a CPU.

Rates are dense: datasheets give twice as much for sparse matrices. A datasheet's GB of memory are GiB; the driver keeps
    about a hundredth.
"""

from dataclasses import dataclass

GIB = 2**30

WATTS_PER_CORE = 3.5
"""Power of a CPU: Cloud Carbon Footprint's figure for a fully used virtual core (methodology, AWS maximum)."""


@dataclass(frozen=True)
class Link:
    """A link that carries messages from one device to the next."""

    name: str
    bytes_per_s: float
    """Rate of each device, in one direction."""
    hop_s: float
    """Latency from one device of a ring to the next, for long messages: NCCL's own figure for its tuning (ring,
    protocol Simple; NCCL 2.26, src/graph/tuning.cc)."""


# Datasheets count both directions: half of NVLink's 600 and 900 GB/s, of PCI Express's 64 and 128.
NVLINK_3, NVLINK_4 = Link("NVLink", 300e9, 3.4e-6), Link("NVLink", 450e9, 3.4e-6)
PCIE_4, PCIE_5 = Link("PCI Express", 32e9, 5.7e-6), Link("PCI Express", 64e9, 5.7e-6)
# One adapter for each GPU: NVIDIA DGX A100 (eight of 200 Gbit/s), DGX H100 and H200 (eight of 400), datasheets.
HDR, NDR = Link("network", 25e9, 14e-6), Link("network", 50e9, 14e-6)


@dataclass(frozen=True)
class Gpu:
    """One form of a GPU, such as a module or a card."""

    bf16_flops: float
    """FLOP/s of bfloat16 matrix products with float32 sums."""
    fp32_flops: float
    """FLOP/s of float32 arithmetic."""
    watts: float
    """The most power that it draws."""
    memory_bytes: int
    memory_bytes_per_s: float
    node: Link
    """Link to the others of its machine: NVLink through switches for SXM; PCI Express for cards, because their bridges
    join two or four at most."""
    network: Link
    """Link to other machines, as in NVIDIA's own machines of that generation; machines with cards differ."""
    product_share: float
    """Share of the rate that the best-shaped matrix product reaches: measured by Bekman, "Machine Learning
    Engineering", maximum achievable matmul FLOPS (A100 SXM 271.2, PCIe 252.9, H100 SXM 794.5, H200 the same, TFLOP/s).
    The other cards were not measured there; they get their generation's."""
    float8_share: float | None = None
    """Share of twice the rate, a datasheet's for float8, that products of rows with their scales reach: 1,375 of
    1,979 TFLOP/s, between the 1,180 and 1,460 that were measured on an H200 (docs/guide/gpu.md), and taken for its
    generation; None where the GPU has no such units."""

    def flops(self, precision: str) -> float:
        """FLOP/s that count as 100 % in `train.precision`."""
        return self.fp32_flops if precision == "fp32" else self.bf16_flops


_A100, _H100 = (312e12, 19.5e12), (989e12, 66.9e12)
_HOPPER = {"product_share": 0.803, "float8_share": 0.695}

GPUS = {
    # NVIDIA A100 datasheet (2021)
    "A100-SXM4-80GB": Gpu(*_A100, 400.0, 80 * GIB, 2039e9, NVLINK_3, HDR, product_share=0.869),
    "A100-SXM4-40GB": Gpu(*_A100, 400.0, 40 * GIB, 1555e9, NVLINK_3, HDR, product_share=0.869),
    "A100 80GB PCIe": Gpu(*_A100, 300.0, 80 * GIB, 1935e9, PCIE_4, HDR, product_share=0.811),
    "A100-PCIE-40GB": Gpu(*_A100, 250.0, 40 * GIB, 1555e9, PCIE_4, HDR, product_share=0.811),
    # NVIDIA H100 architecture whitepaper (2022), table 2; the NVL form: H100 datasheet (2024)
    "H100 80GB HBM3": Gpu(*_H100, 700.0, 80 * GIB, 3350e9, NVLINK_4, NDR, **_HOPPER),
    "H100 PCIe": Gpu(756e12, 51.2e12, 350.0, 80 * GIB, 2000e9, PCIE_5, NDR, **_HOPPER),
    "H100 NVL": Gpu(835e12, 60e12, 400.0, 94 * GIB, 3900e9, PCIE_5, NDR, **_HOPPER),
    # NVIDIA H200 datasheet (2024)
    "H200": Gpu(*_H100, 700.0, 141 * GIB, 4800e9, NVLINK_4, NDR, **_HOPPER),
    "H200 NVL": Gpu(835e12, 60e12, 600.0, 141 * GIB, 4800e9, PCIE_5, NDR, **_HOPPER),
}
"""Known GPUs by the driver's name, without the `NVIDIA` that newer drivers put in front. Names must match entirely: a
part of a divided GPU (MIG) has another name and none of these rates."""

SHORT_NAMES = {"a100": "A100-SXM4-80GB", "h100": "H100 80GB HBM3", "h200": "H200"}
"""Short names, and the form that users most often mean: the paper's A100-80GB, and SXM."""


def find_gpu(driver_name: str) -> Gpu | None:
    """The GPU with this name in the driver, or None if it is not known."""
    return GPUS.get(driver_name.removeprefix("NVIDIA "))

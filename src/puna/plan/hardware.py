"""Rates, power, memory and links of known GPUs, by their makers' datasheets; and the power assumed for a CPU.

Rates are dense, with sums in float32: datasheets give twice as much for sparse matrices, and GeForce cards reach twice
as much with sums in float16. A datasheet's GB of memory are GiB; the driver keeps about a hundredth. Where two forms of
a card have one name in the driver, the figures are those of the RTX 3060 with 12 GB, the 3080 with 10, the 4060 Ti and
5060 Ti with 8. The table for people is in docs/guide/planning.md.
"""

import re
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


# Datasheets count both directions: half of NVLink's 300, 600, 900 and 1,800 GB/s, of PCI Express's 32, 64 and 128.
NVLINK_2, NVLINK_3 = Link("NVLink", 150e9, 3.4e-6), Link("NVLink", 300e9, 3.4e-6)
NVLINK_4, NVLINK_5 = Link("NVLink", 450e9, 3.4e-6), Link("NVLink", 900e9, 3.4e-6)
PCIE_3, PCIE_4 = Link("PCI Express", 16e9, 5.7e-6), Link("PCI Express", 32e9, 5.7e-6)
PCIE_5 = Link("PCI Express", 64e9, 5.7e-6)
PCIE_4_NARROW, PCIE_5_NARROW = Link("PCI Express", 16e9, 5.7e-6), Link("PCI Express", 32e9, 5.7e-6)
"""Cards with eight lanes instead of sixteen."""
# AMD's datasheets, half of both directions: a link of 100 GB/s between two MI200; seven of 128 (MI300) and of 153.6
# GB/s (MI350) to the others of a machine, which rings use at once. Latencies as NVLink's: RCCL is NCCL's fork.
FABRIC_MI200, FABRIC_MI300 = Link("Infinity Fabric", 50e9, 3.4e-6), Link("Infinity Fabric", 448e9, 3.4e-6)
FABRIC_MI350 = Link("Infinity Fabric", 537.6e9, 3.4e-6)
# One adapter for each GPU: NVIDIA DGX A100 (eight of 200 Gbit/s), DGX H100, H200 and B200 (eight of 400), datasheets;
# for AMD's MI300 and MI350 as many (AMD's reference designs).
HDR, NDR = Link("network", 25e9, 14e-6), Link("network", 50e9, 14e-6)
EDR_SHARED = Link("network", 6.25e9, 14e-6)
"""Four adapters of 100 Gbit/s for eight GPUs: NVIDIA DGX-1, datasheet."""
SLINGSHOT = Link("network", 12.5e9, 14e-6)
"""Four adapters of 200 Gbit/s for the eight halves of four MI250X: Frontier (Oak Ridge, user guide)."""
CLOUD = Link("network", 1.5625e9, 14e-6)
"""100 Gbit/s for a machine of eight cards, as Amazon's g4dn, g5 and Google's g2 have it; of cards that people own
nothing is known, so give `--network-gbps`."""


@dataclass(frozen=True)
class Gpu:
    """One form of a GPU, such as a module or a card."""

    bf16_flops: float | None
    """FLOP/s of bfloat16 matrix products with float32 sums; None where the GPU cannot multiply in bfloat16."""
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
    """Link to other machines, as in the maker's own machines of that generation; machines with cards differ."""
    product_share: float
    """Share of the rate that the best-shaped matrix product reaches: measured by Bekman, "Machine Learning
    Engineering", maximum achievable matmul FLOPS (A100 SXM 271.2, PCIe 252.9, H100 SXM 794.5, H200 the same, MI250X
    147.0 of its half, MI300X 668.4, MI325X 784.9, TFLOP/s). Others were not measured there: modules get the share of
    the generation before, cards that of the A100's card."""
    float8_share: float | None = None
    """Share of twice the rate, a datasheet's for float8, that products of rows with their scales reach: 1,375 of
    1,979 TFLOP/s, between the 1,180 and 1,460 that were measured on an H200 (docs/guide/gpu.md), and taken for all
    others of NVIDIA's; None where the GPU has no such units, or other float8 numbers (AMD's MI300)."""

    def flops(self, precision: str) -> float | None:
        """FLOP/s that count as 100 % in `train.precision`; None where the GPU cannot multiply in it."""
        return self.fp32_flops if precision == "fp32" else self.bf16_flops


_CARD, _AMD_2, _AMD_3 = 0.811, 0.768, 0.511
"""Shares of products: of cards, and of AMD's second and third generation."""
_FLOAT8 = 0.695
_A100, _H100 = (312e12, 19.5e12), (989e12, 66.9e12)
_HOPPER = {"product_share": 0.803, "float8_share": _FLOAT8}


def _card(
    bf16: float | None, fp32: float, watts: float, gib: int, gb_per_s: float, node: Link, float8: float | None = None
) -> Gpu:
    """A card for PCI Express; rates in TFLOP/s."""
    rate = None if bf16 is None else bf16 * 1e12
    return Gpu(rate, fp32 * 1e12, watts, gib * GIB, gb_per_s * 1e9, node, CLOUD, _CARD, float8)


def _ampere(fp32: float, watts: float, gib: int, gb_per_s: float) -> Gpu:
    """A GeForce card whose products in bfloat16 have twice the rate of its float32 arithmetic."""
    return _card(2 * fp32, fp32, watts, gib, gb_per_s, PCIE_4)


def _ada(fp32: float, watts: float, gib: int, gb_per_s: float, node: Link = PCIE_4) -> Gpu:
    """As `_ampere`, with float8."""
    return _card(2 * fp32, fp32, watts, gib, gb_per_s, node, _FLOAT8)


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
    # NVIDIA H20 datasheet (2023)
    "H20": Gpu(148e12, 44e12, 400.0, 96 * GIB, 4000e9, NVLINK_4, NDR, **_HOPPER),
    # NVIDIA DGX B200 and HGX B200 datasheets (2025): figures of eight, divided
    "B200": Gpu(2250e12, 75e12, 1000.0, 180 * GIB, 8000e9, NVLINK_5, NDR, **_HOPPER),
    # NVIDIA V100 datasheet (2020) and T4 datasheet (2019): no bfloat16
    "Tesla V100-SXM2-16GB": Gpu(None, 15.7e12, 300.0, 16 * GIB, 900e9, NVLINK_2, EDR_SHARED, _CARD),
    "Tesla V100-SXM2-32GB": Gpu(None, 15.7e12, 300.0, 32 * GIB, 900e9, NVLINK_2, EDR_SHARED, _CARD),
    "Tesla V100-PCIE-16GB": _card(None, 14.0, 250.0, 16, 900, PCIE_3),
    "Tesla V100-PCIE-32GB": _card(None, 14.0, 250.0, 32, 900, PCIE_3),
    "Tesla V100S-PCIE-32GB": _card(None, 16.4, 250.0, 32, 1134, PCIE_3),
    "Tesla T4": _card(None, 8.1, 70.0, 16, 320, PCIE_3),
    # NVIDIA's datasheets of the A10 (2021), A10G (2022), A30 (2021), A40 (2021), L4 (2023), L40 (2023), L40S (2023)
    "A10": _card(125.0, 31.2, 150.0, 24, 600, PCIE_4),
    "A10G": _card(70.0, 31.5, 300.0, 24, 600, PCIE_4),
    "A30": _card(165.0, 10.3, 165.0, 24, 933, PCIE_4),
    "A40": _card(149.7, 37.4, 300.0, 48, 696, PCIE_4),
    "L4": _card(121.0, 30.3, 72.0, 24, 300, PCIE_4, _FLOAT8),
    "L40": _card(181.05, 90.5, 300.0, 48, 864, PCIE_4, _FLOAT8),
    "L40S": _card(362.05, 91.6, 350.0, 48, 864, PCIE_4, _FLOAT8),
    # NVIDIA RTX A5000 and A6000 datasheets (2021), RTX 6000 Ada datasheet (2022), RTX PRO 6000 datasheet (2025): half
    # of the rates for sparse matrices, a quarter and an eighth of those in float8 and float4
    "RTX A5000": _card(111.1, 27.8, 230.0, 24, 768, PCIE_4),
    "RTX A6000": _card(154.8, 38.7, 300.0, 48, 768, PCIE_4),
    "RTX 6000 Ada Generation": _card(364.2, 91.1, 300.0, 48, 960, PCIE_4, _FLOAT8),
    "RTX PRO 6000 Blackwell Workstation Edition": _card(503.8, 125.9, 600.0, 96, 1792, PCIE_5, _FLOAT8),
    # NVIDIA Ampere GA102 whitepaper (2021), appendix A; those that it does not have: NVIDIA's comparison of cards
    "GeForce RTX 3060": _ampere(12.7, 170.0, 12, 360),
    "GeForce RTX 3060 Ti": _ampere(16.2, 200.0, 8, 448),
    "GeForce RTX 3070": _ampere(20.3, 220.0, 8, 448),
    "GeForce RTX 3070 Ti": _ampere(21.7, 290.0, 8, 608),
    "GeForce RTX 3080": _ampere(29.8, 320.0, 10, 760),
    "GeForce RTX 3080 Ti": _ampere(34.1, 350.0, 12, 912),
    "GeForce RTX 3090": _ampere(35.6, 350.0, 24, 936),
    "GeForce RTX 3090 Ti": _ampere(40.0, 450.0, 24, 1008),
    # NVIDIA Ada whitepaper (2023), appendix A; those that it does not have: NVIDIA's comparison of cards
    "GeForce RTX 4060": _ada(15.1, 115.0, 8, 272, PCIE_4_NARROW),
    "GeForce RTX 4060 Ti": _ada(22.1, 160.0, 8, 288, PCIE_4_NARROW),
    "GeForce RTX 4070": _ada(29.1, 200.0, 12, 504),
    "GeForce RTX 4070 SUPER": _ada(35.5, 220.0, 12, 504),
    "GeForce RTX 4070 Ti": _ada(40.1, 285.0, 12, 504),
    "GeForce RTX 4070 Ti SUPER": _ada(44.1, 285.0, 16, 672),
    "GeForce RTX 4080": _ada(48.7, 320.0, 16, 717),
    "GeForce RTX 4080 SUPER": _ada(52.2, 320.0, 16, 736),
    "GeForce RTX 4090": _ada(82.6, 450.0, 24, 1008),
    # NVIDIA RTX Blackwell whitepaper (2025), appendix A; those that it does not have: NVIDIA's comparison of cards
    "GeForce RTX 5060": _ada(19.2, 145.0, 8, 448, PCIE_5_NARROW),
    "GeForce RTX 5060 Ti": _ada(23.7, 180.0, 8, 448, PCIE_5_NARROW),
    "GeForce RTX 5070": _ada(30.9, 250.0, 12, 672, PCIE_5),
    "GeForce RTX 5070 Ti": _ada(43.9, 300.0, 16, 896, PCIE_5),
    "GeForce RTX 5080": _ada(56.3, 360.0, 16, 960, PCIE_5),
    "GeForce RTX 5090": _ada(104.8, 575.0, 32, 1792, PCIE_5),
    # AMD's datasheets of the MI210, MI250 and MI250X (2022), MI300X (2023), MI325X (2024), MI355X (2025). Each half of
    # an MI250 is a device of its own. Float32 is that of matrices.
    "AMD Instinct MI210": Gpu(181e12, 45.3e12, 300.0, 64 * GIB, 1638e9, PCIE_4, CLOUD, _AMD_2),
    "AMD Instinct MI250X / MI250": Gpu(181e12, 45.3e12, 280.0, 64 * GIB, 1638e9, FABRIC_MI200, HDR, _AMD_2),
    "AMD Instinct MI250X": Gpu(191.5e12, 47.9e12, 280.0, 64 * GIB, 1638e9, FABRIC_MI200, SLINGSHOT, _AMD_2),
    "AMD Instinct MI300X": Gpu(1307.4e12, 163.4e12, 750.0, 192 * GIB, 5300e9, FABRIC_MI300, NDR, _AMD_3),
    "AMD Instinct MI325X": Gpu(1307.4e12, 163.4e12, 1000.0, 256 * GIB, 6000e9, FABRIC_MI300, NDR, 0.6),
    "AMD Instinct MI355X": Gpu(2516.6e12, 157.3e12, 1400.0, 288 * GIB, 8000e9, FABRIC_MI350, NDR, 0.6),
}
"""Known GPUs by the driver's name, without the `NVIDIA` that newer drivers put in front. Names must match entirely: a
part of a divided GPU (MIG) and a laptop's GPU have other names and none of these rates."""

SHORT_NAMES = {
    "a100": "A100-SXM4-80GB",
    "h100": "H100 80GB HBM3",
    "v100": "Tesla V100-SXM2-32GB",
    "a5000": "RTX A5000",
    "a6000": "RTX A6000",
    "rtx6000ada": "RTX 6000 Ada Generation",
    "rtxpro6000": "RTX PRO 6000 Blackwell Workstation Edition",
    "mi250": "AMD Instinct MI250X / MI250",
}
"""Short names, and the form that users most often mean: the paper's A100-80GB, and SXM."""

_WORDS = re.compile(r"nvidia|geforce|tesla|amd|instinct|[\s_-]")
"""What people leave out of a name, or write differently."""


def _compact(name: str) -> str:
    return _WORDS.sub("", name.lower())


_COMPACT = {_compact(name): name for name in GPUS} | SHORT_NAMES


def full_name(name: str) -> str | None:
    """The driver's name of a known GPU that a person calls `rtx-4090`, `4090`, `A100` or `mi300x`; None for others."""
    compact = _compact(name)
    return _COMPACT.get(compact) or _COMPACT.get(f"rtx{compact}")


def find_gpu(driver_name: str) -> Gpu | None:
    """The GPU with this name in the driver, or None if it is not known."""
    return GPUS.get(driver_name.removeprefix("NVIDIA "))

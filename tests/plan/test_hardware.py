"""What the datasheets say, and that no other device is taken for one of theirs."""

import pytest

from puna.plan.hardware import GPUS, SHORT_NAMES, find_gpu, full_name


@pytest.mark.parametrize(
    ("driver_name", "bf16", "fp32", "watts", "gigabytes"),
    # NVIDIA's datasheets of the A100 (2021), H100 (2022, 2024) and H200 (2024); dense rates.
    [
        ("NVIDIA A100-SXM4-80GB", 312e12, 19.5e12, 400, 80),
        ("A100-SXM4-40GB", 312e12, 19.5e12, 400, 40),
        ("NVIDIA A100 80GB PCIe", 312e12, 19.5e12, 300, 80),
        ("NVIDIA A100-PCIE-40GB", 312e12, 19.5e12, 250, 40),
        ("NVIDIA H100 80GB HBM3", 989e12, 67e12, 700, 80),
        ("NVIDIA H100 PCIe", 756e12, 51e12, 350, 80),
        ("NVIDIA H100 NVL", 1671e12 / 2, 60e12, 400, 94),
        ("NVIDIA H200", 989e12, 67e12, 700, 141),
        ("NVIDIA H200 NVL", 1671e12 / 2, 60e12, 600, 141),
    ],
)
def test_every_form_has_its_own_datasheets_figures(
    driver_name: str, bf16: float, fp32: float, watts: float, gigabytes: int
):
    gpu = find_gpu(driver_name)
    assert gpu is not None
    assert gpu.flops("bf16") == gpu.flops("bf16-stochastic") == pytest.approx(bf16, rel=2e-3)
    assert gpu.flops("fp32") == pytest.approx(fp32, rel=5e-3)
    assert (gpu.watts, gpu.memory_bytes) == (watts, gigabytes * 2**30)


@pytest.mark.parametrize(
    ("driver_name", "memory", "inside", "outside", "product"),
    # Both directions of NVLink or PCI Express, and Gbit/s of an adapter; the same datasheets and NVIDIA DGX A100's,
    # H100's and H200's. TFLOP/s of the best-shaped product: Bekman, "Machine Learning Engineering".
    [
        ("NVIDIA A100-SXM4-80GB", 2039e9, 600e9, 200, 271.2e12),
        ("NVIDIA A100-SXM4-40GB", 1555e9, 600e9, 200, 271.2e12),
        ("NVIDIA A100 80GB PCIe", 1935e9, 64e9, 200, 252.9e12),
        ("NVIDIA A100-PCIE-40GB", 1555e9, 64e9, 200, 252.9e12),
        ("NVIDIA H100 80GB HBM3", 3350e9, 900e9, 400, 794.5e12),
        ("NVIDIA H100 PCIe", 2000e9, 128e9, 400, None),
        ("NVIDIA H100 NVL", 3900e9, 128e9, 400, None),
        ("NVIDIA H200", 4800e9, 900e9, 400, 794.5e12),
        ("NVIDIA H200 NVL", 4800e9, 128e9, 400, None),
    ],
)
def test_every_form_has_its_memorys_and_links_rates(
    driver_name: str, memory: float, inside: float, outside: float, product: float | None
):
    gpu = find_gpu(driver_name)
    assert gpu is not None
    assert gpu.memory_bytes_per_s == memory
    assert gpu.node.bytes_per_s == inside / 2
    assert gpu.network.bytes_per_s == outside * 1e9 / 8
    assert gpu.product_share * gpu.bf16_flops == pytest.approx(product or 0.803 * gpu.bf16_flops, rel=2e-3)


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
        "NVIDIA H100",
        "NVIDIA GH200 480GB",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "",
    ],
)
def test_parts_relatives_and_strangers_are_not_known(name: str):
    assert find_gpu(name) is None


@pytest.mark.parametrize(
    ("name", "cores", "megahertz", "times"),
    # Cores and boost clocks of the same whitepapers and datasheets; how many times the float32 rate their matrix units
    # have in bfloat16 with float32 sums: GeForce cards and the L40 half as much as workstation and server cards.
    [
        ("NVIDIA GeForce RTX 3060", 3584, 1777, 2),
        ("NVIDIA GeForce RTX 3060 Ti", 4864, 1665, 2),
        ("NVIDIA GeForce RTX 3070", 5888, 1725, 2),
        ("NVIDIA GeForce RTX 3070 Ti", 6144, 1770, 2),
        ("NVIDIA GeForce RTX 3080", 8704, 1710, 2),
        ("NVIDIA GeForce RTX 3080 Ti", 10240, 1665, 2),
        ("NVIDIA GeForce RTX 3090", 10496, 1695, 2),
        ("NVIDIA GeForce RTX 3090 Ti", 10752, 1860, 2),
        ("NVIDIA GeForce RTX 4060", 3072, 2460, 2),
        ("NVIDIA GeForce RTX 4060 Ti", 4352, 2535, 2),
        ("NVIDIA GeForce RTX 4070", 5888, 2475, 2),
        ("NVIDIA GeForce RTX 4070 SUPER", 7168, 2475, 2),
        ("NVIDIA GeForce RTX 4070 Ti", 7680, 2610, 2),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", 8448, 2610, 2),
        ("NVIDIA GeForce RTX 4080", 9728, 2505, 2),
        ("NVIDIA GeForce RTX 4080 SUPER", 10240, 2550, 2),
        ("NVIDIA GeForce RTX 4090", 16384, 2520, 2),
        ("NVIDIA GeForce RTX 5060", 3840, 2497, 2),
        ("NVIDIA GeForce RTX 5060 Ti", 4608, 2572, 2),
        ("NVIDIA GeForce RTX 5070", 6144, 2512, 2),
        ("NVIDIA GeForce RTX 5070 Ti", 8960, 2452, 2),
        ("NVIDIA GeForce RTX 5080", 10752, 2617, 2),
        ("NVIDIA GeForce RTX 5090", 21760, 2407, 2),
        ("NVIDIA A10", 9216, 1695, 4),
        ("NVIDIA A40", 10752, 1740, 4),
        ("NVIDIA L4", 7424, 2040, 4),
        ("NVIDIA L40", 18176, 2490, 2),
        ("NVIDIA L40S", 18176, 2520, 4),
        ("NVIDIA RTX A5000", 8192, 1695, 4),
        ("NVIDIA RTX A6000", 10752, 1800, 4),
        ("NVIDIA RTX 6000 Ada Generation", 18176, 2505, 4),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", 24064, 2617, 4),
        ("NVIDIA A100-SXM4-80GB", 6912, 1410, 16),
        ("NVIDIA A30", 3584, 1440, 16),
    ],
)
def test_rates_follow_from_cores_and_clock(name: str, cores: int, megahertz: int, times: int):
    gpu = find_gpu(name)
    assert gpu is not None
    rate = 2 * cores * megahertz * 1e6
    assert gpu.flops("fp32") == pytest.approx(rate, rel=0.015)
    assert gpu.flops("bf16") == pytest.approx(times * rate, rel=0.015)


@pytest.mark.parametrize(
    ("name", "units", "megahertz", "bf16", "fp32"),
    # Compute units of a device, and products of bfloat16 and float32 matrices that each takes per cycle: AMD's CDNA 2,
    # 3 and 4 whitepapers.
    [
        ("AMD Instinct MI210", 104, 1700, 512, 128),
        ("AMD Instinct MI250X / MI250", 104, 1700, 512, 128),
        ("AMD Instinct MI250X", 110, 1700, 512, 128),
        ("AMD Instinct MI300X", 304, 2100, 1024, 128),
        ("AMD Instinct MI325X", 304, 2100, 1024, 128),
        ("AMD Instinct MI355X", 256, 2400, 2048, 128),
    ],
)
def test_rates_of_amd_follow_from_compute_units_and_clock(name: str, units: int, megahertz: int, bf16: int, fp32: int):
    gpu = find_gpu(name)
    assert gpu is not None
    rate = 2 * units * megahertz * 1e6
    assert gpu.flops("bf16") == pytest.approx(bf16 * rate, rel=0.005)
    assert gpu.flops("fp32") == pytest.approx(fp32 * rate, rel=0.005)


@pytest.mark.parametrize(
    ("name", "bits", "gigabits"),
    # Width of the bus, and Gbit/s of each pin; the same sources.
    [
        ("GeForce RTX 3060", 192, 15), ("GeForce RTX 3060 Ti", 256, 14), ("GeForce RTX 3070", 256, 14),
        ("GeForce RTX 3070 Ti", 256, 19), ("GeForce RTX 3080", 320, 19), ("GeForce RTX 3080 Ti", 384, 19),
        ("GeForce RTX 3090", 384, 19.5), ("GeForce RTX 3090 Ti", 384, 21), ("GeForce RTX 4060", 128, 17),
        ("GeForce RTX 4060 Ti", 128, 18), ("GeForce RTX 4070", 192, 21), ("GeForce RTX 4070 SUPER", 192, 21),
        ("GeForce RTX 4070 Ti", 192, 21), ("GeForce RTX 4070 Ti SUPER", 256, 21), ("GeForce RTX 4080", 256, 22.4),
        ("GeForce RTX 4080 SUPER", 256, 23), ("GeForce RTX 4090", 384, 21), ("GeForce RTX 5060", 128, 28),
        ("GeForce RTX 5060 Ti", 128, 28), ("GeForce RTX 5070", 192, 28), ("GeForce RTX 5070 Ti", 256, 28),
        ("GeForce RTX 5080", 256, 30), ("GeForce RTX 5090", 512, 28), ("A10", 384, 12.5), ("A40", 384, 14.5),
        ("L4", 192, 12.5), ("L40", 384, 18), ("L40S", 384, 18), ("RTX A6000", 384, 16), ("Tesla T4", 256, 10),
        ("RTX 6000 Ada Generation", 384, 20), ("RTX PRO 6000 Blackwell Workstation Edition", 512, 28),
    ],
)  # fmt: skip
def test_rate_of_a_cards_memory_follows_from_its_bus(name: str, bits: int, gigabits: float):
    assert GPUS[name].memory_bytes_per_s == pytest.approx(bits / 8 * gigabits * 1e9, rel=0.003)


def test_gpus_without_bfloat16_have_no_rate_for_it():
    old = {name for name, gpu in GPUS.items() if gpu.flops("bf16") is None}
    assert old == {name for name in GPUS if name.startswith("Tesla")}
    assert all(GPUS[name].flops("bf16-stochastic") is None for name in old)


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("a100", "A100-SXM4-80GB"), ("H100", "H100 80GB HBM3"), ("h200", "H200"), ("b200", "B200"),
        ("NVIDIA H100 NVL", "H100 NVL"), ("rtx-4090", "GeForce RTX 4090"), ("RTX 4090", "GeForce RTX 4090"),
        ("rtx4090", "GeForce RTX 4090"), ("4090", "GeForce RTX 4090"), ("3060ti", "GeForce RTX 3060 Ti"),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", "GeForce RTX 4070 Ti SUPER"), ("t4", "Tesla T4"), ("L40S", "L40S"),
        ("v100", "Tesla V100-SXM2-32GB"), ("a6000", "RTX A6000"), ("MI300X", "AMD Instinct MI300X"),
        ("mi250", "AMD Instinct MI250X / MI250"), ("mi250x", "AMD Instinct MI250X"),
    ],
)  # fmt: skip
def test_people_may_write_a_name_as_they_do(said: str, name: str):
    assert full_name(said) == name


@pytest.mark.parametrize("said", ["", "rtx", "rtx 4", "90", "b100", "gh200", "rtx-4090-laptop", "4e14", "cpu", "super"])
def test_what_is_not_the_name_of_one_gpu_is_not_taken_for_it(said: str):
    assert full_name(said) is None


def test_no_two_gpus_have_one_short_name():
    assert len({full_name(name) for name in GPUS}) == len(GPUS)
    assert set(SHORT_NAMES.values()) <= GPUS.keys()
    assert all(full_name(short) == name for short, name in SHORT_NAMES.items())

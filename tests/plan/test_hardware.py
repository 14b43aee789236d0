"""What the datasheets say, and that no other device is taken for one of theirs."""

import pytest

from puna.plan.hardware import GPUS, SHORT_NAMES, find_gpu


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
    "name", ["NVIDIA H100 80GB HBM3 MIG 1g.10gb", "NVIDIA H100", "NVIDIA GH200 480GB", "NVIDIA GeForce RTX 4090", ""]
)
def test_parts_relatives_and_strangers_are_not_known(name: str):
    assert find_gpu(name) is None


def test_short_names_are_those_of_known_gpus():
    assert set(SHORT_NAMES.values()) <= GPUS.keys()

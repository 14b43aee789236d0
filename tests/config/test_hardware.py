"""What the datasheets say, and that no other device is taken for one of theirs."""

import pytest

from puna.config.hardware import GPUS, SHORT_NAMES, find_gpu


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
    "name", ["NVIDIA H100 80GB HBM3 MIG 1g.10gb", "NVIDIA H100", "NVIDIA GH200 480GB", "NVIDIA GeForce RTX 4090", ""]
)
def test_parts_relatives_and_strangers_are_not_known(name: str):
    assert find_gpu(name) is None


def test_short_names_are_those_of_known_gpus():
    assert set(SHORT_NAMES.values()) <= GPUS.keys()

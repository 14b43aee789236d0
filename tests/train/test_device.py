"""What a device is said to be able to do."""

import pytest
import torch

from puna.config.recipe import EnergyConfig
from puna.core.errors import TrainError
from puna.train import device
from puna.train.device import MEASURED, Device, find_device, matmul_rate

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


def there_is(monkeypatch: pytest.MonkeyPatch, name: str, capability: tuple[int, int] = (8, 0)) -> None:
    """A GPU of this name, as PyTorch would describe it."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: name)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: capability)


def test_matmul_rate_is_what_a_product_takes(monkeypatch: pytest.MonkeyPatch):
    """A clock that says that every product takes two milliseconds."""
    ticks = iter(range(1000))
    monkeypatch.setattr(device.time, "perf_counter", lambda: next(ticks) * 0.002)
    monkeypatch.setattr(device, "_MEASURED_SIZE", 64)
    assert matmul_rate() == pytest.approx(2 * 64**3 / 0.002)


def test_cpu_is_measured_and_its_power_is_an_estimate(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(device, "matmul_rate", lambda *_: 1e11)
    found = find_device("fp32", EnergyConfig(), CPU)
    cores = torch.get_num_threads()
    assert found.torch_device.type == "cpu"
    assert (found.peak_flops, found.peak_source) == (1e11, "measured sgemm")
    assert found.watts == 3.5 * cores
    assert f" {cores} core" in found.watts_source
    assert f"{cores} core" in found.name
    assert ("cores" in found.name) == ("cores" in found.watts_source) == (cores > 1)
    assert found.peak_memory_bytes() > 50 * 2**20


def test_better_of_two_measurements_counts_and_a_datasheet_stays(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(device, "matmul_rate", lambda *_: 2e11)
    busy = Device(torch.device("cpu"), "a processor", 1e11, MEASURED, 7.0, "")
    assert busy.measured_again().peak_flops == 2e11
    assert Device(torch.device("cpu"), "a processor", 3e11, MEASURED, 7.0, "").measured_again().peak_flops == 3e11
    assert Device(torch.device("cpu"), "a GPU", 1e11, "datasheet", 7.0, "").measured_again().peak_flops == 1e11


def test_no_rate_exceeds_a_measured_peak(monkeypatch: pytest.MonkeyPatch):
    """A peak that a run exceeds was measured beside other work; a datasheet's does not change."""
    measured = Device(torch.device("cpu"), "a processor", 1e11, MEASURED, 7.0, "")
    monkeypatch.setattr(device, "matmul_rate", lambda *_: pytest.fail("measured without need"))
    assert measured.at_rate(9e10) == measured
    monkeypatch.setattr(device, "matmul_rate", lambda *_: 3e11)
    assert measured.at_rate(2e11).peak_flops == 3e11
    assert measured.at_rate(4e11).peak_flops == 4e11
    assert measured.with_peak(2e11).peak_flops == 2e11
    of_a_datasheet = Device(torch.device("cpu"), "a GPU", 1e11, "datasheet", 7.0, "")
    assert of_a_datasheet.with_peak(2e11) == of_a_datasheet.at_rate(2e11) == of_a_datasheet


def test_watts_of_the_recipe_win(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(device, "matmul_rate", lambda *_: 1e11)
    found = find_device("fp32", EnergyConfig(device_watts=65.0), CPU)
    assert (found.watts, found.watts_source) == (65.0, "energy.device_watts")


@pytest.mark.parametrize(
    ("name", "precision", "flops", "watts"),
    # NVIDIA's datasheets, dense rates; the paper takes 400 W for its A100-80GB.
    [
        ("NVIDIA A100-SXM4-80GB", "bf16", 312e12, 400.0),
        ("NVIDIA H100 80GB HBM3", "bf16", 989e12, 700.0),
        ("NVIDIA H200", "bf16", 989e12, 700.0),
        ("NVIDIA A100-SXM4-80GB", "fp32", 19.5e12, 400.0),
        ("NVIDIA A100-SXM4-80GB", "bf16-stochastic", 312e12, 400.0),
        ("A100-PCIE-40GB", "bf16", 312e12, 250.0),
        ("NVIDIA H100 PCIe", "bf16", 756e12, 350.0),
        ("NVIDIA H100 NVL", "bf16", 835e12, 400.0),
        ("NVIDIA GeForce RTX 4090", "bf16", 165.2e12, 450.0),
        ("AMD Instinct MI300X", "bf16", 1307.4e12, 750.0),
    ],
)
def test_known_gpu_is_its_datasheet(
    monkeypatch: pytest.MonkeyPatch, name: str, precision: str, flops: float, watts: float
):
    there_is(monkeypatch, name)
    found = find_device(precision, EnergyConfig(), GPU)
    assert (found.peak_flops, found.peak_source, found.watts) == (flops, "datasheet", watts)


@pytest.mark.parametrize("name", ["Some GPU", "NVIDIA H100 80GB HBM3 MIG 1g.10gb"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "bf16-stochastic"])
def test_unknown_gpu_and_a_part_of_a_known_one_are_measured_and_their_power_called_a_guess(
    monkeypatch: pytest.MonkeyPatch, name: str, precision: str
):
    there_is(monkeypatch, name)
    rates = {(GPU, torch.float32): 1e13, (GPU, torch.bfloat16): 5e13}
    monkeypatch.setattr(device, "matmul_rate", lambda *key: rates[key])
    found = find_device(precision, EnergyConfig(), GPU)
    assert (found.peak_flops, found.peak_source) == (1e13 if precision == "fp32" else 5e13, "measured matrix product")
    rates = {key: 2 * rate for key, rate in rates.items()}
    assert found.measured_again().peak_flops == found.at_rate(1.1 * found.peak_flops).peak_flops == 2 * found.peak_flops
    assert (found.with_peak(9e13).peak_flops, found.at_rate(3e14).peak_flops) == (9e13, 3e14)
    assert "guess" in found.watts_source


@pytest.mark.parametrize("name", ["Tesla T4", "NVIDIA GeForce RTX 2080 Ti"])
def test_gpu_without_bfloat16_trains_in_float32_alone(monkeypatch: pytest.MonkeyPatch, name: str):
    there_is(monkeypatch, name, (7, 5))
    monkeypatch.setattr(device, "matmul_rate", lambda *_: 1e13)
    for precision in ("bf16", "bf16-stochastic"):
        with pytest.raises(
            TrainError, match=f"train.precision = {precision}: {name} cannot multiply in bfloat16\n.*fp32"
        ):
            find_device(precision, EnergyConfig(), GPU)
    known = name == "Tesla T4"
    found = find_device("fp32", EnergyConfig(), GPU)
    assert (found.peak_flops, found.watts) == ((8.1e12, 70.0) if known else (1e13, 300.0))

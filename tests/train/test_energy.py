"""The estimate reproduces the paper's own table."""

import pytest
import torch

from puna.config.recipe import EnergyConfig
from puna.train.device import Device
from puna.train.energy import estimate_energy


@pytest.mark.parametrize(
    ("gpu_hours", "megawatt_hours", "tonnes"),
    # Touvron et al. 2023, table 15: A100-80GB at 400 W, PUE 1.1, 0.385 kg CO2eq per kWh; the paper truncates.
    [(82_432, 36, 14), (135_168, 59, 23), (530_432, 233, 90), (1_022_362, 449, 173)],
)
def test_llama_rows_of_the_carbon_table(gpu_hours: int, megawatt_hours: float, tonnes: float):
    a100 = Device(torch.device("cpu"), "A100-80GB", 312e12, "datasheet", 400.0, "datasheet")
    estimate = estimate_energy(gpu_hours * 3600, a100, EnergyConfig())
    assert estimate.kwh / 1000 == pytest.approx(megawatt_hours, abs=1.0)
    assert estimate.kgco2eq / 1000 == pytest.approx(tonnes, abs=0.5)


def test_estimate_grows_with_devices_and_says_where_the_watts_come_from():
    device = Device(torch.device("cpu"), "laptop", 1e11, "measured sgemm", 7.0, "3.5 W for each of 2 cores")
    one, four = (estimate_energy(3600, device, EnergyConfig(), n_devices=n) for n in (1, 4))
    assert four.kwh == pytest.approx(4 * one.kwh)
    assert one.kwh == pytest.approx(0.0077)
    assert one.watts_source == "3.5 W for each of 2 cores"

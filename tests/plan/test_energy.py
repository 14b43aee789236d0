"""The formula reproduces the paper's own table."""

import pytest

from puna.config.recipe import EnergyConfig
from puna.plan.energy import energy_and_carbon


@pytest.mark.parametrize(
    ("gpu_hours", "megawatt_hours", "tonnes"),
    # Touvron et al. 2023, table 15: A100-80GB at 400 W, PUE 1.1, 0.385 kg CO2eq per kWh; the paper truncates.
    [(82_432, 36, 14), (135_168, 59, 23), (530_432, 233, 90), (1_022_362, 449, 173)],
)
def test_llama_rows_of_the_carbon_table(gpu_hours: int, megawatt_hours: float, tonnes: float):
    kilowatt_hours, kilograms = energy_and_carbon(gpu_hours * 3600, 400.0, EnergyConfig())
    assert kilowatt_hours / 1000 == pytest.approx(megawatt_hours, abs=1.0)
    assert kilograms / 1000 == pytest.approx(tonnes, abs=0.5)


def test_the_recipes_own_figures_count():
    config = EnergyConfig(pue=2.0, carbon_intensity=0.1)
    assert energy_and_carbon(3600.0, 500.0, config) == pytest.approx((1.0, 0.1))

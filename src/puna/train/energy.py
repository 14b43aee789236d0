"""The paper's estimate of energy and carbon (LLaMA, section 6): Wh = hours x watts x PUE, then times intensity."""

from typing import Any

from puna.config.recipe import EnergyConfig
from puna.train.device import Device


def estimate_energy(seconds: float, device: Device, config: EnergyConfig, n_devices: int = 1) -> dict[str, Any]:
    """Energy in kWh and emissions in kg CO2eq of `n_devices` under load for `seconds`: an estimate, not a reading."""
    kilowatt_hours = seconds / 3600 * n_devices * device.watts * config.pue / 1000
    return {
        "watts": device.watts,
        "watts_source": device.watts_source,
        "pue": config.pue,
        "carbon_intensity": config.carbon_intensity,
        "kwh": kilowatt_hours,
        "kgco2eq": kilowatt_hours * config.carbon_intensity,
    }

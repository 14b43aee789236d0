"""The estimate of a run's energy and carbon, as its record has it."""

from puna.config.recipe import EnergyConfig
from puna.core.schema.run import Energy
from puna.plan.energy import energy_and_carbon
from puna.train.device import Device


def estimate_energy(seconds: float, device: Device, config: EnergyConfig, n_devices: int = 1) -> Energy:
    """Energy in kWh and emissions in kg CO2eq of `n_devices` under load for `seconds`: an estimate, not a reading."""
    kilowatt_hours, kilograms = energy_and_carbon(seconds * n_devices, device.watts, config)
    return Energy(
        watts=device.watts,
        watts_source=device.watts_source,
        pue=config.pue,
        carbon_intensity=config.carbon_intensity,
        kwh=kilowatt_hours,
        kgco2eq=kilograms,
    )

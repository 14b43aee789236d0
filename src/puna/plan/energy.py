"""The paper's estimate of energy and carbon (LLaMA, section 6): Wh = GPU hours x watts x PUE, then times intensity."""

from puna.config.recipe import EnergyConfig


def energy_and_carbon(device_seconds: float, watts: float, config: EnergyConfig) -> tuple[float, float]:
    """KWh and kg CO2eq of devices that draw `watts` each; seconds are summed over the devices."""
    kilowatt_hours = device_seconds / 3600 * watts * config.pue / 1000
    return kilowatt_hours, kilowatt_hours * config.carbon_intensity

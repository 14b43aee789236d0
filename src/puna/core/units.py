"""Quantities as people write and read them: `1.2T` tokens, 3.4 GiB, 2 h 05 min, 0.4 kWh."""

import re

_COUNT = re.compile(r"([0-9][0-9_]*(?:\.[0-9]+)?)\s*([kMGBT]?)")
_COUNT_SCALE = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "B": 10**9, "T": 10**12}


def parse_count(text: str) -> int:
    """The whole number that `text` means: `4096`, `4_096`, `20k`, `1.5M`, `7B` and `1.2T` are understood.

    Raises:
        ValueError: It is no such number, or no whole one.
    """
    match = _COUNT.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is no count; write a whole number such as 4096, 20k, 1.5M, 7B or 1.2T")
    digits, suffix = match[1].replace("_", ""), match[2]
    whole, _, fraction = digits.partition(".")
    scale = _COUNT_SCALE[suffix]
    number, rest = divmod(int(whole + fraction) * scale, 10 ** len(fraction))
    if rest:
        raise ValueError(f"{text!r} is no whole number")
    return number


def format_count(number: float) -> str:
    """`number` with three significant digits and k, M, B or T: 6738415616 is `6.74B`."""
    for suffix, scale in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(number) >= scale * 0.9995:
            return f"{number / scale:.3g}{suffix}"
    return f"{number:.3g}" if number != int(number) else f"{int(number)}"


def format_bytes(size: float) -> str:
    """`size` bytes with a binary unit: 3650722201 is `3.4 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def format_duration(seconds: float) -> str:
    """`seconds` as people say it: `4.2 s`, `3 min 20 s`, `2 h 05 min`, `21 d 3 h`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    total = round(seconds)
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60} min {total % 60:02d} s"
    if total < 86400:
        return f"{total // 3600} h {total % 3600 // 60:02d} min"
    return f"{total // 86400} d {total % 86400 // 3600} h"


def format_energy(kilowatt_hours: float) -> str:
    """Energy in Wh, kWh or MWh, whichever reads best."""
    if kilowatt_hours < 1:
        return f"{kilowatt_hours * 1000:.3g} Wh"
    return f"{kilowatt_hours:.3g} kWh" if kilowatt_hours < 1000 else f"{kilowatt_hours / 1000:.3g} MWh"


def format_carbon(kilograms: float) -> str:
    """Mass of CO2 equivalent in g, kg or t."""
    if kilograms < 1:
        return f"{kilograms * 1000:.3g} gCO2eq"
    return f"{kilograms:.3g} kgCO2eq" if kilograms < 1000 else f"{kilograms / 1000:.3g} tCO2eq"

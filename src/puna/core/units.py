"""Quantities as people write and read them: `1.2T` tokens, 1 core, 3.4 GiB, 2 h 05 min, 0.4 kWh."""

import re

COUNT_PATTERN = r"^[0-9]+(_[0-9]+)*(\.[0-9]+)?\s*[kMGBT]?$"
"""A regular expression for JSON Schema of what `parse_count` reads; a fraction must still give a whole number."""

_COUNT = re.compile(COUNT_PATTERN)
_COUNT_SCALE = {"k": 10**3, "M": 10**6, "G": 10**9, "B": 10**9, "T": 10**12}
_YEAR_S = 365.25 * 86400
_MOST_DAYS = 731
"""From two years on, a duration is said in years."""
_LONGEST_COUNT = 40
"""Characters at most; Python's own error for numbers of thousands of digits would not help a user."""


def parse_count(text: str) -> int:
    """The whole number that `text` means: `4096`, `4_096`, `20k`, `1.5M`, `7B` and `1.2T` are understood.

    Raises:
        ValueError: It is not such a number, or not a whole one.
    """
    text = text.strip()
    if not _COUNT.fullmatch(text) or not text.isascii() or len(text) > _LONGEST_COUNT:
        raise ValueError(f"{text!r:.60} is not a count; write a whole number such as 4096, 20k, 1.5M, 7B or 1.2T")
    scale = _COUNT_SCALE.get(text[-1], 1)
    digits = text.rstrip("kMGBT").rstrip().replace("_", "")
    whole, _, fraction = digits.partition(".")
    number, rest = divmod(int(whole + fraction) * scale, 10 ** len(fraction))
    if rest:
        raise ValueError(f"{text!r} is not a whole number")
    return number


def format_count(number: float) -> str:
    """The number with three significant digits and k, M, B or T: 6738415616 is `6.74B`."""
    for suffix, scale in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(number) >= scale * 0.9995:
            return f"{_three_digits(number / scale)}{suffix}"
    return f"{number:.3g}" if number != int(number) else f"{int(number)}"


def counted(number: int, noun: str, nouns: str = "") -> str:
    """The number with its noun, or the plural, by default with an s: `1 core`, `0 cores`, `2,048 cores`."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


def format_bytes(size: float) -> str:
    """`size` bytes with a binary unit: 3650722201 is `3.4 GiB`."""
    if abs(size) < 1023.5:
        return f"{size:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if abs(size) < 1023.95:
            return f"{size:.1f} {unit}"
    return f"{size / 1024:.1f} TiB"


def format_duration(seconds: float) -> str:
    """`seconds` as people say it: `4.2 s`, `3 min 20 s`, `2 h 05 min`, `21 d 3 h`, `3.2 years`, `11,238 years`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    total = round(seconds)
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60} min {total % 60:02d} s"
    if total < 86400:
        return f"{total // 3600} h {total % 3600 // 60:02d} min"
    if total < _MOST_DAYS * 86400:
        return f"{total // 86400} d {total % 86400 // 3600} h"
    years = total / _YEAR_S
    return f"{years:.1f} years" if years < 99.95 else f"{years:,.0f} years"


def format_energy(kilowatt_hours: float) -> str:
    """Energy in Wh, kWh or MWh, chosen by its size."""
    if kilowatt_hours < 0.9995:
        return f"{kilowatt_hours * 1000:.3g} Wh"
    return f"{kilowatt_hours:.3g} kWh" if kilowatt_hours < 999.5 else f"{_three_digits(kilowatt_hours / 1000)} MWh"


def format_carbon(kilograms: float) -> str:
    """Mass of CO2 equivalent in g, kg or t."""
    if kilograms < 0.9995:
        return f"{kilograms * 1000:.3g} gCO2eq"
    return f"{kilograms:.3g} kgCO2eq" if kilograms < 999.5 else f"{_three_digits(kilograms / 1000)} tCO2eq"


def _three_digits(number: float) -> str:
    """Three significant digits, without an exponent for large numbers."""
    return f"{number:.3g}" if abs(number) < 999.5 else f"{number:.0f}"

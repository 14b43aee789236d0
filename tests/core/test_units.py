"""Quantities: what is written can be read, what is shown is near the truth."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.core.units import (
    COUNT_PATTERN,
    counted,
    format_bytes,
    format_carbon,
    format_count,
    format_duration,
    format_energy,
    parse_count,
)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0), ("4096", 4096), ("4_096", 4096), ("20k", 20_000), ("1.5M", 1_500_000), ("7B", 7_000_000_000),
        ("7G", 7_000_000_000), ("1.2T", 1_200_000_000_000), (" 20 k ", 20_000), ("0.001k", 1), ("2.0", 2),
    ],
)  # fmt: skip
def test_counts_that_people_write_are_understood(text: str, number: int) -> None:
    assert parse_count(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "", "k", "-1", "1e6", "20K", "1m", "1.M", ".5M", "_1", "1_", "1__0", "4 apples", "0x10", "inf", "nan", "٣",
        "1,000", "9" * 5000,
    ],
)  # fmt: skip
def test_what_is_not_a_count_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a count; write a whole number such as 4096, 20k, 1\.5M, 7B or 1\.2T"):
        parse_count(text)


@pytest.mark.parametrize("text", ["1.5", "0.0001k", "1.2345678k"])
def test_a_count_that_is_not_whole_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a whole number"):
        parse_count(text)


@given(st.text() | st.from_regex(COUNT_PATTERN, fullmatch=True))
def test_any_text_is_a_count_or_a_value_error(text: str) -> None:
    try:
        number = parse_count(text)
    except ValueError:
        return
    assert number >= 0
    assert re.fullmatch(COUNT_PATTERN, text.strip())


@given(st.integers(0, 2**70))
def test_a_plain_number_is_read_as_python_reads_it(number: int) -> None:
    assert parse_count(str(number)) == parse_count(f"{number:_}") == number


@given(st.integers(0, 2**60))
def test_a_shown_count_can_be_read_and_is_right_to_half_a_percent(number: int) -> None:
    shown = format_count(number)
    assert re.fullmatch(COUNT_PATTERN, shown)
    assert math.isclose(parse_count(shown), number, rel_tol=0.005)


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0"), (999, "999"), (999.6, "1k"), (1000, "1k"), (6_738_415_616, "6.74B"), (1_000_000_000_000, "1T"),
        (999_499, "999k"), (999_500, "1M"), (123_456e12, "123456T"), (0.5, "0.5"), (-2500, "-2.5k"),
    ],
)  # fmt: skip
def test_counts_have_three_digits_and_a_letter(number: float, shown: str) -> None:
    assert format_count(number) == shown


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1024**2 - 1, "1.0 MiB"), (3_650_722_201, "3.4 GiB"),
        (1024**4, "1.0 TiB"), (2048 * 1024**4, "2048.0 TiB"),
    ],
)  # fmt: skip
def test_bytes_have_binary_units(size: int, shown: str) -> None:
    assert format_bytes(size) == shown


@given(st.integers(0, 2**50))
def test_shown_bytes_are_right_to_five_percent_and_below_the_next_unit(size: int) -> None:
    number, unit = format_bytes(size).split()
    assert math.isclose(float(number) * 1024 ** ["B", "KiB", "MiB", "GiB", "TiB"].index(unit), size, rel_tol=0.05)
    assert float(number) < 1024 or unit == "TiB"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0.0 s"), (4.2, "4.2 s"), (9.96, "10 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (3599.7, "1 h 00 min"),
        (7500, "2 h 05 min"), (86399.9, "1 d 0 h"), (21 * 86400 + 3 * 3600, "21 d 3 h"),
    ],
)  # fmt: skip
def test_durations_are_as_people_say_them(seconds: float, shown: str) -> None:
    assert format_duration(seconds) == shown


@pytest.mark.parametrize(
    ("days", "shown"),
    [(730, "730 d 0 h"), (731, "2.0 years"), (1461, "4.0 years"), (36_500, "99.9 years"), (4_104_741, "11,238 years")],
)
def test_years_are_said_instead_of_very_many_days(days: int, shown: str) -> None:
    assert format_duration(days * 86400) == shown


@pytest.mark.parametrize(("number", "shown"), [(0, "0 cores"), (1, "1 core"), (2, "2 cores"), (2048, "2,048 cores")])
def test_one_thing_is_not_called_by_its_plural(number: int, shown: str) -> None:
    assert counted(number, "core") == shown
    assert counted(1, "pass", "passes") == "1 pass"
    assert counted(2, "pass", "passes") == "2 passes"


@pytest.mark.parametrize(
    ("kilowatt_hours", "shown"),
    [(0.0042, "4.2 Wh"), (0.9996, "1 kWh"), (36, "36 kWh"), (999.6, "1 MWh"), (2_638_000, "2638 MWh")],
)
def test_energy_has_the_unit_that_reads_best(kilowatt_hours: float, shown: str) -> None:
    assert format_energy(kilowatt_hours) == shown


@pytest.mark.parametrize(
    ("kilograms", "shown"), [(0.012, "12 gCO2eq"), (14, "14 kgCO2eq"), (999.7, "1 tCO2eq"), (1_015_000, "1015 tCO2eq")]
)
def test_carbon_has_the_unit_that_reads_best(kilograms: float, shown: str) -> None:
    assert format_carbon(kilograms) == shown

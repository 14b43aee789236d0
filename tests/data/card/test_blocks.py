"""Figures of a card as people read them."""

from typing import Any

import pytest

from puna.data.card.blocks import change, percent, size, value


def test_shares_bytes_and_changes_are_written_for_people():
    assert (percent(0.1249), percent(1)) == ("12.5 %", "100.0 %")
    assert (size(2048), size(0)) == ("2.0 KiB", "")
    assert (change(2048), change(-2048), change(0)) == ("+2.0 KiB", "-2.0 KiB", "")


@pytest.mark.parametrize(
    ("threshold", "written"),
    [
        (100_000, "100,000"), (0.25, "0.25"), (True, "yes"), (False, "no"), ("", "none"), ("a/{b}", "a/{b}"),
        ([], "none"), (["en", "de"], "en, de"), ({}, "none"), ({"2": 0.2, "3": 0.18}, "2: 0.2, 3: 0.18"),
    ],
)  # fmt: skip
def test_thresholds_of_every_kind_are_written(threshold: Any, written: str):
    assert value(threshold) == written

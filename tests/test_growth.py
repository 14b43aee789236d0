"""The bounds on work that other tests use can fail."""

import os
from pathlib import Path

import pytest
from growth import assert_in_proportion, bytes_touched, calls, exponent


def test_work_that_grows_with_the_square_is_told_from_work_in_proportion() -> None:
    assert_in_proportion(lambda size: sum(range(size)), 400_000)
    with pytest.raises(AssertionError, match="the work grows with the power"):
        assert_in_proportion(lambda size: sum(range(size * size)), 2400)
    assert 1.7 < exponent(lambda size: sum(range(size * size)), 300, enough=2.1) < 2.4


def test_calls_of_functions_in_python_and_in_c_are_counted() -> None:
    def call() -> None:
        for _ in range(500):
            len("")

    assert 500 <= calls(call) < 520


def test_bytes_that_are_read_or_touched_are_counted(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(2_000_000))
    os.truncate(tmp_path / "large", 10**9)
    with (tmp_path / "large").open("rb") as file:
        assert 2_000_000 <= bytes_touched(lambda: file.read(2_000_000)) < 2**25

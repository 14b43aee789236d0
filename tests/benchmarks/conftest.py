"""Fixtures that come from `tests/fixtures`."""

from benchmark_data import benchmark, benchmark_store
from shelf import real

__all__ = ["benchmark", "benchmark_store", "real"]

"""Fixtures that come from `tests/fixtures`."""

from benchmark_data import benchmark, benchmark_store

__all__ = ["benchmark", "benchmark_store"]

"""Fixtures of the tests of evaluation."""

from benchmark_data import benchmark as benchmark
from benchmark_data import benchmark_store as benchmark_store
from benchmark_rows import real_rows as real_rows

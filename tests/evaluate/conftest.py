"""Fixtures of the tests of evaluation."""

from benchmark_rows import real_rows as real_rows

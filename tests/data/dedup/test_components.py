import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puna.data.dedup.components import UP, large_star, lowest_neighbours, small_star, turned
from puna.data.dedup.edges import PAIR, unique_pairs

TOP = 2**64 - 1
nodes = st.integers(0, 25) | st.integers(TOP - 5, TOP) | st.integers(0, 9).map(lambda file: (1 << 63) + (file << 32))
graphs = st.lists(st.tuples(nodes, nodes).filter(lambda edge: edge[0] != edge[1]), max_size=60)


def pairs_from(edges) -> np.ndarray:
    return np.array([(max(edge), min(edge)) for edge in edges], dtype=PAIR)


@settings(max_examples=300)
@given(graphs, st.integers(1, 7))
def test_the_rounds_find_what_union_find_finds(run_rounds, union_find, edges, partitions):
    found, _ = run_rounds(pairs_from(edges), partitions)
    assert found.tolist() == union_find(edges)


@pytest.mark.parametrize(("order", "most"), [("rising", 18), ("random", 14), ("zigzag", 18)])
def test_a_chain_of_100_000_documents_takes_few_rounds(run_rounds, order, most):
    count = 100_000
    numbers = np.arange(count, dtype=np.uint64)
    if order == "random":
        numbers = np.random.default_rng(0).permutation(numbers)
    if order == "zigzag":  # low and high ones in turn
        numbers = np.where(numbers % 2 == 0, numbers // 2, numbers // 2 + np.uint64(count // 2)).astype(np.uint64)
    edges = np.empty(count - 1, dtype=PAIR)
    edges["number"], edges["kept"] = np.maximum(numbers[1:], numbers[:-1]), np.minimum(numbers[1:], numbers[:-1])
    found, rounds = run_rounds(edges, 3)
    assert found["number"].tolist() == list(range(1, count))
    assert not found["kept"].any()
    assert rounds <= most  # log2(100,000) is 16.6; one more sees that nothing changes


@pytest.mark.parametrize(("centre", "rounds"), [(0, 1), (TOP, 2)])
def test_a_star_takes_one_round_or_two(run_rounds, centre, rounds):
    edges = [(centre, leaf) for leaf in range(1, 1000)]
    found, taken = run_rounds(pairs_from(edges), 4)
    lowest = min(1, centre)
    assert found.tolist() == [(node, lowest) for node in sorted({centre, *range(1, 1000)} - {lowest})]
    assert taken == rounds


def test_large_graphs_of_many_components_agree_too(run_rounds, union_find):
    rng = np.random.default_rng(1)
    edges = rng.integers(0, 30_000, (20_000, 2))
    edges = edges[edges[:, 0] != edges[:, 1]].tolist()
    found, rounds = run_rounds(pairs_from(edges), 5)
    assert found.tolist() == union_find(edges)
    assert rounds <= 8


def test_no_edges_are_settled_at_once(run_rounds):
    found, rounds = run_rounds(np.empty(0, dtype=PAIR), 2)
    assert (len(found), rounds) == (0, 1)


@given(graphs)
def test_a_small_star_joins_all_lower_neighbours_to_the_lowest(edges):
    lower = {}
    for edge in edges:
        lower.setdefault(max(edge), set()).add(min(edge))
    expected = {(node, min(below)) for node, below in lower.items()}
    expected |= {(one, min(below)) for below in lower.values() for one in below if one != min(below)}
    assert small_star(pairs_from(edges)).tolist() == sorted(expected)


@given(graphs)
def test_a_large_star_joins_all_higher_neighbours_to_the_lowest(edges):
    neighbours = {}
    for one, other in edges:
        neighbours.setdefault(one, set()).add(other)
        neighbours.setdefault(other, set()).add(one)
    expected = {
        (above, min(around | {node})) for node, around in neighbours.items() for above in around if above > node
    }
    lowest, single = lowest_neighbours(pairs_from(edges))
    assert lowest.tolist() == [
        (node, min(neighbours[node])) for node in sorted(neighbours) if min(neighbours[node]) < node
    ]
    assert single == all(sum(other < node for other in around) < 2 for node, around in neighbours.items())
    joined, alone = large_star(lowest, turned(pairs_from(edges)))
    assert unique_pairs(joined).tolist() == sorted(expected)
    assert alone == all(min(around) > node or max(around) < node for node, around in neighbours.items())


def test_turned_rows_are_partitioned_by_the_lower_document():
    rows = turned(np.array([(9, 1)], dtype=PAIR))
    assert rows.dtype == UP
    assert rows.tolist() == [(1, 9)]


def test_memory_is_as_stated(peak_bytes):
    rng = np.random.default_rng(0)
    pairs = pairs_from(rng.integers(0, 100_000, (200_000, 2)).tolist())
    assert peak_bytes(lambda: small_star(pairs)) < 120 * len(pairs)
    assert peak_bytes(lambda: lowest_neighbours(pairs)) < 64 * len(pairs)
    lowest, up = lowest_neighbours(pairs)[0], turned(pairs)
    assert peak_bytes(lambda: large_star(lowest, up)) < 50 * len(up)

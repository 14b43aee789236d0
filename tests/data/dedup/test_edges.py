from collections import defaultdict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from puna.data.dedup.edges import BAND, PAIR, bucket_edges, group_starts, pairs_of, unique_pairs

number = st.integers(0, 9) | st.integers(2**64 - 9, 2**64 - 1)


@given(st.lists(st.tuples(st.integers(0, 5) | st.just(2**64 - 1), number), max_size=40), st.randoms())
def test_each_document_is_joined_to_the_lowest_of_each_bucket_whatever_the_order(rows, random):
    buckets = defaultdict(set)
    for key, document in rows:
        buckets[key].add(document)
    expected = {(one, min(bucket)) for bucket in buckets.values() for one in bucket if one != min(bucket)}
    for _ in range(2):
        assert bucket_edges(np.array(rows, dtype=BAND)).tolist() == sorted(expected)
        random.shuffle(rows)


def test_memory_is_as_stated(peak_bytes):
    rng = np.random.default_rng(0)
    alone, alike = np.empty(200_000, dtype=BAND), np.empty(200_000, dtype=BAND)
    for rows, keys in ((alone, 2**63), (alike, 50_000)):
        rows["key"], rows["number"] = rng.integers(0, keys, len(rows), dtype=np.uint64), np.arange(len(rows))
    assert peak_bytes(lambda: bucket_edges(alone)) < 48 * len(alone)
    assert peak_bytes(lambda: bucket_edges(alike)) < (48 + 88) * len(alike)


@given(st.lists(st.tuples(number, number), max_size=30))
def test_pairs_are_sorted_and_unique(pairs):
    rows = np.array(pairs, dtype=PAIR)
    assert unique_pairs(rows).tolist() == sorted(set(pairs))
    assert unique_pairs(pairs_of(rows["number"], rows["kept"])).dtype == PAIR


@given(st.lists(number, max_size=30).map(sorted))
def test_groups_begin_where_values_change(values):
    starts = group_starts(np.array(values, dtype=np.uint64)).tolist()
    assert starts == [at for at, value in enumerate(values) if at == 0 or values[at - 1] != value]

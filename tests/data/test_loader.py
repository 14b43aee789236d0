import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from puna.core.errors import DataError
from puna.data.loader import Loader
from puna.data.mixture import BLOCK

CONTEXT = 8


@pytest.fixture
def shards(write_tokens):
    """Two sources whose token ids tell where they stand."""
    rng = np.random.default_rng(0)
    made = {}
    for name, first in (("prose", 10), ("code", 20000)):
        ids = iter(range(first, 60000))
        documents = [[next(ids) for _ in range(int(rng.integers(1, 60)))] for _ in range(40)]
        made[name] = write_tokens(documents, name=name, shard_tokens=150)
    return made


@pytest.fixture
def loader(shards) -> Loader:
    return Loader(shards, {"prose": 3.0, "code": 1.0}, CONTEXT, seed=4)


def _chunk_numbers(shards, rows: np.ndarray) -> list[tuple[str, int]]:
    """Where each row stands, by looking for it in all the tokens."""
    known = {}
    for name, part in shards.items():
        stream = np.asarray(part.read(0, part.tokens), dtype=np.int64)
        for chunk in range((part.tokens - 1) // CONTEXT):
            known[stream[chunk * CONTEXT :][: CONTEXT + 1].tobytes()] = (name, chunk)
    return [known[row.tobytes()] for row in rows]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
@given(first=st.sampled_from([0, 17, BLOCK - 20]), cuts=st.lists(st.integers(0, 40), max_size=6))
def test_any_partition_of_the_batches_gives_the_same_sequences(loader: Loader, first: int, cuts: list[int]):
    whole = loader.batch(first, 40)
    edges = [0, *sorted(cuts), 40]
    parts = [loader.batch(first + start, end - start) for start, end in pairwise(edges)]
    assert whole.shape == (40, CONTEXT + 1)
    assert np.array_equal(np.concatenate(parts), whole)


def test_another_process_reads_the_same_sequences(shards, loader: Loader):
    loader.batch(3 * BLOCK, 4)
    other = Loader(shards, {"prose": 3.0, "code": 1.0}, CONTEXT, seed=4)
    assert np.array_equal(other.batch(100, 50), loader.batch(100, 50))


def test_each_epoch_visits_each_chunk_once_in_an_order_of_its_own(shards):
    loader = Loader({"prose": shards["prose"]}, {"prose": 1.0}, CONTEXT, seed=1)
    n = loader.chunks["prose"]
    epochs = [_chunk_numbers(shards, loader.batch(epoch * n, n)) for epoch in range(3)]
    for epoch in epochs:
        assert sorted(epoch) == [("prose", chunk) for chunk in range(n)]
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_another_seed_gives_another_order(shards):
    part = {"prose": shards["prose"]}
    first, second = (Loader(part, {"prose": 1.0}, CONTEXT, seed).batch(0, 50) for seed in (1, 2))
    assert not np.array_equal(first, second)


def test_a_source_is_read_in_the_same_order_whatever_is_mixed_in(shards, loader: Loader):
    mixed = _chunk_numbers(shards, loader.batch(0, 2000))
    for name, part in shards.items():
        alone = _chunk_numbers(shards, Loader({name: part}, {name: 1.0}, CONTEXT, seed=4).batch(0, 2000))
        mine = [place for place in mixed if place[0] == name]
        assert len(mine) > 400
        assert mine == alone[: len(mine)]


def test_every_token_but_the_first_is_a_target_once_an_epoch(shards):
    part = shards["code"]
    loader = Loader({"code": part}, {"code": 1.0}, CONTEXT, seed=0)
    targets = loader.batch(0, loader.chunks["code"])[:, 1:].flatten()
    expected = part.read(1, loader.chunks["code"] * CONTEXT)
    assert part.tokens - 1 - len(expected) < CONTEXT
    assert np.array_equal(np.sort(targets), np.sort(expected))


def test_trace_names_the_documents_that_a_sequence_is_made_of(shards, loader: Loader):
    for sequence in (*range(200), BLOCK + 3):
        (row,) = loader.batch(sequence, 1)
        rebuilt = []
        for span in loader.trace(sequence):
            number = int(span.document["id"].removesuffix(".txt"))
            assert span.document["origin"] == f"shelf: {number}.txt"
            rebuilt += _document(shards[span.source], number)[span.first : span.first + span.count]
        assert rebuilt == row.tolist()


def _document(shards, number: int) -> list[int]:
    """The tokens of a document, by counting <s> from the start."""
    stream = np.asarray(shards.read(0, shards.tokens), dtype=np.int64)
    starts = np.append(np.flatnonzero(stream == 1), len(stream))
    return stream[starts[number] : starts[number + 1]].tolist()


def test_the_fingerprint_changes_with_all_that_decides_the_order(shards, write_tokens):
    def fingerprint(shares=(3.0, 1.0), context=CONTEXT, seed=4, parts=shards):
        return Loader(parts, dict(zip(parts, shares, strict=True)), context, seed).fingerprint

    reference = fingerprint()
    assert fingerprint() == reference
    other = {"prose": shards["prose"], "code": write_tokens([list(range(20000, 20099))], name="code")}
    changed = [fingerprint((2.0, 1.0)), fingerprint(context=9), fingerprint(seed=5), fingerprint(parts=other)]
    assert len({reference, *changed}) == 5


def test_a_source_shorter_than_one_sequence_is_refused(write_tokens):
    shards = {"prose": write_tokens([[5] * 6])}
    with pytest.raises(DataError, match=r"source 'prose' has 8 tokens, but .*context = 8 needs 9"):
        Loader(shards, {"prose": 1.0}, CONTEXT, seed=0)
    assert Loader({"prose": write_tokens([[5] * 7])}, {"prose": 1.0}, CONTEXT, seed=0).batch(0, 3).shape == (3, 9)


def test_a_source_of_a_single_chunk_is_repeated(write_tokens):
    loader = Loader({"prose": write_tokens([list(range(10, 18))])}, {"prose": 1.0}, CONTEXT, seed=0)
    assert np.array_equal(loader.batch(BLOCK - 2, 4), np.tile([1, *range(10, 18)], (4, 1)))


def test_reading_does_not_hold_the_data_in_memory(write_tokens):
    shards = {"prose": write_tokens([[7] * 100_000] * 100, shard_tokens=2_000_000)}
    assert shards["prose"].tokens * 2 > 20_000_000
    tracemalloc.start()
    try:
        loader = Loader(shards, {"prose": 1.0}, 2048, seed=0)
        for first in range(0, 4000, 16):
            loader.batch(first, 16)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8_000_000

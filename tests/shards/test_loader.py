import hashlib
import re
import resource
import sys
import tracemalloc
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from puna.core.errors import DataError
from puna.shards.loader import Loader
from puna.shards.mixture import BLOCK

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
def loader(shards, mixed) -> Loader:
    return Loader(shards, mixed({"prose": 3.0, "code": 1.0}, seed=4))


def _chunk_numbers(shards, rows: np.ndarray) -> list[tuple[str, int]]:
    """Where each row stands, by looking for it in all the tokens."""
    known = {}
    for name, part in shards.items():
        stream = np.asarray(part.read(0, part.tokens), dtype=np.int64)
        for chunk in range((part.tokens - 1) // CONTEXT):
            known[stream[chunk * CONTEXT :][: CONTEXT + 1].tobytes()] = (name, chunk)
    return [known[row.tobytes()] for row in rows]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=30)
@given(first=st.sampled_from([0, 17, BLOCK - 20]), cuts=st.lists(st.integers(0, 40), max_size=6))
def test_any_partition_of_the_batches_gives_the_same_sequences(loader: Loader, first: int, cuts: list[int]):
    whole = loader.batch(first, 40)
    edges = [0, *sorted(cuts), 40]
    parts = [loader.batch(first + start, end - start) for start, end in pairwise(edges)]
    assert whole.shape == (40, CONTEXT + 1)
    assert np.array_equal(np.concatenate(parts), whole)


def test_another_process_reads_the_same_sequences(shards, mixed, loader: Loader):
    loader.batch(3 * BLOCK, 4)
    other = Loader(shards, mixed({"prose": 3.0, "code": 1.0}, seed=4))
    assert np.array_equal(other.batch(100, 50), loader.batch(100, 50))


def test_each_epoch_visits_each_chunk_once_in_an_order_of_its_own(shards, mixed):
    loader = Loader(shards, mixed({"prose": 1.0}, seed=1))
    n = loader.chunks["prose"]
    epochs = [_chunk_numbers(shards, loader.batch(epoch * n, n)) for epoch in range(3)]
    for epoch in epochs:
        assert sorted(epoch) == [("prose", chunk) for chunk in range(n)]
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_another_seed_gives_another_order(shards, mixed):
    first, second = (Loader(shards, mixed({"prose": 1.0}, seed=seed)).batch(0, 50) for seed in (1, 2))
    assert not np.array_equal(first, second)


def test_a_source_is_read_in_the_same_order_whatever_is_mixed_in(shards, mixed, loader: Loader):
    together = _chunk_numbers(shards, loader.batch(0, 2000))
    for name in shards:
        alone = _chunk_numbers(shards, Loader(shards, mixed({name: 1.0}, seed=4)).batch(0, 2000))
        mine = [place for place in together if place[0] == name]
        assert len(mine) > 400
        assert mine == alone[: len(mine)]


def test_every_token_but_the_first_is_a_target_once_an_epoch(shards, mixed):
    part = shards["code"]
    loader = Loader(shards, mixed({"code": 1.0}))
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


def test_the_fingerprint_changes_with_all_that_decides_the_order(shards, write_tokens, mixed):
    def fingerprint(shares=(3.0, 1.0), context=CONTEXT, seed=4, parts=shards, stages=()):
        recipe = mixed(dict(zip(parts, shares, strict=True)), context=context, seed=seed, stages=stages)
        return Loader(parts, recipe).fingerprint

    reference = fingerprint()
    assert fingerprint() == reference
    other = {"prose": shards["prose"], "code": write_tokens([list(range(20000, 20099))], name="code")}
    changed = [fingerprint((2.0, 1.0)), fingerprint(context=9), fingerprint(seed=5), fingerprint(parts=other)]
    later = ([(7, {"code": 1.0})], [(8, {"code": 1.0})], [(7, {"code": 1.0, "prose": 1.0})])
    changed += [fingerprint(stages=stages) for stages in later]
    assert len({reference, *changed}) == 8


def test_a_source_shorter_than_one_sequence_is_refused(write_tokens, mixed):
    shards = {"prose": write_tokens([[5] * 6])}
    with pytest.raises(DataError, match=r"source 'prose' has 8 tokens, but .*context = 8 needs 9"):
        Loader(shards, mixed({"prose": 1.0}))
    assert Loader({"prose": write_tokens([[5] * 7])}, mixed({"prose": 1.0})).batch(0, 3).shape == (3, 9)


def test_sources_of_different_tokenizers_are_refused(write_tokens, mixed):
    shards = {"prose": write_tokens([[5] * 9]), "code": write_tokens([[5] * 9], name="code", tokenizer_sha256="b" * 64)}
    with pytest.raises(DataError, match="sources 'prose' and 'code' were written with different tokenizers"):
        Loader(shards, mixed({"prose": 1.0, "code": 1.0}))
    shards["books"] = write_tokens([[5] * 9], name="books", tokenizer_sha256="c" * 64)
    with pytest.raises(DataError, match="sources 'prose' and 'code' were written with different tokenizers"):
        Loader(shards, mixed({"prose": 1.0, "code": 1.0, "books": 1.0}))


def test_a_source_of_a_single_chunk_is_repeated(write_tokens, mixed):
    loader = Loader({"prose": write_tokens([list(range(10, 18))])}, mixed({"prose": 1.0}))
    assert np.array_equal(loader.batch(BLOCK - 2, 4), np.tile([1, *range(10, 18)], (4, 1)))


def test_the_order_without_stages_is_the_one_that_it_always_was(loader: Loader):
    """Golden values: runs that were begun must go on with the same sequences."""
    assert loader.fingerprint == "9ea4149c5163c61f6973722d102d5d6fdef6ddadec281b5db0975a864831898c"
    digest = hashlib.sha256(loader.batch(BLOCK - 500, 1000).tobytes()).hexdigest()
    assert digest == "b082bf49a86418da214f211a393d8e35d9cf7cd3c0f26eb55e3e6d37a4f6b1c1"


def test_labels_name_the_source_of_each_sequence(shards, loader: Loader):
    assert loader.names == ["prose", "code"]
    for first in (0, BLOCK - 30):
        places = _chunk_numbers(shards, loader.batch(first, 60))
        assert [loader.names[label] for label in loader.labels(first, 60)] == [name for name, _ in places]


@pytest.fixture
def staged(shards, mixed) -> Loader:
    """Stages that begin within blocks; code rests in the second one."""
    later = [(500, {"prose": 1.0}), (800, {"code": 2.0, "prose": 1.0})]
    return Loader(shards, mixed({"prose": 3.0, "code": 1.0}, seed=4, stages=later))


def test_sources_are_read_on_in_their_own_order_over_stages(shards, mixed, loader: Loader, staged: Loader):
    together = _chunk_numbers(shards, staged.batch(0, 2000))
    assert together[:500] == _chunk_numbers(shards, loader.batch(0, 500))
    assert {name for name, _ in together[500:800]} == {"prose"}
    for name in shards:
        alone = _chunk_numbers(shards, Loader(shards, mixed({name: 1.0}, seed=4)).batch(0, 2000))
        mine = [place for place in together if place[0] == name]
        assert len(mine) > 700
        assert mine == alone[: len(mine)]


def test_any_partition_gives_the_same_sequences_over_stages(staged: Loader):
    whole = staged.batch(490, 320)
    assert np.array_equal(np.concatenate([staged.batch(first, 5) for first in range(490, 810, 5)]), whole)


def test_counts_and_epochs_are_those_of_the_sequences(shards, staged: Loader):
    places = _chunk_numbers(shards, staged.batch(0, 1200))
    for sequences in (0, 1, 499, 500, 501, 800, 1200):
        seen = Counter(name for name, _ in places[:sequences])
        assert staged.counts(sequences) == {"prose": seen["prose"], "code": seen["code"]}
        epochs = staged.epochs(sequences)
        assert epochs["code"] == seen["code"] / ((shards["code"].tokens - 1) // CONTEXT)


def test_a_run_that_reads_a_source_too_often_is_refused_before_it_does(shards, staged: Loader):
    chunks = staged.chunks["code"]
    enough = next(n for n in range(10**6) if staged.counts(n)["code"] == 2 * chunks)
    staged.check_epochs(enough, {"code": 2.0, "prose": 99.0})
    too_many = next(n for n in range(enough, 10**6) if staged.counts(n)["code"] > 2 * chunks)
    sentence = rf"source 'code': the run would read its {shards['code'].tokens} tokens 2\.0\d+ times, but .*code = 2$"
    with pytest.raises(DataError, match="source 'code'") as error:
        staged.check_epochs(too_many, {"prose": 99.0, "code": 2.0})
    assert re.search(sentence, error.value.message)
    assert "lower train.tokens or the share mixture.code" in error.value.hint
    staged.check_epochs(too_many, {})


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_reading_does_not_hold_the_data_in_memory(write_tokens, mixed):
    shards = {"prose": write_tokens([[7] * 100_000] * 100, shard_tokens=2_000_000)}
    assert shards["prose"].tokens * 2 > 20_000_000
    loader = Loader(shards, mixed({"prose": 1.0}, context=2048))
    loader.batch(0, 16)
    resident = _resident_bytes()
    tracemalloc.start()
    try:
        for first in range(0, 6000, 16):
            loader.batch(first, 16)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8_000_000
    # Pages of a mapped file would count here; the mapping of 20 MB would show.
    assert _resident_bytes() - resident < 8_000_000


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

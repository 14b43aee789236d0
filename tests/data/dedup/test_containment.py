import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puna.data.dedup import containment
from puna.data.dedup.containment import FEWEST, SHARED, SHINGLE, contained, sampled_shingles, shared_shingles
from puna.data.dedup.minhash import shingles, text_words
from puna.data.text.words import normalised_words

TRAINING = 1 << 63


def nothing_gone(numbers: np.ndarray) -> np.ndarray:
    return np.zeros(len(numbers), dtype=bool)


def rows_of(samples: dict[int, np.ndarray]) -> np.ndarray:
    rows = [(key, number, len(keys)) for number, keys in samples.items() for key in keys.tolist()]
    return np.array(rows, dtype=SHINGLE)


def shared_rows(rows: np.ndarray, partitions: int, **more: int) -> tuple[np.ndarray, int]:
    found, left_out = [np.empty(0, dtype=SHARED)], 0
    for partition in range(partitions):
        blocks, count = shared_shingles(rows[rows["key"] % partitions == partition], **more)
        found += blocks
        left_out += count
    return np.concatenate(found), left_out


def find(samples: dict[int, np.ndarray], threshold: float, partitions: int = 1, gone: Callable = nothing_gone) -> list:
    shared, _ = shared_rows(rows_of(samples), partitions)
    parts = [shared[shared["number"] % partitions == partition] for partition in range(partitions)]
    return sorted(pair for part in parts for pair in contained(part, threshold, gone).tolist())


def slowly(samples: dict[int, set[int]], threshold: float, gone: set[int]) -> list[tuple[int, int]]:
    def rank(number: int) -> tuple[bool, int, int]:
        return number >= TRAINING, -len(samples[number]), number

    found = []
    for number, keys in samples.items():
        over = [
            other
            for other, others in samples.items()
            if rank(other) < rank(number) and not {number, other} & gone and keys & others
            if len(keys & others) / min(len(keys), len(others)) >= threshold
        ]
        if over:
            found.append((number, min(over, key=rank)))
    return sorted(found)


numbers = st.integers(0, 3) | st.integers(TRAINING, TRAINING + 6)
sets = st.dictionaries(numbers, st.sets(st.integers(0, 12), min_size=1), max_size=8)


@settings(max_examples=200)
@given(sets, st.sampled_from([0.5, 0.7, 0.75, 1.0]), st.integers(1, 3), st.sets(numbers, max_size=2), st.integers(1, 5))
def test_what_goes_is_what_the_slow_way_says(samples, threshold, partitions, gone, block):
    arrays = {number: np.array(sorted(keys), dtype=np.uint64) for number, keys in samples.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(containment, "_BLOCK_PAIRS", block)
        among = lambda values: np.isin(values, np.array(sorted(gone), dtype=np.uint64))  # noqa: E731
        assert find(arrays, threshold, partitions, among) == slowly(samples, threshold, gone)


def test_the_volumes_go_and_the_collected_works_stay():
    works = np.arange(300, dtype=np.uint64)
    volumes = {TRAINING + 1: works[:100], TRAINING + 2: works[100:200], TRAINING + 3: works[200:]}
    found = find({**volumes, TRAINING + 9: works}, 0.9)
    assert found == [(TRAINING + number, TRAINING + 9) for number in (1, 2, 3)]


def test_held_out_text_stays_even_if_a_training_book_holds_it():
    works = np.arange(300, dtype=np.uint64)
    assert find({5: works[:100], TRAINING: works}, 0.9) == [(TRAINING, 5)]


def test_a_phrase_in_too_many_documents_is_left_out_and_counted():
    rows = rows_of({number: np.array([7, 1000 + number], dtype=np.uint64) for number in range(12)})
    pairs, left_out = shared_rows(rows, 1, too_many=12)
    assert (len(pairs), left_out) == (66, 0)
    pairs, left_out = shared_rows(rows, 1, too_many=11)
    assert (len(pairs), left_out) == (0, 1)


def test_a_document_with_few_sampled_shingles_is_not_compared():
    words = " ".join(f"w{number}" for number in range(FEWEST + 4))
    assert len(sampled_shingles(words, 5, 1)) == FEWEST
    assert len(sampled_shingles(words.rpartition(" ")[0], 5, 1)) == 0


def test_a_sample_is_of_the_distinct_shingles_and_the_same_wherever_they_stand(speeches):
    text = " ".join(speeches[:20])
    whole = np.unique(shingles(text_words(text), 5))
    sample = sampled_shingles(text, 5, 16)
    assert sample.tolist() == [value for value in whole.tolist() if value % 16 == 0]
    assert abs(len(sample) / len(whole) * 16 - 1) < 4 * np.sqrt(16 / len(whole))
    assert np.isin(sampled_shingles(text[: len(text) // 2], 5, 16)[:-1], sample).mean() > 0.999


def test_the_estimate_is_right_on_average_and_errs_as_theory_says():
    rng = np.random.default_rng(0)
    pairs, size, sample = 600, 4000, 16
    for share in (0.8, 0.9):
        estimates, counts = [], []
        for _ in range(pairs):
            words = rng.integers(0, 2**64, size, dtype=np.uint64)
            hashes = shingles(words, 1)
            mine = hashes[hashes % np.uint64(sample) == 0]
            there = set(hashes[: int(share * size)].tolist())
            estimates.append(sum(value in there for value in mine.tolist()) / len(mine))
            counts.append(len(mine))
        expected = np.sqrt(share * (1 - share) / np.mean(counts))
        assert abs(np.mean(estimates) - share) < 4 * expected / np.sqrt(pairs)
        assert abs(np.std(estimates) / expected - 1) < 0.12


def ngrams(tokens: list[str], known: dict[str, list[str]]) -> set[tuple[str, ...]]:
    """The 5-grams of normalised words."""
    words = [word for token in tokens for word in (known[token] if token in known else normalised_words(token))]
    return {tuple(words[at : at + 5]) for at in range(len(words) - 4)}


def test_overlapping_parts_of_a_real_book_are_judged_as_exact_containment_judges(real):
    text = gzip.decompress(Path(real("books/moby_dick.txt.gz")).read_bytes()).decode()
    words = text.split()[:60_000]
    parts = {TRAINING + 100: words}  # which holds the next ones but for what follows its end
    for number, beyond in enumerate((0, 500, 1500, 2500, 4000, 8000), start=1):
        tail = [f"{word}{number}" for word in words[:beyond]]
        parts[TRAINING + number] = words[5000 * number : 5000 * number + 20_000 - beyond] + tail
    samples = {number: sampled_shingles(" ".join(part), 5, 16) for number, part in parts.items()}
    found = dict(find(samples, 0.9, partitions=3))
    known: dict[str, list[str]] = {token: normalised_words(token) for token in set(words)}
    whole = ngrams(words, known)
    shares = {}
    for number, part in parts.items():
        mine = ngrams(part, known)
        shares[number] = len(mine & whole) / len(mine)
    for number, share in shares.items():
        print(f"{number - TRAINING}: exact {share:.3f}, {'goes' if number in found else 'stays'}")
        if number != TRAINING + 100:
            assert abs(share - 0.9) > 0.015, "too near to the threshold for a test"
            assert (number in found) == (share >= 0.9)
    assert TRAINING + 100 not in found
    assert sorted(shares.values())[0] < 0.7


def test_no_speech_holds_another(speeches):
    """Annual messages share phrases, but none is a part of another."""
    texts = sorted(speeches, key=len)[-60:]
    samples = {TRAINING + number: sampled_shingles(text, 5, 16) for number, text in enumerate(texts)}
    shared, _ = shared_rows(rows_of(samples), 2)
    assert len(shared) > 1000
    assert find(samples, 0.9) == []


def test_memory_is_as_stated(peak_bytes):
    rng = np.random.default_rng(0)
    rows = np.empty(200_000, dtype=SHINGLE)
    rows["key"], rows["number"], rows["count"] = rng.integers(0, 2**63, len(rows)), np.arange(len(rows)), 9
    assert peak_bytes(lambda: [*shared_shingles(rows)[0]]) < 80 * len(rows)
    crowd = rows[:1000].copy()
    crowd["key"] = 7
    crowd = np.concatenate([crowd] * 4)
    crowd["key"] = np.repeat(np.arange(4), 1000)
    assert 100e6 < peak_bytes(lambda: [len(block) for block in shared_shingles(crowd)[0]]) < 250e6
    pairs = np.zeros(200_000, dtype=SHARED)
    pairs["number"], pairs["shared"], pairs["count"], pairs["kept_count"] = np.arange(len(pairs)), 1, 1, 1
    assert peak_bytes(lambda: contained(pairs, 0.9, nothing_gone)) < 120 * len(pairs)

"""How like members of a group are to the one that stays: sketches against exact Jaccard, groups against a slow way."""

import numpy as np
import pytest

from puna.data.dedup.edges import PAIR
from puna.data.dedup.minhash import signature
from puna.data.dedup.similar import (
    Settled,
    member_type,
    members_of,
    places,
    settle,
    similarity,
    sketch_type,
)

PLACES = 112


def text(first: int, words: int = 60) -> str:
    """A window of a long row of different words; windows that begin near each other share most of their 5-grams."""
    return " ".join(f"w{number}" for number in range(first, first + words))


def jaccard(one: int, other: int, words: int = 60) -> float:
    shared = max(words - 4 - abs(one - other), 0)
    return shared / (2 * (words - 4) - shared)


def sketches(firsts: list[int]) -> np.ndarray:
    rows = np.empty(len(firsts), dtype=sketch_type(PLACES))
    for row, first in zip(rows, firsts, strict=True):
        row["number"], row["sketch"] = first, signature(text(first), 5, PLACES) & np.uint32(255)
    return rows


def test_a_sketch_estimates_the_jaccard_similarity_without_bias():
    base = sketches([0])["sketch"][0]
    for shift in (0, 3, 10, 25, 100):
        starts = range(1000, 9000, 200)
        pairs = [(sketches([at])["sketch"][0], sketches([at + shift])["sketch"][0]) for at in starts]
        found = similarity(np.array([one for one, _ in pairs]), np.array([other for _, other in pairs]))
        error = 4 * (jaccard(0, shift) * (1 - jaccard(0, shift)) / PLACES / len(pairs)) ** 0.5 + 0.004
        assert found.mean() == pytest.approx(jaccard(0, shift), abs=error)
        assert similarity(np.array([pairs[0][0]]), base).shape == (1,)


def test_a_sketch_has_enough_places_whatever_the_bands_are():
    assert [places(hashes) for hashes in (1, 64, 112, 128, 10_000)] == [64, 64, 112, 128, 128]


def settled(groups: list[list[int]], least: float) -> Settled:
    """What becomes of groups of windows, given in any order; the lowest of each stays."""
    pairs = np.array([(n, min(group)) for group in groups for n in group if n != min(group)], dtype=PAIR)
    every = sketches([number for group in groups for number in group][::-1])
    members = members_of(pairs[::-1], every)
    kept = every[np.isin(every["number"], pairs["kept"])]
    return settle(members, kept, least)


CHAIN = [*range(0, 400, 4)]


def test_in_a_chain_the_last_ones_have_nothing_in_common_with_the_one_that_stays():
    found = settled([CHAIN, [1000, 1001, 1002], [2000, 2001]], 0.0)
    assert found.kept.tolist() == [0, 1000, 2000]
    assert found.sizes.tolist() == [100, 3, 2]
    assert sorted(found.pairs.tolist()) == [*((n, 0) for n in CHAIN[1:]), (1001, 1000), (1002, 1000), (2001, 2000)]
    assert found.least[0] == 0
    assert found.least[1] > 0.8
    assert (found.like > 0.5).sum() < 9
    assert (found.stay.size, found.unchecked) == (0, 0)


@pytest.mark.parametrize("least", [0.2, 0.5, 0.7, 0.99])
def test_each_member_that_goes_is_like_the_one_that_stays_and_no_two_that_stay_are_alike(least: float):
    found = settled([CHAIN, [1000, 1001, 1002]], least)
    gone = dict(found.pairs.tolist())
    every = {int(row["number"]): row["sketch"] for row in sketches([*CHAIN, 1000, 1001, 1002])}
    stay: list[int] = []
    for number in sorted(every):  # the slow way: in order, each goes for the first one that stays and is like it
        group = [other for other in stay if (other >= 1000) == (number >= 1000)]
        like = [other for other in group if similarity(every[number][None], every[other])[0] >= least]
        assert gone.get(number) == (like[0] if like else None)
        stay += [] if like else [number]
    assert len(found.stay) == len([n for n in stay if n not in (0, 1000)])
    assert found.unchecked == 0


def test_a_group_of_unlike_documents_takes_a_bounded_time_and_the_rest_stays(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("puna.data.dedup.similar.MOST_STAY", 5)
    found = settled([[*range(0, 3000, 100)]], 0.5)
    assert found.pairs.size == 0
    assert (found.stay.tolist(), found.unchecked) == ([0] * 29, 24)


def test_nothing_to_compare_is_nothing_found():
    found = settle(np.empty(0, dtype=member_type(PLACES)), np.empty(0, dtype=sketch_type(PLACES)), 0.5)
    assert [len(part) for part in found[:-1]] == [0] * 7
    assert members_of(np.empty(0, dtype=PAIR), np.empty(0, dtype=sketch_type(PLACES))).size == 0

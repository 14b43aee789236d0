import hashlib
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.data.dedup.exact import EXACT, duplicates, text_key
from puna.data.dedup.minhash import signature
from puna.data.models.ngram_table import hashes_of

numbers = st.builds(
    lambda training, source, record: training << 63 | source << 56 | record,
    st.integers(0, 1), st.sampled_from([0, 1, 127]), st.integers(0, 5),
)  # fmt: skip


@pytest.mark.parametrize("within", [False, True])
@given(
    rows=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), numbers), unique_by=lambda row: row[2], max_size=30)
)
def test_of_equal_texts_the_lowest_number_stays(within, rows):
    groups = defaultdict(list)
    for high, low, number in rows:
        groups[high, low, number >> 56 & 127 if within else 0].append(number)
    expected = {(number, min(group)) for group in groups.values() for number in group if number != min(group)}
    found = duplicates(np.array(rows, dtype=EXACT), within=within).tolist()
    assert len(found) == len(expected)
    assert set(found) == expected


def test_held_out_text_stays_even_if_its_source_comes_later():
    heldout, training = 5 << 56, 1 << 63
    rows = np.array([(1, 1, training), (1, 1, heldout)], dtype=EXACT)
    assert duplicates(rows, within=False).tolist() == [(training, heldout)]
    assert duplicates(rows, within=True).tolist() == []


def test_a_key_is_the_blake2b_hash_of_the_utf8_bytes():
    high, low = text_key("Tyger, Tyger: 老虎")
    expected = hashlib.blake2b("Tyger, Tyger: 老虎".encode(), digest_size=16).digest()
    assert high.to_bytes(8, "little") + low.to_bytes(8, "little") == expected
    assert text_key("Tyger") == (5702141568345113735, 16007898975053544517)


TWINS = [
    ("caf\u00e9 cr\u00e8me, the best one of all", "cafe\u0301 cre\u0300me, the best one of all"),
    ("\ud55c\uad6d", "\u1112\u1161\u11ab\u1100\u116e\u11a8"),
    ("10 \u2126 and 5 \u212b, as it was measured", "10 \u03a9 and 5 \u00c5, as it was measured"),
    ("a\u0323\u0307 b c d e f", "a\u0307\u0323 b c d e f"),
]
"""Texts that are canonically equivalent: accents apart, Hangul in letters, signs of units, marks in two orders."""


@pytest.mark.parametrize(("one", "other"), TWINS)
def test_canonically_equivalent_texts_are_equal_wherever_texts_are_compared(one: str, other: str):
    assert one != other
    assert text_key(one) == text_key(other)
    assert signature(one, 5, 112).tolist() == signature(other, 5, 112).tolist()
    assert hashes_of(one).tolist() == hashes_of(other).tolist()


@pytest.mark.parametrize("other", ["Text", "\uff54ext", "text ", "te\u00adxt"])
def test_case_width_space_and_invisible_characters_count_where_equal_texts_are_looked_for(other: str):
    assert text_key("text") != text_key(other)


def test_memory_is_as_stated(peak_bytes):
    rows = np.zeros(100_000, dtype=EXACT)
    rows["high"], rows["number"] = np.arange(len(rows)) % 60_000, np.arange(len(rows))
    assert peak_bytes(lambda: duplicates(rows, within=True)) < 80 * len(rows)

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.data.dedup.minhash import band_keys, shingles, signature, signature_of_words, text_words
from puna.data.text.words import normalised_words

BANDS, ROWS = 14, 8
HASHES = BANDS * ROWS
MINIMA = [183392798, 755235034, 158633371, 692769852]
KEYS = [11607261431579520440, 9828842570241001453]


def agreements(rng: np.random.Generator, union: int, common: int, pairs: int) -> np.ndarray:
    """For pairs of random sets, half of what is not common in each: which of the minima agree."""
    found = np.empty((pairs, HASHES), dtype=bool)
    only = (union - common) // 2
    for row in found:
        words = rng.integers(0, 2**64, union, dtype=np.uint64)
        first = signature_of_words(words[: common + only], 1, HASHES)
        row[:] = first == signature_of_words(np.concatenate([words[:common], words[common + only :]]), 1, HASHES)
    return found


@pytest.mark.parametrize("tenths", range(1, 10))
def test_the_estimate_of_jaccard_similarity_errs_as_theory_says(tenths):
    union = 40 if tenths % 2 else 400
    jaccard, pairs = tenths / 10, 4000
    agree = agreements(np.random.default_rng(tenths), union, round(jaccard * union), pairs)
    error = agree.mean(axis=1) - jaccard
    expected = np.sqrt(jaccard * (1 - jaccard) / HASHES)
    assert abs(error.mean()) < 4 * expected / np.sqrt(pairs)
    assert abs(error.std() / expected - 1) < 4 / np.sqrt(2 * pairs)  # the standard error of a standard deviation
    # Each function by itself too, and no two of them together more often than chance has it.
    assert np.abs(agree.mean(axis=0) - jaccard).max() < 4.5 * np.sqrt(jaccard * (1 - jaccard) / pairs)
    correlation = np.corrcoef(agree.T) - np.eye(HASHES)
    assert np.abs(correlation).max() < 5.5 / np.sqrt(pairs)


@pytest.mark.parametrize("hundredths", [40, 60, 70, 80, 90])
def test_documents_meet_in_a_band_as_often_as_theory_says(hundredths):
    similarity, pairs = hundredths / 100, 4000
    rng = np.random.default_rng(hundredths)
    words = rng.integers(0, 2**64, (pairs, 100), dtype=np.uint64)
    only = (100 - hundredths) // 2
    met = 0
    for row in words:
        first = band_keys(signature_of_words(row[: hundredths + only], 1, HASHES), BANDS)
        both = np.concatenate([row[:hundredths], row[hundredths + only :]])
        met += bool((first == band_keys(signature_of_words(both, 1, HASHES), BANDS)).any())
    expected = 1 - (1 - similarity**ROWS) ** BANDS
    assert abs(met / pairs - expected) < 4 * np.sqrt(expected * (1 - expected) / pairs) + 1e-3


def test_signatures_and_keys_are_the_same_for_ever():
    minima = signature("Tyger Tyger, burning bright, In the forests of the night", 5, HASHES)
    assert minima.dtype == np.uint32
    assert minima[:4].tolist() == MINIMA
    keys = band_keys(minima, BANDS)
    assert keys.dtype == np.uint64
    assert keys[[0, 13]].tolist() == KEYS


def test_a_longer_signature_begins_with_the_shorter():
    text = "did he who made the lamb make thee"
    assert signature(text, 5, 64).tolist() == signature(text, 5, 300)[:64].tolist()


@given(
    st.lists(st.sampled_from(["Did", "he,", "made", "the", "LAMB", "老虎"]), min_size=1, max_size=12), st.integers(1, 6)
)
def test_texts_with_the_same_set_of_ngrams_have_the_same_signature_and_only_these(words, ngram):
    def ngrams(text: str) -> set[tuple[str, ...]]:
        found = normalised_words(text)
        return {tuple(found[at : at + ngram]) for at in range(max(1, len(found) - ngram + 1))}

    one, other = " ".join(words), "\n".join(words[1:] + words[:1]).lower().replace(",", "")
    alike = ngrams(one) == ngrams(other)
    assert (signature(one, ngram, HASHES).tolist() == signature(other, ngram, HASHES).tolist()) == alike
    assert len(set(shingles(text_words(one), ngram).tolist())) == len(ngrams(one))


@pytest.mark.parametrize("text", ["", "…!? — ***"])
def test_a_text_without_words_has_no_keys_and_so_no_duplicates(text):
    assert len(shingles(text_words(text), 5)) == 0
    assert len(band_keys(signature(text, 5, HASHES), BANDS)) == 0


def test_a_text_shorter_than_an_ngram_equals_only_itself():
    assert signature("In the forests", 5, 8).tolist() == signature("in the  Forests!", 5, 8).tolist()
    assert signature("In the forests", 5, 8).tolist() != signature("the forests in", 5, 8).tolist()


def test_bands_are_equally_long():
    with pytest.raises(ValueError, match="112 minima cannot be split into 5"):
        band_keys(signature("a", 5, HASHES), 5)

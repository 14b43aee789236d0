"""Gopher's repetition rules at their thresholds, and against datatrove's on real text."""

import pickle
import re
from collections import Counter

import datatrove.data
import datatrove.pipeline.filters.gopher_repetition_filter as peer
import pytest

from puna.config.rules import GopherRepetitionRules
from puna.data.document import Document, Dropped
from puna.data.rules.gopher_repetition import REASONS, GopherRepetition
from puna.data.text.repetition import repeated_lines, repeated_ngrams
from puna.data.text.words import normalised_words

OFF = {"duplicate_lines": 1, "duplicate_paragraphs": 1, "duplicate_line_characters": 1,
       "duplicate_paragraph_characters": 1, "top_ngrams": {}, "duplicate_ngrams": {}}  # fmt: skip
RULE = GopherRepetition(GopherRepetitionRules())


def verdict(text: str, rule: GopherRepetition = RULE) -> tuple[str, str]:
    found = rule(Document("web", "1", text, ""))
    return (found.reason, found.detail) if isinstance(found, Dropped) else ("", "")


def numbered(count: int, same: int, between: str = "\n", long: str = "a") -> str:
    """Lines or paragraphs, and how many of them are duplicates."""
    return between.join([long] * (same + 1) + [f"b{n}" for n in range(count - same - 1)])


def counted(words: int, again: int) -> str:
    """Words of four letters; the last ones repeat the first ones."""
    return " ".join(f"w{n % (words - again):03}" for n in range(words))


@pytest.mark.parametrize(
    ("only", "kept", "dropped", "reason", "detail"),
    [
        ("duplicate_lines", numbered(10, 3), numbered(10, 4), "duplicate_lines", "0.4 of the lines, at most 0.3"),
        ("duplicate_paragraphs", numbered(10, 3, "\n\n"), numbered(10, 4, "\n\n"), "duplicate_paragraphs",
         "0.4 of the paragraphs, at most 0.3"),
        ("duplicate_line_characters", numbered(9, 1, long="abcd"), numbered(9, 1, long="abcde"),
         "duplicate_line_characters", "0.208 of the characters, at most 0.2"),
        ("duplicate_paragraph_characters", numbered(9, 1, "\n\n", "abcd"), numbered(9, 1, "\n\n", "ab\ncde"),
         "duplicate_paragraph_characters", "0.208 of the characters, at most 0.2"),
        ("top_ngrams", "to be " * 2 + counted(16, 0), "to be " * 3 + counted(9, 0), "top_ngram",
         "0.25 of the characters in 2-grams, at most 0.2"),
        ("duplicate_ngrams", counted(100, 9), counted(100, 10), "duplicate_ngrams",
         "0.1 of the characters in 10-grams, at most 0.099"),
        ("duplicate_ngrams", counted(100, 4), counted(100, 16), "duplicate_ngrams",
         "0.16 of the characters in 5-grams, at most 0.15"),
    ],
)  # fmt: skip
def test_a_document_is_dropped_just_beyond_each_threshold(only: str, kept: str, dropped: str, reason: str, detail: str):
    default = GopherRepetitionRules()
    limits = {"10": 0.099} if "10-grams" in detail else getattr(default, only)
    rule = GopherRepetition(GopherRepetitionRules.model_validate(OFF | {only: limits}))
    assert verdict(kept, rule) == ("", "")
    assert verdict(dropped, rule) == (f"gopher-repetition.{reason}", detail)


def test_every_reason_is_explained_and_given_by_some_text():
    cases = test_a_document_is_dropped_just_beyond_each_threshold.pytestmark[0].args[1]
    assert {f"gopher-repetition.{case[3]}" for case in cases} == REASONS.keys()
    assert all("Rae et al. 2021" in sentence for sentence in REASONS.values())


def test_a_kept_document_is_unchanged():
    document = Document("web", "1", "Nothing is said twice here.", "")
    assert pickle.loads(pickle.dumps(RULE))(document) == document
    assert RULE(document) is document


def test_duplicate_lines_and_paragraphs_are_datatroves(texts: list[str]):
    for text in texts:
        text = "\n".join(line.strip() for line in text.split("\n")).strip()  # theirs have the white space around them
        lines, paragraphs = repeated_lines(text)
        assert lines[2:] == peer.find_duplicates(re.split(r"\n+", text))
        count, characters = peer.find_duplicates(re.split(r"\n{2,}", text))
        assert paragraphs.duplicates == count
        assert paragraphs.duplicate_characters <= characters  # ours without the line feeds between its lines


def test_ngrams_are_datatroves_where_it_counts_what_the_paper_says(texts: list[str]):
    compared = more = 0
    for text in texts:
        words = normalised_words(text)
        found = repeated_ngrams(text, 2, 10)
        for n in (2, 3, 4):
            grams = Counter(peer.get_n_grams(words, n)).most_common(2)
            if len(grams) == 2 and grams[0][1] > grams[1][1] and grams[0][0].split()[0] != grams[0][0].split()[-1]:
                # They do not overlap, and no other one is as frequent: nothing is left to define.
                compared += 1
                assert found.top[n] == len(grams[0][0].replace(" ", "")) * grams[0][1]
        for n in range(5, 11):
            # The paper counts each character of overlapping n-grams once. datatrove counts none of those that overlap
            # with the one before, and does not remember them either.
            theirs = peer.find_all_duplicate(words, n)
            assert theirs <= found.duplicate[n]
            more += theirs < found.duplicate[n]
    assert compared > 100
    assert more > 100


def test_verdicts_are_datatroves_but_for_what_overlaps_and_what_occurs_once(
    monkeypatch: pytest.MonkeyPatch, texts: list[str]
):
    monkeypatch.setattr(peer, "split_into_words", lambda text, language: normalised_words(text))
    theirs = peer.GopherRepetitionFilter()
    dropped = differences = 0
    for text in texts:
        found, ours = theirs.filter(datatrove.data.Document(text=text, id="1")), verdict(text)
        dropped += found is not True
        if (found is True) == (ours == ("", "")):
            continue
        differences += 1
        if found is True:
            # Theirs are less: without overlaps, and of all characters of the text, white space and punctuation too.
            assert ours[0] in ("gopher-repetition.duplicate_ngrams", "gopher-repetition.top_ngram")
        else:
            # An n-gram that occurs once is not a repetition, however short the document.
            n = int(re.fullmatch(r"top_(\d)_gram", found[1])[1])
            assert max(Counter(peer.get_n_grams(normalised_words(text), n)).values()) == 1
    assert 5 < dropped < len(texts) - 5
    assert differences < len(texts) / 10

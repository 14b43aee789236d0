"""Gopher's quality rules at their thresholds, and against datatrove's on real text."""

import pickle

import datatrove.data
import datatrove.pipeline.filters.gopher_quality_filter as peer
import pytest

from puna.config.rules import GopherQualityRules
from puna.data.document import Document, Dropped
from puna.data.rules.gopher_quality import REASONS, GopherQuality
from puna.data.text.words import normalised_words, words

RULE = GopherQuality(GopherQualityRules())
GOOD = "The quick brown fox jumps over a lazy dog and runs home. " * 10


def verdict(text: str, rule: GopherQuality = RULE, language: str = "") -> tuple[str, str]:
    found = rule(Document("web", "1", text, "", language=language))
    return (found.reason, found.detail) if isinstance(found, Dropped) else ("", "")


def lines(begin: int, end: int, bullet: str = "- ", ellipsis: str = "...") -> str:
    rows = ["the good words of this line and that one go here"] * 10
    rows = [bullet + row if n < begin else row for n, row in enumerate(rows)]
    return "\n\n".join(row + ellipsis if n < end else row for n, row in enumerate(rows))


@pytest.mark.parametrize(
    ("kept", "dropped", "reason", "detail"),
    [
        ("the of word " * 17, "the of word " * 16, "few_words", "48 words, at least 50"),
        ("the of " + "word " * 99_998, "the of " + "word " * 99_999, "many_words", "100001 words, at most 100000"),
        ("the " * 10 + "of " + "abc " * 50 + "abcd ", "the of a " * 20, "short_words", "2.00 characters, at least 3"),
        ("the of " + "tencharact " * 90, "the of " + "elevenchars " * 90, "long_words", "10.8 characters, at most 10"),
        (GOOD + "#" * 12, GOOD + "#" * 13, "hashes", "0.107 per word, at most 0.1"),
        (GOOD + "x… " * 6 + "x... " * 7 + "\na" * 3, GOOD + "x… " * 9 + "x... " * 7, "ellipses",
         "0.118 per word, at most 0.1"),
        (lines(9, 0), lines(10, 0), "bullet_lines", "1 of the lines, at most 0.9"),
        (lines(9, 0, "• "), lines(10, 0, "• "), "bullet_lines", "1 of the lines, at most 0.9"),
        (lines(0, 3), lines(0, 4), "ellipsis_lines", "0.4 of the lines, at most 0.3"),
        (lines(0, 3, ellipsis="…"), lines(0, 4, ellipsis="…"), "ellipsis_lines", "0.4 of the lines, at most 0.3"),
        ("the of word 1234 word " * 16, "the of word 1234 5678 " * 16, "few_alphabetic_words",
         "0.6 of the words, at least 0.8"),
        ("word " * 50 + "(The) THAT,", "word " * 50 + "The the, Other", "few_stop_words", "1 of them, at least 2"),
    ],
)  # fmt: skip
def test_a_document_is_dropped_just_beyond_each_threshold(kept: str, dropped: str, reason: str, detail: str):
    assert verdict(kept) == ("", "")
    assert verdict(dropped) == (f"gopher-quality.{reason}", detail)


def test_every_reason_is_explained_and_given_by_some_text():
    cases = test_a_document_is_dropped_just_beyond_each_threshold.pytestmark[0].args[1]
    assert {f"gopher-quality.{case[2]}" for case in cases} == REASONS.keys()
    assert all("Rae et al. 2021" in sentence for sentence in REASONS.values())


def test_a_kept_document_is_unchanged_and_a_dropped_one_keeps_its_text():
    document = Document("web", "1", GOOD, "origin")
    assert RULE(document) is document
    dropped = RULE(Document("web", "2", "short", "origin"))
    assert dropped == Dropped("web", "2", "gopher-quality.few_words", "1 words, at least 50", "short")


def test_stop_words_are_asked_of_english_only():
    german = "Der schnelle braune Fuchs springt über den faulen Hund nach Hause. " * 10
    assert verdict(german)[0] == verdict(german, language="en")[0] == "gopher-quality.few_stop_words"
    assert verdict(german, language="de") == ("", "")


def test_thresholds_are_the_recipes():
    rules = GopherQualityRules(min_words=3, min_stop_words=0, min_mean_word_length=0, min_alphabetic_words=0)
    assert verdict("1 2 3", pickle.loads(pickle.dumps(GopherQuality(rules)))) == ("", "")
    nothing = GopherQualityRules(min_words=0, min_stop_words=0, min_mean_word_length=0, min_alphabetic_words=0)
    assert verdict("", GopherQuality(nothing)) == ("", "")


def test_verdicts_are_datatroves_but_for_punctuation(monkeypatch: pytest.MonkeyPatch, texts: list[str]):
    monkeypatch.setattr(peer, "split_into_words", lambda text, language: words(text))
    theirs = peer.GopherQualityFilter()
    dropped = differences = 0
    for text in texts:
        found, ours = theirs.filter(datatrove.data.Document(text=text, id="1")), verdict(text)
        dropped += found is not True
        if (found is True) == (ours == ("", "")):
            continue
        differences += 1
        assert ours == ("", "")
        if found[1] == "gopher_enough_stop_words":  # the words of the paper are there, with a comma or a capital
            assert len(theirs.stop_words & set(words(text))) < 2 <= len(theirs.stop_words & set(normalised_words(text)))
        else:  # the paper speaks of words; theirs leave those of punctuation only out of their number and mean length
            assert found[1] in ("gopher_above_avg_threshold", "gopher_short_doc")
            assert any(all(c in peer.PUNCTUATION_SET for c in word) for word in words(text))
    assert 20 < dropped < len(texts) - 20
    assert differences < 10

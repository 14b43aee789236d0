"""Counts over a text, against the definitions spelled out slowly."""

import itertools
import re

from hypothesis import example, given, settings
from hypothesis import strategies as st

from puna.data.text.kernel_constants import CLOSERS, ELLIPSIS, FIRST, LONG_WORD, QUOTES, STOP_WORDS, TERMINAL
from puna.data.text.statistics import Statistics, statistics
from puna.data.text.words import BULLETS, WHITE_SPACE, normalised_words, words

SPACES = "".join(WHITE_SPACE)
CHARACTERS = st.one_of(
    st.characters(exclude_categories=["Cs"]), st.sampled_from("aTheE .?!…#\"'”)-*•\n\t\r漢ไ\u2e80,\x00")
)
TEXT = st.one_of(
    st.text(CHARACTERS, max_size=200),
    st.lists(st.sampled_from([*STOP_WORDS, "The,", "\n", "\n\n", "...", "end.”", "wor", " ", "x" * 1001])).map(
        " ".join
    ),
)


def lines_of(text: str) -> list[str]:
    return [line.strip(SPACES) for line in text.split("\n")]


def sentences_of(line: str) -> int:
    ends = re.findall(rf"[.?!][{re.escape(CLOSERS)}]*(?=[{re.escape(SPACES)}]|$)", line)
    tail = re.split(rf"[.?!][{re.escape(CLOSERS)}]*(?:[{re.escape(SPACES)}]|$)", line)[-1]
    return len(ends) + bool(tail.strip(SPACES))


def marks_of(line: str) -> int:
    marks = TERMINAL if line.endswith((".", "?", "!", *QUOTES)) else 0
    marks |= ELLIPSIS if line.endswith(("...", "…")) else 0
    return marks | (LONG_WORD if any(len(word) > 1000 for word in words(line)) else 0)


def expected_lines(text: str) -> list[tuple[str, int, int, int, int]]:
    blank, rows = True, []
    for line in lines_of(text):
        if line:
            marks = marks_of(line) | (FIRST if blank else 0)
            rows.append((line, len(line), len(words(line)), sentences_of(line), marks))
        blank = not line
    return rows


def found_lines(found: Statistics) -> list[tuple[str, int, int, int, int]]:
    fields = ("characters", "words", "sentences", "marks")
    return [(found.line(n), *(int(row[field]) for field in fields)) for n, row in enumerate(found.lines)]


@settings(max_examples=400)
@given(TEXT)
@example("")
@example("\n \n")
@example("The\u2e80 th\u2e80e WİTH b-e.. .... of.\x1c\nto\u2028have")
@example("a.”) b?' C! d\n“Yes.” he\nno")
@example("x" * 1000 + " " + "漢" * 1001 + "\n" + "y" * 1001)
def test_the_kernel_counts_what_the_definitions_say(text: str):
    found, all_words, lines = statistics(text), words(text), [line for line in lines_of(text) if line]
    assert found.data == text.encode()
    assert found.words == len(all_words)
    assert found.word_characters == sum(map(len, all_words))
    assert found.alphabetic_words == sum(any(c.isalpha() for c in word) for word in all_words)
    assert found.hashes == text.count("#")
    assert found.ellipses == text.count("...") + text.count("…")
    assert found.stop_words == len(set(normalised_words(text)) & set(STOP_WORDS))
    assert found.bullet_lines == sum(line[0] in BULLETS for line in lines)
    assert found.ellipsis_lines == sum(line.endswith(("...", "…")) for line in lines)
    assert found_lines(found) == expected_lines(text)


@given(st.lists(st.text(CHARACTERS, max_size=5)))
def test_lines_have_equal_hashes_if_they_are_equal(lines: list[str]):
    found = statistics("\n".join(lines))
    texts, hashes = [found.line(n) for n in range(len(found.lines))], found.lines["hash"].tolist()
    for (one, one_hash), (other, other_hash) in itertools.combinations(zip(texts, hashes, strict=True), 2):
        assert (one == other) == (one_hash == other_hash)


def test_the_counts_of_a_small_text():
    found = statistics('# The “list”\n\n- one...\n• two, of course!\n\n"Go." She went… 42\n')
    assert (found.words, found.word_characters, found.alphabetic_words) == (13, 46, 9)
    assert (found.hashes, found.ellipses, found.stop_words) == (1, 2, 2)
    assert (len(found.lines), found.bullet_lines, found.ellipsis_lines) == (4, 2, 1)
    assert found.lines["sentences"].tolist() == [1, 1, 1, 2]
    assert found.lines["marks"].tolist() == [TERMINAL | FIRST, ELLIPSIS | TERMINAL | FIRST, TERMINAL, FIRST]


def test_the_same_text_is_scanned_once():
    text = "one two" + str(id(object()))
    assert statistics(text) is statistics(text)
    assert statistics(text + "!") is not statistics(text)

"""The rule `c4`: sentences and lines (Raffel et al. 2020, section 2.2).

It follows the paper, and where the paper is silent the released code (TensorFlow Datasets, text/c4_utils.py): marks of
citations are removed; a line that ends in three full stops or has a word of more than 1000 characters is removed too.
Differences from the released code: a page is dropped for a curly bracket or "lorem ipsum" anywhere, not only in lines
that would stay (the paper: "any page"); white space that a mark of a citation leaves at the end of a line does not
count as part of the line; the typographic end quote is an end quote; sentences are counted by their marks and not by a
trained tokenizer.

C4's language identification and its removal of repeated spans of three sentences are not part of it; use the rule
`language` and `[data.dedup]`.
"""

import re
from dataclasses import replace
from pathlib import Path

from puna.config.rules import C4Rules
from puna.core.errors import DataError
from puna.data.document import EMPTY, Document, Dropped
from puna.data.spec import RuleSpec
from puna.data.text.kernel_constants import ELLIPSIS, LONG_WORD, TERMINAL
from puna.data.text.statistics import statistics
from puna.data.text.words import is_unspaced

CURLY_BRACKET, LOREM_IPSUM = "c4.curly_bracket", "c4.lorem_ipsum"
BAD_WORD, FEW_SENTENCES = "c4.bad_word", "c4.few_sentences"

_SOURCE = "(Raffel et al. 2020, section 2.2)."
REASONS = {
    CURLY_BRACKET: f"It has a curly bracket, as program text does {_SOURCE}",
    LOREM_IPSUM: f"It has placeholder text, lorem ipsum {_SOURCE}",
    BAD_WORD: f"It has a word from the list of bad words {_SOURCE}",
    FEW_SENTENCES: f"Too few sentences are left once lines that are not prose have been removed {_SOURCE}",
}

NOTICES = (
    "javascript",
    "terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies",
)  # fmt: skip
"""Phrases for which a line is removed, in lower case: the paper's Javascript, and its policies as the released code
spells them."""

_CITATION = re.compile(r"\[(?:\d*|edit|citation needed)\]")


class C4:
    """Keeps lines that are sentences; drops pages with too few of them, with program text or with bad words.

    Args:
        rules: The thresholds and the file of bad words, which is read now.

    Raises:
        DataError: The file of bad words cannot be read.
    """

    def __init__(self, rules: C4Rules) -> None:
        self._rules = rules
        self._bad = BadWords(Path(rules.bad_words).expanduser()) if rules.bad_words else None

    @property
    def files(self) -> list[Path]:
        """The files that determine the result."""
        return [self._bad.path] if self._bad else []

    def __call__(self, document: Document) -> Document | Dropped:
        """The document with the lines that stay, or the reason to drop it."""
        lower = document.text.lower()
        found = self._bad.find(lower) if self._bad else ""
        for reason, fault, detail in (
            (CURLY_BRACKET, "{" in lower, ""), (LOREM_IPSUM, "lorem ipsum" in lower, ""), (BAD_WORD, found, found)
        ):  # fmt: skip
            if fault:
                return Dropped(document.source, document.id, reason, detail, document.text)
        text, sentences = self._prose(document.text, any(notice in lower for notice in NOTICES))
        if sentences < self._rules.min_sentences:
            detail = f"{sentences} sentences, at least {self._rules.min_sentences}"
            return Dropped(document.source, document.id, FEW_SENTENCES, detail, document.text)
        if not text:
            return Dropped(document.source, document.id, EMPTY, "no line was left by c4", document.text)
        return document if text == document.text else replace(document, text=text)

    def _prose(self, text: str, has_notices: bool) -> tuple[str, int]:
        """The lines that stay, and how many sentences they have."""
        found = statistics(_CITATION.sub("", text) if "[" in text else text)
        marks = found.lines["marks"]
        stays = (marks & LONG_WORD == 0) & (found.lines["words"] >= self._rules.min_words_per_line)
        if self._rules.terminal_punctuation:
            stays &= marks & (TERMINAL | ELLIPSIS) == TERMINAL
        kept, sentences = [], 0
        for number in stays.nonzero()[0].tolist():
            line = found.line(number)
            if not (has_notices and any(notice in line.lower() for notice in NOTICES)):
                kept.append(line)
                sentences += int(found.lines[number]["sentences"])
        return "\n".join(kept), sentences


class BadWords:
    """Words and phrases, looked for in lower case between characters that are not part of a word.

    Words in scripts without spaces are found anywhere, as in the released code for Japanese, Thai and Chinese.

    Args:
        path: A text file with one of them per line.

    Raises:
        DataError: The file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            lines = path.read_text(encoding="utf-8-sig").lower().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"rules.c4.bad_words names {path}, which cannot be read as UTF-8: {error}") from None
        phrases = sorted({line.strip() for line in lines} - {""})
        tokens = [_WORD.match(phrase) for phrase in phrases]
        self._first = frozenset(token[0] for token in tokens if token)
        unspaced = [is_unspaced(phrase[0]) or is_unspaced(phrase[-1]) for phrase in phrases]
        self._anywhere = [p for p, token, free in zip(phrases, tokens, unspaced, strict=True) if free or not token]
        self._pattern = re.compile("|".join(map(_flanked, phrases))) if phrases else None

    def find(self, lower: str) -> str:
        """The first of them in a text in lower case; empty if there is none."""
        # The pattern has hundreds of branches; most texts do not even have the first word of one of them.
        if self._pattern is None or (
            self._first.isdisjoint(_WORD.findall(lower)) and not any(phrase in lower for phrase in self._anywhere)
        ):
            return ""
        match = self._pattern.search(lower)
        return match[0] if match else ""


_WORD = re.compile(r"\w+")


def _flanked(phrase: str) -> str:
    """A pattern of the phrase between characters that are not part of a word."""
    begin, end = ("" if is_unspaced(c) or not _WORD.match(c) else r"\b" for c in (phrase[0], phrase[-1]))
    return begin + re.escape(phrase) + end


RULE = RuleSpec(
    name="c4",
    settings=C4Rules,
    make=C4,
    does="keeps sentences; drops pages with few of them",
    after="Raffel et al. 2020, section 2.2",
    changes="lines",
    reasons=REASONS,
)

"""The forms in which a text is compared with evaluation sets.

Words are normalised anyway (`puna.data.text.words`): case, punctuation and invisible characters count for nothing.
What that leaves different though people read it alike is handled here, on both sides:

- the text *as it is*;
- the text *mended*: HTML's entities are the characters that they stand for; ligatures, full-width and other compatible
  forms of letters and digits are plain ones, and letters and accents are composed (Unicode, NFC and NFKC); a word that
  is broken by a hyphen at the end of a line is whole again: `exam-` and `ple` are `example`;
- the text mended and *split*: dashes, hyphens, slashes and what ends a sentence are spaces, where otherwise the words
  on both sides would be one. So `well-known` is `wellknown` in the other forms and `well known` here.

A text equals another one if any form of the one equals any form of the other.
"""

import html
import re
import unicodedata
from functools import cache

_ENTITY = re.compile(r"&(?:amp;)*(#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_OTHERS = {"\u00df": "ss", "\u1e9e": "ss", "\u02bc": ""}
"""Forms that Unicode does not call compatible: sharp s, and the apostrophe that counts as a letter."""
_ASTRAL = re.compile("[\U0001d400-\U0001eeff\U0001f100-\U0001fbff]")
_BROKEN = re.compile(r"[-\u00ac\u00ad\u2010\u2011](?:[ \t]*\r?\n\s*(?=[^\W\d_])| (?=[a-z\u00df-\u00ff]))")
"""The end of a line within a word, or what is left of it: a hyphen and a space before a small letter."""
_BETWEEN = '-/!?;:)"\u2010\u2011\u2012\u2013\u2014\u2015\u2026\u201d\u2212'
"""Marks between words; beside a space they make no difference, since they are not part of a word anyway."""
_SPLIT, _SPLIT_ASCII = re.compile(f"[{re.escape(_BETWEEN)}]+"), str.maketrans(_BETWEEN, " " * len(_BETWEEN))
_END = re.compile(r"[.,](?=[A-Z])")
"""What ends a sentence that runs into the next one; within numbers it splits nothing."""


def forms(text: str) -> list[str]:
    """The forms of a text that differ from each other, the text itself first."""
    mended = _mended(text)
    split = mended.translate(_SPLIT_ASCII) if mended.isascii() else _SPLIT.sub(" ", mended)
    return list(dict.fromkeys((text, mended, _END.sub(" ", split))))


def _mended(text: str) -> str:
    if "&" in text:
        text = _ENTITY.sub(lambda found: html.unescape(f"&{found[1]};"), text)
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
        if not unicodedata.is_normalized("NFKC", text) or any(character in text for character in _OTHERS):
            pattern, plain = _compatible()
            text = pattern.sub(lambda found: plain[found[0]], text)
            text = _ASTRAL.sub(lambda found: plain.get(found[0], found[0]), text)
    return _BROKEN.sub(lambda found: "" if _before(found).isalpha() else found[0], text)


def _before(found: re.Match[str]) -> str:
    """The character before a match; a pattern that begins with looking at it would be slow."""
    return found.string[max(found.start() - 1, 0) : found.start()]


@cache
def _compatible() -> tuple[re.Pattern[str], dict[str, str]]:
    """A pattern of letters and digits that are forms of plain ones, and all of them with these; made once."""
    plain = dict(_OTHERS)
    ranges = ((0xA0, 0x33FF), (0xA640, 0xABFF), (0xF900, 0xFFFF), (0x1D400, 0x1EEFF), (0x1F100, 0x1FBFF))
    for character in (chr(code) for first, last in ranges for code in range(first, last)):
        if unicodedata.category(character)[0] in "LN":
            changed = unicodedata.normalize("NFKC", character)
            if changed != character and changed.isalnum():
                plain[character] = changed
    near = [character for character in plain if character < "\U00010000"]  # a set with others is searched one by one
    return re.compile(f"[{''.join(map(re.escape, near))}]"), plain

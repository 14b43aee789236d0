"""Mojibake: text in UTF-8 that somebody has read in another encoding, once or several times, and how to undo it.

Nothing tells it with certainty, so three things come together for a word (a run of characters between white space):

1. characters of it are those of an encoding's bytes that follow each other as bytes of one character do in UTF-8
   (RFC 3629, section 3), which other characters seldom do;
2. the word as it stands is not one that people write: a capital letter behind a small one, two scripts in one word, a
   currency sign or a box behind a letter (`âmesâ€™`, `Ð¿Ñ€Ð¸`), while `AMANHÃ”` and `Spaß“` are;
3. read again, it is one that people write, or such mojibake again.

Where words show it, all of their line is read again; so is all of the text where most words beyond ASCII show it. A
text that speaks of encodings may show mojibake on purpose and stays as it is.

UTF-8 that was read in an encoding of several bytes (GBK, Shift_JIS) is not found, and what has become U+FFFD or `?` is
lost.
"""

# ruff: noqa: RUF001, RUF002

import re
from dataclasses import dataclass
from functools import cache

ENCODINGS = (
    "cp1252", "mac_roman", "cp1251", "koi8_r", "cp437", "cp866", "cp850", "cp1250", "cp1253", "cp1254", "cp1257",
)  # fmt: skip
"""The encodings in which it was read, the commonest first; cp1252 stands for Latin-1 too. They are Windows' and the
Macintosh's for alphabets, and those of DOS."""

_ROUNDS = 3
"""How often a text is read again: three times encoded is the most that is seen."""

_ODD_WORDS = 5
"""Most odd words with such sequences for each that shows mojibake. In text that is windows-1251 and was read as ISO
8859-5 one in ten to seventy shows it by chance; in tests/data/text/mojibake_texts.toml one in four or more do."""

_ABOUT_ENCODINGS = re.compile(
    r"utf-?8|unicode|mojibake|charset|encoding|windows-125\d|cp-?125\d|iso[ -]?8859|latin-?1\b"
    r"|zeichen(?:kod|cod|s[aä]tz)|encodage|codificaci|codificaç|codifica dei"
    r"|кодиров|кодуванн|кракозябр|文字化け|文字コード|乱码|编码|編碼|亂碼",
    re.IGNORECASE,
)
"""Words of texts that may show mojibake on purpose."""

_LETTERS = re.compile(r"[^\W\d_](?:[^\W\d_]|[\u0300-\u036f])*")
_LETTER = r"[^\W\d_]"
_ODD = re.compile(
    "[\x80-\x9f\ufffd]"
    rf"|{_LETTER}[¡¿©¤¦¨¬¯¸´˜ˆˇ˘˛˝΄΅‰µ¶§¹¼½¾±€£¥¢₧⌐≠∞≤≥∂∑∏∫√≈◊⁄]|[¤¦¨¬¯¸˜ˆ‰¶√∂≠]{_LETTER}"
    rf"|{_LETTER}[°²³ªº®™†‡“”„»«›‹•‚]+{_LETTER}|{_LETTER}[─-▟⌠⌡]|[─-▟⌠⌡]{_LETTER}|[─-▟][^\s─-▟\x00-\x7f]"
    "|[√≈∆][†∞°®©¢£§¶´¨]|[–—][∂∏∑∫∞≤≥µ≠±√Ω∆≈][–—]|×[^\\w\\s(]"
)
"""What does not stand beside or between letters, and control characters."""
_PLAUSIBLE = re.compile(
    "[\u0080-\u0131\u0134-\u0137\u0139-\u0148\u014a-\u017e\u0192\u01a0\u01a1\u01af\u01b0\u0218-\u021b\u0259"
    "\u02bb\u02bc\u0301\u0386-\u03ce\u0400-\u045f\u0490-\u04ff\u0531-\u0587\u05d0-\u05ea\u060c\u061b\u061f"
    "\u0621-\u0652\u0660-\u066c\u0670-\u06d3\u06f0-\u06f9\u0900-\u0dff\u0e01-\u0e5b\u0e81-\u0edd\u0f00-\u0fbc"
    "\u1000-\u11ff\u1200-\u137c\u1780-\u17f9\u1e00-\u1fff\u200b-\u200f\u2010-\u203a\u2044\u2070-\u208e"
    "\u20a0-\u20bf\u2116\u2122\u2150-\u215e\u2190-\u22ff\u2500-\u27bf\u3000-\u30ff\u3105-\u318e\u3400-\u9fff"
    "\uac00-\ud7a3\ufb01\ufb02\ufe0f\ufeff\uff01-\uffee\U0001f000-\U0001faff\U00020000-\U0003ffff]"
)
"""Characters that texts are made of. What else two bytes give is phonetics, N'Ko, Syriac and the like; control
characters are here for what was encoded twice."""
_GREEK_OR_CYRILLIC = re.compile("[Ͱ-Ͽἀ-῿Ѐ-ӿ]")
_OTHERS = re.compile("[\u0590-\u1dbf\u2e80-\ud7ff\U00020000-\U0003ffff]")
_SCRIPTS = (re.compile("[A-Za-zÀ-ʯḀ-ỿ]"), re.compile("[Ͱ-Ͽἀ-῿]"), re.compile("[Ѐ-ӿ]"), _OTHERS)
"""Scripts of which letters in a row are one only: Latin, Greek, Cyrillic, and those that are not mixed with them."""


@dataclass(frozen=True, slots=True)
class Repair:
    """A text that was read again."""

    text: str
    words: int
    """How many words showed that it was mojibake."""
    encodings: tuple[str, ...]
    """In which encodings its UTF-8 was read, the last one first."""


@dataclass(frozen=True, slots=True)
class _Encoding:
    """The characters of an encoding as bytes of UTF-8."""

    byte_of: dict[int, int]
    """Bytes by code points, as `str.translate` takes them."""
    first: frozenset[str]
    """Characters that can begin a sequence."""
    following: frozenset[str]
    sequence: re.Pattern[str]
    """The characters of one character's bytes."""
    with_blanks: re.Pattern[str]
    """The same where a no-break space has become a blank."""

    def again(self, text: str, *, blanks: bool = False) -> str:
        """The text with its sequences read as UTF-8; those that give no plausible character stay."""
        return (self.with_blanks if blanks else self.sequence).sub(self._character, text)

    def _character(self, match: re.Match[str]) -> str:
        found = match[0]
        try:
            character = found.translate(self.byte_of).encode("latin-1").decode("utf-8")
        except UnicodeDecodeError:
            return found
        if not _PLAUSIBLE.fullmatch(character):
            return found
        following = match.string[match.end() : match.end() + 1]
        if found.endswith(" ") and character in "à\u00a0" and following.isalnum() and following not in self.first:
            return f"{character} "  # pages show white space once, so the blank may have been two
        return character


def repaired(text: str) -> Repair | None:
    """The text read again, or None where nothing shows that it is mojibake, or it speaks of encodings."""
    if text.isascii():
        return None
    words, encodings = 0, []
    for _ in range(_ROUNDS):
        tokens = _tokens(text)
        name, showing = _encoding(tokens)
        if not showing or (not encodings and _ABOUT_ENCODINGS.search(text)):
            break
        text = _read_again(text, name, showing, len(tokens))
        words = max(words, len(showing))
        encodings.append(name)
    return Repair(text, words, tuple(encodings)) if encodings else None


def _tokens(text: str) -> set[str]:
    return {token for token in text.split() if not token.isascii()}


def _encoding(tokens: set[str]) -> tuple[str, set[str]]:
    """The encoding that most of the words show, and these words."""
    characters = set().union(*tokens)
    best: tuple[str, set[str]] = ("", set())
    for name in ENCODINGS:
        encoding = _table(name)
        if characters.isdisjoint(encoding.first) or characters.isdisjoint(encoding.following):
            continue
        odd = [token for token in tokens if encoding.sequence.search(token) and not _is_natural(token)]
        showing = {token for token in odd if _shows(token, encoding, _ROUNDS - 1)}
        if len(showing) > len(best[1]) and len(odd) <= _ODD_WORDS * len(showing):
            best = name, showing
    return best


def _shows(token: str, encoding: _Encoding, depth: int) -> bool:
    """Whether an odd word is mojibake of an encoding, at most `depth` times more."""
    again = encoding.again(token)
    if again == token:
        return False
    if _is_natural(again):
        found = [match[0] for match in encoding.sequence.finditer(token)]
        signs = any(len(match) > 2 or not encoding.again(match).isalpha() for match in found)
        return signs or sum(map(str.isalpha, again)) > 1
    return depth > 0 and any(_shows(again, _table(name), depth - 1) for name in ENCODINGS[:3])


def _is_natural(token: str) -> bool:
    """Whether people write such a word: letters of one script, capitals first or throughout, no odd signs."""
    if token.isascii():
        return True
    if _ODD.search(token) or (_OTHERS.search(token) and _GREEK_OR_CYRILLIC.search(token)):
        return False
    return all(_is_word(letters) for letters in _LETTERS.findall(token))


def _is_word(letters: str) -> bool:
    if letters.isascii():
        return True
    cased = letters.islower() or letters.isupper() or letters[1:].islower() or letters.lower() == letters.upper()
    return (cased or len(letters) == 1) and sum(bool(script.search(letters)) for script in _SCRIPTS) <= 1


def _read_again(text: str, name: str, showing: set[str], tokens: int) -> str:
    """The text with its lines read again: those in which words show it, or all."""
    encoding = _table(name)
    if 2 * len(showing) >= tokens:
        return encoding.again(text, blanks=True)
    lines = text.split("\n")
    return "\n".join(
        encoding.again(line, blanks=True) if not showing.isdisjoint(line.split()) else line for line in lines
    )


@cache
def _table(name: str) -> _Encoding:
    """An encoding's characters; a byte that it lacks is the control character of the same number, as in browsers."""
    byte_of = {byte: byte for byte in range(0x80, 0xA0)}
    for byte in range(0x80, 0x100):
        character = bytes([byte]).decode(name, "ignore")
        byte_of[ord(character) if character else byte] = byte
    blank = {" ": 0xA0} if byte_of.get(0xA0) == 0xA0 else {}

    def among(first: int, last: int) -> str:
        return "".join(re.escape(chr(code)) for code, byte in byte_of.items() if first <= byte <= last)

    two, three, four, following = among(0xC2, 0xDF), among(0xE0, 0xEF), among(0xF0, 0xF4), among(0x80, 0xBF)
    plain = f"[{two}][{following}]|[{three}][{following}]{{2}}|[{four}][{following}]{{3}}"
    with_blanks = plain
    if blank:
        begin = f"[{two}{three}]"
        a_grave = re.escape(next(chr(code) for code, byte in byte_of.items() if byte == 0xC3))
        with_blanks += (
            f"|{a_grave} |(?<=Ãƒ)Â |[{two}] (?={begin})|[{three}](?: [{following}]|[{following}] (?={begin}))"
        )
    return _Encoding(
        byte_of | {ord(character): byte for character, byte in blank.items()},
        frozenset(chr(code) for code, byte in byte_of.items() if 0xC2 <= byte <= 0xF4),
        frozenset(chr(code) for code, byte in byte_of.items() if 0x80 <= byte <= 0xBF),
        re.compile(plain),
        re.compile(with_blanks),
    )

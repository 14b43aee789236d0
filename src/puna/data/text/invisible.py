r"""Characters that nobody sees: which of them are text is decided by the script around them.

| characters | what becomes of them |
|---|---|
| soft hyphen, word joiner, byte order mark in the text, Hangul fillers, U+FFFC | removed |
| code points that are not characters, controls of shorthand and of musical beams | removed |
| the blank of Braille | stays in Braille; a plain blank elsewhere, where it is used as one that sites do not cut off |
| marks, embeddings, overrides, isolates of direction (Unicode Annex 9) | removed: they order what is shown |
| zero-width space | stays between letters of Thai, Lao, Khmer, Myanmar, where it parts words; else removed |
| zero-width joiner and non-joiner | stay behind letters of Arabic's and Brahmi's kin; a joiner stays in emoji |
| variation selectors | stay behind an emoji, a symbol, Han, Mongolian, Myanmar; else removed |
| tags (U+E0020 ff.) | stay in the flags of England and the like; else removed |
| interlinear annotations | the text stays, the annotation goes (Unicode Standard, section 23.8) |
| U+2028, U+2029 | ends of a line and of a paragraph |
| no-break spaces | plain blanks |
| U+0080 to U+009F | the characters of windows-1252, as in HTML's numbers (13.2.5.80); else removed |
| those and soft hyphens that are bytes of mojibake | stay, so that the rule `mojibake` can read the text again |
| other control characters, escapes of terminals | removed, except tabs, line feeds and form feeds |

Text is not normalised (NFC): the tokenizer gives every text back, and composing would change what was written.
Code keeps every character except the marks of direction, which show another program than the one that runs
(Boucher and Anderson 2021, arXiv:2111.00169): an invisible character in a literal is data.
"""

# ruff: noqa: RUF001

import re

_DIRECTIONS = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_GONE = (
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u2060-\u2065\u206a-\u206f\u3164\ufdd0-\ufdef\ufeff\uffa0\ufff0-\ufffc\ufffe\uffff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f"
)
_BY_SCRIPT = "\u180b-\u180f\u200b-\u200d\ufe00-\ufe0f\U000e0100-\U000e01ef"
_CONTROLS = "\x00-\x08\x0b\x0e-\x1f\x7f-\x9f"
_SEPARATORS = "\u2028\u2029"
_ANY = re.compile(f"[{_CONTROLS}{_GONE}{_BY_SCRIPT}{_DIRECTIONS}{_SEPARATORS}]")
_LONG = "\x1b\ufffa\U0001f3f4"
"""What longer things begin with: an escape of a terminal, an annotation, a flag."""
_RULES = re.compile(
    "\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f"
    r"|\x1b\[[0-?]{0,30}[ -/]{0,3}[@-~]"
    f"|\ufffa[^\ufff9-\ufffb\n]{{0,200}}\ufffb|{_ANY.pattern}"
)
_NEEDS_SCRIPT = re.compile(f"[{_BY_SCRIPT}\u034f]")
_DIRECTION = re.compile(f"[{_DIRECTIONS}]")
_ASCII_CONTROLS = bytes(sorted({*range(32), 127} - set(b"\t\n\f\r")))
_NO_BREAK = ("\u00a0", "\u2007", "\u202f")
_BRAILLE_BLANK = re.compile("(?<![\u2800-\u28ff])\u2800+(?![\u2800-\u28ff])")

_UNASSIGNED = "\x81\x8d\x8f\x90\x9d"
"""What windows-1252 has no character for."""
_SIGNS = "\xa1-\xac\xae-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
_BYTE = f"[{_SIGNS}\x80-\xa0\xad]"
_MOJIBAKE = re.compile(
    f"[Â-ß][{_UNASSIGNED}]|(?:^|(?<=[a-z \n\t({_SIGNS}]))[ÃÎÏÐÑ×ØÙ]\u00ad"
    f"|[à-ï]{_BYTE}(?:{_BYTE}| (?=[à-ï]))|[ð-ô]{_BYTE}{{3}}"
)
"""Bytes of one character in UTF-8, read as windows-1252. A soft hyphen behind ß or Ä is one, behind "MANHÃ" too."""

_SPACELESS = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17b3\u17b6-\u17d3\u17dc\u17dd\u19e0-\u1aaf\ua9e0-\ua9ff\uaa60-\uaadf]"
)
"""Thai, Lao, Myanmar, Khmer, and their extensions."""
_JOINING = re.compile(
    "[\u0600-\u061b\u061d-\u0dff\u0f00-\u109f\u1780-\u17b3\u17b6-\u180a\u1810-\u18af\u1900-\u194f\u1a20-\u1c4f\ua800-\ua82f\ua840-\ua8ff\ua980-\ua9df"
    "\uaa60-\uaa7f\uabc0-\uabff\ufb50-\ufdff\ufe70-\ufefc\U00010d00-\U00010d3f\U00010f30-\U00010fdf\U00011000-\U00011fff"
    "\U0001e900-\U0001e95f]"
)
"""Arabic and what is written like it (Syriac, N'Ko, Mongolian, Adlam), and the scripts that come from Brahmi."""
_EMOJI = re.compile("[\u00a9\u00ae\u203c\u2049\u2100-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]")
_SELECTED = re.compile("[\u1000-\u109f\u1820-\u18aa\u2200-\u22ff\u2e80-\u3163\u3165-\u9fff\ua840-\ua87f\uf900-\ufaff"
                       "\U00010ac0-\U00010aff\U00011000-\U00011fff\U00020000-\U0003ffff]")  # fmt: skip
"""What has variants of its own besides emoji: Han, Mongolian, Myanmar, mathematical operators, Phags-pa, Manichaean."""


def visible_text(text: str) -> str:
    """The text without invisible characters that are not text, by the rules above; itself if there are none."""
    if text.isascii():
        content = text.encode()
        return text if len(content.translate(None, _ASCII_CONTROLS)) == len(content) else _judged_all(text)
    for space in _NO_BREAK:
        text = text.replace(space, " ")
    if "\u2800" in text:
        text = _BRAILLE_BLANK.sub(" ", text)
    return _judged_all(text) if _ANY.search(text) else text


def undirected_text(text: str) -> str:
    """Code without marks of direction."""
    return text if text.isascii() else _DIRECTION.sub("", text)


def _judged_all(text: str) -> str:
    return (_RULES if any(begin in text for begin in _LONG) else _ANY).sub(_judged, text)


def _judged(match: re.Match[str]) -> str:
    found, text, at = match[0], match.string, match.start()
    if len(found) > 1:
        return found if found[0] == "\U0001f3f4" else ""
    if found == "\u00ad" or found in _UNASSIGNED:
        return found if _is_mojibake(text, at) else ""
    if "\x80" <= found <= "\x9f":
        return found.encode("latin-1").decode("cp1252")
    if found in _SEPARATORS:
        return "\n" if found == "\u2028" else "\n\n"
    if _NEEDS_SCRIPT.match(found) and _stays(found, text[max(at - 2, 0) : at], text[at + 1 : at + 2]):
        return found
    return ""


def _is_mojibake(text: str, at: int) -> bool:
    """Whether a character is one of the bytes of a character that was read as windows-1252."""
    matches = (_MOJIBAKE.match(text, start) for start in range(max(at - 3, 0), at))
    return any(match is not None and match.end() > at for match in matches)


def _stays(character: str, before: str, after: str) -> bool:
    """Whether a character that depends on its script stays, by two characters before it and the one after it."""
    last, following = before[-1:], after
    if character == "\u200b":
        return bool(_SPACELESS.match(last) and _SPACELESS.match(following))
    if character in "\u200c\u200d":
        if _JOINING.match(last):
            return True
        base = before[:1] if last == "\ufe0f" else last
        return character == "\u200d" and bool(_EMOJI.match(base) and _EMOJI.match(following))
    if character == "\u034f":
        return _is_mark(last) and _is_mark(following)
    if "\u180b" <= character <= "\u180f":
        return "\u1820" <= last <= "\u18aa"
    if character == "\ufe0f" and last in "0123456789#*":
        return bool(last) and following == "\u20e3"
    if character in "\ufe0e\ufe0f" and _EMOJI.match(last):
        return True
    return bool(_SELECTED.match(last))


def _is_mark(character: str) -> bool:
    return ("\u0300" <= character <= "\u036e" and character != "\u034f") or "\u0591" <= character <= "\u05c7"

"""The encoding of source code: its mark, UTF-8, what the file declares, else a guess from its bytes.

Declarations are those of Python (PEP 263), Ruby and others after Emacs (`-*- coding: x -*-`, `Local Variables:`), of
Vim (`fileencoding=x`), Perl's `use encoding`, CSS's `@charset`, XML's and JSP's own. A guess is Resiliparse's, as for
web pages, unless few bytes mislead it: it must decode without an error into letters, not controls.
"""

import codecs
import re

from resiliparse.parse.encoding import detect_encoding

from puna.data.text.decode import marked_encoding, nearly_utf8

_HEAD = 1024
_DECLARATIONS = (
    re.compile(rb"\A(?:[ \t\f]*(?:[#;%/*\"!('-]|<!--|rem\b)[^\n]*\n|[ \t\f]*\r?\n)?[ \t\f]*(?:[#;%/*\"!('{.-]|<!--"
               rb"|rem\b)[^\n]*?"
               rb"coding[ \t]?[:=][ \t]*[\"']?([-\w.]+)", re.IGNORECASE),
    re.compile(rb"\A<\?xml[^<>]*?encoding[ \t]*=[ \t]*[\"']([-\w.:]+)"),
    re.compile(rb"\A@charset \"([-\w.:]+)\";"),
    re.compile(rb"^[ \t]*use[ \t]+encoding[ \t]+(?:q[qw]?\W|[\"'])?[ \t]*:?([-\w.]+)", re.MULTILINE),
    re.compile(rb"<%@\s*page\b[^%]*?(?:pageEncoding|charset)[ \t]*=[ \t]*[\"']?([-\w.:]+)"),
    re.compile(rb"<meta\b[^<>]*?charset[ \t]*=[ \t]*[\"']?[ \t]*([-\w.:]+)", re.IGNORECASE),
    re.compile(rb"\bdeclare[ \t]*\([ \t]*encoding[ \t]*=[ \t]*[\"']([-\w.]+)"),
    re.compile(rb"^:-[ \t]*encoding\((\w+)\)", re.MULTILINE),
)  # fmt: skip
"""In the first bytes; the first pattern in the first two lines."""
_TAIL = re.compile(
    rb"Local Variables:.{0,1000}?coding:[ \t]*([-\w.]+)|vim?:[^\n]{0,200}?\b(?:fileencoding|fenc)=([-\w.]+)", re.DOTALL
)
"""In the first and the last bytes: what editors read."""
_ENDS_OF_LINES = re.compile(r"-(?:unix|dos|mac)\Z")
_ALIASES = {
    "iso-latin-1": "cp1252", "latin1": "cp1252", "latin-1": "cp1252", "iso-8859-1": "cp1252", "iso8859-1": "cp1252",
    "iso-latin-2": "iso8859-2", "iso-latin-9": "iso8859-15", "sjis": "cp932", "shift-jis": "cp932",
    "shift_jis": "cp932", "japanese-shift-jis": "cp932", "windows-31j": "cp932", "japan": "euc_jp",
    "japanese-iso-8bit": "euc_jp", "ujis": "euc_jp", "gb2312": "gb18030", "gbk": "gb18030", "cp936": "gb18030",
    "chinese-iso-8bit": "gb18030", "prc": "gb18030", "chinese": "gb18030", "euc-cn": "gb18030",
    "taiwan": "big5hkscs", "big5": "big5hkscs", "korea": "cp949", "euc-kr": "cp949", "euc-jp": "euc_jp",
    "euc_kr": "cp949", "korean-iso-8bit": "cp949", "cyrillic-koi8": "koi8-r", "koi8": "koi8-r",
    "iso-2022-jp": "iso2022_jp_2", "junet": "iso2022_jp_2", "jis": "iso2022_jp_2", "macroman": "mac_roman",
}  # fmt: skip
"""Names of Emacs, Vim and others, and encodings of which a larger one holds all characters: what says `latin-1` is
often Windows-1252, as the encoding standard of the web has it."""
_SEVEN_BITS = frozenset({"iso2022_jp", "iso2022_jp_1", "iso2022_jp_2", "iso2022_jp_3", "iso2022_kr", "hz", "utf_7"})
_GUESSES = frozenset({
    "cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "iso8859-2", "iso8859-5",
    "iso8859-7", "iso8859-9", "iso8859-11", "iso8859-13",
    "koi8-r", "koi8-u", "cp866", "shift_jis", "cp932", "euc_jp", "gb18030", "big5",
    "euc_kr", "cp949", "tis_620",
})  # fmt: skip
_TWINS = {
    "iso8859-2": "cp1250", "iso8859-5": "cp1251", "iso8859-7": "cp1253", "iso8859-9": "cp1254", "iso8859-11": "cp874",
    "iso8859-13": "cp1257",
}  # fmt: skip
"""Windows' encodings, where letters stand in place of controls."""
_OF_BYTES = frozenset({"cp932", "euc_jp", "gb18030", "big5hkscs", "cp949"})
_TRIED = ("cp949", "gb18030", "big5hkscs")
_MULTI = {
    "cp932": (0x81, 0x97, 0x40),
    "cp949": (0xB0, 0xC8, 0xA1),
    "gb18030": (0xB0, 0xD7, 0xA1),
    "big5hkscs": (0xA4, 0xC6, 0x40),
}
"""Encodings that the guess misses in few bytes: the first bytes of their common characters, and the least last one.
Korean first, whose syllables are within the range of Chinese."""
_CJK = "\u0800"
"""The first character of three bytes in UTF-8, as all of Chinese, Japanese and Korean have."""
_COMMON, _LEAST = 0.95, 3
"""Least share and number of common characters."""
_UNSURE = ("", "utf-8", "cp1252", "cp1250")
_DOS = re.compile(rb"([\xb0-\xb2\xc4\xcd\xdb\xdc\xdf])\1{3}|[a-z][\x81\x82\x84\x87-\x8a\x94][a-z\x80-\xff]")
"""Lines of the frames that DOS programs draw, and letters of DOS that are quotation marks for Windows."""
_RUN = re.compile(rb"[\x80-\xff]{3}")
_CONTROLS = re.compile("[\x80-\x84\x86-\x9f\ufffd\ue000-\uf8ff]")
_LETTERS = 0.6
"""Least share of letters among the characters beyond ASCII, if there are more than a few: of random bytes, decoded as
KOI8-R, half are letters."""
_FEW = 12


def decode_code(content: bytes, label: str = "") -> str:
    """The text of a file of code.

    Args:
        content: The file.
        label: The encoding that somebody else names, such as a column of a data set.

    Raises:
        UnicodeDecodeError: It is not UTF-8, and no encoding fits that is declared or likely.
    """
    if encoding := marked_encoding(content) or wide_encoding(content):
        return content.decode(encoding)
    declared = [name for name in map(_known, [label, *_declared(content)]) if name]
    for name in declared:
        if name in _SEVEN_BITS and (text := _decoded(content, name)):
            return text
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        for name in declared:
            if text := _decoded(content, name):
                return text
        if text := nearly_utf8(content):
            return text
        for name in _guesses(content):
            if text := _decoded(content, name):
                return text
        raise error from None
    if declared and declared[0] in _OF_BYTES and not text.isascii() and max(text) < _CJK:
        return _decoded(content, declared[0]) or text  # two bytes of it may look like UTF-8
    if "\x1b$" in text or "\x1b(" in text:  # it uses only seven bits, so it looks like UTF-8
        return _decoded(content, "iso2022_jp_2") or text
    return text


def wide_encoding(content: bytes) -> str:
    """The kind of UTF-16 without a byte order mark, recognised by the zeros beside ASCII; empty if it is not that."""
    head = content[:_HEAD]
    if len(content) % 2 or len(head) < 8:
        return ""
    odd, even = head[1::2].count(0), head[::2].count(0)
    if min(odd, even) or max(odd, even) * 10 < len(head) * 4:
        return ""
    return "utf-16-le" if odd else "utf-16-be"


def _declared(content: bytes) -> list[str]:
    """The names of encodings that a file declares, in the order of their weight."""
    head, tail = content[:_HEAD], content[-3000:]
    found = [match[1] for pattern in _DECLARATIONS if (match := pattern.search(head))]
    found += [match[1] or match[2] for part in (head, tail) if (match := _TAIL.search(part))]
    return [name.decode("latin-1") for name in found]


def _known(name: str) -> str:
    """The name that Python gives to an encoding of text; empty if it knows none."""
    name = _ENDS_OF_LINES.sub("", name.strip().lower())
    name = _ALIASES.get(name, name)
    try:
        info = codecs.lookup(name)
    except (LookupError, ValueError):
        return ""
    if (
        not info._is_text_encoding
        or "escape" in info.name
        or info.name in ("idna", "punycode", "undefined", "mbcs", "oem")
    ):
        return ""
    return _ALIASES.get(info.name, info.name)


def _decoded(content: bytes, name: str) -> str:
    """The text; empty if it has an error, or controls where letters should be."""
    try:
        text = content.decode(name)
    except (UnicodeError, ValueError):
        return ""
    return "" if _CONTROLS.search(text) else text


def _guesses(content: bytes) -> list[str]:
    """Encodings that the bytes beyond ASCII suggest, the likeliest first; each is plausible."""
    guess = detect_encoding(content) or ""
    likely = [_known(guess), _TWINS.get(guess, "")] if guess in _GUESSES else []
    if guess in _UNSURE and _DOS.search(content):
        likely.insert(0, "cp437")
    elif guess in _UNSURE and _common(content, "cp932") >= _COMMON:
        likely.insert(0, "cp932")
    if not likely or likely[0] not in _OF_BYTES or not _decoded(content, likely[0]):
        likely = [*(name for name in _TRIED if _common(content, name) >= _COMMON), *likely]
    return [name for name in [*likely, "cp1252"] if name and _letters(content, name) >= _LETTERS]


def _common(content: bytes, name: str) -> float:
    """The share of common characters among those of several bytes; 0 if it does not decode, or they are too few."""
    first, last, trail = _MULTI[name]
    try:
        pieces = [character.encode(name) for character in set(content.decode(name)) if ord(character) > 0x7F]
    except UnicodeError:
        return 0.0
    if len(pieces) < _LEAST or not _RUN.search(content):
        return 0.0
    return sum(first <= piece[0] <= last and piece[-1] >= trail for piece in pieces) / len(pieces)


def _letters(content: bytes, name: str) -> float:
    """The share of letters among the different characters beyond ASCII; 1 if they are few."""
    beyond = {character for character in _decoded(content, name) if ord(character) > 0x7F}
    return sum(map(str.isalpha, beyond)) / len(beyond) if len(beyond) > _FEW else 1.0

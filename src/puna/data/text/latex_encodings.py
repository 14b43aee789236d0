r"""The text of LaTeX files in the encodings that they declare.

Declarations are those of `inputenc`, CJK and XeTeX, of packages and classes that mean an encoding, and the comments for
editors (`% !TEX encoding`, `-*- coding -*-`, vim). Within a `CJK` environment its own encoding holds, around it the
file's. Big5, Shift_JIS and GBK have backslashes and braces as second bytes, so TeX is looked for only afterwards.
"""

import codecs
import re
from collections.abc import Iterator, Mapping
from itertools import chain

from resiliparse.parse.encoding import detect_encoding

from puna.data.text.decode import marked_encoding, nearly_utf8, newlines, western

_COMMENT = re.compile(rb"(?<!\\)%")
_DECLARATIONS = re.compile(
    rb"\\(?:usepackage|RequirePackage)\s*\[([^]\[{}]{1,200})\]\s*\{inputenc\}"
    rb"|\\(?:inputencoding|XeTeXinputencoding|XeTeXdefaultencoding)\s*[{\"]([\w.+-]{1,40})"
    rb"|\\begin\s*\{CJK\*?\}\s*(?:\[[^]]{0,100}\]\s*)?\{([\w+-]{1,20})\}"
    rb"|\\(?:usepackage|documentclass|RequirePackage)\s*\[([^]\[{}]{1,200})\]\s*\{(?:ctex\w*|kotex|CJK\w*)\}"
    rb"|\\(?:usepackage|documentclass|documentstyle|RequirePackage)\s*(?:\[[^]\[{}]{0,200}\]\s*)?\{([^{}]{1,200})\}"
)
"""Options of inputenc, other declarations, options and names of packages and classes."""
_EDITOR = re.compile(
    rb"^\s*%+\s*(?:!\s*T[Ee]X\s+encoding\s*=\s*([\w .+-]{1,40})|-\*-.{0,80}?coding:\s*([\w.+-]{1,40})"
    rb"|.{0,40}?\bfileencoding\s*=\s*([\w.+-]{1,40})|.{0,40}?-kanji=(\w{2,5}))",
    re.MULTILINE,
)
_EDITOR_BYTES = 2000
"""Bytes at either end of a file in which editors look for their comments."""
_ENCODINGS = {
    "utf8": "utf-8", "utf8x": "utf-8", "unicode": "utf-8", "utf8unicode": "utf-8", "ascii": "", "usascii": "",
    **{f"latin{n}": f"iso8859-{part}" for n, part in zip((1, 2, 3, 4, 5, 6, 7, 8, 9, 10), (1, 2, 3, 4, 9, 10, 13, 14,
       15, 16), strict=True)},
    **{f"{prefix}8859{n}": f"iso8859-{n}" for prefix in ("iso", "") for n in range(1, 17) if n != 12},
    **{f"isolatin{n or ''}": f"iso8859-{n or 1}" for n in (0, 1, 2, 3, 4)}, "isolatin9": "iso8859-15",
    "ansinew": "cp1252", "windowslatin1": "cp1252", "windowslatin2": "cp1250", "windowscyrillic": "cp1251",
    **{f"{prefix}{n}": f"cp{n}" for prefix in ("cp", "windows") for n in range(1250, 1259)},
    **{f"cp{n}": f"cp{n}" for n in (437, 850, 852, 855, 858, 861, 862, 865, 866, 869, 874, 932, 936, 949, 950)},
    "cp866av": "cp866", "cp437de": "cp437", "koi8r": "koi8-r", "koi8u": "koi8-u", "koi8ru": "koi8-u",
    "applemac": "mac-roman", "macosroman": "mac-roman", "macroman": "mac-roman", "macce": "mac-latin2",
    "maccyr": "mac-cyrillic", "macukr": "mac-cyrillic", "maccyrillic": "mac-cyrillic", "greek": "iso8859-7",
    "hebrew": "iso8859-8", "tis620": "tis-620", "viscii": "",
    "gb": "gbk", "gbt": "", "gb2312": "gbk", "gbk": "gbk", "gb18030": "gb18030", "euccn": "gbk", "hz": "hz",
    "bg5": "big5hkscs", "bg5+": "big5hkscs", "bg5hk": "big5hkscs", "big5": "big5hkscs", "big5hkscs": "big5hkscs",
    "jis": "euc-jp", "jis2": "euc-jp", "eucjp": "euc-jp", "euc": "euc-jp", "ujis": "euc-jp", "sjis": "cp932",
    "shiftjis": "cp932", "macjapanese": "cp932", "ks": "cp949", "euckr": "cp949", "uhc": "cp949",
}  # fmt: skip
"""Encodings by their names in LaTeX and in editors, without hyphens, and by Python's names; "" decides nothing."""
_MEAN = {
    "cjkutf8": ("utf-8",), "xecjk": ("utf-8",), "fontspec": ("utf-8",), "luatexja": ("utf-8",), "ctexutf8": ("utf-8",),
    "hangul": ("cp949",), "hfont": ("cp949",), "hlatex": ("cp949",), "hangulfn": ("cp949",), "hangul-k": ("cp949",),
    "cct": ("gbk",), "cctart": ("gbk",), "cctbook": ("gbk",),
    **dict.fromkeys(("jarticle", "jreport", "jbook", "tarticle", "treport", "jsarticle", "jsbook", "jarticle11"),
                    ("euc-jp", "cp932")),
}  # fmt: skip
"""Packages and classes that mean an encoding, or one of two."""
_MULTIBYTE = {"gbk", "gb18030", "big5hkscs", "euc-jp", "cp932", "cp949"}
_SURELY = 6
"""Characters beyond ASCII from which on valid UTF-8 is UTF-8, whatever is declared: of two bytes of GBK one pair in
three is valid."""
_CJK = re.compile(
    rb"(\\begin\s*\{CJK\*?\}\s*(?:\[[^]]{0,100}\]\s*)?\{([\w+-]{1,20})\})(.*?)(?=\\end\s*\{CJK\*?\}|\Z)", re.DOTALL
)
_PREPARED = re.compile(rb"([\x81-\xfe])\x7f(\d{2,3})\x7f")
"""A character of Big5, Shift_JIS or GBK as the programs of the CJK package write it for TeX: its second byte in
figures."""
_ISO_2022 = ((b"\x1b$)C", "iso2022_kr"), (b"\x1b$", "iso2022_jp_ext"))
_BEYOND_ASCII = bytes(range(128, 256))
_FOREIGN = 0.3
"""Part of bytes beyond ASCII from which on a file without a declaration is not in a Western encoding: its encoding is
guessed from them. French and German have 0.05, Russian and Chinese between formulas above 0.5."""
_CONTROLS = dict.fromkeys(chain(range(9), range(11, 32), range(127, 160)))


def decode_files(files: Mapping[str, bytes]) -> dict[str, str]:
    """The files as text, each in the encoding that it declares, else in one that another file of the paper declares.

    Without a declaration it is UTF-8, else what its bytes look like if most are beyond ASCII, else nearly UTF-8, else
    Windows-1252, else Latin-1. Valid UTF-8 is UTF-8 even where an encoding of single bytes is declared, in which
    it would be nonsense.
    """
    own = {name: [*_declared(content)] for name, content in files.items()}
    shared = [encoding for found in own.values() for encoding in found]
    return {name: _text(content, list(dict.fromkeys([*own[name], *shared]))) for name, content in files.items()}


def _declared(content: bytes) -> Iterator[str]:
    """The encodings that a file declares, in Python's names."""
    for part in (content[:_EDITOR_BYTES], content[-_EDITOR_BYTES:]):
        for match in _EDITOR.finditer(part):
            yield from _python(next(filter(None, match.groups())))
    for match in _DECLARATIONS.finditer(content):
        if _COMMENT.search(content, content.rfind(b"\n", 0, match.start()) + 1, match.start()):
            continue
        options, command, cjk, of_package, names = match.groups()
        for name in (options or of_package or b"").split(b","):
            yield from _python(name)
        if command or cjk:
            yield from _python(command or cjk)
        for name in (names or b"").split(b","):
            yield from _MEAN.get(name.strip().decode("latin-1").lower(), ())


def _python(name: bytes) -> Iterator[str]:
    found = _ENCODINGS.get(re.sub(r"[\s_.-]", "", name.decode("latin-1").lower()), "")
    if found:
        yield found


def _text(content: bytes, encodings: list[str]) -> str:
    if b"\x7f" in content:
        content = _PREPARED.sub(lambda match: match[1] + bytes([int(match[2]) % 256]), content)
    pieces = []
    position = 0
    for match in _CJK.finditer(content) if b"CJK" in content and not content.isascii() else ():
        inside = [*_python(match[2])]
        if inside and inside != ["utf-8"]:
            outside = [encoding for encoding in encodings if encoding not in inside]
            pieces.append(_decoded(content[position : match.start(3)], outside))
            pieces.append(_decoded(match[3], inside))
            position = match.end(3)
    pieces.append(_decoded(content[position:], encodings))
    return newlines("".join(pieces)).translate(_CONTROLS)


def _decoded(content: bytes, encodings: list[str]) -> str:
    """The text in the first encoding that fits."""
    if content.isascii():
        found = next((name for mark, name in _ISO_2022 if mark in content), "ascii")
        return content.decode(found, "replace" if found != "ascii" else "strict")
    order = [marked_encoding(content) or "utf-8", *encodings]
    if encodings and encodings[0] in _MULTIBYTE and not marked_encoding(content):
        try:
            if sum(character > "\x7f" for character in content.decode()) <= _SURELY:
                order.insert(0, encodings[0])
        except UnicodeDecodeError:
            order.insert(0, encodings[0])
    if not encodings and len(content.translate(None, _BEYOND_ASCII)) <= (1 - _FOREIGN) * len(content):
        order.insert(1, detect_encoding(content) or "utf-8")
    for encoding in order:
        try:
            return codecs.decode(content, encoding)
        except (UnicodeError, LookupError):
            continue
    return nearly_utf8(content) or western(content)

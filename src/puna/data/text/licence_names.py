"""The names of licences as people write them, long, short and as addresses, with the SPDX identifiers they stand for.

Identifiers are those of the SPDX licence list 3.x; where no version is named, the family's name alone (`GPL`). What the
list does not have is a `LicenseRef-`, as the SPDX specification, annex D, provides.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from puna.data.text.licence_languages import GNU_NAME, NAME_HINTS, gnu_licence

PROPRIETARY = "LicenseRef-Proprietary"
COMMERCIAL = "LicenseRef-Commercial"
NON_COMMERCIAL = "LicenseRef-NonCommercial"
PUBLIC_DOMAIN = "LicenseRef-PublicDomain"


@dataclass(frozen=True, slots=True)
class Mention:
    """A licence's name in a text."""

    start: int
    end: int
    licence: str
    bare: bool = False
    """Whether it is a word with other meanings, such as `Apache` or `MIT`."""
    granted: bool = False
    """Whether the words themselves grant the licence, as the text of the MIT licence does."""


_LICENCE = r"(?:public\s+)?licen[cs]es?"
_NUMBER = r"(?P<v>\d(?:\.\d){0,2})"
_VERSION = re.compile(
    rf"(?:[\s\"'”“)]*\(?[\"“']?(?:gnu\s+)?(?:a|l)?(?:gpl|mpl|epl|cddl|sspl|osl|cpl|bsl)(?![a-z])[\"”'\s]*\)?)?"
    rf"(?:\s+(?:public\s+|software\s+)?licen[cs]e(?:\s+agreement)?)?[\s,:()\[\"'\u2013-]{{0,4}}(?:either\s+)?(?:version"
    rf"|vers?\.?|v\.?|>=|≥)?[\s.#(>=-]{{0,3}}{_NUMBER}(?![\d.]*\d)"
)
"""A version directly after a name."""
_FAR = re.compile(r"\b(?:version|v)\.?\s{0,3}(?P<v>\d(?:\.\d)?)\b")
"""A version somewhere in what follows: `GNU General Public License as published by …; either version 2`."""
_FAR_LENGTH = 160
_FAR_FAMILIES = ("GPL", "LGPL", "AGPL", "Apache", "MPL", "EPL", "CDDL")
_GNU = ("GPL", "LGPL", "AGPL", "GFDL")
_AFTER_WORDS = re.compile(r"(?:[\w\s\"')(,-]{0,40}?licen[cs]e)?[\s,/-]{0,3}v?(?P<v>\d\.\d)(?!\.?\d)")
"""A version behind more words: `Attribution-NonCommercial (CC BY-NC) License 4.0`."""
_PRECEDING = re.compile(r"\b(?:version|v)\.?\s*(?P<v>\d(?:\.\d)?)(?P<later>[^.]{0,25}later)?,?\s+of\s+(?:the\s+)?\Z")
_LATER = re.compile(
    r"[\s\"”')]*(?:of\s+(?:the\s+)?(?:gnu\s+)?[al]?(?:licen[cs]e|gpl)[\s,]*)?[\s,;(]*"
    r"(?:\+|-or-later|(?:or|and)\W{1,4}(?:at\s+your\s+(?:option|choice|discretion)\W{1,4})?(?:any\s+)?(?:\(at\s+your"
    r"\s+(?:option|choice)\)\W{1,3})?(?:later|newer|higher|greater|above|up)\b(?:\s+versions?)?)\)?"
)
_ONLY = re.compile(r"[\s,-]{0,2}only\b")
_GREATER = re.compile(r">=|≥")


def _words(text: str) -> str:
    return text.replace(" ", r"\s+").replace("licence", "licen[cs]e")


_Maker = Callable[["re.Match[str]"], str]


def _gnu(match: re.Match[str]) -> str:
    kind = next(filter(None, match.groups()), "")
    return {"a": "AGPL", "l": "LGPL", "f": "GFDL"}.get(kind[:1], "GPL")


_COUNTS = {"two": 2, "three": 3, "four": 4, "new": 3, "modified": 3, "revised": 3, "simplified": 2, "original": 4}


def _bsd(match: re.Match[str]) -> str:
    word = match[1] or match[2] or ""
    count = _COUNTS.get(word) or (int(word) if word.isdigit() else 0)
    return f"BSD-{count}-Clause" if count else "BSD"


def _cc(match: re.Match[str]) -> str:
    words = re.sub(r"[^a-z]+", "", match.group())
    if re.search(r"cc\W?0|zero", match.group()):
        return "CC0"
    parts = (("BY", r"by|attribution"), ("NC", r"nc|noncommercial"), ("SA", r"sa|sharealike"), ("ND", r"nd|noderiv"))
    words = words.replace("creativecommons", "").replace("licenses", "").replace("license", "")
    return "-".join(["CC", *(name for name, pattern in parts if re.search(pattern, words))])


_MIT = r"(?:mit|expat)"
_B = r"(?<![a-z0-9_])"
_E = r"(?![a-z0-9_])"
_NAMES: tuple[tuple[str, str, str | _Maker], ...] = (
    ("general", rf"{_B}(?:gnu\W{{1,4}})?(?:(affero|lesser"
                rf"|library)(?:\W+\(?\w+\)?)?\W{{1,4}})?general\W{{1,4}}public\W{{1,4}}licen[cs]es?", _gnu),
    ("gpl", rf"{_B}(?:gnu\s+)?(affero|lesser|library)\s+gpl(?![a-uw-z_])", _gnu),
    ("gnu ", rf"{_B}gnu\s+(?:(lesser|library|affero|free\s+documentation)\s+)?(?:public\s+)?licen[cs]e", _gnu),
    ("gpl", rf"{_B}(?:gnu[\s/-]+)?(a|l)?gpl(?:s|'?e?d)?(?![a-uw-z_])(?!v[a-z])", _gnu),
    ("/licenses/", r"gnu\.org/(?:licenses|copyleft)/(?:old-licenses/)?(agpl|lgpl|fdl|(?:gpl))(?:[-.]html)?", _gnu),
    ("mozilla", rf"mozilla\s+{_LICENCE}|mozilla\.org/mpl", "MPL"),
    ("mpl", rf"{_B}mpl(?![a-uw-z_])", "MPL"),
    ("eclipse", rf"eclipse\s+{_LICENCE}|eclipse\.org/legal/epl", "EPL"),
    ("epl", rf"{_B}epl(?![a-uw-z_])", "EPL"),
    ("eclipse dist", r"eclipse\s+distribution\s+licen[cs]e", "BSD-3-Clause"),
    ("common dev", r"common\s+development\s+(?:and|&)\s+distribution\s+licen[cs]e", "CDDL"),
    ("cddl", rf"{_B}cddl(?![a-uw-z_])", "CDDL"),
    ("common public", _words("common public licence"), "CPL"),
    ("european union", rf"european\s+union\s+{_LICENCE}", "EUPL"),
    ("eupl", rf"{_B}eupl(?![a-uw-z_])", "EUPL"),
    ("open software", _words("open software licence"), "OSL"),
    ("osl-", rf"{_B}osl-(?=\d)", "OSL"),
    ("cecill", rf"cecill(?:-([abc]){_E})?", lambda m: f"CECILL-{m[1].upper()}" if m[1] else "CECILL"),
    ("server side", rf"server\s+side\s+{_LICENCE}", "SSPL"),
    ("sspl", rf"{_B}sspl(?![a-uw-z_])", "SSPL"),
    ("business source", _words("business source licence"), "BUSL"),
    ("busl", rf"{_B}busl{_E}", "BUSL"),
    ("bsl", rf"{_B}bsl[\s-]*v?\.?\s?(?=1\.1)", "BUSL"),
    ("bsl", rf"{_B}bsl(?=[\s-]*v?\.?\s?1\.0)", "BSL"),
    ("elastic", rf"{_B}elastic[\s-]+(?:community\s+)?(?:licen[cs]e|(?=2\.0))", "Elastic"),
    ("elv2", rf"{_B}elv2", "Elastic-2.0"),
    ("commons", r"commons[\s-]+clause", "LicenseRef-Commons-Clause"),
    ("source available", r"redis\s+source\s+available\s+licen[cs]e", "LicenseRef-RSAL"),
    ("rsal", rf"{_B}rsal(?![a-uw-z_])", "LicenseRef-RSAL"),
    ("community", r"(?:confluent|timescale|mongodb|cockroachdb|yugabyte\w*|llama(?:\s+\d(?:\.\d)?)?"
                  r"|polyform)\s+community\s+licen[cs]e", "LicenseRef-Community"),
    ("functional source", _words("functional source licence"), "FSL"),
    ("fsl-", rf"{_B}fsl-(?=\d)", "FSL"),
    ("polyform", r"polyform[\s-]+(\w+)[\s-]*(?:licen[cs]e)?", lambda m: f"PolyForm-{m[1].title()}"),
    ("rail", rf"{_B}(?:big\w+[\s-]|creativeml[\s-])?open[\s-]?rail(?:[\s+-]*\+?\+?[ms])*{_E}", "LicenseRef-OpenRAIL"),
    ("prosperity", _words("prosperity public licence"), "LicenseRef-Prosperity"),
    ("parity", _words("parity public licence"), "Parity"),
    ("aladdin", r"aladdin\s+free\s+public\s+licen[cs]e", "Aladdin"),
    ("sleepycat", r"sleepycat\s+(?:public\s+)?licen[cs]e", "Sleepycat"),
    ("qpl", rf"{_B}qpl(?![a-uw-z_])", "QPL"),
    ("q public", _words("q public licence"), "QPL"),
    ("apple public", r"apple\s+public\s+source\s+licen[cs]e", "APSL"),
    ("ibm public", _words("ibm public licence"), "IPL"),
    ("microsoft", r"microsoft\s+(public|reciprocal)\s+licen[cs]e", lambda m: "MS-PL" if m[1] == "public" else "MS-RL"),
    ("ms-", rf"{_B}ms-(pl|rl){_E}", lambda m: f"MS-{m[1].upper()}"),
    ("netscape", _words("netscape public licence"), "NPL"),
    ("common public att", r"common\s+public\s+attribution\s+licen[cs]e", "CPAL"),
    ("reciprocal public", r"(?<!microsoft )reciprocal\s+public\s+licen[cs]e", "RPL"),
    ("free documentation", _words("free documentation licence"), "GFDL"),
    ("gfdl", rf"{_B}gfdl(?![a-uw-z_])", "GFDL"),
    ("open database", _words("open database licence"), "ODbL"),
    ("odbl", rf"{_B}odbl(?![a-uw-z_])", "ODbL"),
    ("creative", r"(?<![a-z])(?:creative\W{0,2}commons(?:\W{1,4}(?:public\s+)?licen[cs]es?)?(?:\W{1,4}(?:\(?cc\)?\W+"
                 r")?(?:zero|0|by|nc|sa|nd|attribution|non\W?commercial|share\W?alike"
                 r"|no\W{0,2}deriv\w*)(?:\W?works)?(?![a-z]))*)(?:\.org/(?:licenses|publicdomain)/[a-z-]+)?", _cc),
    ("cc", rf"{_B}cc[\s-]+(?:by|nc|sa|nd)(?:[\s-]+(?:nc|sa|nd))*{_E}|{_B}cc0(?![a-z0-9])", _cc),
    ("apache", rf"{_B}apache(?:\s+software)?(?:\s+foundation)?\s+(?:software\s+)?{_LICENCE}"
               rf"|{_B}apache[\s-]*(?=v?\.?\s?[12](?:\.\d)?{_E})|apache\.org/licenses/license-?|{_B}(?:asl"
               rf"|al)[\s-]*v?(?=2\.0{_E})", "Apache"),
    ("mit", rf"{_B}{_MIT}[\s\"'/-]*(?:x11[\s-]*)?(?:style\s+|open\s+source\s+|free\s+software\s+)?\"?(?:licen[cs]es?"
            rf"|licen[cs]ed){_E}|opensource\.org/licenses?/mit{_E}(?:-license)?|{_B}{_MIT}-style", "MIT"),
    ("expat", rf"{_B}expat\s+licen[cs]e", "MIT"),
    ("x11", r"x11(?:/mit)?\s+licen[cs]e", "MIT"),
    ("mit-0", rf"{_B}mit-0{_E}|mit\s+no\s+attribution", "MIT-0"),
    ("bsd", rf"{_B}(?:(2|3|4|two|three|four|new|simplified|revised|modified"
            rf"|original)[\s-]*(?:clause)?[\s-]*)?(?:\(?\w+\)?\s+)?\(?bsd\)?[\s-]*(?:(2|3|4|two|three|four|new"
            rf"|simplified|revised|modified)[\s-]*clause)?(?:[\s\"-]*(?:style|type|like))?[\s\"]*(?:licen[cs]es?"
            rf"|licen[cs]ed)(?![a-z])", _bsd),
    ("bsd", rf"{_B}(?:(2|3|4|two|three|four)[\s-]*clause\s+)?bsd[\s-]+(2|3|4|two|three|four)[\s-]*clause"
            rf"|opensource\.org/licenses/bsd", _bsd),
    ("bsd", rf"{_B}bsd-?([234])(?![\w.-])()", _bsd),
    ("isc", rf"{_B}isc[\s-]*(?:style\s+)?\"?licen[cs]e", "ISC"),
    ("0bsd", rf"{_B}0bsd{_E}", "0BSD"),
    ("zlib", rf"{_B}zlib(?:/libpng)?[\s-]*(?:style\s+)?licen[cs]e", "Zlib"),
    ("libpng", r"(?<!/)libpng\s+licen[cs]e", "libpng"),
    ("boost", r"boost\s+(?:software\s+)?licen[cs]e|boost\.org/license", "BSL"),
    ("unlicense", rf"{_B}(?:the\s+)?unlicense{_E}(?:\.org)?", "Unlicense"),
    ("wtfpl", rf"{_B}wtfpl{_E}", "WTFPL"),
    ("what the f", r"do\s+what\s+the\s+f\S+\s+you\s+want\s+to\s+public\s+licen[cs]e", "WTFPL"),
    ("beer", r"beer-?ware", "Beerware"),
    ("python soft", r"python\s+software\s+foundation\s+licen[cs]e|python\s+licen[cs]e", "PSF"),
    ("psf", rf"{_B}psf[\s-]*(?:licen[cs]e|(?=2))", "PSF"),
    ("artistic", r"artistic\s+licen[cs]e", "Artistic"),
    ("ncsa", r"ncsa\s+(?:open\s+source\s+)?licen[cs]e", "NCSA"),
    ("university of illinois", r"university\s+of\s+illinois\W+(?:\w+\W+)?open\s+source\s+licen[cs]e", "NCSA"),
    ("academic free", _words("academic free licence"), "AFL"),
    ("educational community", _words("educational community licence"), "ECL"),
    ("w3c", r"w3c[®\s]*(?:software\s+)?licen[cs]e", "W3C"),
    ("zope", rf"zope\s+{_LICENCE}", "ZPL"),
    ("php", r"php\s+licen[cs]e", "PHP"),
    ("postgresql", r"postgresql\s+licen[cs]e", "PostgreSQL"),
    ("openssl", r"openssl\s+licen[cs]e", "OpenSSL"),
    ("open font", r"(?:sil\s+)?open\s+font\s+licen[cs]e", "OFL"),
    ("universal permissive", _words("universal permissive licence"), "UPL"),
    ("ruby", r"ruby(?:'s)?\s+licen[cs]e", "Ruby"),
    ("vim", rf"{_B}vim\s+licen[cs]e", "Vim"),
    ("curl", rf"{_B}curl\s+licen[cs]e", "curl"),
    ("public domain", r"public\s+domain", PUBLIC_DOMAIN),
    ("commercial", r"(?<!non-)(?<!non )commercial\s+licen[cs]e|commercially\s+licen[cs]ed", COMMERCIAL),
    ("propriet", r"proprietary\s+(?:\w+\s+)?licen[cs]e", PROPRIETARY),
    ("perl", r"same\s+(?:terms|licen[cs]e)(?:\s+terms)?\s+as\s+(?:the\s+)?perl", "Artistic-1.0-Perl OR GPL-1.0-or-lat"
                                                                                 "er"),
    ("kernel", r"same\s+(?:terms|licen[cs]e)\s+as\s+(?:the\s+)?linux\s+kernel", "GPL-2.0"),
    ("emacs", r"same\s+(?:terms|licen[cs]e)\s+as\s+(?:gnu\s+)?emacs", "GPL"),
    ("vim", r"same\s+(?:terms|licen[cs]e)\s+as\s+vim|vim'?s?\s+licen[cs]e|:help\s+license", "Vim"),
    ("python", r"same\s+(?:terms|licen[cs]e)\s+as\s+(?:c?python)", "PSF"),
)  # fmt: skip
"""A word without which the name cannot occur, the pattern (lower case), and the identifier without its version."""

_BARE = re.compile(
    r"(?<![a-z0-9_./-])(?:(?P<kind>simplified|new|modified|revised|original"
    r"|[234][\s-]*clause)\s+(?=bsd))?(?P<name>mit|bsd|apache|isc|zlib|boost|ruby|perl|artistic|expat|x11|psf|python"
    r"|proprietary|commercial|closed|unlicensed|cc|none)(?![a-z0-9_]|\.\w|-\w)"
)
_BARE_IDS = {
    "mit": "MIT", "expat": "MIT", "x11": "MIT", "bsd": "BSD", "apache": "Apache", "isc": "ISC", "zlib": "Zlib",
    "boost": "BSL", "ruby": "Ruby", "perl": "Artistic-1.0-Perl OR GPL-1.0-or-later", "artistic": "Artistic",
    "psf": "PSF", "python": "PSF", "proprietary": PROPRIETARY, "closed": PROPRIETARY, "none": PROPRIETARY,
    "unlicensed": PROPRIETARY, "commercial": COMMERCIAL, "cc": "CC",
}  # fmt: skip
_VERSIONED = frozenset({
    "GPL", "LGPL", "AGPL", "GFDL", "MPL", "EPL", "CDDL", "CPL", "EUPL", "OSL", "CECILL", "SSPL", "BUSL", "BSL",
    "Elastic", "Apache", "Artistic", "PSF", "AFL", "ECL", "ZPL", "PHP", "OFL", "UPL", "NPL", "APSL", "IPL", "QPL",
    "CPAL", "RPL", "ODbL", "FSL", "W3C", "Parity",
})  # fmt: skip
_COMPILED = tuple((hint, re.compile(pattern), licence) for hint, pattern, licence in _NAMES)
_ELSEWHERE = re.compile(GNU_NAME)


def mentions(text: str) -> list[Mention]:
    """The licences that a text names, in their order; of names in names the longest.

    Args:
        text: In lower case.
    """
    found: list[tuple[int, int, str, bool]] = []
    for hint, pattern, maker in _COMPILED:
        if hint in text:
            found += [
                (match.start(), match.end(), maker if isinstance(maker, str) else maker(match), False)
                for match in pattern.finditer(text)
            ]
    if any(hint in text for hint in NAME_HINTS):
        found += [(match.start(), match.end(), gnu_licence(match), False) for match in _ELSEWHERE.finditer(text)]
    for match in _BARE.finditer(text):
        licence = _BARE_IDS[match["name"]]
        if kind := match["kind"]:
            licence = f"BSD-{_COUNTS.get(kind) or kind[0]}-Clause"
        found.append((match.start(), match.end(), licence, True))
    found.sort(key=lambda item: (item[0], -item[1]))
    apart: list[tuple[int, int, str, bool]] = []
    for item in found:
        if not apart or item[0] >= apart[-1][1]:
            apart.append(item)
        elif item[1] > apart[-1][1] and apart[-1][3]:
            apart[-1] = item
    return list(_with_versions(text, apart))


def _with_versions(text: str, found: list[tuple[int, int, str, bool]]) -> Iterator[Mention]:
    position = 0
    for index, (start, end, licence, bare) in enumerate(found):
        if start < position:
            continue
        room = found[index + 1][0] if index + 1 < len(found) else len(text)
        if licence.startswith("CC-") or licence in _VERSIONED or licence == "CC0":
            end, licence = _version(text, start, end, room, licence)
        bare = bare and not re.search(r"\d", licence)
        yield Mention(start, end, licence, bare)
        position = end


def _version(text: str, start: int, end: int, room: int, family: str) -> tuple[int, str]:
    """The end of a name with its version, and the identifier."""
    before = _PRECEDING.search(text, max(0, start - 60), start)
    match = _VERSION.match(text, end, max(room, min(len(text), end + 30)))
    if match is None and (family == "Apache" or family.startswith("CC")):
        match = _AFTER_WORDS.match(text, end, min(room, end + 60))
    is_later = False
    if match is None and before is not None:
        match, is_later = before, before["later"] is not None
    else:
        if match is None and family in _FAR_FAMILIES:
            match = _FAR.search(text, end, min(room, end + _FAR_LENGTH))
        end = match.end() if match else end
        if later := _LATER.match(text, end) or _ONLY.match(text, end):
            end = later.end()
            is_later = later.re is _LATER
    if match is None:
        return end, family
    number = ".".join(f"{match['v']}.0".split(".")[:2])
    is_later = is_later or _GREATER.search(match.group()) is not None
    return end, f"{family}-{number}{'-or-later' if is_later and family in _GNU else ''}"

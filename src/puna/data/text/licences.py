"""The licences of a project's files: what a licence file is, by its name and its text, and what may be kept.

A licence file is recognised by its title or by sentences that no other has; a short one is read as a notice
(`puna.data.text.licence_notices`). Several files of a directory are alternatives where their names name licences
(`LICENSE-MIT` beside `LICENSE-APACHE`), as in Rust's projects; otherwise all of them must be fulfilled. GNU's own names
(`COPYING.LESSER`) are never alternatives, and licences of dependencies (`LICENSE-THIRD-PARTY`) license nothing here.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from puna.data.text.code_languages import language_of
from puna.data.text.licence_expressions import all_of
from puna.data.text.licence_names import mentions
from puna.data.text.licence_notices import prose_notice

UNKNOWN = "LicenseRef-Unknown"
"""A licence file says something, but not what."""

_NAMES = (
    r"(?:mit|bsd|isc|apache|[al]?gpl|mpl|epl|cddl|eupl|zlib|boost|bsl|unlicense|cc0|cc|psf|artistic|ncsa|wtfpl"
    r"|ofl|expat|lesser|lib(?:rary)?)"
)
_NAME = re.compile(
    rf"(?:(?P<before>{_NAMES}[\w.]*?)[-_.])?(?P<base>(?:un)?licen[cs]es?|copying"
    r"|third[-_. ]?party[-_. ]?(?:licen[cs]es?|notices?))"
    r"(?P<after>\d|[-_.].*)?",
    re.IGNORECASE,
)
_PROSE = ("", "markdown", "restructuredtext", "html")
"""Languages of licence files; `license.py` is a program."""
_ENDING = re.compile(r"\.(?:txt|md|markdown|rst|html?|text|adoc)\Z", re.IGNORECASE)
_OTHERS = re.compile(
    r"third|3rd|notice|depend|vendor|bundl|component|credit|attribution|acknowledg|header|template|generated|readme"
    r"|[-_.](?:docs?|documentation|content|text|assets?|art|artwork|images?|media|fonts?|data(?:sets?)?|models?|weights)\b",
    re.IGNORECASE,
)
"""Names of files about the licences of something else, or not of code."""
_MAIN = re.compile(
    r"(?:[-_.]?(?:[\d._v-]+|code|software|source|src|project|main|full|[a-z]{2}(?:[-_][a-z]{2})?))?", re.IGNORECASE
)
"""What may follow in the name of the project's own licence: a version, a language of people."""
_LICENCE_NAME = re.compile(rf"[-_.]?(?:{_NAMES}[-_.v]*(?:\d[\w.]*)?(?:[-_.]clause)?[-_.+]*)+\Z", re.IGNORECASE)
_BEGINNING = 3000
"""Characters at the beginning of a licence file that are looked at: a later licence is that of something else."""
_END = re.compile(
    r"dealings\s+in\s+the\s+software\.|possibility\s+of\s+such\s+damages?\.|performance\s+of\s+this\s+software\.",
    re.IGNORECASE,
)
"""The last words of the MIT, BSD and ISC licences."""
_LONG = 1200
"""Characters of words from which a text with a licence's title is that licence, not a notice that names it."""

_NAMED = (
    (r"gnu affero general public license\W+version (\d)", "AGPL-{}.0"),
    (r"gnu (?:lesser|library) general public license\W+version (\d(?:\.\d)?)", "LGPL-{}"),
    (r"gnu general public license\W+version (\d)", "GPL-{}.0"),
    (r"gnu free documentation license\W+version (\d\.\d)", "GFDL-{}"),
    (r"mozilla public license\W+(?:version )?(\d\.\d)", "MPL-{}"),
    (r"apache license\W+version (\d\.\d)", "Apache-{}"),
    (r"eclipse public license\W+(?:version|v)? ?(\d\.\d)", "EPL-{}"),
    (r"common development and distribution license\W+(?:\(cddl\)\W+)?version (\d\.\d)", "CDDL-{}"),
    (r"european union public licen[cs]e\W+(?:version|v\.?)? ?(\d\.\d)", "EUPL-{}"),
    (r"server side public license\W+version (\d)", "SSPL-{}.0"),
    (r"business source license (\d\.\d)", "BUSL-{}"),
    (r"elastic license (\d\.\d)", "Elastic-{}"),
    (r"boost software license\W+version (\d\.\d)", "BSL-{}"),
    (r"academic free license\W+(?:\(\W?afl\W?\)\W+)?(?:version|v\.) (\d\.\d)", "AFL-{}"),
    (r"open software license\W+(?:\(\W?osl\W?\)\W+)?(?:version|v\.) (\d\.\d)", "OSL-{}"),
    (r"artistic license (\d\.\d)", "Artistic-{}"),
    (r"cc0 (1\.0) universal", "CC0-{}"),
)
"""Titles of licences with their versions."""
_CC = re.compile(r"attribution(?:-\w+)* (\d\.\d)")


@dataclass(frozen=True, slots=True)
class DirectoryLicence:
    """What the licence files of a directory say."""

    licence: str = ""
    """An SPDX expression, `UNKNOWN` if the text is not known; empty if no file licenses the directory itself."""
    others: tuple[str, ...] = ()
    """Licences of files about something that is named, such as `LICENSE.jquery`; they hold as well."""
    files: tuple[str, ...] = ()
    """The names of the files that say so."""


def is_licence_file(path: str) -> bool:
    """Whether a name is that of a licence file, such as LICENSE, COPYING or LICENSE-MIT.txt."""
    name = path.rpartition("/")[2].rpartition("!")[2]
    return _NAME.fullmatch(name) is not None and language_of(name) in _PROSE


def directory_licence(texts: Mapping[str, str], directory: str = "") -> DirectoryLicence:
    """What the licence files of one directory say together.

    Args:
        texts: Their texts, or beginnings, by name.
        directory: The directory's name; `LICENSE.jquery` in `jquery` is that directory's licence.
    """
    main, named, others, files = [], [], [], []
    gnu = False
    for name in sorted(texts):
        match = _NAME.fullmatch(name)
        rest = "" if match is None else _ENDING.sub("", match["after"] or "")
        if match is None or _OTHERS.search(name):
            continue
        licence = detect_licence(texts[name])
        is_named = match["before"] is not None or (len(rest) > 1 and _LICENCE_NAME.fullmatch(rest) is not None)
        is_main = _MAIN.fullmatch(rest) is not None or rest.strip("-_.").lower() in directory.lower()
        if is_named or match["base"].lower() == "unlicense":
            named.append(licence or UNKNOWN)
            gnu = gnu or match["base"].lower() == "copying"
        elif is_main:
            if not licence and len(texts) > 2 and re.search(r"licen[cs]e[-.](?:mit|apache)", texts[name].lower()):
                continue  # it explains the choice between the others
            main.append(licence or UNKNOWN)
        else:
            others += [licence] if licence else []
        files.append(name)
    if len(named) > 1 and not gnu:
        main.append(" OR ".join(sorted(set(named))))
    else:
        main += named
    return DirectoryLicence(all_of(sorted(set(main))), tuple(sorted(set(others))), tuple(files))


def nearest_licence(found: Iterable[DirectoryLicence]) -> str:
    """The licence that holds in a directory, given what it and those above it say, the nearest first."""
    others: list[str] = []
    for one in found:
        others += one.others
        if one.licence:
            return all_of([one.licence, *others])
    return all_of([UNKNOWN, *others]) if others else ""


def detect_licence(text: str) -> str:
    """The licence that a text is, as an SPDX expression; empty if it is not one of those that are known."""
    beginning = text[:_BEGINNING]
    if end := _END.search(beginning):
        beginning = beginning[: end.end()]
    words = " ".join(re.sub(r"[*#>\"'`“”=_]", " ", beginning.lower()).split())
    title = _title(words[:600])
    if not title or len(words) < _LONG:
        title = prose_notice(beginning).licence or title
    if "commons clause" in words and "Commons-Clause" not in title:
        return all_of([title or UNKNOWN, "LicenseRef-Commons-Clause"])
    return title


def _title(words: str) -> str:
    for pattern, name in _NAMED:
        if match := re.search(pattern, words):
            version = match[1]
            return name.format(version if "." in version or "." in name else f"{version}.0")
    return (
        next((found.licence for found in mentions(words) if found.licence.startswith("CC-BY")), "")
        if _CC.search(words)
        else ""
    )

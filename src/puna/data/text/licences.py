"""The licence that a text is, or names, as an SPDX identifier.

A licence's text is recognised by sentences that no other has, a file's own licence by its `SPDX-License-Identifier`
line (SPDX specification, annex E). Words around them may differ; an unrecognised text has no licence here.
"""

import re

from puna.data.text.code_languages import language_of

_IDENTIFIER = re.compile(r"SPDX-License-Identifier:[ \t]*([A-Za-z0-9.+\-() ]+)")
_OPERATOR = re.compile(r"([()]|(?<![^\s)])(?:and|or)(?![^\s(]))")
_NAME = re.compile(r"(?:(?:mit|bsd|apache)-)?(?:un)?(?:licen[cs]es?|copying)(?:[-_.].*)?", re.IGNORECASE)
_PROSE = ("", "markdown", "restructuredtext", "html")
"""Languages of licence files; `license.py` is a program."""
_BEGINNING = 3000
"""Characters at the beginning of a source file that are searched for its identifier, and of a licence file for the
project's own licence."""

_NOTICE = re.compile(
    r"under\W+(?:the\W+terms\W+of\W+)?(?:the\W+)?gnu\W+(?:(?P<kind>affero|lesser|library)\W+)?general\W+public\W+licen[cs]e"
    r"(?P<rest>.{0,200})",
    re.IGNORECASE | re.DOTALL,
)
_VERSION = re.compile(r"\bversion\W{1,10}(\d(?:\.\d)?)", re.IGNORECASE)
_GRANT_MIT = "permission is hereby granted, free of charge, to any person obtaining a copy"
_GRANT_ISC = "permission to use, copy, modify, and/or distribute this software for any purpose"
_GRANT_BSD = "redistribution and use in source and binary forms, with or without modification, are permitted"
_NAMED = (
    (r"gnu affero general public license\W+version (\d)", "AGPL-{}.0"),
    (r"gnu (?:lesser|library) general public license\W+version (\d(?:\.\d)?)", "LGPL-{}"),
    (r"gnu general public license\W+version (\d)", "GPL-{}.0"),
    (r"mozilla public license\W+version (\d\.\d)", "MPL-{}"),
    (r"apache license\W+version (\d\.\d)", "Apache-{}"),
    (r"eclipse public license\W+(?:version|v) ?(\d\.\d)", "EPL-{}"),
    (r"boost software license\W+version (\d\.\d)", "BSL-{}"),
    (r"academic free license\W+version (\d\.\d)", "AFL-{}"),
    (r"artistic license (\d\.\d)", "Artistic-{}"),
)
"""Titles of licences with their versions."""


def is_licence_file(path: str) -> bool:
    """Whether a name is that of a licence file, such as LICENSE, COPYING or LICENSE-MIT.txt."""
    name = path.rpartition("/")[2].rpartition("!")[2]
    return _NAME.fullmatch(name) is not None and language_of(name) in _PROSE


def detect_licence(text: str) -> str:
    """The licence that a text is, as an SPDX identifier; empty if it is not one of those that are known."""
    if identifier := stated_licence(text):
        return identifier
    words = " ".join(re.sub(r"[*#>\"'`“”]", " ", text.lower()).split())
    beginning = words[:_BEGINNING]
    for pattern, name in _NAMED:
        if match := re.search(pattern, beginning[:600]):
            version = match[1]
            return name.format(version if "." in version or "." in name else f"{version}.0")
    if "licensed under the apache license, version 2.0" in beginning:
        return "Apache-2.0"
    if "this is free and unencumbered software released into the public domain" in words:
        return "Unlicense"
    if "cc0 1.0 universal" in beginning:
        return "CC0-1.0"
    if "python software foundation license version 2" in words:
        return "PSF-2.0"
    # A later licence in the file is that of something else that the project contains.
    if _GRANT_MIT in beginning:
        return "MIT" if "the above copyright notice" in words else "MIT-0"
    if _GRANT_ISC in beginning or _GRANT_ISC.replace("and/or", "and") in beginning:
        return "ISC" if "the above copyright notice" in words else "0BSD"
    if _GRANT_BSD in beginning:
        if "all advertising materials mentioning features" in words:
            return "BSD-4-Clause"
        endorse = re.search(r"neither the names?\b.{0,200}\b(?:endorse|promote)|may not be used to endorse", words)
        return "BSD-3-Clause" if endorse else "BSD-2-Clause"
    return "Zlib" if "altered source versions must be plainly marked" in words else ""


def stated_licence(text: str) -> str:
    """The expression in the `SPDX-License-Identifier` line near a file's beginning; empty without one."""
    match = _IDENTIFIER.search(text, 0, _BEGINNING)
    return " ".join(match[1].split()).rstrip("- ") if match else ""  # not the end of `<!-- … -->`


def noticed_licence(text: str) -> str:
    """The GNU licence in a source file's own notice, which overrides its repository's; empty without one.

    `GPL-2.0`, `LGPL-2.1`, …, and without a version `GPL`.
    """
    match = _NOTICE.search(text, 0, _BEGINNING)
    if match is None:
        return ""
    name = {"affero": "AGPL", "lesser": "LGPL", "library": "LGPL"}.get((match["kind"] or "").lower(), "GPL")
    version = _VERSION.search(match["rest"])
    return f"{name}-{version[1] if '.' in version[1] else f'{version[1]}.0'}" if version else name


def is_permitted(licence: str, prefixes: list[str]) -> bool:
    """Whether an SPDX expression can be fulfilled by licences with these beginnings of identifiers, in lower case.

    `A OR B` needs one of both, `A AND B` both and binds more closely, brackets group; an exception after `WITH` takes
    nothing away. Anything else than such an expression cannot be fulfilled.
    """
    beginnings = tuple(prefixes)
    outer: list[tuple[bool, bool]] = []
    earlier, so_far, is_due = False, True, True
    """Whether an earlier alternative can be fulfilled; whether this one can so far; whether a licence must follow."""
    for part in filter(None, map(str.strip, _OPERATOR.split(licence.lower()))):
        if is_due != (part not in (")", "and", "or")):
            return False
        if part == "(":
            outer.append((earlier, so_far))
            earlier, so_far = False, True
        elif part == ")":
            if not outer:
                return False
            inner = earlier or so_far
            earlier, so_far = outer.pop()
            so_far = so_far and inner
        elif part in ("and", "or"):
            is_due = True
            if part == "or":
                earlier, so_far = earlier or so_far, True
        else:
            is_due = False
            so_far = so_far and part.startswith(beginnings)
    return not outer and not is_due and (earlier or so_far)

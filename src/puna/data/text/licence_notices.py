"""The licences that a source file states in its own comments, as one SPDX expression.

A name of a licence counts where a grant stands by it (`under the terms of`, `License:`, a title, the words of the
licence themselves), not where it is denied (`no longer under`, `compatible with`) or only spoken of (`checks whether`).
Of several licences all must be fulfilled (AND), unless the notice says that one may choose (OR): where unsure, more is
dropped. At the file's beginning and end a notice may be short; amid the code it must say that it speaks of that code.

Within comments nothing is parsed but lines and sentences. The rules are our own; `bench/licences.py` measures them
(docs/decisions/0018-licences-of-code.md).
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from puna.data.text.code_comments import Passage, passages, plain
from puna.data.text.licence_expressions import all_of
from puna.data.text.licence_grants import is_granted, written_out
from puna.data.text.licence_languages import NAME_HINTS, REFUSAL_HINTS
from puna.data.text.licence_names import Mention, mentions

_ANYWHERE = (
    "licen", "gpl", "lizenz", "hereby granted", "creative commons", "creativecommons", "cc-by", "cc by",
    "public domain", "are permitted",
)  # fmt: skip
"""One of these is in nearly every notice, and in every one amid code."""
_AT_THE_ENDS = (
    "confidential", "proprietary", "unauthor", "trade secret", "permission", "commons clause", "cc0",
    "no part of this", "same terms", "copyleft", "free software", "the property of", "beerware", "openrail", "cddl",
    "sspl", "busl", "eupl", "gfdl", "wtfpl", "cecill", " elv2", " mpl", "(mpl", "\nmpl", "mpl-", "mpl 2", " epl",
    "(epl", "\nepl", "epl-", "commercial", "permitted", "consent", "distribut", "closed", "research", " rail",
    "all rights", *NAME_HINTS, *REFUSAL_HINTS,
)  # fmt: skip
"""One of these is in every other notice; some of them are words of code as well."""
_HEAD = 6000
"""Characters at a file's beginning, and half of those at its end, in which they are looked for."""
_WORDS = 200
"""Characters of a notice that are kept as its words."""
_BEGINNING = 20_000
"""Characters of a passage that are looked at: a licence's whole text may stand in a comment."""

_ID = r"[A-Za-z0-9][\w.+-]*(?::[\w.+-]+)?"
_TAG = re.compile(
    rf"(?:^|[|;,]|\.[ \t])[ \t]*SPDX-Licen[cs]e-Identifier[ \t]*[:=]?[ \t]*"
    rf"(?P<expression>\(*\s*{_ID}(?:\)*\s*(?:\s(?:or|and|with)\s|/)\s*\(*\s*{_ID})*[ \t]*\)*)",
    re.IGNORECASE | re.MULTILINE,
)
_VALUES = (
    ("__licen", re.compile(r"^__licen[cs]e__\s*=\s*(?P<value>[\"'][^\"'\n]{2,80}[\"'])", re.MULTILINE)),
    ("setup(", re.compile(r"^\s*licen[cs]e\s*=\s*(?P<value>[\"'][^\"'\n]{2,80}[\"'])", re.MULTILINE)),
    ("setup(", re.compile(r"[\"']License\s*::\s*(?:OSI Approved\s*::\s*)?(?P<value>[^\"'\n]{2,80}[\"'])")),
    ("Gem::Specification", re.compile(r"\.licenses?\s*=\s*(?P<value>[^\n]{2,80})")),
    ("[package]", re.compile(r"^licen[cs]e\s*=\s*(?P<value>[\"'][^\"'\n]{2,80}[\"'])", re.MULTILINE)),
    ("[project]", re.compile(
        r"^licen[cs]e\s*=\s*(?:\{\s*text\s*=\s*)?(?P<value>[\"'][^\"'\n]{2,80}[\"'])", re.MULTILINE)),
    ("<licenses>", re.compile(r"<license>\s*<name>(?P<value>[^<]{2,80})</name>")),
    ("MODULE_LICENSE", re.compile(r"^\s*MODULE_LICENSE\s*\(\s*(?P<value>\"[^\"\n]{2,60}\")", re.MULTILINE)),
)  # fmt: skip
"""Where code itself says it: a word that must be in the file, and the value's place."""

_LATER = re.compile(
    r"\b(?:or|and)\W+(?:\(?\s*at\s+your\s+(?:option|choice|discretion)\W+)?(?:any\s+)?(?:later|newer|greater|higher)\b"
)
_CHOICE = re.compile(
    r"\b(?:dual(?:ly)?|double|tri(?:ply|ple)?|multi(?:ply)?)[\s-]*licen[cs]|\bdual(?![\s-]*(?:core|stack|boot|head|link|port))\b|\bdisjunctive"
    r"|\bchoice\s+of\b|\bat\s+your\s+(?:option|choice|discretion|election|preference)|\bof\s+your\s+choice|\balternatively"
    r"|\byou\s+(?:may|can|are\s+free\s+to)\s+(?:choose|select|pick|elect)|\bchoose\s+(?:between|either|one|which)"
    r"|\beither\s+of\b|\beither\s+licen[cs]e|\bone\s+of\s+the\s+(?:following|above|two|three)|\bwhichever\b"
    r"|\bany\s+(?:one\s+)?of\s+the\s+(?:following|above)"
)
"""Words by which a notice leaves the choice, wherever they stand in it."""
_OR = re.compile(r"\b(?:and/)?or\b|^\s*[/|]\s*\Z|\boder\b")
_PARTS = re.compile(
    r"\b(?:portions?|parts?\s+of|contains?|includes?|incorporat\w+|based\s+(?:on|upon)|deriv\w+|ported|third[\s-]party"
    r"|taken\s+from|copied\s+from|borrowed|adapted|documentation|docs|assets?|artwork|images|fonts?|except(?!\s+in"
    r"\s+compliance)|some\s+of)\b"
)
"""Words that part one licence's matter from another's."""
_SENTENCE = re.compile(r"(?<![\s.][A-Za-z])[.!?][\"')\]]*\s+(?=[A-Z\"'(@])|\n[ \t]*\n|;\s")


_ADDRESS = re.compile(r"<?[\w.+-]+@[\w.-]+>?")


@dataclass(frozen=True, slots=True)
class Notice:
    """What a file says about its licence."""

    licence: str = ""
    """An SPDX expression; empty if the file says nothing."""
    words: str = ""
    """The sentence that says so, or its beginning."""


def notice(text: str, language: str) -> Notice:
    """The licence that a file states itself.

    Args:
        text: The file.
        language: A key of `code_languages.COMMENTS`; for another one any usual comment counts.
    """
    lower = text.lower()
    last = max((lower.rfind(word) for word in _ANYWHERE if word in lower), default=-1)
    head, tail = lower[:_HEAD], lower[max(_HEAD, len(lower) - _HEAD // 2) :]
    if any(word in tail for word in _AT_THE_ENDS):
        last = len(text)
    elif last < _HEAD:
        last = max(last, *(head.rfind(word) for word in _AT_THE_ENDS))
    if last < 0:
        return Notice()
    claims = _Claims()
    for passage in passages(text, language, last + 1):
        claims.add(passage)
    for value in _values(text):
        claims.add(Passage(f"License: {value}", early=True, late=False))
    return claims.notice()


def prose_notice(text: str) -> Notice:
    """The licence that a text for people states, such as a licence file that only names its licence."""
    claims = _Claims()
    claims.add(Passage(plain(text), early=True, late=True))
    return claims.notice()


def _values(text: str) -> Iterator[str]:
    for word, pattern in _VALUES:
        if word in text:
            for match in pattern.finditer(text):
                yield match["value"].strip("\"'")


class _Claims:
    """What the passages of a file say, together."""

    def __init__(self) -> None:
        self._tags: dict[str, None] = {}
        """The expressions of `SPDX-License-Identifier` lines."""
        self._groups: list[list[str]] = []
        """Alternatives; one of each group must be fulfilled."""
        self._words = ""

    def add(self, passage: Passage) -> None:
        """Judge one more passage."""
        text = passage.text[:_BEGINNING]
        lower = _lower(text)
        if not any(word in lower for words in (_ANYWHERE, _AT_THE_ENDS) for word in words):
            return
        tags = list(_TAG.finditer(text))
        expressions = [_expression(tag["expression"]) for tag in tags]
        tagged = {_family(name).lower() for expression in expressions for name in re.findall(_ID, expression)}
        found = _granted(text, lower, passage)
        # What a tag names already is not said again.
        self._groups += [
            group for group in _grouped(lower, found) if not {_family(name).lower() for name in group} <= tagged
        ]
        self._tags |= dict.fromkeys(expressions)
        starts = [tag.start() for tag in tags] or [mention.start for mention in found]
        if starts and not self._words:
            self._words = _sentence(text, starts[0])

    def notice(self) -> Notice:
        """All of it as one expression."""
        parts = list(self._tags)
        for group in _merged(self._groups):
            part = " OR ".join(group)
            if part not in parts:
                parts.append(part)
        return Notice(all_of(parts), self._words)


def _granted(text: str, lower: str, passage: Passage) -> list[Mention]:
    """The licences that a passage grants, in their order."""
    named = mentions(lower)
    notable = not passage.prose and (passage.early or passage.late or has_copyright(lower))
    found: list[Mention] = []
    before, was = None, False
    bounds = [match.end() for match in _SENTENCE.finditer(text)]
    for mention in named:
        at = bisect_right(bounds, mention.start)
        begin = bounds[at - 1] if at else 0
        was = is_granted(lower, mention, sentence=begin, before=before, was=was, notable=notable)
        before = mention
        if was:
            found.append(mention)
    whole = list(written_out(lower, notable=notable))
    found = [m for m in found if not any(full.start <= m.start < full.end for full in whole)] + whole
    return sorted(found, key=lambda mention: mention.start)


def has_copyright(lower: str) -> bool:
    """Whether a text in lower case has a notice of copyright."""
    return "copyright" in lower or "©" in lower or "(c)" in lower or "all rights reserved" in lower


def _grouped(lower: str, found: list[Mention]) -> list[list[str]]:
    """The licences as groups of alternatives."""
    chosen = _CHOICE.search(_LATER.sub(" ", lower)) is not None if len(found) > 1 else False
    groups: list[list[str]] = []
    end = 0
    for mention in found:
        gap = lower[end : mention.start]
        is_or = _OR.search(_LATER.sub(" ", gap)) and not re.search(r"[.;]\s|\n\s*\n", gap)
        names = mention.licence.split(" OR ")
        if groups and names[0] == _family(groups[-1][-1]) and not _PARTS.search(gap):
            end = max(end, mention.end)
            continue
        if groups and (chosen or is_or) and not _PARTS.search(gap):
            groups[-1] += [name for name in names if name not in groups[-1]]
        else:
            groups.append(names)
        end = max(end, mention.end)
    return _merged([_without_families(group) for group in groups])


def _without_families(names: list[str]) -> list[str]:
    """Names without `GPL` where `GPL-2.0` is among them."""
    return [name for name in names if not any(_says_more(other, name) for other in names)]


def _merged(groups: list[list[str]]) -> list[list[str]]:
    """Groups without those that say less than another: the same again, or `GPL` beside `GPL-2.0`."""
    out: list[list[str]] = []
    for group in groups:
        others = [other for other in groups if other is not group]
        if len(group) == 1 and any(len(other) == 1 and _says_more(other[0], group[0]) for other in others):
            continue
        if sorted(group) not in [sorted(other) for other in out]:
            out.append(group)
    return out


def _says_more(name: str, than: str) -> bool:
    return name != than and (_family(name) == than or name == f"{than}-or-later")


def _family(name: str) -> str:
    return re.sub(r"(?:-v?\d.*|-only|-or-later|\+)\Z", "", name)


def _expression(tag: str) -> str:
    """The expression of a tag in one line; `A/B`, an older form of Cargo, is `A OR B`."""
    text = " ".join(tag.replace("/", " OR ").split())
    text = re.sub(r"(?i)(?<=[\s)])(or|and|with)(?=[\s(])", lambda match: match[1].upper(), text)
    missing = text.count("(") - text.count(")")
    return text + ")" * missing if missing > 0 else text[: len(text) + missing] if missing < 0 else text


def _sentence(text: str, start: int) -> str:
    begin = max((match.end() for match in _SENTENCE.finditer(text, 0, start + 1)), default=0)
    line = text.rfind("\n", 0, start) + 1
    begin = max(begin, line) if start - begin > _WORDS // 2 else begin
    end = _SENTENCE.search(text, start)
    words = " ".join(text[begin : end.start() + 1 if end else len(text)].split())
    return _ADDRESS.sub("<email>", words)[:_WORDS]


def _lower(text: str) -> str:
    """The text in lower case, with every character at its place."""
    lower = text.lower()
    return lower if len(lower) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)

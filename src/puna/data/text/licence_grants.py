"""Whether a text grants a licence that it names, denies it, or only speaks of it; and licences written out in full."""

import re
from collections.abc import Callable, Iterator

from puna.data.text import licence_languages
from puna.data.text.licence_names import NON_COMMERCIAL, PROPRIETARY, Mention

_CLAUSE = 140
"""Characters before a name in which words decide over it."""

_GRANT = re.compile(
    r"\b(?:under|unter|sous|bajo|sob|sotto|terms?\s+(?:and\s+conditions\s+)?of|subject\s+to|(?:governed|covered"
    r"|protected)\s+by"
    r"|(?:compliance|accordance|agreement)\s+with|according\s+to|conditions\s+of|copy\s+of|(?:re-?)?licen[cs]ed"
    r"|waived|(?:choose|select|pick)\s+(?:between|either|one)|licen[cs]es\s+this"
    r"|licen[cs]e\s+(?:is|as)|free\s+software|open[\s-]source[d]?|released\s+(?:as|to|into|in|with)|placed\s+in(?:to)?"
    r"|dedicated\s+to|put\s+in(?:to)?|donated\s+to|contributed\s+to|belongs\s+to|distributed\s+with|gemäß|lizenz"
    r"|licencia"
    r"|licence|see\s+the|made\s+available\s+(?:as|with|through)|published\s+(?:as|with)|licen[cs]e\s*[:=])(?![a-z])"
)
_IS = re.compile(r"\b(?:is|are)\s+(?:now\s+|also\s+|the\s+|an?\s+|in\s+the\s+|in\s+|all\s+)*\Z")
_BARE_GRANT = re.compile(
    r"\b(?:under|licen[cs]ed(?:\s+as)?|dual|by|licen[cs]e\s+is|unter(?:\s+der)?|dual[\s-]licen[cs]ed)\W+"
    r"(?:(?:the|an?|either|both|dual|terms|of|its|same|new|modified|simplified|permissive|standard|open|source"
    r"|licen[cs]e)\W+)*\Z"
)
_TAG = re.compile(
    r"\A\W*(?:(?:file|source|code|software|project|plugin|theme|package|module|spdx|the|main|our|x)[\s-]+)?"
    r"(?:licen[cs]e[sd]?|licen[cs]ing|lizenz|licencia|licença|copying|legal|rights|license-identifier)\b"
    r"(?:\s+(?:type|name|terms|info|information|uri|url|id|identifier|notice))?\s*(?:[:=|>\u2013\u2014-]+"
    r"|\W+is\b|\s)\s*"
    r"(?:(?:the|an?|is|under|dual|see|gnu|released|distributed|licen[cs]ed|terms|of)\W+)*(?:(?:https?:|magnet:)\S*)?\Z"
)
"""The line up to a name: `License:`, `@license`, `Licence =`."""
_HEADING = re.compile(
    r"\n[\W]*(?:licen[cs]es?|licen[cs]ing|(?:copyright|author)s?\s+(?:and|&)\s+licen[cs]es?|legal|copyright|copying"
    r"|licen[cs]e\s+(?:terms|information|notice|agreement)|lizenz)[\W]*\n[\W_]*(?P<between>[^\n]{0,100}?)\Z"
)
_PLAIN_WORD = re.compile(
    r"(?:the|version|v|licen[cs]e[ds]?|copyright|c|all|rights|reserved|released|software|see|file|text|full|and|or|at"
    r"|of"
    r"|your|option|for|more|details|information|https?|www|org|opensource|gnu|mit|php|html|txt|in|root|an?|to|later"
    r"|only"
    r"|style|dual|choice|choose|either|whichever|you|prefer|since|as|like|[al]?gpl(?:v?\d\S*)?|bsd|apache|mpl|commons|clause|v\d[\w.]*|is"
    r"|under|terms|notice|open|source|free|permissive|code|this|by|\d[\w.]*|january|june|with|exception)\Z"
)
_CLAUSE_BREAK = re.compile(
    r"\b(?:but|now|instead,|however|rather,|whereas|so)\b|;|,\s*(?=(?:and\s+)?(?:it|they|this|we|which|is|are"
    r"|licen[cs]ed"
    r"|released|distributed|available|under|use)\b)|\band\s+(?=(?:is|it|are|has|licen[cs]ed|released|distributed"
    r"|available)\b)"
    r"|\s[\u2013\u2014-]+\s"
)
_DENIED = re.compile(
    r"\b(?:earlier|older?|previous|prior|former)\s+(?:versions?|releases?|code)\b|\b(?:no\s+longer|not|isn'?t|aren'?t|wasn'?t|never|neither|nor|non|formerly|previously|used\s+to\s+be|until|unlike"
    r"|instead\s+of|rather\s+than|other\s+than|(?:in)?compatib\w+\s+with|conflict\w*\s+with|free\s+(?:of|from)"
    r"|similar\s+to|equivalent\s+to|compar\w+\s+(?:to|with)|(?:re-?licen[cs]ed|chang\w+|switch\w*|mov\w+|convert\w*"
    r"|migrat\w*)"
    r"\s+(?:\w+\s+){0,4}?from(?!.*\bto\b)|violat\w+|avoid\w*|without|replac\w+|remov\w+|dropp\w+|dislike\w*"
    r"|hate\w*)(?![a-z])"
)
_IDIOM = re.compile(
    r"\bif\s+not\b|\bnot\s+(?:\w+\s+){0,8}?(?:except|unless|other\s+than)\b|\bnot\s+(?:limited"
    r"|only)\b|\bwhether\s+or\s+not\b"
    r"|\bmay\s+not\s+use\b(?:\W+\w+){0,6}?\W+except\b|\bwithout\s+(?:any\s+)?(?:warranty|modification|limitation"
    r"|restriction|fee|even|charge)\w*"
)
"""Denials that deny nothing here."""
_WAS = re.compile(
    r"\b(?:was|were|originally|initially|once|had\s+been|past|earlier\s+versions?|old(?:er)?\s+versions?)\b"
)
_BEFORE = re.compile(r"[\s,]*(?:before|until|prior\s+to|up\s+to|in\s+the\s+past|\))")
_NOW = re.compile(r"\b(?:now|re-?licen[cs]ed|has\s+been|have\s+been|since\s+(?:then|version)|current(?:ly)?)\b")
_DENIED_AFTER = re.compile(
    r"[\s\"')]*(?:licen[cs]e[ds]?\s+)?(?:-?\s?(?:in)?compatib|-free\b|-like\b|(?:does|do|did|is|are|was"
    r"|were)\s+(?:not|no\s+longer)\b"
    r"|(?:in\s+the\s+past|previously|formerly|until|no\s+longer|anymore|any\s+more)\b"
    r"|(?:checker|detector|parser|scanner|compliance|violations?|faq|boilerplate|template|headers?\s+(?:are|is|to"
    r"|from|in))\b)"
)
_SPOKEN = re.compile(
    r"\b(?:whether|detect\w*|checks?|checking|recogni[sz]\w+|pars(?:es?|ing)|match\w*|identif\w+|returns?|such\s+as"
    r"|e\.g\."
    r"|for\s+example|examples?|lists?\s+of|listing|scan\w*|finds?|finding|classif\w+|guess\w*|looks?\s+(?:for|up)"
    r"|search\w*"
    r"|supports?|validat\w+|talks?|discuss\w+|explain\w*|about|adds?|insert\w*|generates?|generating|prints?|creat(?:es?|ing)"
    r"|writes?"
    r"|convert\w*|known|maps?|mapping|popular|various|header\s+for|text\s+of)\b"
)
"""Verbs of programs that deal with licences."""
_IF = re.compile(r"\b(?:if|when|unless|in\s+case)\b")
_OF_THIS = re.compile(
    r"\b(?:this|these|it|following|above|below|herein|taken|copied|borrowed|stolen|lifted|adapted|adopted|based"
    r"|derived|derives"
    r"|ported|port|from|portions?|parts?|originally)\b"
)
"""Words by which a comment amid code speaks of that code."""
_STATES = re.compile(r"\W*(?:dual[\s-]*)?(?:licen[cs]ed|released|distributed|available)\b")
"""A sentence whose subject is what it stands in."""
_TAKEN = re.compile(r"\b(?:taken|copied|borrowed|stolen|lifted|adapted|based|derived|ported|from)\b")
_JOIN = re.compile(
    r"[\s\"'(),/|&+<>-]*(?:(?:or|and|and/or|the|an?|also|both|either|under|alternatively|at\s+your\s+option|terms|of"
    r"|gnu|licen[cs]es?"
    r"|oder|und|der|ou|et|plus)(?![a-z])[\s\"'(),/|&+<>:-]*)*\Z"
)
_ONLY_BY_NAME = frozenset({"PSF", "Ruby", "Artistic-1.0-Perl OR GPL-1.0-or-later", "CC", "BSL", PROPRIETARY})


def is_granted(
    lower: str, mention: Mention, *, sentence: int, before: Mention | None, was: bool, notable: bool
) -> bool:
    """Whether a licence that is named is granted.

    Args:
        lower: The passage in lower case.
        mention: The name.
        sentence: Where its sentence begins.
        before: The name before it.
        was: Whether that one is granted.
        notable: Whether the passage is at the file's beginning or end, or has a notice of copyright.
    """
    if before is not None:
        gap = lower[before.end : mention.start]
        listed = "," in gap and not re.search(r"\b(?:or|and)\b|/", gap)
        if (
            _JOIN.match(gap)
            and "\n\n" not in gap
            and not (mention.bare and listed and mention.licence in _ONLY_BY_NAME)
        ):
            return was
    prefix = lower[max(sentence, mention.start - _CLAUSE) : mention.start]
    clause = _CLAUSE_BREAK.split(prefix)[-1]
    after = lower[mention.end : mention.end + 60]
    if _DENIED.search(_IDIOM.sub(" ", clause.replace(":\n", ": ").rpartition(": ")[2])) or _DENIED_AFTER.match(after):
        return False
    if _WAS.search(clause) and (_NOW.search(lower, mention.end, mention.end + 300) or _BEFORE.match(after)):
        return False
    part = lower[max(_begin(lower, mention.start), min(sentence, mention.start)) : mention.start]
    if _TAG.match(part) and (notable or part.lstrip().startswith("@")):
        return True
    if _SPOKEN.search(clause) or (not notable and _IF.search(clause)):
        return False
    if _HEADING.search("\n" + lower[max(0, mention.start - 220) : mention.start]):
        return True
    if mention.bare:
        if notable and _is_title(lower, mention) and re.match(r"\s*(?:or|/)\s*\S", after):
            return True
        return bool(_BARE_GRANT.search(prefix)) and (notable or bool(_OF_THIS.search(prefix)))
    if prefix.endswith("(") and _TAKEN.search(prefix):
        return True
    name = lower[mention.start : mention.end]
    says = name.endswith("d") or re.match(r"[\s-]*licen[cs]ed\b|'?e?d\b", after)
    elsewhere = licence_languages.GRANT.search(prefix) or licence_languages.GRANT_AFTER.match(after)
    if says or _GRANT.search(prefix) or _IS.search(prefix) or elsewhere:
        return notable or bool(_OF_THIS.search(prefix) or _STATES.match(prefix))
    return notable and (_is_title(lower, mention) or _has_copyright(lower, mention.start))


_LINE = 400
"""Characters of a line that are looked at."""


def _line(lower: str, position: int) -> int:
    """Where the line begins, as far as it is looked at."""
    return max(lower.rfind("\n", 0, position) + 1, position - _LINE)


def _has_copyright(lower: str, position: int) -> bool:
    return re.search(r"copyright|©|\(c\)", lower[_line(lower, position) : position]) is not None


_PART = re.compile(r"\s[|\u2013\u2014-]+\s|[,;]\s")
_BOUNDARY = re.compile(r"\n|\s[|\u2013\u2014-]+\s|[:,;]\s")
_LISTS = re.compile(
    r"known|support|licen[cs]es\W*\Z|allow|forbid|valid|types?\b|options?\b|require|depend|compat|values|choices"
)


def _begin(lower: str, position: int) -> int:
    """Where the line, or its part after ` | `, ` - ` or a comma, begins."""
    line = _line(lower, position)
    return max((match.end() for match in _PART.finditer(lower[line:position])), default=0) + line


def _is_title(lower: str, mention: Mention) -> bool:
    """Whether a line, or its part, has nothing but a licence's name, and is not one of a list."""
    line = _line(lower, mention.start)
    cuts = [match.end() for match in _BOUNDARY.finditer(lower[line : mention.start])]
    begin = line + (cuts[-1] if cuts else 0)
    end = re.compile(r"[\n(|;,]|\.\s|\s[\u2013\u2014-]+\s|\Z").search(lower, mention.end, mention.end + _LINE)
    if end is None:
        return False
    words = f"{lower[begin : mention.start]} {lower[mention.end : end.start()]}"
    if not all(_PLAIN_WORD.match(word) for word in re.findall(r"\w[\w.]*", words)):
        return False
    above = lower[max(0, begin - _LINE) : begin].rstrip(" \t\n").rpartition("\n")[2].strip()
    return not (above.endswith(":") and _LISTS.search(above.rstrip(":")))


def _phrase(text: str) -> re.Pattern[str]:
    return re.compile(text.replace(", ", r",?\s+").replace(" ", r"\s+"))


def _mit(lower: str) -> str:
    return "MIT" if re.search(r"the\s+above\s+copyright\s+notice|this\s+permission\s+notice", lower) else "MIT-0"


def _bsd(lower: str) -> str:
    if re.search(r"all\s+advertising\s+materials\s+mentioning\s+features", lower):
        return "BSD-4-Clause"
    endorse = re.search(
        r"neither\s+the\s+names?\b.{0,200}?\b(?:endorse|promote)|may\s+not\s+be\s+used\s+to\s+endorse", lower, re.DOTALL
    )
    return "BSD-3-Clause" if endorse else "BSD-2-Clause"


_GRANTS: tuple[tuple[str, re.Pattern[str], str | Callable[[str], str]], ...] = (
    ("hereby", _phrase("permission is hereby granted, free of charge, to any person obtaining a copy"), _mit),
    ("hereby", _phrase("permission is hereby granted, free of charge, to any person or organization obtaining a cop"
                       "y"), "BSL-1.0"),
    ("permission", _phrase("permission to use, copy, modify, and(?:/or)? distribute this software for any purpos"
                           "e"), "ISC"),
    ("permission", _phrase("permission to use, copy, modify, (?:distribute, )?(?:and )?(?:distribute"
                           "|sell) this software and its documentation"), "HPND"),
    ("redistribution", _phrase("redistribution and use in source and binary forms, with or without modification, are "
                               "permitted"), _bsd),
    ("altered", _phrase("altered source versions must be plainly marked"), "Zlib"),
    ("unencumbered", _phrase("this is free and unencumbered software released into the public domain"), "Unlicense"),
    ("dedicated", _phrase(r"(?:dedicated|waived) all copyright and related"), "CC0-1.0"),
    ("royalty", _phrase("are permitted in any medium without royalty"), "FSFAP"),
    ("beer", _phrase("you can do whatever you want with this stuff"), "Beerware"),
)  # fmt: skip
_RESTRICTIONS: tuple[tuple[str, re.Pattern[str], str], ...] = (
    ("confidential", re.compile(
        r"proprietary\s*(?:and|&|or|/|,)\s*(?:\w+\s+)?confidential|confidential\s*(?:and|&|or|/"
        r"|,)\s*(?:\w+\s+)?proprietary"
        r"|(?:company|strictly|highly|\w+'s)\s+confidential|confidential\s+(?:information|property|material)\s+of"
        r"|\bconfidential\s*[.!\n]|\n\s*confidential\s*$"), PROPRIETARY),
    ("proprietary", re.compile(
        r"\b(?:is|are|contains?)\s+(?:the\s+|an?\s+)?(?:(?!not\b)\w+\s+){0,2}proprietary\b|proprietary\s+(?:to"
        r"|property|information|source|software|code|rights\s+in)"
        r"|\bproprietary\s*[.!\n]"), PROPRIETARY),
    ("unauthor", re.compile(
        r"unauthori[sz]ed\s+(?:copying|reproduction|use|distribution|redistribution|duplication|disclosure"
        r"|modification|access)"
        r"(?:.{0,160}?)\b(?:prohibited|forbidden|illegal|unlawful|violation|not\s+allowed)", re.DOTALL), PROPRIETARY),
    ("not", re.compile(
        r"\b(?:may|must|shall|can|should)\s*not\s+be\s+(?:copied|reproduced|redistributed|distributed|disclosed"
        r"|modified|used|"
        r"transmitted|published|shared|sold|disseminated|duplicated)(?!\s+(?:to\s+endorse|in\s+advertising)).{0,160}?\b"
        r"(?:without|unless)\s+(?:the\s+|our\s+|having\s+)?(?:\w+\s+){0,2}?(?:prior|express|expressed|explicit"
        r"|written|permission|consent|specific|authori[sz]ation)",
        re.DOTALL), PROPRIETARY),
    ("not", re.compile(
        r"\b(?:may|must|can)\s*not\s+(?:use|copy|reproduce|distribute)\s+(?:this|the)\s+(?:file|code|software|program)"
        r"\s+without\s+(?:an?|any|prior|our|the|written|express|explicit|valid)\b"), PROPRIETARY),
    ("no part", re.compile(r"no\s+part\s+of\s+th(?:is|e)\s+(?:\w+\s+){1,3}may\s+be", re.DOTALL), PROPRIETARY),
    ("trade secret", re.compile(r"trade\s+secrets?"), PROPRIETARY),
    ("retain", re.compile(r"retains?\s+all\s+(?:\w+\s+){0,3}(?:rights?|intellectual)"), PROPRIETARY),
    ("distribut", re.compile(r"\b(?:do\s+not|not\s+for|no)\s+(?:re-?)?distribut(?:e|ion)\b(?!\s+(?:in|as|under"
                             r"|it\s+under))"), PROPRIETARY),
    ("property", re.compile(r"\b(?:is|are|remains?)\s+the\s+(?:sole\s+|exclusive\s+|confidential\s+|intellectual\s+"
                            r"|unpublished\s+)+property\s+of|\bremains?\s+the\s+property\s+of"
                            r"|\bthis\s+\w+\s+is\s+(?:the\s+)?property\s+of"), PROPRIETARY),
    ("closed", re.compile(r"\bclosed[\s-]source\b(?=.{0,40}(?:licen|software|code|do\s+not))", re.DOTALL), PROPRIETARY),
    ("commercial", re.compile(
        r"\b(?:only\s+for|for|restricted\s+to|limited\s+to)\s+(?:\w+[\s,/]+){0,3}?non-?\s?commercial(?:\W+\w+){0,4}?"
        r"\W+(?:use|purposes?)"
        r"|\b(?:no|not\s+for)\s+commercial\b|\bcommercial\s+(?:use|usage|purposes?)(?:\s+\w+){0,4}?\s+(?:not"
        r"|prohibited|forbidden|requires?|without)\b"
        r"|\bnon-?\s?commercial\s+(?:use|licen[cs]e|purposes?)(?:\s+\w+)?\s+only|\b(?:not"
        r"|n't)\s+(?:\w+\s+){0,6}for\s+(?:\w+\s+)?commercial"
        r"|\bfree\s+for\s+(?:personal|academic|educational|non)"), NON_COMMERCIAL),
    ("research", re.compile(r"\b(?:only\s+for|restricted\s+to|limited\s+to)\s+(?:academic\s+|scientific\s+"
                            r"|non-profit\s+)*(?:and\s+\w+\s+)?research|\bfor\s+(?:\w+\s+)?research\s+(?:use"
                            r"|purposes?)\s+only"), NON_COMMERCIAL),
)  # fmt: skip


def written_out(lower: str, *, notable: bool) -> Iterator[Mention]:
    """The licences whose own words a passage has, and restrictions in plain words.

    Args:
        lower: The passage in lower case.
        notable: Whether the passage is at the file's beginning or end, or has a notice of copyright; restrictions of
            other passages do not count.
    """
    for hint, pattern, licence in _GRANTS:
        if hint in lower and (match := pattern.search(lower)):
            yield Mention(
                match.start(), match.end(), licence if isinstance(licence, str) else licence(lower), granted=True
            )
    if notable:
        for hint, pattern, licence in _RESTRICTIONS:
            if hint in lower and (match := pattern.search(lower)) and not _denies(lower, match.start()):
                yield Mention(match.start(), match.end(), licence, granted=True)
        if any(hint in lower for hint in licence_languages.REFUSAL_HINTS) and (
            match := licence_languages.REFUSALS.search(lower)
        ):
            yield Mention(match.start(), match.end(), PROPRIETARY, granted=True)


def _denies(lower: str, start: int) -> bool:
    return (
        re.search(r"\b(?:not|non|no\s+longer|never|isn't)[\s-]+(?:a\s+|an\s+)?\Z", lower[max(0, start - 20) : start])
        is not None
    )

r"""LaTeX source without its comments; verbatim pieces are set aside so that later steps do not change them.

Comments are those of TeX: from an unescaped `%` through the end of the line and the spaces that begin the next; the
environments `comment` and those of `\excludecomment`; `filecontents`, which is another file; what latex2html would have
in place of the text. In `verbatim`, listings, `\verb` and the address of a `\url`, a per cent sign is text.
"""

import re

from puna.data.text.latex_scan import MARK, ends_in_control_word

_VERBATIM = {
    "verbatim", "verbatim*", "Verbatim", "Verbatim*", "BVerbatim", "LVerbatim", "lstlisting", "minted", "alltt",
    "spverbatim", "listing*", "code*", "Code", "CodeInput", "CodeOutput", "Sinput", "Soutput", "Scode",
}  # fmt: skip
"""Environments that are kept unchanged: those of LaTeX, fancyvrb, listings, minted, alltt, and the journals of R."""
_REMOVED = {"comment", "filecontents", "filecontents*", "htmlonly", "rawhtml"}
_DECLARES_VERBATIM = re.compile(
    r"\\(?:lstnewenvironment|(?:Define|Recustom)VerbatimEnvironment|newtcblisting|NewTCBListing|newverbatim)\s*"
    r"(?:\[[^][\n]*\])?\s*\{\s*([A-Za-z*]+)\s*\}"
)
_DECLARES_REMOVED = re.compile(r"^[^%\n]*\\(?:excludecomment|excludeversion)\s*\{\s*([A-Za-z*]+)\s*\}", re.MULTILINE)
_REST = re.compile(r"[ \t]*\n?")
_PROTECTED = re.compile(MARK + r"(\d+)" + MARK)
_GROWTH = 4
"""How often all protected pieces together are put back at most."""
_INTERESTING = re.compile(
    r"""
    (?P<verb>\\(?:verb|lstinline)(?![A-Za-z]) \*? (?:\[[^][\n]*\])? (?:\{[^{}\n]*\} | (?P<delimiter>[^A-Za-z\s*{\\])
       [^\n]{0,1000}? (?P=delimiter)))
  | (?P<url>\\(?:url|nolinkurl|path|href)\s* \{[^{}\n]*\})
  | \\begin\s*\{\s*(?P<environment>[A-Za-z]+\*?)\s*\}
  | (?P<escaped>\\[%\\])
  | (?P<comment>%[^\n]*\n?)
    """,
    re.VERBOSE,
)


def without_comments(text: str, protected: list[str]) -> str:
    r"""The source without comments; pieces that are verbatim go to `protected` and leave a mark with their number.

    Args:
        text: One file, with line ends `\n` and without NUL.
        protected: The pieces of all files of a paper so far.
    """
    verbatim = _VERBATIM | {match[1] for match in _DECLARES_VERBATIM.finditer(text)}
    removed = _REMOVED | {match[1] for match in _DECLARES_REMOVED.finditer(text)}
    out: list[str] = []
    position = 0
    unclosed: set[str] = set()
    """Environments without another end: the end is looked for only once, not at each beginning."""

    def protect(start: int, end: int) -> None:
        out.append(f"{MARK}{len(protected)}{MARK}")
        protected.append(text[start:end])

    while match := _INTERESTING.search(text, position):
        out.append(text[position : match.start()])
        position = match.end()
        if match["comment"]:
            position = _skip_comment(text, match.start(), position, out)
        elif environment := match["environment"]:
            end = -1
            if environment in verbatim | removed and environment not in unclosed:
                end = _environment_end(text, environment, position)
                if end < 0:
                    unclosed.add(environment)
            if end < 0:
                out.append(match.group())
            else:
                position = end
                if environment in verbatim:
                    protect(match.start(), end)
                elif match.start() == 0 or text[match.start() - 1] == "\n":  # the end of its last line is removed too
                    position += len(_REST.findall(text[end : end + 200])[0])
        elif match["escaped"]:
            out.append(match.group())
        else:
            protect(match.start(), position)
    out.append(text[position:])
    return "".join(out)


def _environment_end(text: str, name: str, start: int) -> int:
    match = re.compile(r"\\end\s*\{\s*" + re.escape(name) + r"\s*\}").search(text, start)
    return match.end() if match else -1


def _skip_comment(text: str, start: int, end: int, out: list[str]) -> int:
    """The position after the comment in [start, end); the output gets what TeX makes of the line's end."""
    if not text.endswith("\n", start, end):
        return end
    line = text.rfind("\n", 0, start) + 1
    if not text[line:start].strip():  # the whole line is removed
        while out and out[-1] and out[-1][-1] in " \t":
            out[-1] = out[-1].rstrip(" \t")
        return end
    content = re.compile(r"[ \t]*").match(text, end)
    following = content.end() if content else end
    paragraph = following >= len(text) or text[following] == "\n"
    if out and out[-1] and out[-1][-1] in " \t":  # a space and a line end are one space: keep the latter
        out[-1] = out[-1].rstrip(" \t")
        out.append("\n")
        return end
    last = next((piece for piece in reversed(out) if piece), "")
    if paragraph or ends_in_control_word(last) or last.endswith("\\\\"):
        out.append("\n")
        return end
    return following


def with_protected(text: str, protected: list[str]) -> str:
    """The text with every protected piece in place of its mark; macros may repeat marks, within a bound."""
    room = _GROWTH * sum(map(len, protected))

    def piece(match: re.Match[str]) -> str:
        nonlocal room
        found = protected[int(match[1])]
        room -= len(found)
        return found if room >= 0 else ""

    return _PROTECTED.sub(piece, text)

r"""Papers' LaTeX source as text to train on (Touvron et al. 2023, section 2.1, after Lewkowycz et al. 2022).

A paper is kept from its first section on, without comments and bibliography, with users' macros expanded. Commands and
formulas of LaTeX itself stay as they are. Appendices stay, even after the bibliography. A paper without sections keeps
its body except for title and authors. Of a paper in several documents all are kept, the main one first.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from puna.data.text.decode import clean_text
from puna.data.text.latex_comments import with_protected
from puna.data.text.latex_conditionals import without_dead_branches
from puna.data.text.latex_documents import VERSION, Known
from puna.data.text.latex_encodings import decode_files
from puna.data.text.latex_expand import expand
from puna.data.text.latex_files import BEGIN, END, Paper
from puna.data.text.latex_scan import after_spaces, group_end, option_end, without

_SECTIONS = "part|chapter|section|subsection|subsubsection|paragraph|subparagraph|newsec|beginsection"
"""Commands that begin sections, also those of harvmac and plain TeX."""
_HEADER = re.compile(rf"\\(?:{_SECTIONS})(?![A-Za-z@])\*?")
_NOT_FIRST = re.compile(
    r"\s*(?:\[[^][]{0,300}\]\s*)?(?:\{\s*)?(?:\\[a-zA-Z]+\s*(?:\{\s*)?){0,3}(?:acknowled|(?:references|bibliography)\s*\})",
    re.IGNORECASE,
)
"""Titles of sections that a letter without sections may end with."""
_LISTS = re.compile(
    r"\\begin\s*\{\s*(?P<environment>thebibliography|references|biblist|bibdiv)\s*\}|\\Refs(?![A-Za-z@])"
    rf"|(?P<title>\\(?:{_SECTIONS})(?![A-Za-z@])\*?\s*(?:\[[^][]{{0,300}}\]\s*)?\{{\s*(?:\\[a-zA-Z]+\s*(?:\{{\s*)?){{0,3}}"
    r"(?:references(?:\s+and\s+notes)?|bibliography|literature(?:\s+cited)?|works\s+cited)\s*[.:]?\s*\}+)",
    re.IGNORECASE,
)
"""Beginnings of a list of references: an environment, AMS-TeX's command, a section of that title."""
_AFTER_REFERENCES = re.compile(
    rf"\\(?:{_SECTIONS}|appendix|appendices)(?![A-Za-z@])|\\begin\s*\{{\s*(?:appendix|appendices|figure|table)\*?\s*\}}"
)
_COMMANDS = re.compile(
    r"\\(?:bibliography|bibliographystyle|printbibliography|putbib|nocite|addbibresource|listrefs|footatend)"
    r"(?![A-Za-z@])\*?"
)
_TITLE = re.compile(
    r"\\(?:title|author|address|affiliation|affil|email|date|thanks|keywords|pacs|preprint|institute|titlerunning"
    r"|authorrunning|altaffiliation|homepage|collaboration|subjclass|dedicatory|curraddr|urladdr|icmltitle|icmlauthor"
    r"|orcid|received|accepted|ead|thispagestyle|pagestyle|pagenumbering|setcounter)(?![A-Za-z@])\*?"
    r"|\\(?P<bare>maketitle|tableofcontents|newpage|clearpage|twocolumn|onecolumn)(?![A-Za-z@])"
)
_TRAILING = re.compile(r"(?<![ \t])[ \t]++$", re.MULTILINE)
_BLANK_LINES = re.compile(r"\n{3,}")
_TITLE_PART = 20_000
"""Characters from the beginning that are searched for title matter."""

_ARGUMENT = 4_000
"""Longest argument of such a command."""
_BROKEN = 100
"""After this number of arguments without an end, no more are looked for."""


@dataclass(frozen=True)
class PaperText:
    """The text of a paper and what is not in it."""

    text: str
    """Its documents in order; empty if none of its files is TeX or no text is left."""
    lost: dict[str, tuple[int, int]]
    """By kind, how many there are and their characters: documents of the kinds of `latex_documents` that are left out,
    files that are `unused`, inputs that are `missing`."""


def read_paper(files: Mapping[str, bytes]) -> PaperText:
    """The text of a paper.

    Args:
        files: The paper's TeX files by their names in its archive, in any encoding.
    """
    paper = Paper(decode_files(files))
    texts: list[str] = []
    known = Known()
    lost: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for name in paper.documents:
        text = _document_text(paper.source_of(name), paper.protected)
        if len(paper.documents) == 1 or known.add(text):
            texts.append(text)
        else:
            lost[VERSION] += 1
            sizes[VERSION] += len(text)
    for kind, names in [("unused", paper.unused), *((paper.kinds[name], [name]) for name in paper.left_out)]:
        lost[kind] += len(names)
        sizes[kind] += sum(len(paper.files[name]) for name in names)
    lost["missing"] += paper.missing
    return PaperText(
        "\n\n".join(filter(None, texts)), {kind: (count, sizes[kind]) for kind, count in lost.items() if count}
    )


def _document_text(source: str, protected: list[str]) -> str:
    text = _without_bibliography(_body(expand(without_dead_branches(source))))
    text = _BLANK_LINES.sub("\n\n", _TRAILING.sub("", text))
    return clean_text(with_protected(text, protected))


def _body(source: str) -> str:
    """The text from the first section on, or the body without title matter."""
    begin = BEGIN.search(source)
    end = END.search(source, begin.end() if begin else 0)
    body = source[begin.end() if begin else 0 : end.start() if end else len(source)]
    for header in _HEADER.finditer(body):
        if not _NOT_FIRST.match(body, header.end()):
            return body[header.start() :]
    return _without_title(body)


def _without_title(body: str) -> str:
    """The body of a letter: no title, authors and addresses."""
    return without(body, _commands(_TITLE, body, min(len(body), _TITLE_PART)))


def _without_bibliography(body: str) -> str:
    """The body without lists of references and the commands that insert them."""
    return without(body, sorted(_commands(_COMMANDS, body, len(body)) + _lists(body)))


def _commands(pattern: re.Pattern[str], text: str, stop: int) -> list[tuple[int, int]]:
    """Beginnings and ends of commands, including the options and groups after them."""
    found: list[tuple[int, int]] = []
    broken = 0
    for match in pattern.finditer(text, 0, stop):
        position = match.end()
        bare = match.groupdict().get("bare") is not None or broken > _BROKEN
        while not bare and (begin := after_spaces(text, position)) < len(text) and text[begin] in "[{":
            limit = begin + _ARGUMENT
            end = option_end(text, begin, limit) if text[begin] == "[" else group_end(text, begin, limit)
            if end < 0:
                broken += 1
                break
            position = end
        found.append((match.start(), position))
    return found


def _lists(body: str) -> list[tuple[int, int]]:
    """Beginnings and ends of lists of references; a list without an end goes up to the next section or appendix."""
    found: list[tuple[int, int]] = []
    unclosed: set[str | None] = set()
    position = 0
    while match := _LISTS.search(body, position):
        end = None
        if not match["title"] and (environment := match["environment"]) not in unclosed:
            close = rf"\\end\s*\{{\s*{environment}\s*\}}" if environment else r"\\endRefs(?![A-Za-z@])"
            if end := re.compile(close).search(body, match.end()):
                position = end.end()
            else:
                unclosed.add(environment)
        if end is None:
            following = _AFTER_REFERENCES.search(body, match.end())
            position = following.start() if following else len(body)
        found.append((match.start(), position))
    return found

"""arXiv's LaTeX sources: a record is a paper with all its TeX files, a document is its text (`puna.data.text.latex`).

It reads arXiv's bulk archives (a tar of papers, each gzipped, a tar of its own or a single file), the archive of one
paper, and single TeX files. A paper's id is found in the names; its month is in its id. arXiv states the licence of a
paper only in its metadata, not in its source, so the documents have none; most are under arXiv's own licence, which
lets only arXiv distribute them.
"""

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from puna.config.data import Source
from puna.data.document import EMPTY, TOO_LARGE, UNREADABLE, Document, Dropped, Lost, Raw
from puna.data.input.streams import BrokenMember, Member, UniqueNames, members
from puna.data.input_file import InputFile
from puna.data.spec import ReaderSpec
from puna.data.text.latex import read_paper
from puna.data.text.latex_documents import is_readme

NO_TEX, WITHDRAWN = "arxiv.no_tex", "arxiv.withdrawn"

REASONS = {
    NO_TEX: "The paper was handed in as PDF or PostScript: it has no TeX source (arXiv, bulk data help).",
    WITHDRAWN: "Of the paper nothing is left but the notice that it is withdrawn (arXiv, help on withdrawals).",
    "arxiv.letter": "A letter to an editor or referee beside the paper, left out.",
    "arxiv.sample": "A sample or guide of a class of documents beside the paper, left out.",
    "arxiv.slides": "Slides or a poster beside the paper, left out.",
    "arxiv.figure": "A document that is only a figure, left out unless the paper takes it in.",
    "arxiv.version": "Another version of a document of the paper, left out.",
    "arxiv.unused": "A TeX file that no document of the paper takes in, left out.",
    "arxiv.missing": "A file that the paper takes in, but that is not in its archive.",
}

_ARCHIVES = (
    "acc-phys|adap-org|alg-geom|ao-sci|astro-ph|atom-ph|bayes-an|chao-dyn|chem-ph|cmp-lg|comp-gas|cond-mat|cs|dg-ga"
    "|funct-an|gr-qc|hep-ex|hep-lat|hep-ph|hep-th|math-ph|math|mtrl-th|nlin|nucl-ex|nucl-th|patt-sol|physics|plasm-ph"
    "|q-alg|q-bio|q-fin|quant-ph|solv-int|stat|supr-con"
)
_ID = re.compile(
    rf"(?<![\d.])(?P<new>\d\d(?:0[1-9]|1[0-2])\.\d{{4,5}})(?!\d)"
    rf"|(?<![a-z])(?P<archive>{_ARCHIVES})(?:\.[A-Z]{{2}})?[/_]?(?P<old>\d\d(?:0[1-9]|1[0-2])\d{{3}})(?!\d)"
)
_SEPARATOR = re.compile(r"[/!]")
_TEX = {".tex", ".ltx", ".latex"}
_NOT_TEX = {
    ".aux", ".bbl", ".bib", ".blg", ".bst", ".clo", ".cls", ".csv", ".dat", ".def", ".dvi", ".eps", ".epsf", ".epsi",
    ".fd", ".fig", ".gif", ".html", ".ipe", ".jpeg", ".jpg", ".json", ".log", ".m", ".md", ".mp", ".nb", ".out", ".pdf",
    ".pdf_tex", ".png", ".ps", ".pstex", ".pstex_t", ".py", ".r", ".sty", ".svg", ".tif", ".tikz", ".toc", ".xml",
    ".xls", ".xlsx", ".zip",
}  # fmt: skip
"""Endings of files that are never text of a paper, whatever they hold."""
_ENDINGS = 20
"""How many endings are named for a paper without TeX."""
_LIKE_TEX = re.compile(rb"\\(?:document(?:class|style)|begin\s*\{|section|input|def|magnification|bye|chapter)")
_NOTICE = re.compile(
    r"(?:paper|article|manuscript|submission|preprint|work)\W+(?:has\s+been|is|was)\s+(?:\w+\s+)?withdrawn",
    re.IGNORECASE,
)
_NOTICE_LENGTH = 2000
"""Bytes of the longest file that may be only a notice."""


@dataclass
class _Paper:
    """A paper, filled while its files are read."""

    key: str
    """The common prefix of the names of its files."""
    arxiv: str
    files: list[tuple[str, bytes]] = field(default_factory=list)
    size: int = 0
    others: set[str] = field(default_factory=set)
    """Endings of the files that are not TeX."""
    broken: tuple[str, str] = ("", "")

    def add(self, member: Member | BrokenMember, limit: int) -> None:
        """Add a file if it is TeX and within the limit."""
        name = member.name[len(self.key) :].lstrip("/!").replace("!", "/") or posixpath.basename(self.key)
        ending = posixpath.splitext(name.lower().removesuffix(".gz"))[1]
        if isinstance(member, BrokenMember):
            if not self.broken[0] and (member.name == self.key or ending not in _NOT_TEX):
                self.broken = (member.reason, f"{name}: {member.detail}")
        elif self.broken[0]:
            pass
        elif not _is_tex(name, ending, member.content):
            if len(self.others) < _ENDINGS:
                self.others.add(ending or "no ending")
        elif self.size + len(name) + len(member.content) > limit:
            self.broken = (TOO_LARGE, f"more than {limit} bytes of TeX")
            self.files.clear()
        else:
            self.size += len(name) + len(member.content)
            self.files.append((name, member.content))


class ArxivReader:
    """Papers from archives of LaTeX sources.

    Args:
        name: The source's name.
        source: Its section of the recipe.
        limit: Most bytes of TeX that a paper may have.
    """

    def __init__(self, name: str, source: Source, limit: int) -> None:
        self._name = name
        self._limit = limit

    def records(self, file: InputFile) -> Iterator[Raw | Dropped]:
        """The papers in a file, in the stored order."""
        names = UniqueNames()
        paper: _Paper | None = None
        position = 0
        for member in members(file, self._limit):
            key, arxiv = _paper_of(member.name, file.name)
            if paper is None or key != paper.key:
                if paper is not None:
                    yield self._record(paper, file, names, position)
                    position += 1
                paper = _Paper(key, arxiv)
            paper.add(member, self._limit)
        if paper is not None:
            yield self._record(paper, file, names, position)

    def _record(self, paper: _Paper, file: InputFile, names: UniqueNames, position: int) -> Raw | Dropped:
        own = paper.arxiv or paper.key[len(file.name) :].lstrip("/!")
        identity = names.name(file.name if paper.key == file.name else f"{file.name}#{own}", position)
        reason, detail = paper.broken
        if reason:
            return Dropped(self._name, identity, reason, detail)
        if all(is_readme(name) for name, _ in paper.files):
            return Dropped(self._name, identity, NO_TEX, f"files: {' '.join(sorted(paper.others))}")
        return Raw(identity, _packed(paper.files), {"arxiv": paper.arxiv} if paper.arxiv else {})

    def document(self, raw: Raw) -> Document | Dropped:
        """The text of a paper."""
        files = _unpacked(raw.content)
        if files is None:
            return Dropped(self._name, raw.id, UNREADABLE, "no files of a paper")
        paper = read_paper(files)
        text = paper.text
        if _is_notice(text.encode()) or (len(text) < _NOTICE_LENGTH and all(map(_is_notice, files.values()))):
            return Dropped(self._name, raw.id, WITHDRAWN, text=text)
        if not text:
            return Dropped(self._name, raw.id, EMPTY, f"of {', '.join(sorted(files)[:5])} no text is left")
        arxiv = raw.fields.get("arxiv", "")
        return Document(
            self._name,
            raw.id,
            text,
            f"arXiv:{arxiv}" if arxiv else raw.id,
            url=f"https://arxiv.org/abs/{arxiv}" if arxiv else "",
            date=_month(arxiv),
            lost=tuple(Lost(f"arxiv.{kind}", parts, size) for kind, (parts, size) in paper.lost.items()),
        )


def _paper_of(name: str, file: str) -> tuple[str, str]:
    """The common prefix of the names of a paper's files, and the paper's id; empty if the names have none."""
    own = [_arxiv(match) for match in _ID.finditer(file)]
    if len(set(own)) == 1:  # with two, they are the first and the last of many
        return file, own[0]
    if match := _ID.search(name, len(file)):
        end = _SEPARATOR.search(name, match.end())
        return name[: end.start()] if end else name, _arxiv(match)
    inside = name[len(file) + 1 :]
    if "!" in inside:  # an archive in an archive is a paper
        return name[: name.index("!", len(file) + 1)], ""
    stem, ending = posixpath.splitext(inside.lower())
    return (name if ending == ".gz" and posixpath.splitext(stem)[1] not in _NOT_TEX else file), ""


def _arxiv(match: re.Match[str]) -> str:
    return match["new"] or f"{match['archive']}/{match['old']}"


def _is_tex(name: str, ending: str, content: bytes) -> bool:
    """Whether a file may be part of a paper's text; files in `anc/` are not."""
    if name.startswith("anc/") or "/anc/" in name or content.startswith((b"%PDF", b"%!PS", b"%!FontType")):
        return False
    if ending in _TEX or is_readme(name):
        return True
    return ending not in _NOT_TEX and b"\0" not in content and (bool(_LIKE_TEX.search(content)) or _is_notice(content))


def _is_notice(content: bytes) -> bool:
    """Whether a file only says that the paper is withdrawn, or tells arXiv not to typeset it."""
    if content.lstrip().startswith(b"%auto-ignore"):
        return True
    return len(content) < _NOTICE_LENGTH and _NOTICE.search(content.decode("latin-1")) is not None


def _month(arxiv: str) -> str:
    """`2017-03` for 1703.09710, `1999-01` for hep-th/9901001."""
    digits = arxiv.rpartition("/")[2]
    if not digits:
        return ""
    century = "19" if "/" in arxiv and digits[0] == "9" else "20"
    return f"{century}{digits[:2]}-{digits[2:4]}"


def _packed(files: list[tuple[str, bytes]]) -> bytes:
    """The files in one piece: for each the lengths of name and content on a line, then both."""
    out = bytearray()
    for name, content in files:
        encoded = name.encode()
        out += b"%d %d\n" % (len(encoded), len(content)) + encoded + content
    return bytes(out)


def _unpacked(content: bytes) -> dict[str, bytes] | None:
    """The files by name, or None if this is something else."""
    files: dict[str, bytes] = {}
    position = 0
    while position < len(content):
        match = re.compile(rb"(\d{1,12}) (\d{1,12})\n").match(content, position)
        if match is None:
            return None
        middle = match.end() + int(match[1])
        position = middle + int(match[2])
        if position > len(content):
            return None
        files[content[match.end() : middle].decode("utf-8", "replace")] = content[middle:position]
    return files


READER = ReaderSpec(
    name="arxiv",
    make=ArxivReader,
    reads="LaTeX sources, one archive per paper or the bulk archives",
    reasons=REASONS,
)

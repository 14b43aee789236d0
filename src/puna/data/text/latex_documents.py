r"""Which of a paper's files are documents of their own, which of these are the paper, and in which order.

arXiv typesets every file that no other one takes in. The paper comes first, then its further documents (supplements,
appendices) in the order of their names. Left out are letters to editors and referees, samples and guides of a class
beside the paper, slides, figures of their own, and other versions of a text that is there already. A paper that is
written into a template, with nothing but a supplement beside it, stays. `00README` files of arXiv say which files to
ignore and which to typeset.
"""

import posixpath
import re
from collections.abc import Mapping

LETTER, SAMPLE, SLIDES, FIGURE, VERSION = "letter", "sample", "slides", "figure", "version"
_NAMES = {
    LETTER: re.compile(
        r"(?:response|reply|replies|rebuttal|cover_?letter|referees?|reviewers?|answers?)(?:\d|\b|_)|letter_to"
    ),
    SAMPLE: re.compile(
        r"(?:^|/)(?:samples?|examples?|templates?|guides?|docs?|instructions?|manuals?)(?:$|/|[\W_])"
        r"|(?:[\W_]|\b)(?:sample|template|guide|howto|instructions|manual|readme|demo)(?:$|/|[\W_\d])"
        r"|(?:^|/)(?:bare_(?:conf|jrnl|adv)\w*|samplepaper|egpaper\w*|ieeetran_howto|lipsum\w*|blindtext\w*)$"
    ),
}  # fmt: skip
"""Names, without ending and in small letters, of documents beside a paper."""
_EARLIER = re.compile(r"(?:^|[\W_])(?:old|draft|backup|copy|diff\w*|latexdiff|bak|orig(?:inal)?)(?:$|[\W_\d])")
"""Names of earlier states of a document; they are left out only where their text is there already."""
_SUPPLEMENT = re.compile(
    r"(?:^|[\W_\d])(?:supp?\w*|si|sm|esm|esi|appendi\w*|appx?|additional\w*|online|ms?si|mainsi)(?:$|[\W_\d])"
    r"|supp(?:l|ort|mat)|suppinfo"
)
_CLASS = re.compile(r"\\document(?:class|style)\s*(?:\[[^]]{0,300}\])?\s*\{\s*([\w-]+)\s*\}")
_KINDS = {
    "letter": LETTER, "scrlttr2": LETTER, "dinbrief": LETTER, "newlfm": LETTER,
    "beamer": SLIDES, "slides": SLIDES, "seminar": SLIDES, "powerdot": SLIDES, "prosper": SLIDES, "foils": SLIDES,
    "a0poster": SLIDES, "tikzposter": SLIDES, "sciposter": SLIDES,
    "standalone": FIGURE, "minimal": FIGURE, "preview": FIGURE, "pstricks": FIGURE,
}  # fmt: skip
"""What documents of a class are, where they are not papers."""
_FILLER = re.compile(
    r"\\(?:lipsum|blindtext|Blindtext|blinddocument)(?![A-Za-z@])|lorem ipsum dolor|\\DIF(?:add|del)(?:begin|\{)", re.I
)
_README_LINE = re.compile(r"^\s*(\S+)\s+(ignore|include|toplevelfile)\b", re.MULTILINE)
_README_FIELD = re.compile(
    r"[\"']?filename[\"']?\s*:\s*[\"']?([^\"'\s,}]+)[\"']?[\s,]{0,40}[\"']?usage[\"']?\s*:\s*[\"']?(\w+)"
)
_WORDS = 8
_SAME = 0.5
"""Part of a document's runs of eight words that another one has, from which on it is a version of it."""
_FEWEST = 20
"""Runs below which documents are not compared."""


def is_readme(name: str) -> bool:
    """Whether a file tells arXiv what to do with the others."""
    return posixpath.basename(name).lower().startswith("00readme")


def told(files: Mapping[str, str]) -> tuple[set[str], list[str]]:
    """The files to ignore and the documents to typeset, in order, as the paper's `00README` says; often neither."""
    ignored: set[str] = set()
    documents: list[str] = []
    for name, text in files.items():
        if is_readme(name):
            for match in [*_README_LINE.finditer(text), *_README_FIELD.finditer(text)]:
                file = posixpath.normpath(posixpath.join(posixpath.dirname(name), match[1]))
                if match[2] == "ignore":
                    ignored.add(file)
                elif match[2] in ("toplevel", "toplevelfile"):
                    documents.append(file)
    return ignored, documents


def kind_of(name: str, text: str) -> str:
    """What a document is if it is not of the paper, by its class, its name and its text; else empty."""
    declared = _CLASS.search(text)
    if declared and (kind := _KINDS.get(declared[1].lower())):
        return kind
    stem = _stem(name)
    for kind, pattern in _NAMES.items():
        if pattern.search(stem):
            return kind
    if found := _FILLER.search(text):
        return VERSION if "DIF" in found.group().upper() and "lorem" not in found.group().lower() else SAMPLE
    return ""


def ordered(sizes: Mapping[str, int], kinds: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """The documents of the paper, the main one first, and those that are left out.

    Where nothing but supplements looks like the paper, the likeliest of the others is the main document: authors write
    into templates, and a reply may be the paper.

    Args:
        sizes: Characters of each document with all that it takes in.
        kinds: `kind_of` of each.
    """

    def rank(name: str) -> tuple[int, bool, bool, int, str]:
        places = ["", SAMPLE, LETTER, SLIDES, VERSION, FIGURE]
        stem = _stem(name)
        return (
            -places.index(kinds[name]), not _SUPPLEMENT.search(stem), not _EARLIER.search(stem), sizes[name], name,
        )  # fmt: skip

    names = sorted(sizes, key=rank, reverse=True)
    kept = [name for name in names if not kinds[name]]
    others = [name for name in names if kinds[name] in (SAMPLE, LETTER)] or names
    if all(_SUPPLEMENT.search(_stem(name)) for name in kept) and (not kept or others != names):
        kept = [others[0], *kept] if others and others[0] not in kept else kept
    return [*kept[:1], *sorted(kept[1:])], sorted(set(names) - set(kept))


def _stem(name: str) -> str:
    return posixpath.splitext(name.lower())[0]


class Known:
    """The text of a paper's documents so far."""

    def __init__(self) -> None:
        self._runs: set[int] = set()

    def add(self, text: str) -> bool:
        """Add a document, unless most of it is known: then it is a version of others, and the answer is False."""
        words = text.split()
        runs = {hash(tuple(words[begin : begin + _WORDS])) for begin in range(len(words) - _WORDS + 1)}
        if len(runs) >= _FEWEST and len(runs & self._runs) >= _SAME * len(runs):
            return False
        self._runs |= runs
        return True

r"""The files of a LaTeX paper as the sources of its documents, with their `\input` files inserted."""

import posixpath
import re
from collections.abc import Mapping

from puna.data.text.latex_comments import without_comments
from puna.data.text.latex_documents import is_readme, kind_of, ordered, told

_CLASS = re.compile(r"\\document(?:class|style)(?![A-Za-z@])")
BEGIN = re.compile(r"\\begin\s*\{\s*document\s*\}|\\document(?![A-Za-z@])|\\starttext(?![A-Za-z@])")
r"""Where the body begins; `\document` is AMS-TeX's, `\starttext` ConTeXt's."""
END = re.compile(r"\\end\s*\{\s*document\s*\}|\\(?:enddocument|bye|stoptext)(?![A-Za-z@])")
"""The end of the body."""
_PLAIN = re.compile(
    r"\\(?:magnification|bye|input|def|section|beginsection|font|centerline|hsize|begin|end)(?![A-Za-z@])"
)
_INPUT = re.compile(
    r"""
    \\(?:input|include|subfile|subfileinclude|includestandalone|@input|InputIfFileExists)(?![A-Za-z@]) \s*
        (?:\[[^][\n]{0,200}\]\s*)? (?: \{\s*"?(?P<braced>[^{}"\n]*)"?\s*\} | (?P<bare>[^\s{}\\%$&]+)[ ]? )
  | \\(?:sub)?(?:import|inputfrom|includefrom)(?![A-Za-z@])\*? \s* \{(?P<folder>[^{}\n]*)\} \s* \{(?P<name>[^{}\n]*)\}
    """,
    re.VERBOSE,
)
_BYE = re.compile(r"\\(?:bye|enddocument|stoptext)(?![A-Za-z@])")
_STOP = re.compile(r"\\endinput(?![A-Za-z@])")
_NOT_TEXT = re.compile(
    r"\.(?:tikz|pgf|pdf|eps|ps|fig|pdf_tex|pstex_t|pstex|bbl|sty|cls|def|cfg)\Z|[#\\]", re.IGNORECASE
)
"""Inputs that are not missed: figures, packages, arguments of macros."""
_GROWTH = 4
"""How many times larger a source may become than its files together; there may be cycles."""
_MOST = 1000
"""How many files' lengths are added up to choose the main one."""
_DEPTH = 50
"""How deep inputs may be nested."""


class Paper:
    """The files of a paper without comments, by name.

    Args:
        files: The text of each file by name.
    """

    def __init__(self, files: Mapping[str, str]) -> None:
        self.protected: list[str] = []
        """Verbatim pieces, in the order of their marks."""
        texts = {posixpath.normpath(name): text for name, text in files.items()}
        ignored, first = told(texts)
        self.files = {
            name: without_comments(text, self.protected) for name, text in texts.items() if not is_readme(name)
        }
        self.missing = 0
        """Inputs of the documents read so far that are not among the files."""
        self._room = _GROWTH * sum(map(len, texts.values()))
        self._taken = {name: self._taken_in(name, text) for name, text in self.files.items()}
        whole = self._whole(ignored)
        folder = posixpath.commonpath([posixpath.dirname(f"/{name}") for name in whole]) if whole else "/"
        self.kinds = dict.fromkeys(whole, "")
        if len(whole) > 1:
            self.kinds = {name: kind_of(posixpath.relpath(f"/{name}", folder), self.files[name]) for name in whole}
        """What each document is that is not of the paper; empty for those that are."""
        if stated := [name for name in first if name in self.files]:
            whole, self.kinds = stated, dict.fromkeys(stated, "")
        sizes = {name: sum(len(self.files[file]) for file in self._reached(name)) for name in whole}
        self.documents, self.left_out = ordered(sizes, self.kinds)
        """Names of the documents that are the paper, in order, and of those that are not."""
        if stated:
            self.documents = stated

    def _whole(self, ignored: set[str]) -> list[str]:
        r"""Files that are documents: with `\documentclass` and a body, or `\bye`, and not taken in by others.

        If there are none, the likeliest file, as far as one looks like TeX: first those that no other one takes in,
        then those with a class, then the longest with its inputs.
        """
        inner = {other for name, others in self._taken.items() for other in others if other != name}
        found = [name for name in self.files if name not in ignored and self._is_whole(name)]
        if outer := [name for name in found if name not in inner]:
            return outer

        def rank(name: str) -> tuple[bool, bool, int, str]:
            size = sum(len(self.files[file]) for file in self._reached(name))
            return name in found, name not in inner, size, name

        candidates = [name for name, text in self.files.items() if _CLASS.search(text) or _PLAIN.search(text)]
        return [max(candidates, key=rank)] if candidates else []

    def _is_whole(self, name: str) -> bool:
        text = self.files[name]
        return bool((_CLASS.search(text) and BEGIN.search(text)) or _BYE.search(text))

    @property
    def main(self) -> str:
        """The name of the main document; empty if nothing looks like TeX."""
        return self.documents[0] if self.documents else ""

    @property
    def unused(self) -> list[str]:
        """Files that no document takes in."""
        reached = {file for name in [*self.documents, *self.left_out] for file in self._reached(name)}
        return [name for name in self.files if name not in reached]

    def _reached(self, name: str) -> set[str]:
        """A document and all files that it takes in."""
        known: set[str] = set()
        waiting = [name]
        while waiting and len(known) < _MOST:
            if (file := waiting.pop()) not in known:
                known.add(file)
                waiting += self._taken[file]
        return known

    def _taken_in(self, name: str, text: str) -> set[str]:
        found = {self._find(match, name, name) for match in _INPUT.finditer(text)}
        return found - {""}

    @property
    def source(self) -> str:
        """The main document with all its inputs; empty without one."""
        return self.source_of(self.main) if self.main else ""

    def source_of(self, name: str) -> str:
        """A document with all its inputs; inputs that are not among the files are left out and counted."""
        return self._with_inputs(name, (name,))

    def _with_inputs(self, name: str, path: tuple[str, ...]) -> str:
        text = self.files[name]
        if len(path) > 1:
            text = _part(text)
        self._room -= len(text)
        out, position = [], 0
        body = BEGIN.search(text) if len(path) == 1 else None
        for match in _INPUT.finditer(text):
            out.append(text[position : match.start()])
            position = match.end()
            found = self._find(match, name, path[0])
            if not found and match["bare"] and not _is_name(match["bare"]):
                out.append(match.group())  # \input in a definition
            elif found and found not in path and len(path) < _DEPTH and self._room > 0:
                out.append(self._with_inputs(found, (*path, found)).rstrip("\n"))
            elif not found and (body is None or match.start() > body.start()):
                wanted = match["braced"] or match["name"] or ""
                self.missing += bool(wanted.strip()) and not _NOT_TEXT.search(wanted.strip())
        return "".join([*out, text[position:]])

    def _find(self, match: re.Match[str], name: str, main: str) -> str:
        """The file of an input, searched relative to the main file, the archive and the file itself."""
        wanted = (match["braced"] or match["bare"] or match["name"] or "").strip()
        if not wanted:
            return ""
        for folder in (posixpath.dirname(main), "", posixpath.dirname(name)):
            for ending in (".tex", "", ".ltx"):
                found = posixpath.normpath(posixpath.join(folder, (match["folder"] or "").strip(), wanted + ending))
                if found in self.files:
                    return found
        return ""


def _is_name(text: str) -> bool:
    return re.fullmatch(r"[\w./+-]+", text) is not None


def _part(text: str) -> str:
    r"""The part of a file that is inserted: up to `\endinput`; of a complete document, its body."""
    if stop := _STOP.search(text):
        text = text[: stop.start()]
    if _CLASS.search(text) and (begin := BEGIN.search(text)):
        end = END.search(text, begin.end())
        text = text[begin.end() : end.start() if end else len(text)]
    return text

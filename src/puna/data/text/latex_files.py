r"""The files of a LaTeX paper as one source: the main file is found, and its `\input` files are inserted."""

import codecs
import posixpath
import re
from collections.abc import Mapping
from itertools import chain

from puna.data.text.decode import marked_encoding, newlines
from puna.data.text.latex_comments import without_comments

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
    \\(?:input|include|subfile|subfileinclude|@input|InputIfFileExists)(?![A-Za-z@]) \s*
        (?: \{\s*"?(?P<braced>[^{}"\n]*)"?\s*\} | (?P<bare>[^\s{}\\%$&]+)[ ]? )
  | \\(?:sub)?(?:import|inputfrom|includefrom)(?![A-Za-z@])\*? \s* \{(?P<folder>[^{}\n]*)\} \s* \{(?P<name>[^{}\n]*)\}
    """,
    re.VERBOSE,
)
_STOP = re.compile(r"\\endinput(?![A-Za-z@])")
_CHARSET = re.compile(rb"\\usepackage\s*\[([A-Za-z0-9, -]+)\]\s*\{inputenc\}")
_CHARSETS = {
    "latin1": "latin-1", "latin2": "iso8859-2", "latin3": "iso8859-3", "latin4": "iso8859-4", "latin5": "iso8859-9",
    "latin9": "iso8859-15", "latin10": "iso8859-16", "ansinew": "cp1252", "cp1250": "cp1250", "cp1251": "cp1251",
    "cp1252": "cp1252", "cp850": "cp850", "cp866": "cp866", "koi8-r": "koi8-r", "koi8-u": "koi8-u",
    "applemac": "mac-roman",
}  # fmt: skip
"""Encodings: inputenc's name and Python's name."""
_CONTROLS = dict.fromkeys(chain(range(9), range(11, 32), range(127, 160)))
_GROWTH = 4
"""How many times larger a source may become than its files together; there may be cycles."""
_MOST = 1000
"""How many files' lengths are added up to choose the main one."""
_DEPTH = 50
"""How deep inputs may be nested."""


def decode_files(files: Mapping[str, bytes]) -> dict[str, str]:
    """The files as text: each UTF-8, else `inputenc`'s encoding in any of them, else Windows-1252, else Latin-1."""
    declared = [match[1].decode() for content in files.values() for match in _CHARSET.finditer(content)]
    names = [name.strip() for options in declared for name in options.split(",")]
    encodings = [*[_CHARSETS[name] for name in names if name in _CHARSETS][:1], "cp1252", "latin-1"]
    return {name: _decoded(content, encodings) for name, content in files.items()}


def _decoded(content: bytes, encodings: list[str]) -> str:
    for encoding in [marked_encoding(content) or "utf-8", *encodings]:
        try:
            text = codecs.decode(content, encoding)
        except UnicodeError:
            continue
        return newlines(text).translate(_CONTROLS)
    return ""


class Paper:
    """The files of a paper without comments, by name.

    Args:
        files: The text of each file by name.
    """

    def __init__(self, files: Mapping[str, str]) -> None:
        self.protected: list[str] = []
        """Verbatim pieces, in the order of their marks."""
        self.files = {posixpath.normpath(name): without_comments(text, self.protected) for name, text in files.items()}
        self._room = 0

    @property
    def main(self) -> str:
        r"""The name of the main file; empty if nothing looks like TeX.

        Files that no other file inputs come first; among them the ones with `\documentclass` and a body; among them the
        longest one including its inputs. The name decides between equals.
        """
        taken: dict[str, set[str]] = {name: self._taken_in(name, text) for name, text in self.files.items()}
        inner = {other for name, others in taken.items() for other in others if other != name}

        def rank(name: str) -> tuple[bool, bool, bool, int, str]:
            text = self.files[name]
            known: set[str] = set()
            waiting = [name]
            while waiting and len(known) < _MOST:
                if (file := waiting.pop()) not in known:
                    known.add(file)
                    waiting += taken[file]
            size = sum(len(self.files[file]) for file in known)
            whole = bool(_CLASS.search(text))
            return whole and name not in inner, whole and bool(BEGIN.search(text)), name not in inner, size, name

        candidates = [name for name, text in self.files.items() if _CLASS.search(text) or _PLAIN.search(text)]
        return max(candidates, key=rank, default="")

    def _taken_in(self, name: str, text: str) -> set[str]:
        found = {self._find(match, name, name) for match in _INPUT.finditer(text)}
        return found - {""}

    @property
    def source(self) -> str:
        """The main file with all its inputs; inputs that are not among the files are left out."""
        main = self.main
        if not main:
            return ""
        self._room = _GROWTH * sum(map(len, self.files.values()))
        return self._with_inputs(main, (main,))

    def _with_inputs(self, name: str, path: tuple[str, ...]) -> str:
        text = self.files[name]
        if len(path) > 1:
            text = _part(text)
        self._room -= len(text)
        out, position = [], 0
        for match in _INPUT.finditer(text):
            out.append(text[position : match.start()])
            position = match.end()
            found = self._find(match, name, path[0])
            if not found and match["bare"] and not _is_name(match["bare"]):
                out.append(match.group())  # \input in a definition
            elif found and found not in path and len(path) < _DEPTH and self._room > 0:
                out.append(self._with_inputs(found, (*path, found)).rstrip("\n"))
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

r"""Users' definitions in LaTeX source: `\newcommand`, `\def`, `\let` and their kin, read into macros."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from puna.data.text.latex_scan import CONTROL, LETTER, after_spaces, group_end, joined, option_end, token_end

_PARAMETER = re.compile(r"##|#([1-9])")
_NAMES = re.compile(rf"\\([{LETTER}]+)")
_PROGRAM = re.compile(
    r"\\(?:[A-Za-z]*@[A-Za-z@]*|expandafter|csname|noexpand|futurelet|catcode|lccode|uccode|mathcode|mathchoice|the"
    r"|afterassignment|aftergroup|read|write|immediate|advance|multiply|divide|loop|repeat|if[A-Za-z]*"
    r"|else|fi|number|meaning|string|mathpalette|newcount|newdimen|newbox|setbox|everypar|output)(?![A-Za-z@])"
)
r"""A body with one of these is a program of TeX (`\iff` alone is not): its text does not show its expansion."""
_PREFIXED = re.compile(r"(?:\\(?:long|global|outer|protected)\s*){0,3}\\(def|gdef|edef|xdef|let)(?![A-Za-z@])")
PROTECTED = {
    "part", "chapter", "section", "subsection", "subsubsection", "paragraph", "subparagraph", "appendix", "begin",
    "end", "document", "item", "input", "include", "subfile", "import", "subimport", "documentclass",
    "documentstyle", "usepackage", "RequirePackage", "newcommand", "renewcommand", "providecommand", "def", "gdef",
    "edef", "xdef", "let", "newenvironment", "renewenvironment", "DeclareMathOperator", "makeatletter",
    "makeatother", "title", "author", "date", "maketitle", "abstract", "thanks", "caption", "footnote", "label",
    "ref", "pageref", "cite", "citep", "citet", "citealt", "citeauthor", "bibliography", "bibliographystyle",
    "bibitem", "thebibliography", "printbibliography", "par", "left", "right", "verb", "hline", "cr", "relax",
}  # fmt: skip
"""Commands that later steps look for keep their names, even if the paper redefines how they look."""

COMMANDS = {"newcommand", "renewcommand", "providecommand", "DeclareRobustCommand", "newrobustcmd", "renewrobustcmd"}
ENVIRONMENTS = {"newenvironment", "renewenvironment"}
DOCUMENT_COMMANDS = {"NewDocumentCommand", "RenewDocumentCommand", "ProvideDocumentCommand", "DeclareDocumentCommand"}
DEFS = {"def", "gdef", "edef", "xdef"}
PREFIXES = {"long", "global", "outer", "protected"}
OPERATORS = {"DeclareMathOperator"}
DEFINING = COMMANDS | ENVIRONMENTS | DOCUMENT_COMMANDS | DEFS | PREFIXES | OPERATORS | {"let"}
"""Commands with which definitions begin."""


@dataclass(frozen=True)
class Macro:
    """The definition of a command."""

    body: str
    arity: int = 0
    default: str | None = None
    r"""Default of the first argument, if it is not given in brackets; None: it is not optional."""
    delimiters: tuple[str, ...] = ()
    r"""`\def` only: the text before the first argument and after each one; empty: each is a token or a group."""
    frozen: bool = False
    r"""Whether the body is inserted without further expansion: `\let` copies what a command means now."""

    @cached_property
    def expands(self) -> bool:
        """Whether its expansion follows from its text."""
        return not any(match.group() != "\\iff" for match in _PROGRAM.finditer(self.body))

    @cached_property
    def calls(self) -> frozenset[str]:
        """The names of the commands in its body."""
        return frozenset() if self.frozen else frozenset(_NAMES.findall(self.body))

    @cached_property
    def _pieces(self) -> list[str | int]:
        pieces: list[str | int] = []
        position = 0
        for match in _PARAMETER.finditer(self.body):
            pieces.append(self.body[position : match.start()])
            pieces.append(int(match[1]) - 1 if match[1] else "#")
            position = match.end()
        return [*pieces, self.body[position:]]

    def filled(self, arguments: list[str]) -> str:
        """The body with the arguments in their places."""
        if not arguments and "#" not in self.body:
            return self.body
        found = [piece if isinstance(piece, str) else "".join(arguments[piece : piece + 1]) for piece in self._pieces]
        return joined(found)


Macros = dict[str, Macro]


class DefinitionReader:
    """Reads the definitions of a paper, one after the other, into its macros.

    Args:
        spend: Called with the number of characters that were read.
    """

    def __init__(self, spend: Callable[[int], None]) -> None:
        self.macros: Macros = {}
        self._spend = spend

    def read(self, text: str, start: int, command: str) -> int:
        """Read the definition with its command ending at `start`; returns the position after it, or -1 if none."""
        starred = text.startswith("*", start)
        position = after_spaces(text, start + starred)
        if command in PREFIXES:
            match = _PREFIXED.match(text, position)
            return self.read(text, match.end(), match[1]) if match else -1
        if command in ENVIRONMENTS:
            return self._environment(text, position)
        name, position = _defined_name(text, position, braces=command not in DEFS and command != "let")
        if not name:
            return -1
        if command == "let":
            return self._let(text, position, name)
        if command in DEFS:
            return self._def(text, position, name)
        if command in OPERATORS:
            body, position = self._body(text, after_spaces(text, position))
            if position >= 0:
                self._define(name, Macro(f"\\operatorname{'*' if starred else ''}{{{body}}}"))
            return position
        if command in DOCUMENT_COMMANDS:
            return self._document_command(text, position, name)
        arity, default, position = self._signature(text, position)
        body, position = self._body(text, after_spaces(text, position)) if position >= 0 else ("", -1)
        if position >= 0 and not (command == "providecommand" and name in self.macros):
            self._define(name, Macro(body, arity, default))
        return position

    def _define(self, name: str, macro: Macro) -> None:
        if name not in PROTECTED:
            self.macros[name] = macro

    def _signature(self, text: str, position: int) -> tuple[int, str | None, int]:
        """Number of arguments, default of the first, position after them; the position is -1 if they are broken."""
        options: list[str] = []
        while len(options) < 2 and text.startswith("[", begin := after_spaces(text, position)):
            end = option_end(text, begin)
            self._spend((end if end >= 0 else len(text)) - begin)
            if end < 0:
                return 0, None, -1
            options.append(text[begin + 1 : end - 1])
            position = end
        count = options[0].strip() if options else "0"
        if not count.isascii() or not count.isdigit() or int(count) > 9:
            return 0, None, -1
        return int(count), options[1] if len(options) == 2 and int(count) else None, position

    def _body(self, text: str, position: int) -> tuple[str, int]:
        """A group's content or a single token, and the position after it, or -1."""
        if position >= len(text):
            return "", -1
        if text[position] != "{":
            end = token_end(text, position)
            return text[position:end], end
        end = group_end(text, position)
        self._spend((end if end >= 0 else len(text)) - position)
        return text[position + 1 : end - 1], end

    def _def(self, text: str, position: int, name: str) -> int:
        r"""Read the part after `\def\name`: parameters with their delimiters, and the body."""
        brace = text.find("{", position, position + 200)
        signature = text[position:brace].strip(" \t\n")
        if brace < 0 or "}" in signature or "\n\n" in signature:
            return -1
        body, end = self._body(text, brace)
        if end < 0:
            return -1
        before, *parameters = re.split(r"#([1-9])", signature)
        numbers, behind = parameters[::2], parameters[1::2]
        if "#" in before + "".join(behind) or numbers != [str(n + 1) for n in range(len(numbers))]:
            self.macros.pop(name, None)
            return end
        delimiters = (before, *behind)
        self._define(name, Macro(body, len(numbers), delimiters=delimiters if any(delimiters) else ()))
        return end

    def _let(self, text: str, position: int, name: str) -> int:
        r"""Read the part after `\let\name`: perhaps `=`, and a token."""
        position = after_spaces(text, position)
        if text.startswith("=", position):
            position = after_spaces(text, position + 1)
        if position >= len(text):
            return -1
        end = token_end(text, position)
        other = text[position + 1 : end] if text[position] == "\\" else ""
        if other in self.macros:
            self._define(name, self.macros[other])
        elif other in ("undefined", "relax") or "@" in other:
            self.macros.pop(name, None)
        else:
            self._define(name, Macro(text[position:end], frozen=True))
        return end

    def _environment(self, text: str, position: int) -> int:
        r"""Read the part after `\newenvironment`; its two halves are macros called `begin{…}` and `end{…}`."""
        name, position = self._body(text, position)
        arity, default, position = self._signature(text, position) if position >= 0 else (0, None, -1)
        halves: list[str] = []
        while position >= 0 and len(halves) < 2:
            half, position = self._body(text, after_spaces(text, position))
            halves.append(half)
        if position >= 0 and name.strip() not in PROTECTED:
            begin, end = Macro(halves[0], arity, default), Macro(halves[1])
            if begin.expands and end.expands and "#" not in end.body:
                self.macros |= {f"begin{{{name.strip()}}}": begin, f"end{{{name.strip()}}}": end}
        return position

    def _document_command(self, text: str, position: int, name: str) -> int:
        r"""Read the part after `\NewDocumentCommand\name`; only mandatory arguments are understood."""
        kinds, position = self._body(text, after_spaces(text, position))
        body, position = self._body(text, after_spaces(text, position)) if position >= 0 else ("", -1)
        if position < 0 or len(kinds.split()) > 9 or set(kinds.split()) - {"m"}:
            self.macros.pop(name, None)
        else:
            self._define(name, Macro(body, len(kinds.split())))
        return position


def _defined_name(text: str, position: int, *, braces: bool) -> tuple[str, int]:
    """The name of the command that is defined, without backslash, and the position after it; empty if there is none."""
    braced = braces and text.startswith("{", position)
    match = CONTROL.match(text, after_spaces(text, position + 1) if braced else position)
    if not match:
        return "", position
    position = match.end()
    if braced:
        position = after_spaces(text, position)
        if not text.startswith("}", position):
            return "", position
        position += 1
    return match[1], position

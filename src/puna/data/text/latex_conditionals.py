r"""LaTeX source without the branches that TeX never takes: `\iffalse … \fi`, and switches such as `\ifdraft`.

The value of a switch is known if `\newif` declares it and it is set to only one value, or never (false).
Other conditionals stay as they are.
"""

import re
from dataclasses import dataclass

from puna.data.text.latex_scan import SPACES, without

_ANY = re.compile(r"\\(?:iffalse|iftrue)(?![A-Za-z@])|\\newif(?![A-Za-z@])")
_SWITCH = re.compile(rf"\\newif\s*\{{?\s*\\if([A-Za-z@]+)(?:\s*\}})?{SPACES.pattern}")
_ALIAS = re.compile(r"\\let\s*\\if([A-Za-z@]+)\s*=?\s*\\if(true|false)(?![A-Za-z@])[ \t]*")
_TOKEN = re.compile(rf"\\(if[A-Za-z@]*|else|fi)(?![A-Za-z@]){SPACES.pattern}|[{{}}]|\\.", re.DOTALL)
_PRIMITIVES = {
    "if", "ifcat", "ifnum", "ifdim", "ifodd", "ifvmode", "ifhmode", "ifmmode", "ifinner", "ifvoid", "ifhbox", "ifvbox",
    "ifx", "ifeof", "iftrue", "iffalse", "ifcase", "ifdefined", "ifcsname", "iffontchar", "ifabsnum", "ifabsdim",
    "ifpdf", "ifxetex", "ifluatex", "ifPDFTeX", "ifXeTeX", "ifLuaTeX",
}  # fmt: skip
r"""Commands that `\fi` ends; not `\ifthenelse` and `\iff`."""


def without_dead_branches(text: str) -> str:
    """The source with each known conditional replaced by the branch that TeX takes."""
    if not _ANY.search(text):
        return text
    known = {"true": True, "false": False} | {match[1]: match[2] == "true" for match in _ALIAS.finditer(text)}
    switches = {match[1] for match in _SWITCH.finditer(text)}
    if switches:
        setting = re.compile(rf"\\({'|'.join(map(re.escape, switches))})(true|false)(?![A-Za-z@]){SPACES.pattern}")
        values: dict[str, set[str]] = {switch: set() for switch in switches}
        for match in setting.finditer(text):
            values[match[1]].add(match[2])
        constant = {switch: found == {"true"} for switch, found in values.items() if len(found) < 2}
        known |= constant
        text = setting.sub(lambda match: "" if match[1] in constant else match.group(), text)
        text = _SWITCH.sub(lambda match: "" if match[1] in constant else match.group(), text)
    text = _ALIAS.sub("", text)
    return _taken(text, known, _PRIMITIVES | {f"if{name}" for name in switches | set(known)})


def _taken(text: str, known: dict[str, bool], conditionals: set[str]) -> str:
    """The text without the conditionals of known value and without the branches that they do not take."""
    cuts: list[tuple[int, int]] = []
    opened: list[_Conditional] = []
    """Open conditionals, the innermost last."""
    depth = 0
    for match in _TOKEN.finditer(text):
        found = match.group()
        if found == "{":
            depth += 1
        elif found == "}":
            depth -= 1
            while opened and opened[-1].depth > depth:  # it begins in a macro's definition and ends in another's
                opened.pop()
        elif (name := match[1]) is None:
            continue
        elif name in conditionals or name.startswith("if@"):
            opened.append(_Conditional(depth, known.get(name[2:]), match))
        elif opened and opened[-1].depth == depth:
            if name == "else":
                opened[-1].other = opened[-1].other or match
            elif name == "fi":
                cuts += opened.pop().cuts(match)
    return without(text, sorted(cuts))


@dataclass
class _Conditional:
    """A conditional that is open."""

    depth: int
    """Depth of the groups around it."""
    value: bool | None
    begin: re.Match[str]
    other: re.Match[str] | None = None

    def cuts(self, end: re.Match[str]) -> list[tuple[int, int]]:
        """The parts of it to remove, once it has ended."""
        if self.value is None:
            return []
        if self.value:
            return [self.begin.span(), ((self.other or end).start(), end.end())]
        return [(self.begin.start(), self.other.end()), end.span()] if self.other else [(self.begin.start(), end.end())]

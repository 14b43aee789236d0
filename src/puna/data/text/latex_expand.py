r"""LaTeX source with every use of a user's macro expanded, and without the definitions.

A definition counts from its place on, as in TeX, but is not local to groups. Some uses stay commands: a macro that is a
program of TeX (`\expandafter`, `\ifx`, names with `@`), one that calls itself, and a use with arguments that do not
match. The work is bounded: beyond a budget the rest of the source stays as it is.
"""

import re
from functools import lru_cache

from puna.data.text.latex_macros import DEFINING, DefinitionReader, Macro
from puna.data.text.latex_scan import CONTROL, after_spaces, ends_in_control_word, group_end, option_end, token_end

_WORK = 20
"""Characters of arguments and bodies that may be read for each character of the source, …"""
_FLOOR = 200_000
"""… and the number that may always be read."""
_DEPTH = 100
"""How deep uses of macros may be nested."""
_INDENTATION = 200
"""Most spaces before a definition on a line of its own."""
_NAME = re.compile(r"\s*\{\s*([^{}\\\s]+)\s*\}")
_LAYOUT_END = re.compile(r"\\(?:begin|end)\s*\{[^{}]*\}\Z|\\\\\Z")
_LAYOUT = re.compile(r"\\(?:begin|end|item|\]|\[)")
_LINE_END = re.compile(r"[ \t]*\n")
_NO_SPACE_AFTER = set("{}.,;:!?)]'/-~^_&") | {"\n", " ", "\t"}
r"""Before these `\xspace` puts no space."""
_INTERNAL = {"makeatletter", "makeatother"}
_KNOWN = {"texorpdfstring": Macro("#1", 2)}
"""Macros of packages: hyperref's has a formula and then the same in words, for bookmarks."""


class _Frame:
    """Source that is being read: the paper's, or the expansion of a macro."""

    __slots__ = ("behind", "copied", "position", "text")

    def __init__(self, text: str, behind: str) -> None:
        self.text = text
        self.position = 0
        self.copied = 0
        """Position up to which the text has been written to the output."""
        self.behind = behind
        """Space that TeX skips after the command; it is put back where it does no harm."""


def expand(text: str) -> str:
    """The source with all macros expanded, as far as possible."""
    return _Expansion(text).run()


class _Expansion:
    def __init__(self, text: str) -> None:
        self._frames = [_Frame(text, "")]
        self._out: list[str] = []
        self._budget = _FLOOR + _WORK * len(text)
        self._definitions = DefinitionReader(self._spend)
        self._macros = self._definitions.macros
        self._macros |= _KNOWN
        self._recursive: dict[str, bool] = {}
        """Whether a macro calls itself; a cache since the last definition."""

    def _spend(self, count: int) -> None:
        self._budget -= count + 1

    def run(self) -> str:
        while self._frames:
            frame = self._frames[-1]
            match = CONTROL.search(frame.text, frame.position)
            if match is None:
                self._leave(frame)
                continue
            name = match[1]
            frame.position = match.end()
            if name in self._macros:
                self._call(frame, name, match.start())
            elif name in DEFINING:
                self._define(frame, name, match.start())
            elif name in ("begin", "end"):
                self._environment(frame, name, match.start())
            elif name == "xspace":
                self._copy(frame, match.start(), frame.position)
                self._put(self._space_after(frame))
            elif name in _INTERNAL:
                self._copy(frame, match.start(), self._end_of_definition(frame, match.start(), frame.position))
            elif "@" in name and (before := name[: name.index("@")]) in self._macros:
                frame.position = match.start() + 1 + len(before)
                self._call(frame, before, match.start())
        return "".join(self._out)

    def _put(self, piece: str) -> None:
        if piece:
            self._out.append(piece)

    def _copy(self, frame: _Frame, until: int, position: int) -> None:
        """Write the text since the last output, and go on at `position`."""
        self._put(frame.text[frame.copied : until])
        frame.copied = frame.position = position

    def _leave(self, frame: _Frame) -> None:
        """End a frame; the space after the command is put back if the text ends in layout or a command."""
        self._put(frame.text[frame.copied :])
        self._frames.pop()
        last = self._out[-1] if self._out else ""
        if frame.behind:
            above = self._frames[-1]
            ends = ends_in_control_word(last) or _LAYOUT_END.search(last[-100:])
            if ends or ("\n" in frame.behind and _LAYOUT.match(above.text, above.position)):
                self._put(frame.behind)
        elif self._frames and ends_in_control_word(last):
            above = self._frames[-1]
            following = above.text[above.position : above.position + 1]
            if following.isascii() and following.isalpha():
                self._put(" ")

    def _define(self, frame: _Frame, command: str, start: int) -> None:
        end = self._definitions.read(frame.text, frame.position, command) if self._budget > 0 else -1
        if end >= 0:
            self._recursive.clear()
            self._copy(frame, start, self._end_of_definition(frame, start, end))

    def _end_of_definition(self, frame: _Frame, start: int, end: int) -> int:
        """The end of a definition, including the end of its line if nothing else is on it."""
        line = frame.text.rfind("\n", max(0, start - _INDENTATION), start) + 1
        begins = line > 0 or start <= _INDENTATION
        if frame.copied > line:
            begins = not self._out or self._out[-1].endswith("\n")
        if not begins or frame.text[max(line, frame.copied) : start].strip():
            return end
        match = _LINE_END.match(frame.text, end)
        return match.end() if match else end

    def _environment(self, frame: _Frame, half: str, start: int) -> None:
        match = _NAME.match(frame.text, frame.position)
        if match and (key := f"{half}{{{match[1]}}}") in self._macros:
            frame.position = match.end()
            self._call(frame, key, start)

    def _call(self, frame: _Frame, name: str, start: int) -> None:
        """Expand a macro with its name ending at the frame's position; or leave it as it is."""
        macro = self._macros[name]
        if self._budget <= 0 or len(self._frames) > _DEPTH or not macro.expands or self._is_recursive(name):
            return
        found = self._arguments(macro)
        if found is None:
            return
        arguments, depth, position = found
        body = macro.filled(arguments)
        self._spend(len(body) + sum(map(len, arguments)))
        self._put(frame.text[frame.copied : start])
        frame.copied = frame.position
        # If arguments were found after the end of a macro's expansion, that expansion is finished.
        while len(self._frames) > depth + 1:
            self._frames.pop()
        frame = self._frames[-1]
        frame.copied = frame.position = position
        behind = ""
        if not macro.arity and not macro.delimiters and not name.endswith("}"):
            behind = self._skip_behind(frame, body)
        if macro.frozen:
            self._put(body)
            self._frames.append(_Frame("", behind))
        else:
            self._frames.append(_Frame(body, behind))

    def _skip_behind(self, frame: _Frame, body: str) -> str:
        """Skip what TeX skips after a command without arguments, and an empty group that only ends its name."""
        text, position = frame.text, frame.position
        if text.startswith("{}", position) and not ends_in_control_word(body):
            frame.copied = frame.position = position + 2
            return ""
        end = after_spaces(text, position)
        frame.copied = frame.position = end
        return text[position:end]

    def _space_after(self, frame: _Frame) -> str:
        r"""The expansion of `\xspace` at the frame's position: a space, unless punctuation or space follows."""
        skipped = False
        for other in reversed(self._frames):
            end = after_spaces(other.text, other.position)
            if end < len(other.text) or other is self._frames[0]:
                break
            skipped = skipped or bool(other.behind)
        following = other.text[end : end + 2]
        if other is frame:
            frame.copied = frame.position = end
            skipped = True
        elif end > other.position:
            skipped = False
            following = " "
        if not following or following[0] in _NO_SPACE_AFTER:
            return ""
        return "" if following in ("\\ ", "\\/", "\\,", "\\\\") else " "

    def _arguments(self, macro: Macro) -> tuple[list[str], int, int] | None:
        """The arguments, and the frame and position after them; None if they do not match."""
        depth = len(self._frames) - 1
        position = self._frames[depth].position
        if macro.delimiters:
            found = self._delimited(macro)
            return (found[0], depth, found[1]) if found else None
        arguments: list[str] = []
        while len(arguments) < macro.arity:
            text = self._frames[depth].text
            begin = after_spaces(text, position)
            optional = macro.default is not None and not arguments
            if begin >= len(text) and depth > 0:
                depth -= 1
                position = self._frames[depth].position
            elif optional and not text.startswith("[", begin):
                arguments.append(macro.default or "")
            else:
                found = self._argument(text, begin, optional=optional)
                if found is None:
                    return None
                argument, position = found
                arguments.append(argument)
        return arguments, depth, position

    def _argument(self, text: str, begin: int, *, optional: bool) -> tuple[str, int] | None:
        if begin >= len(text) or text[begin] in "}\n":
            return None
        if optional or text[begin] == "{":
            end = option_end(text, begin) if optional else group_end(text, begin)
            self._spend((end if end >= 0 else len(text)) - begin)
            return (text[begin + 1 : end - 1], end) if end >= 0 else None
        end = token_end(text, begin)
        return text[begin:end], end

    def _delimited(self, macro: Macro) -> tuple[list[str], int] | None:
        r"""The arguments of a macro of `\def` with delimiters, which must stand within one paragraph."""
        frame = self._frames[-1]
        text, position = frame.text, after_spaces(frame.text, frame.position)
        before, *behind = macro.delimiters
        if not text.startswith(before, position):
            return None
        position += len(before)
        arguments: list[str] = []
        stop = -1
        for delimiter in behind:
            if not delimiter:
                found = self._argument(text, after_spaces(text, position), optional=False)
                if found is None:
                    return None
                argument, position = found
            else:
                if stop < 0:
                    stop = text.find("\n\n", position)
                    stop = len(text) if stop < 0 else stop
                end = _delimiter(text, position, stop, delimiter)
                self._spend((end if end >= 0 else stop) - position)
                if end < 0:
                    return None
                argument, position = _stripped(text[position:end]), end + len(delimiter)
            arguments.append(argument)
        return arguments, position

    def _is_recursive(self, name: str) -> bool:
        """Whether a macro calls itself, directly or through others."""
        if (known := self._recursive.get(name)) is not None:
            return known
        seen: set[str] = set()
        waiting = list(self._macros[name].calls)
        while waiting and name not in seen:
            called = waiting.pop()
            if called not in seen:
                seen.add(called)
                if called in self._macros:
                    self._spend(len(self._macros[called].calls))
                    waiting += self._macros[called].calls
        self._recursive[name] = name in seen
        return name in seen


@lru_cache(256)
def _before(delimiter: str) -> re.Pattern[str]:
    return re.compile(rf"(?P<found>{re.escape(delimiter)})|[{{}}]|\\.", re.DOTALL)


def _delimiter(text: str, start: int, stop: int, delimiter: str) -> int:
    """The position of an argument's delimiter outside of groups; -1 if there is none before `stop`."""
    pattern = _before(delimiter)
    while match := pattern.search(text, start, stop):
        if match["found"]:
            return match.start()
        start = match.end()
        if match.group() == "}":
            return -1
        if match.group() == "{":
            start = group_end(text, match.start(), stop)
            if start < 0:
                return -1
    return -1


def _stripped(argument: str) -> str:
    """The argument without the braces of a single group around it, as TeX takes it."""
    if argument.startswith("{") and group_end(argument, 0) == len(argument):
        return argument[1:-1]
    return argument

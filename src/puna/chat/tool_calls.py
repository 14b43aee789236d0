"""Calls of tools in what a model writes, found while it writes.

Models write calls in the form that their chat templates taught them, a `ToolForm`. All known ones are made of four
texts around each call, which is an object of JSON, or a name and an object:

| opening | call | separator | closing |
| --- | --- | --- | --- |
| `<tool_call>` | `{"name": "f", "arguments": {}}` | `</tool_call><tool_call>` | `</tool_call>` |
| `[TOOL_CALLS][` | `{"name": "f", "arguments": {}}` | `,` | `]` |
| | `{"name": "f", "parameters": {}}` | | |
| `[TOOL_CALLS]` | `f[ARGS]{}` | `[TOOL_CALLS]` | |

Spaces around and inside of these texts count for nothing. Without an opening only the beginning of an answer can be a
call.

**What is a call.** It names one of the tools that were given, and its arguments are an object. Everything else stays
text: so does a call that breaks off, where whole answers are read. In a stream, arguments are given on as they are
written, from where they begin; if they break off then, they are what was written, as in OpenAI's API, whose reference
tells its users to check them.
"""

import json
import re
import secrets
import string
from collections.abc import Collection, Generator, Iterable, Mapping
from dataclasses import dataclass, field, replace

from puna.chat.tools import NAME, ToolCall, arguments_of
from puna.core.errors import GenerateError

_ID = string.ascii_letters + string.digits
_ID_LENGTH = 9
"""Characters of a call's id. Mistral's templates take no others than 9 letters and digits."""
_KEY = re.compile(r'\{\s*(?:"((?:[^"\\]|\\.)*)"|[^\s"])', re.DOTALL)
_NAMED = re.compile(rf"\s*({NAME.pattern})")


@dataclass(frozen=True)
class ToolForm:
    """How a chat template writes calls."""

    opening: str
    """Before the first call; empty where an answer that calls is nothing but a call."""
    separator: str | None
    """Between two calls; None where an answer has one at most."""
    closing: str
    """Behind the last call."""
    name_key: str = ""
    """Of the object that is a call, the field with the function's name; empty where the name stands before the object
    of arguments."""
    arguments_key: str = ""
    """The field with the arguments; empty as `name_key` is."""
    between: str = ""
    """The text between a name and the object of arguments, where these are not fields."""
    marks: Mapping[int, str] = field(default_factory=dict)
    """Control tokens that these texts begin with or hold, by id: an engine gives no text for them."""
    ends: frozenset[int] = frozenset()
    """Control tokens that end a turn which calls."""

    def before(self, name: str) -> str:
        """The text of a call before its arguments."""
        if not self.name_key:
            return name + self.between
        return f'{{"{self.name_key}": "{name}", "{self.arguments_key}": '

    @property
    def after(self) -> str:
        """The text of a call after its arguments."""
        return "}" if self.name_key else ""


@dataclass(frozen=True)
class CallPiece:
    """A part of a call, in the order in which it is written."""

    index: int
    """Which call of the answer, from 0 on."""
    arguments: str
    """What comes to the arguments, JSON."""
    id: str = ""
    """With the first piece of a call."""
    name: str = ""
    """With the first piece of a call."""


class CallReader:
    """Reads one answer of a model.

    Args:
        form: How it writes calls.
        names: The functions that it was given.
        early: Whether a call is given on while it is written, rather than when it is whole.
    """

    def __init__(self, form: ToolForm, names: Collection[str], *, early: bool) -> None:
        self._form, self._names, self._early = form, frozenset(names), early
        self.calls = 0
        """Calls that have begun."""
        self._head = (form.opening.split() or [""])[0]
        self._begin = re.compile(
            rf'\{{\s*"{re.escape(form.name_key)}"\s*:\s*"({NAME.pattern})"\s*,'
            rf'\s*"{re.escape(form.arguments_key)}"\s*:\s*(?=\{{)'
        )
        self._buffer, self._ended = "", False
        self._space = ""
        """Before a call; it is given only where more text follows."""
        self._after_call, self._text_only = False, False
        self._pieces: list[str | CallPiece] = []
        self._reading = self._run()
        next(self._reading)

    def push(self, text: str, token: int | None = None) -> list[str | CallPiece]:
        """What is certain after more of the answer: text, and pieces of calls.

        Args:
            text: What comes to the answer.
            token: The id behind this text; a control token of the form stands for its own text.
        """
        self._buffer += text + self._form.marks.get(-1 if token is None else token, "")
        return self._go()

    def finish(self) -> list[str | CallPiece]:
        """What was held back, at the end of the answer."""
        self._ended = True
        return self._go()

    def _go(self) -> list[str | CallPiece]:
        next(self._reading, None)
        found, self._pieces = self._pieces, []
        return found

    def _run(self) -> Generator[None]:
        """Text and calls in turns; it waits where more has to be known, as all generators here do."""
        while (yield from self._text()):
            if end := (yield from self._calls()):
                self._buffer, self._after_call = self._buffer[end:], True
            else:
                self._text_only = not self._head
                self._say(len(self._head))

    def _text(self) -> Generator[None, None, bool]:
        """Give text; true where the buffer begins with what may be a call, false where the answer has ended."""
        while True:
            if self._after_call:
                self._buffer = self._buffer.lstrip()
                self._after_call = not self._buffer
            certain, found = self._look()
            self._say(len(self._buffer[:certain].rstrip()))
            if found:
                rest = self._buffer.lstrip() if self._head == "" else self._buffer[self._buffer.find(self._head) :]
                self._space += self._buffer[: len(self._buffer) - len(rest)]
                self._buffer = rest
                return True
            if self._ended:
                self._say(len(self._buffer.rstrip() if self.calls else self._buffer))
                return False
            yield

    def _look(self) -> tuple[int, bool]:
        """How far the buffer is text, and whether a call may begin there."""
        buffer, head = self._buffer, self._head
        if self._text_only:
            return len(buffer), False
        if not head:
            begun = buffer.lstrip()
            self._text_only = bool(self.calls) or begun[:1] not in ("", "{")
            return (len(buffer) if self._text_only else 0), begun.startswith("{") and not self._text_only
        if (at := buffer.find(head)) >= 0:
            return at, True
        held = next((n for n in range(min(len(head) - 1, len(buffer)), 0, -1) if head.startswith(buffer[-n:])), 0)
        return len(buffer) - held, False

    def _say(self, length: int) -> None:
        """Give the beginning of the buffer as text."""
        if length:
            self._pieces.append(self._space + self._buffer[:length])
            self._space, self._buffer = "", self._buffer[length:]

    def _calls(self) -> Generator[None, None, int]:
        """Read calls at the beginning of the buffer; where the last one ends, 0 if there is none."""
        form, end = self._form, 0
        at = yield from self._past(0, form.opening)
        while at is not None:
            at = yield from (self._object(at) if form.name_key else self._named(at))
            if at is None:
                break
            end = at
            if (closed := (yield from self._past(at, form.closing))) is not None:
                return closed
            at = None if form.separator is None else (yield from self._past(at, form.separator))
        return end

    def _past(self, at: int, literal: str) -> Generator[None, None, int | None]:
        """Where a text ends that stands at a place of the buffer, spaces aside; None where another stands there."""
        for one in "".join(literal.split()):
            while (at := self._solid(at)) == len(self._buffer):
                if self._ended:
                    return None
                yield
            if self._buffer[at] != one:
                return None
            at += 1
        return at

    def _solid(self, at: int) -> int:
        """The next place of the buffer that is not a space."""
        while at < len(self._buffer) and self._buffer[at].isspace():
            at += 1
        return at

    def _object(self, at: int) -> Generator[None, None, int | None]:
        """Read a call that is an object; where it ends, None if this is not a call."""
        brace = yield from self._past(at, "{")
        if brace is None:
            return None
        outer = _Scan(at := brace - 1)
        while True:
            begin = self._begin.match(self._buffer, at) if self._early else None
            if begin and begin[1] in self._names:
                yield from self._arguments(begin.end(), begin[1])
                return (yield from self._end(outer)) or len(self._buffer)
            if end := outer.end(self._buffer):
                return end if self._whole(at, end) else None
            if self._ended or not self._may_be_call(at):
                return None
            yield

    def _may_be_call(self, at: int) -> bool:
        """Whether an object that has begun can be a call; without an opening it could be any JSON."""
        key = _KEY.match(self._buffer, at)
        if key is None or (self._head and key[1]):
            return True
        return key[1] in (self._form.name_key, self._form.arguments_key, "id", "type")

    def _whole(self, at: int, end: int) -> bool:
        """Give an object as a call, if it is one."""
        text, form = self._buffer[at:end], self._form
        try:
            value = arguments_of(text, "call")
        except GenerateError:
            return False
        name, arguments = value.get(form.name_key), value.get(form.arguments_key)
        if not isinstance(name, str) or name not in self._names or not isinstance(arguments, dict | None):
            return False
        begin = self._begin.match(text)
        written = _written(text, begin.end()) if begin else json.dumps(arguments or {}, ensure_ascii=False)
        self._give(name, written)
        return True

    def _named(self, at: int) -> Generator[None, None, int | None]:
        """Read a name and the object behind it; where it ends, None if this is not a call."""
        while (found := _NAMED.match(self._buffer, at)) is None or found.end() == len(self._buffer):
            if self._ended or (found is None and self._solid(at) < len(self._buffer)):
                return None
            yield
        if found[1] not in self._names:
            return None
        brace = yield from self._past(found.end(), self._form.between + "{")
        return None if brace is None else (yield from self._arguments(brace - 1, found[1]))

    def _arguments(self, at: int, name: str) -> Generator[None, None, int | None]:
        """Give the arguments that begin at a place; where they end, None if they are not arguments after all."""
        scan, given = _Scan(at), at
        if self._early:
            self._give(name, "")
        while (end := scan.end(self._buffer)) is None and not self._ended:
            if self._early and given < len(self._buffer):
                self._add(self._buffer[given:])
                given = len(self._buffer)
            yield
        rest = self._buffer[given:end]
        if self._early:
            self._add(rest)
            return end or len(self._buffer)
        try:
            arguments_of(rest, "arguments")
        except GenerateError:
            return None
        self._give(name, rest)
        return end

    def _end(self, scan: "_Scan") -> Generator[None, None, int | None]:
        while (end := scan.end(self._buffer)) is None and not self._ended:
            yield
        return end

    def _give(self, name: str, arguments: str) -> None:
        """Begin a call, with a new id."""
        identity = "".join(secrets.choice(_ID) for _ in range(_ID_LENGTH))
        self.calls += 1
        self._add(arguments, identity, name)

    def _add(self, arguments: str, identity: str = "", name: str = "") -> None:
        """Give what comes to the last call."""
        if identity or arguments:
            self._pieces.append(CallPiece(self.calls - 1, arguments, identity, name))


class _Scan:
    """Looks for the end of a JSON value in a text that grows.

    Args:
        at: Where the value begins.
    """

    def __init__(self, at: int) -> None:
        self._at, self._depth, self._quoted, self._escaped = at, 0, False, False

    def end(self, text: str) -> int | None:
        """Where the value ends; None if that is not in the text yet."""
        while self._at < len(text):
            one = text[self._at]
            self._at += 1
            if self._quoted:
                self._quoted = self._escaped or one != '"'
                self._escaped = one == "\\" and not self._escaped
            elif one == '"':
                self._quoted = True
            elif one in "{[":
                self._depth += 1
            elif one in "}]":
                self._depth -= 1
                if self._depth <= 0:
                    return self._at
        return None


def _written(text: str, at: int) -> str:
    return text[at : _Scan(at).end(text)]


def read_answer(form: ToolForm, names: Collection[str], text: str) -> tuple[str, list[ToolCall]]:
    """The text and the calls of a whole answer.

    Args:
        form: How the model writes calls.
        names: The functions that it was given.
        text: What it has written, the form's control tokens included.
    """
    reader = CallReader(form, names, early=False)
    return gathered([*reader.push(text), *reader.finish()])


def gathered(pieces: Iterable[str | CallPiece]) -> tuple[str, list[ToolCall]]:
    """The text and the calls that pieces make together.

    Args:
        pieces: All of a reader's.
    """
    words: list[str] = []
    calls: list[ToolCall] = []
    for piece in pieces:
        if isinstance(piece, str):
            words.append(piece)
        elif piece.index == len(calls):
            calls.append(ToolCall(piece.id, piece.name, piece.arguments))
        else:
            calls[-1] = replace(calls[-1], arguments=calls[-1].arguments + piece.arguments)
    return "".join(words), calls

"""How a chat template writes calls of tools, learned by having it write known ones.

A template is a program, and its source says little. So it is given a question with two tools and an answer that calls
one of them, or both, and what it wrote around the known names and arguments is its form. The form is good if reading
what the template wrote gives the same calls back; a template of any other kind has no form here.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from puna.chat.controls import ANSWER, Control
from puna.chat.messages import Message
from puna.chat.tool_calls import ToolForm, read_answer
from puna.chat.tools import Tool, ToolCall
from puna.core.errors import GenerateError

Write = Callable[[Sequence[Message], Sequence[Tool]], tuple[str, bytes]]
"""What a template writes for turns and tools, no answer begun, and the origin of each character."""

_ASKED = Message("user", "Which?")
_CALLS = (ToolCall("q1w2e3r4t", "call_first_9", '{"ab": "c1"}'), ToolCall("z1x2c3v4b", "call_second_9", '{"ab": "c2"}'))
_TOOLS = [
    Tool(call.name, "Which?", {"type": "object", "properties": {"ab": {"type": "string", "description": "ab"}}})
    for call in _CALLS
]


def takes_tools(write: Write) -> bool:
    """Whether a template writes down the tools that it is given."""
    try:
        text, _ = write([_ASKED], _TOOLS)
    except GenerateError:
        return False
    return all(tool.name in text for tool in _TOOLS)


def find_form(write: Write, controls: Sequence[Control]) -> ToolForm | None:
    """The form of a template's calls; None where it is none that can be read.

    Args:
        write: The template.
        controls: Its control tokens (`puna.chat.controls.controls_of`).
    """
    try:
        before, _ = write([_ASKED], _TOOLS)
        header, ending = _around_answer(write, before)
        one = _turn(write, before, header, _CALLS[:1])
    except GenerateError:
        return None
    form = _one_call(one, ending, controls)
    if form is None or not _reads(form, one, ending, _CALLS[:1]):
        return None
    try:
        both = _turn(write, before, header, _CALLS)
    except GenerateError:  # a template that writes one call at most
        return form
    first = _found(both, _CALLS[0], 0)
    second = None if first is None else _found(both, _CALLS[1], first.end)
    if first is None or second is None:
        return form
    several = replace(form, separator=both[first.end : second.begin])
    several = replace(several, marks=_marks(several, controls))
    return several if _reads(several, both, ending, _CALLS) else form


def _around_answer(write: Write, before: str) -> tuple[str, str]:
    """What a template writes before and behind an answer that is a text."""
    text, origins = write([_ASKED, Message("assistant", "x")], _TOOLS)
    at = origins.rfind(ANSWER)
    return _rest(text[: max(at, 0)], before), text[at + 1 :]


def _turn(write: Write, before: str, header: str, calls: Sequence[ToolCall]) -> str:
    """The turn that calls, from where the model would write it."""
    text, _ = write([_ASKED, Message("assistant", "", tool_calls=tuple(calls))], _TOOLS)
    return _rest(_rest(text, before), header)


def _rest(text: str, before: str) -> str:
    """A text without what it has in common with another; half a tag is not in common."""
    pairs = zip(text, before, strict=False)
    same = next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(text), len(before)))
    while same and not (text[same - 1].isspace() or text[same - 1] in ">]"):
        same -= 1
    return text[same:]


class _Found(NamedTuple):
    """A known call in a turn."""

    form: ToolForm
    """Its keys, or the text between its name and its arguments."""
    begin: int
    end: int


def _one_call(turn: str, ending: str, controls: Sequence[Control]) -> ToolForm | None:
    """The form of one call, from a turn and what ends turns that call nothing."""
    found = _found(turn, _CALLS[0], 0)
    if found is None:
        return None
    behind, ends = turn[found.end :].rstrip(), frozenset[int]()
    closing = behind.removesuffix(ending.rstrip())
    last = max((one for one in controls if closing.endswith(one.text)), key=lambda one: len(one.text), default=None)
    if closing == behind and last is not None and last.special:
        closing, ends = closing.removesuffix(last.text), frozenset({last.token})
    opening = turn[: found.begin].lstrip()
    form = replace(found.form, opening=opening, closing=closing, ends=ends)
    if not form.opening and not form.name_key:
        return None
    return replace(form, marks=_marks(form, controls))


def _marks(form: ToolForm, controls: Sequence[Control]) -> dict[int, str]:
    texts = (form.opening, form.separator or "", form.closing, form.between)
    return {one.token: one.text for one in controls if one.special and any(one.text in text for text in texts)}


def _reads(form: ToolForm, turn: str, ending: str, calls: Sequence[ToolCall]) -> bool:
    """Whether reading a turn gives the calls that the template was given, and no text."""
    text, found = read_answer(form, [call.name for call in calls], turn.rstrip().removesuffix(ending.rstrip()))
    given, read = ([(call.name, json.loads(call.arguments)) for call in some] for some in (calls, found))
    return read == given and (not text or bool(form.ends))


def _found(turn: str, call: ToolCall, start: int) -> _Found | None:
    return _object(turn, call, start) or _named(turn, call, start)


def _object(turn: str, call: ToolCall, start: int) -> _Found | None:
    """A call that is an object of JSON."""
    arguments = json.loads(call.arguments)
    for begin in (at for at in range(start, len(turn)) if turn[at] == "{"):
        try:
            value, end = json.JSONDecoder().raw_decode(turn, begin)
        except ValueError:
            continue
        name_key = next((key for key, part in value.items() if part == call.name), None)
        arguments_key = next((key for key, part in value.items() if part == arguments), None)
        if name_key and arguments_key:
            return _Found(ToolForm("", None, "", name_key, arguments_key), begin, end)
    return None


def _named(turn: str, call: ToolCall, start: int) -> _Found | None:
    """A call that is a name and an object of arguments."""
    begin = turn.find(call.name, start)
    at = turn.find("{", begin)
    if begin < 0 or at < 0:
        return None
    try:
        value, end = json.JSONDecoder().raw_decode(turn, at)
    except ValueError:
        return None
    if value != json.loads(call.arguments):
        return None
    return _Found(ToolForm("", None, "", between=turn[begin + len(call.name) : at]), begin, end)

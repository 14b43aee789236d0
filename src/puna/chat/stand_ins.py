"""What a template sees of a conversation, and the same with stand-ins for what others than the template wrote.

A stand-in is a private character of Unicode that occurs nowhere else in the conversation. It takes the place of one
character of a message, a call, or a tool's description, and tells afterwards who wrote that. `puna.chat.template` says
how the two renderings prove it.

**Quoted texts.** Tools, calls and results of tools are written as JSON by most templates. Characters that JSON writes
otherwise, `"`, the backslash and controls, have no stand-in there: without a neighbour of their own kind they make no
control token.

**The words of JSON schemas** stay as they are in the parameters of tools, since templates look at them (`type` is
`object`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from puna.chat.controls import ANSWER, TEMPLATE, TYPED, Control
from puna.chat.messages import Message
from puna.chat.tools import Tool

_SCHEMA_WORDS = frozenset(
    [
        "$defs", "$ref", "additionalProperties", "allOf", "anyOf", "array", "boolean", "const", "default",
        "definitions", "description", "enum", "format", "integer", "items", "maxItems", "maxLength", "maximum",
        "minItems", "minLength", "minimum", "null", "number", "object", "oneOf", "pattern", "properties", "required",
        "string", "title", "type",
    ]
)  # fmt: skip
_LONG = 1 << 16
"""Characters from which on a table of all of Unicode pays."""
_CODES = 0x110000
"""How many codes Unicode has."""
Change = Callable[[str, int, bool], str]
"""From a text, who wrote it, and whether templates quote it, to what stands in its place."""


@dataclass(frozen=True)
class Said:
    """A conversation as a template sees it."""

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None

    @classmethod
    def of(cls, turns: Sequence[Message], tools: Sequence[Tool], *, only_calls: str | None = None) -> "Said":
        """As transformers passes it on: a turn without calls has no field for them.

        Args:
            turns: The conversation.
            tools: The functions that may be called.
            only_calls: The content of a turn that only calls; None for none.
        """
        return cls([_variable(turn, only_calls) for turn in turns], [tool.variable for tool in tools] or None)

    def changed(self, change: Change) -> "Said":
        """The same with other texts; roles and the names of fields stay."""
        tools = None if self.tools is None else [_tool(tool, change) for tool in self.tools]
        return Said([_message(message, change) for message in self.messages], tools)

    def texts(self) -> Iterator[tuple[str, str, int]]:
        """All texts that others than the template wrote, where each stands, and who wrote it."""
        found: list[tuple[str, str, int]] = []

        def note(where: str) -> Change:
            def keep(text: str, origin: int, _: bool) -> str:
                found.append((where, text, origin))
                return text

            return keep

        for at, message in enumerate(self.messages):
            _message(message, note(f"messages[{at}]"))
        for at, tool in enumerate(self.tools or ()):
            _tool(tool, note(f"tools[{at}]"))
        return iter(found)


class StandIns:
    """Stand-ins for characters of conversations.

    Args:
        free: Characters that occur nowhere.
    """

    def __init__(self, free: Iterator[str]) -> None:
        self._free = free
        self._tables: dict[int, dict[str, str]] = {TYPED: {}, ANSWER: {}}
        self._originals: dict[int, str] = {}
        self._origins: dict[int, int] = {}

    def hide(self, said: Said) -> Said:
        """A conversation with a stand-in for every character.

        Spaces and line ends excepted, since templates trim and split at these.
        """

        def change(text: str, origin: int, quoted: bool) -> str:
            table, own = self._tables[origin], set(text)
            kept = {one for one in own if one.isspace() or (quoted and (one in '"\\' or one < " "))}
            for one in own.difference(kept, table):
                self._add(one, origin)
            return _translated(text, {ord(one): table[one] for one in own - kept})

        return said.changed(change)

    def hide_controls(self, said: Said, controls: Sequence[Control]) -> Said:
        """A conversation with a stand-in for the first character of each control token."""

        def change(text: str, origin: int, _: bool) -> str:
            characters, table = [*text], self._tables[origin]
            for control in controls:
                at = text.find(control.text) if control.special or origin == TYPED else -1
                while at >= 0:
                    if text[at] not in table:
                        self._add(text[at], origin)
                    characters[at] = table[text[at]]
                    at = text.find(control.text, at + 1)
            return "".join(characters)

        return said.changed(change)

    def back(self, text: str) -> str:
        """A text with the characters in place of their stand-ins."""
        return _translated(text, self._originals)

    def origins(self, text: str) -> bytes:
        """Of each character of a text with stand-ins, where it comes from."""
        if len(text) < _LONG:
            table = {ord(one): self._origins.get(ord(one), TEMPLATE) for one in set(text)}
            return text.translate(table).encode("latin-1")
        lookup = np.full(_CODES, TEMPLATE, np.uint8)
        lookup[[*self._origins]] = [*self._origins.values()]
        return lookup[_codes(text)].tobytes()

    def _add(self, character: str, origin: int) -> None:
        self._tables[origin][character] = stand_in = next(self._free)
        self._originals[ord(stand_in)] = character
        self._origins[ord(stand_in)] = origin


def _translated(text: str, table: Mapping[int, str]) -> str:
    """`str.translate`, many times faster for long texts."""
    if len(text) < _LONG:
        return text.translate(table)
    lookup = np.arange(_CODES, dtype="<u4")
    lookup[[*table]] = [ord(one) for one in table.values()]
    return lookup[_codes(text)].tobytes().decode("utf-32-le", "surrogatepass")


def _codes(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def _variable(turn: Message, only_calls: str | None) -> dict[str, Any]:
    fields: dict[str, Any] = {"role": turn.role, "content": turn.content}
    if turn.tool_calls:
        # A turn that only calls has no content; templates that write one of no characters write tags around it.
        fields |= {"content": turn.content or only_calls, "tool_calls": [call.variable for call in turn.tool_calls]}
    return fields | {key: value for key in ("tool_call_id", "name") if (value := getattr(turn, key))}


def _message(message: dict[str, Any], change: Change) -> dict[str, Any]:
    origin = ANSWER if message["role"] == "assistant" else TYPED
    changed = dict(message)
    if message["content"] is not None:
        changed["content"] = change(message["content"], origin, message["role"] == "tool")
    changed |= {key: change(message[key], origin, True) for key in ("tool_call_id", "name") if key in message}
    if "tool_calls" in message:
        changed["tool_calls"] = [
            call | {"id": change(call["id"], origin, True), "function": _deep(call["function"], change, origin)}
            for call in message["tool_calls"]
        ]
    return changed


def _tool(tool: dict[str, Any], change: Change) -> dict[str, Any]:
    def unless_word(text: str, origin: int, quoted: bool) -> str:
        return text if text in _SCHEMA_WORDS else change(text, origin, quoted)

    function = dict(tool["function"])
    parameters = {"parameters": _changed(function.pop("parameters"), unless_word, TYPED)}
    return tool | {"function": _deep(function, change, TYPED) | parameters}


def _deep(fields: dict[str, Any], change: Change, origin: int) -> dict[str, Any]:
    """An object whose own fields keep their names."""
    return {name: _changed(value, change, origin) for name, value in fields.items()}


def _changed(value: Any, change: Change, origin: int) -> Any:
    if isinstance(value, str):
        return change(value, origin, True)
    if isinstance(value, list):
        return [_changed(part, change, origin) for part in value]
    if isinstance(value, dict):
        return {change(name, origin, True): _changed(part, change, origin) for name, part in value.items()}
    return value

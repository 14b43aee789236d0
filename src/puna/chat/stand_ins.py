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

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

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

    def typed(self) -> Iterator[tuple[str, str]]:
        """All texts that others than the model wrote, and where each stands."""
        found: list[tuple[str, str]] = []

        def note(where: str) -> Change:
            def keep(text: str, origin: int, _: bool) -> str:
                if origin == TYPED:
                    found.append((where, text))
                return text

            return keep

        for at, message in enumerate(self.messages):
            _message(message, note(f"messages[{at}]"))
        for at, tool in enumerate(self.tools or ()):
            _tool(tool, note(f"tools[{at}]"))
        return iter(found)

    def characters(self) -> set[str]:
        """All characters that occur in it."""
        found: set[str] = set()

        def note(text: str, *_: object) -> str:
            found.update(text)
            return text

        self.changed(note)
        return found


class StandIns:
    """A conversation in which stand-ins are put for some characters.

    Args:
        free: Characters that occur nowhere.
    """

    def __init__(self, free: Iterator[str]) -> None:
        self._free = free
        self._tables: dict[int, dict[str, str]] = {TYPED: {}, ANSWER: {}}
        self._originals: dict[int, str] = {}
        self._origins: dict[int, int] = {}
        self.said = Said([], None)
        """The conversation with them."""

    @classmethod
    def every(cls, said: Said, free: Iterator[str]) -> "StandIns":
        """A stand-in for every character, spaces and line ends excepted, since templates trim and split at these."""
        stand = cls(free)

        def change(text: str, origin: int, quoted: bool) -> str:
            kept = {one for one in set(text) if one.isspace() or (quoted and (one in '"\\' or one < " "))}
            return text.translate({ord(one): stand._for(one, origin) for one in set(text) - kept})

        stand.said = said.changed(change)
        return stand

    @classmethod
    def controls(cls, said: Said, free: Iterator[str], controls: Sequence[Control]) -> "StandIns":
        """A stand-in for the first character of each control token."""
        stand = cls(free)

        def change(text: str, origin: int, _: bool) -> str:
            characters = [*text]
            for control in controls:
                at = text.find(control.text) if control.special or origin == TYPED else -1
                while at >= 0:
                    characters[at] = stand._for(text[at], origin)
                    at = text.find(control.text, at + 1)
            return "".join(characters)

        stand.said = said.changed(change)
        return stand

    def back(self, text: str) -> str:
        """A text with the characters in place of their stand-ins."""
        return text.translate(self._originals)

    def origins(self, text: str) -> bytes:
        """Of each character of a text with stand-ins, where it comes from."""
        table = {ord(one): self._origins.get(ord(one), TEMPLATE) for one in set(text)}
        return text.translate(table).encode("latin-1")

    def _for(self, character: str, origin: int) -> str:
        table = self._tables[origin]
        if character not in table:
            table[character] = stand_in = next(self._free)
            self._originals[ord(stand_in)] = character
            self._origins[ord(stand_in)] = origin
        return table[character]


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

"""The turns of a conversation, and the file in which one is kept.

```json
{"version": 1, "messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi."}]}
```

The messages are those of OpenAI's chat API, which other programs and training data have, too.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from puna.chat.tools import ToolCall, read_name, read_text, read_tool_call
from puna.core.bounded import parse_json, read_bounded
from puna.core.errors import GenerateError, StorageError
from puna.core.files import write_json

Role: TypeAlias = Literal["system", "developer", "user", "assistant", "tool"]
ROLES: tuple[Role, ...] = get_args(Role)

_FIELDS: dict[str, tuple[str, ...]] = {"assistant": ("tool_calls",), "tool": ("tool_call_id", "name")}
"""What turns of these roles may have besides role and content."""
_VERSION = 1
_LARGEST = 1 << 26
"""Bytes of a saved conversation, at most: more than any model's context takes."""


@dataclass(frozen=True)
class Message:
    """One turn: who speaks, and what is said."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    """What an assistant asks to be called."""
    tool_call_id: str = ""
    """Of a tool's turn: the call that it answers; empty where that is not said."""
    name: str = ""
    """Of a tool's turn: the function that was called."""

    @property
    def saved(self) -> dict[str, Any]:
        """As OpenAI's messages have it; what is empty is left out, the content excepted."""
        fields: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.tool_calls:
            fields["tool_calls"] = [call.saved for call in self.tool_calls]
        return fields | {key: value for key in ("tool_call_id", "name") if (value := getattr(self, key))}


Messages: TypeAlias = "Sequence[Message | Mapping[str, Any]]"
"""Turns as callers give them: records, or objects with `role` and `content`."""


def read_messages(messages: Messages) -> list[Message]:
    """The turns as records, checked. A tool's turn is given the name of the function whose call it answers.

    Args:
        messages: The turns, the first one first.

    Raises:
        GenerateError: There is none, one is not an object with a role and a text, or a text is not Unicode.
    """
    if isinstance(messages, str | bytes | Mapping) or not isinstance(messages, Sequence):
        raise GenerateError(
            "messages is not a list of turns", hint='write [{"role": "user", "content": "…"}] for a single one'
        )
    if not messages:
        raise GenerateError("messages is empty, but a conversation has at least one turn")
    return _named([_read(message, f"messages[{at}]") for at, message in enumerate(messages)])


def save_messages(path: Path, messages: Sequence[Message], *, replace: bool = False) -> None:
    """Write a conversation to a file, which appears whole or not at all.

    Args:
        path: The file.
        messages: The turns.
        replace: Whether a file of this name is replaced.

    Raises:
        StorageError: There is a file of this name and `replace` is false, or it cannot be written.
    """
    if not replace and os.path.lexists(path):
        raise StorageError(f"{path}: exists already")
    write_json(path, {"version": _VERSION, "messages": [message.saved for message in messages]})


def load_messages(path: Path) -> list[Message]:
    """The turns in a file that `save_messages` wrote.

    Raises:
        GenerateError: It cannot be read, is not JSON, or is not a conversation.
    """
    data = parse_json(read_bounded(path, _LARGEST, GenerateError), path, GenerateError)
    if not isinstance(data, dict) or "messages" not in data:
        raise GenerateError(f'{path}: is not a saved conversation, an object with "version" and "messages"')
    if (version := data.get("version")) != _VERSION:
        raise GenerateError(f"{path}: has version {version!r:.40}, and this Puna reads version {_VERSION}")
    if not isinstance(turns := data["messages"], list):
        raise GenerateError(f"{path}: messages is not a list")
    return [_read(turn, f"{path}: messages[{at}]") for at, turn in enumerate(turns)]


def _read(message: Any, where: str) -> Message:
    if isinstance(message, Message):
        message = message.saved
    if not isinstance(message, Mapping):
        raise GenerateError(f"{where}: is {type(message).__name__}, and not an object with role and content")
    role = message.get("role")
    own = _FIELDS.get(role, ()) if isinstance(role, str) else ()
    if unknown := [key for key in message if key not in ("role", "content", *own)]:
        known = ", ".join(("role", *own))
        raise GenerateError(f"{where}: {unknown[0]!r:.80} is not understood; a turn has {known} and content")
    if role not in ROLES:
        raise GenerateError(f"{where}: role is {role!r:.80}, and not one of {', '.join(ROLES)}")
    calls, content = message.get("tool_calls") or (), message.get("content")
    content = "" if calls and content is None else read_text(content, f"{where}: content")
    if not isinstance(calls, Sequence) or isinstance(calls, str | bytes):
        raise GenerateError(f"{where}.tool_calls: is not a list")
    identity, name = read_text(message.get("tool_call_id", ""), f"{where}.tool_call_id"), message.get("name", "")
    return Message(
        role, content, tuple(read_tool_call(call, f"{where}.tool_calls[{at}]") for at, call in enumerate(calls)),
        tool_call_id=identity, name=read_name(name, f"{where}.name") if name else "",
    )  # fmt: skip


def _named(turns: list[Message]) -> list[Message]:
    """The turns, tools' answers with the names of the functions that were called."""
    names = {call.id: call.name for turn in turns for call in turn.tool_calls}
    return [
        replace(turn, name=names[turn.tool_call_id]) if turn.tool_call_id in names and not turn.name else turn
        for turn in turns
    ]

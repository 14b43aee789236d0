"""The turns of a conversation, and the file in which one is kept.

```json
{"version": 1, "messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi."}]}
```

The messages are those of OpenAI's chat API, which other programs and training data have, too.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from puna.core.bounded import parse_json, read_bounded
from puna.core.errors import GenerateError, StorageError
from puna.core.files import write_json

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[Role, ...] = get_args(Role)

_VERSION = 1
_LARGEST = 1 << 26
"""Bytes of a saved conversation, at most: more than any model's context takes."""


@dataclass(frozen=True)
class Message:
    """One turn: who speaks, and what is said."""

    role: Role
    content: str


Messages: TypeAlias = "Sequence[Message | Mapping[str, Any]]"
"""Turns as callers give them: records, or objects with `role` and `content`."""


def read_messages(messages: Messages) -> list[Message]:
    """The turns as records, checked.

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
    return [_read(message, f"messages[{at}]") for at, message in enumerate(messages)]


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
    turns = [{"role": message.role, "content": message.content} for message in messages]
    write_json(path, {"version": _VERSION, "messages": turns})


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
    if isinstance(message, Mapping):
        if unknown := [key for key in message if key not in ("role", "content")]:
            raise GenerateError(f"{where}: {unknown[0]!r:.80} is not understood; a turn has role and content")
        role, content = message.get("role"), message.get("content")
    elif isinstance(message, Message):
        role, content = message.role, message.content
    else:
        raise GenerateError(f"{where}: is {type(message).__name__}, and not an object with role and content")
    if role not in ROLES:
        raise GenerateError(f"{where}: role is {role!r:.80}, and not one of {', '.join(ROLES)}")
    if not isinstance(content, str):
        raise GenerateError(f"{where}: content is {type(content).__name__}, and not text")
    try:
        content.encode()
    except UnicodeEncodeError as error:
        half = ord(content[error.start])
        raise GenerateError(f"{where}: content has a lone surrogate, U+{half:04X}, at {error.start}") from None
    return Message(role, content)

"""One example of instruction tuning: a conversation with answers to learn, or two answers of which one is preferred.

An example is kept as JSON beside its text on its way through a data build (`Document.turns`), and read back when it is
written down in a model's template.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from puna.chat.messages import Message, read_messages
from puna.chat.tools import Tool, read_tools
from puna.core.errors import DataError, GenerateError

_ENCODER = json.JSONEncoder(ensure_ascii=False)


@dataclass(frozen=True, kw_only=True)
class Example:
    """A conversation; or a conversation that two answers continue."""

    messages: tuple[Message, ...]
    """The turns; of a pair those before its answers."""
    chosen: tuple[Message, ...] = ()
    """Of a pair: the turns of the answer that is preferred."""
    rejected: tuple[Message, ...] = ()
    """Of a pair: the turns of the other answer."""
    task: str = ""
    """The task that it is of, for mixing; empty where there are none."""
    tools: tuple[Tool, ...] = ()
    """The functions that the assistant could call."""

    @property
    def is_pair(self) -> bool:
        """Whether it is two answers, of which one is preferred."""
        return bool(self.chosen)

    @property
    def text(self) -> str:
        """What is said in it, for rules and for the comparison with other texts: turns with an empty line between."""
        return "\n\n".join(turn.content for turn in (*self.messages, *self.chosen, *self.rejected) if turn.content)

    def json(self) -> str:
        """The example as `parse` reads it."""
        parts = {"messages": self.messages, "chosen": self.chosen, "rejected": self.rejected}
        fields: dict[str, Any] = {name: [turn.saved for turn in turns] for name, turns in parts.items() if turns}
        fields |= {"task": self.task} if self.task else {}
        fields |= {"tools": [tool.variable for tool in self.tools]} if self.tools else {}
        return _ENCODER.encode(fields)

    @classmethod
    def parse(cls, text: str, where: str) -> Self:
        """The example in a build's file.

        Raises:
            DataError: It is not one; `where` names the line.
        """
        try:
            fields = json.loads(text)
            if not isinstance(fields, Mapping):
                raise DataError(f"{where}: is not an example, a JSON object with messages")
            turns = {name: _turns(fields.get(name, ())) for name in ("messages", "chosen", "rejected")}
            tools = tuple(read_tools(fields.get("tools", ())))
        except (ValueError, GenerateError) as error:
            raise DataError(f"{where}: is not an example: {error}") from None
        return cls(**turns, task=str(fields.get("task", "")), tools=tools)


def _turns(turns: Sequence[Mapping[str, Any]]) -> tuple[Message, ...]:
    return tuple(read_messages(turns)) if turns else ()

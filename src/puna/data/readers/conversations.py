"""The format `conversations`: rows with a conversation, a prompt and its completion, or an instruction and its output.

| a row has | which is the form of |
|---|---|
| `messages`, or `conversations`, or `conversation`: a list of turns | OpenAI and most chat data sets; ShareGPT |
| `prompt` and `completion` (or `response`), each text or turns | TRL |
| `instruction`, perhaps `input` (or `context`), and `output` (or `response`) | Alpaca; Dolly |

Each may have a `system` prompt, the `tools` that its turns call, and the name of its `task`. Columns with other names
are named by `data.sources.NAME.columns`. An input follows its instruction as it does in Stanford Alpaca's prompt.
"""

from collections.abc import Sequence
from typing import Any, Literal

from puna.chat.example import Example
from puna.chat.messages import Message
from puna.data.document import Raw
from puna.data.readers.example_rows import NO_COLUMNS, ExamplesReader, RowError, damage_of, reasons_of
from puna.data.readers.turns import check_answers, read_functions, read_said, read_turns
from puna.data.spec import ReaderSpec
from puna.data.text.decode import turn_text

SYSTEM, TOOLS = ("system", "system_prompt"), ("tools",)
_TURNS = ("messages", "conversations", "conversation")
_COMPLETION, _OUTPUT, _INPUT = ("completion", "response"), ("output", "response"), ("input", "context")
INPUT_HEADING = "\n\n### Input:\n"
"""Between an instruction and its input, as in Stanford Alpaca's prompt; the template `alpaca` knows it by that."""
_SHOWN = 12
"""Columns that an error names."""


class ConversationsReader(ExamplesReader):
    """Reads rows with one conversation each."""

    form = "conversations"

    def example(self, row: dict[str, Any], raw: Raw) -> Example:
        """The conversation in a row."""
        messages = self._messages(row)
        check_answers(messages, "the conversation")
        name, functions = self.value(row, "tools", TOOLS)
        return Example(
            messages=(*system_turn(self, row, messages), *messages), task=self.task_of(row),
            tools=read_functions(functions, name),
        )  # fmt: skip

    def _messages(self, row: dict[str, Any]) -> tuple[Message, ...]:
        name, turns = self.value(row, "messages", _TURNS)
        if name:
            return read_turns(turns, name)
        name, prompt = self.value(row, "prompt", ("prompt",))
        other, completion = self.value(row, "completion", _COMPLETION)
        if name and other:
            return (*as_turns(prompt, name, "user"), *as_turns(completion, other, "assistant"))
        name, instruction = self.value(row, "instruction", ("instruction",))
        other, output = self.value(row, "output", _OUTPUT)
        if name and other:
            asked = read_said(instruction, name)
            name, more = self.value(row, "input", _INPUT)
            if isinstance(more, str) and not more.strip():
                name = ""
            asked += f"{INPUT_HEADING}{read_said(more, name)}" if name else ""
            return (Message("user", asked), *as_turns(output, other, "assistant"))
        raise RowError(NO_COLUMNS, f"it has {', '.join(list(row)[:_SHOWN]) or 'nothing'}")


def as_turns(value: Any, where: str, role: Literal["user", "assistant"]) -> tuple[Message, ...]:
    """The turns of a column that has turns, or the text of a single one.

    Args:
        value: What the column has.
        where: Its name, for errors.
        role: Who says it, if it is text.

    Raises:
        RowError: It is neither.
        GenerateError: A turn is not one.
    """
    if not isinstance(value, str):
        return read_turns(value, where)
    if role == "user":
        return (Message("user", read_said(value, where)),)
    return (Message("assistant", turn_text(value)),)  # that it is empty is another reason


def system_turn(reader: ExamplesReader, row: dict[str, Any], messages: Sequence[Message]) -> tuple[Message, ...]:
    """The turn of a row's column of the system prompt, if it says something and the turns have none of their own.

    Args:
        reader: Knows the names of the columns.
        row: The values of the row.
        messages: The turns that the row has besides.

    Raises:
        RowError: The column has something else than text.
    """
    name, said = reader.value(row, "system", SYSTEM)
    if not name or messages[0].role in ("system", "developer") or (isinstance(said, str) and not said.strip()):
        return ()
    return (Message("system", read_said(said, name)),)


READER = ReaderSpec(
    name="conversations",
    make=ConversationsReader,
    reads="one conversation per row, or a prompt and its completion",
    reasons=reasons_of("conversations"),
    damage=damage_of("conversations"),
)

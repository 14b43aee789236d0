"""Turns of conversations as data sets write them, as those of `puna.chat.messages`.

OpenAI's form is `{"role": …, "content": …}`, ShareGPT's `{"from": …, "value": …}`. A column that Hugging Face's
`datasets` saved as a sequence of structs is an object of lists, which is the same turned on its side. What is null
counts as absent: a column of a Parquet file is there in every row.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from puna.chat.messages import ROLES, Message, read_messages
from puna.chat.tools import Tool, read_tools
from puna.data.readers.example_rows import BAD_VALUE, NO_ANSWER, NOT_SUPPORTED, RowError, json_kind
from puna.data.text.decode import turn_text

_NAMES = {
    "human": "user", "prompter": "user", "instruction": "user",
    "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant", "bing": "assistant", "bard": "assistant",
    "claude": "assistant", "model": "assistant", "ai": "assistant",
    "function": "tool", "function_response": "tool", "observation": "tool", "ipython": "tool",
}  # fmt: skip
"""Speakers by other names than OpenAI's."""
_OWN = dict.fromkeys(ROLES, ()) | {"assistant": ("tool_calls",), "tool": ("tool_call_id", "name")}
"""Keys of a turn besides role and content, by its role; other ones, such as dates, are not of the conversation."""
_COUNTS = ("weight", "train", "training", "learn")
"""Keys by which data sets say whether a turn is learned from; a recipe says that for all of them."""
_NOT_TEXT = (
    "image", "images", "audio", "audios", "video", "videos", "function_call",
    "reasoning", "reasoning_content", "thinking",
)  # fmt: skip
"""Keys of what a conversation of text alone cannot hold; without them a turn would be another one."""
_UNSUPPORTED = frozenset((*_COUNTS, *_NOT_TEXT))
_SHOWN = 60


def read_turns(value: Any, where: str) -> tuple[Message, ...]:
    """The turns of a conversation; a system turn that says nothing is left out.

    Args:
        value: A list of turns, or an object of lists.
        where: The column's name, for errors.

    Raises:
        RowError: It is not such a list, or a turn is not one.
        GenerateError: The same.
    """
    rows = _upright(value, where)
    turns = [_turn(row, f"{where}[{at}]") for at, row in enumerate(rows)]
    said = [turn for turn in turns if turn["role"] not in ("system", "developer") or turn["content"].strip()]
    if not said:
        raise RowError(BAD_VALUE, f"{where} has no turns")
    if all(len(turn) == 2 for turn in said):  # role and content, which are checked here
        return tuple(Message(turn["role"], turn["content"]) for turn in said)
    return tuple(read_messages(said))


def read_said(value: Any, where: str) -> str:
    """What a column of text says.

    Raises:
        RowError: It is not text, or says nothing.
    """
    if not isinstance(value, str):
        raise RowError(BAD_VALUE, f"{where} is {json_kind(value)}, not text")
    if not (text := turn_text(value)).strip():
        raise RowError(BAD_VALUE, f"{where} is empty")
    return text


def read_functions(value: Any, where: str) -> tuple[Tool, ...]:
    """The functions that a row's assistant could call: a list in OpenAI's form, or that as JSON text.

    Raises:
        RowError: It is not a list.
        GenerateError: One of them is not a function.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.strip() else []
        except (ValueError, RecursionError):
            raise RowError(BAD_VALUE, f"{where} is text, but not JSON") from None
    if not value:
        return ()
    if not isinstance(value, list):
        raise RowError(BAD_VALUE, f"{where} is {json_kind(value)}, not a list of functions")
    return tuple(read_tools([_tool(tool) for tool in value]))


def check_answers(turns: Sequence[Message], where: str) -> None:
    """Refuse turns without an answer, or with one that says nothing.

    Raises:
        RowError: There is no turn of the assistant, or one has neither text nor calls.
    """
    answers = [turn for turn in turns if turn.role == "assistant"]
    if not answers:
        raise RowError(NO_ANSWER, f"{where} has no turn of the assistant")
    for turn in answers:
        if not turn.content.strip() and not turn.tool_calls:
            raise RowError(NO_ANSWER, f"{where} has an empty answer")


def _upright(value: Any, where: str) -> list[Any]:
    """The turns as a list; a column of a table may hold them as JSON text."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise RowError(BAD_VALUE, f"{where} is text, but not JSON") from None
    if isinstance(value, Mapping) and value and all(isinstance(column, list) for column in value.values()):
        lengths = {len(column) for column in value.values()}
        if len(lengths) != 1:
            raise RowError(BAD_VALUE, f"{where} has columns of {' and '.join(map(str, sorted(lengths)))} turns")
        return [dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True)]
    if not isinstance(value, list):
        raise RowError(BAD_VALUE, f"{where} is {json_kind(value)}, not a list of turns")
    return value


def _turn(row: Any, where: str) -> dict[str, Any]:
    """A turn as an object of OpenAI's API."""
    if not isinstance(row, dict):
        raise RowError(BAD_VALUE, f"{where} is {json_kind(row)}, not an object with role and content")
    row = {key: value for key, value in row.items() if value is not None}
    _refuse_unsupported(row, where)
    speaker = row.get("role", row.get("from"))
    said = row.get("content", row.get("value"))
    if not isinstance(speaker, str):
        raise RowError(
            BAD_VALUE, f"{where} has {'no role' if speaker is None else f'{json_kind(speaker)} as its role'}"
        )
    name = speaker.strip().lower()
    if name == "function_call":
        return {"role": "assistant", "content": "", "tool_calls": [_call(said, where)]}
    role = _NAMES.get(name, name)
    if role not in ROLES:
        raise RowError(BAD_VALUE, f"{where} has the role {speaker!r:.{_SHOWN}}, which is not known")
    turn = {key: _calls(row[key], where) if key == "tool_calls" else row[key] for key in _OWN[role] if row.get(key)}
    # A system turn is then left out, an answer is a reason, and a function may return nothing.
    may_be_empty = role != "user"
    return turn | {"role": role, "content": _said(said, where, may_be_empty)}


def _said(said: Any, where: str, may_be_empty: bool) -> str:
    """The text of a turn: a text, or a list of parts that are all text."""
    if isinstance(said, list) and said and all(isinstance(part, Mapping) for part in said):
        kinds = {part.get("type") for part in said}
        if kinds != {"text"}:
            raise RowError(NOT_SUPPORTED, f"{where} has a part that is not text")
        texts = [part.get("text") for part in said]
        said = "".join(texts) if all(isinstance(text, str) for text in texts) else said
    if said is None and may_be_empty:
        return ""
    if not isinstance(said, str):
        raise RowError(BAD_VALUE, f"{where} has {json_kind(said)} as its content, not text")
    text = turn_text(said)
    if not may_be_empty and not text.strip():
        raise RowError(BAD_VALUE, f"{where} says nothing")
    return text


def _tool(tool: Any) -> Any:
    """A function as OpenAI's form has it, with its type, though some data sets leave that out."""
    tool = _without_null(tool)
    return tool if not isinstance(tool, dict) or "function" in tool else {"type": "function", "function": tool}


def _calls(calls: Any, where: str) -> Any:
    """Calls of tools without what is null in them."""
    if not isinstance(calls, list):
        raise RowError(BAD_VALUE, f"{where} has {json_kind(calls)} as its tool_calls, not a list")
    return [_without_null(call) for call in calls]


def _without_null(call: Any) -> Any:
    if not isinstance(call, Mapping):
        return call
    there = {key: value for key, value in call.items() if value is not None}
    return there | {"function": _without_null(there["function"])} if "function" in there else there


def _call(said: Any, where: str) -> dict[str, Any]:
    """The call that ShareGPT's turns of `function_call` hold as JSON: a name and arguments."""
    try:
        call = json.loads(said) if isinstance(said, str) else said
    except (ValueError, RecursionError):
        call = None
    if not isinstance(call, Mapping):
        raise RowError(BAD_VALUE, f"{where} is a function_call, but not JSON with name and arguments")
    return {"type": "function", "function": {key: call.get(key) for key in ("name", "arguments")}}


def _refuse_unsupported(row: Mapping[str, Any], where: str) -> None:
    for key in row.keys() & _UNSUPPORTED:
        if key in _COUNTS and row[key] not in (1, True):
            raise RowError(NOT_SUPPORTED, f"{where} has {key} = {row[key]!r:.{_SHOWN}}")
        if key not in _COUNTS and row[key]:
            raise RowError(NOT_SUPPORTED, f"{where} has {key!r}")

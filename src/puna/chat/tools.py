"""Functions that a model may ask its caller to call, and the calls that it writes.

A tool is described as OpenAI's chat API describes a function: a name, words for the model, and a JSON schema of its
arguments. Chat templates take the same objects (https://huggingface.co/docs/transformers/chat_extras).
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from puna.core.bounded import parse_json
from puna.core.errors import GenerateError

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Of a function, as OpenAI's API reference has it (`FunctionDefinition.name`)."""

NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}
"""The JSON schema of a function that takes nothing."""


@dataclass(frozen=True)
class Tool:
    """A function that may be called."""

    name: str
    description: str | None
    """What it does, in words for the model; None for none."""
    parameters: Mapping[str, Any]
    """A JSON schema of an object: what it is called with."""

    @property
    def variable(self) -> dict[str, Any]:
        """As chat templates take it."""
        described = {} if self.description is None else {"description": self.description}
        return {"type": "function", "function": {"name": self.name, **described, "parameters": dict(self.parameters)}}


@dataclass(frozen=True)
class ToolCall:
    """A call that a model has written."""

    id: str
    """By which the message with the result names it."""
    name: str
    arguments: str
    """A JSON object, as text."""

    @property
    def variable(self) -> dict[str, Any]:
        """As chat templates take it: the arguments are an object."""
        function = {"name": self.name, "arguments": arguments_of(self.arguments, self.name)}
        return {"id": self.id, "type": "function", "function": function}

    @property
    def saved(self) -> dict[str, Any]:
        """As OpenAI's messages have it: the arguments are text."""
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}}


Tools: TypeAlias = "Sequence[Tool | Mapping[str, Any]]"
"""Functions as callers give them: records, or objects of OpenAI's chat API."""


def read_tools(tools: Tools) -> list[Tool]:
    """The functions as records, checked.

    Args:
        tools: `{"type": "function", "function": {"name": …, "description": …, "parameters": …}}` each.

    Raises:
        GenerateError: One is not a function with a name, two have the same, or a text is not Unicode.
    """
    if isinstance(tools, str | bytes | Mapping) or not isinstance(tools, Sequence):
        raise GenerateError("tools is not a list of functions")
    found = [_read_tool(tool, f"tools[{at}]") for at, tool in enumerate(tools)]
    names = [tool.name for tool in found]
    if twice := next((name for at, name in enumerate(names) if name in names[:at]), None):
        raise GenerateError(f"tools: two functions are named {twice}")
    return found


def read_tool_call(call: Any, where: str) -> ToolCall:
    """A call as a record, checked.

    Args:
        call: A record, or an object of OpenAI's chat API; its arguments may be an object, too.
        where: What to call it in errors.

    Raises:
        GenerateError: It is not a call, or its arguments are not a JSON object.
    """
    if isinstance(call, ToolCall):
        call = call.saved
    if not isinstance(call, Mapping) or call.get("type", "function") != "function":
        raise GenerateError(f'{where}: is not an object with id, type "function" and function')
    _refuse_others(call, ("id", "type", "function"), where)
    function, identity = call.get("function"), call.get("id", "")
    if not isinstance(function, Mapping):
        raise GenerateError(f"{where}.function: is not an object with name and arguments")
    _refuse_others(function, ("name", "arguments"), f"{where}.function")
    arguments = function.get("arguments")
    if isinstance(arguments, Mapping):
        arguments = json.dumps(arguments, ensure_ascii=False)
    identity, arguments = read_text(identity, f"{where}.id"), read_text(arguments, f"{where}.function.arguments")
    arguments_of(arguments, f"{where}.function.arguments")
    return ToolCall(identity, read_name(function.get("name"), f"{where}.function.name"), arguments)


def read_name(name: Any, where: str) -> str:
    """A function's name.

    Raises:
        GenerateError: It has other characters than letters, digits, `_` and `-`, or more than 64.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise GenerateError(f"{where} is {name!r:.80}, and not 1 to 64 letters, digits, underscores and dashes")
    return name


def arguments_of(text: str, where: str) -> dict[str, Any]:
    """The arguments of a call.

    Args:
        text: A JSON object.
        where: What to call it in errors.

    Raises:
        GenerateError: It is not a JSON object.
    """
    value = parse_json(text.encode(), where, GenerateError)
    if not isinstance(value, dict):
        raise GenerateError(f"{where}: is not a JSON object, such as {{}}")
    _check_finite(value, where)
    return value


def read_text(text: Any, where: str) -> str:
    """A text of whole characters.

    Raises:
        GenerateError: It is not text, or has half of a surrogate pair.
    """
    if not isinstance(text, str):
        raise GenerateError(f"{where} is {type(text).__name__}, and not text")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = ord(text[error.start])
        raise GenerateError(f"{where} has a lone surrogate, U+{half:04X}, at {error.start}") from None
    return text


def _read_tool(tool: Any, where: str) -> Tool:
    if isinstance(tool, Tool):
        return tool
    function = tool.get("function") if isinstance(tool, Mapping) else None
    if not isinstance(tool, Mapping) or tool.get("type") != "function" or not isinstance(function, Mapping):
        raise GenerateError(f'{where}: is not an object with type "function" and function')
    _refuse_others(tool, ("type", "function"), where)
    where = f"{where}.function"
    _refuse_others(function, ("name", "description", "parameters"), where)
    name, description = read_name(function.get("name"), f"{where}.name"), function.get("description")
    if description is not None:
        read_text(description, f"{where}.description")
    parameters = function.get("parameters")
    if parameters is None:
        parameters = NO_PARAMETERS
    if not isinstance(parameters, Mapping):
        raise GenerateError(f"{where}.parameters: is not an object, a JSON schema")
    try:
        text = json.dumps(parameters, ensure_ascii=False)
        parameters = arguments_of(text, f"{where}.parameters")
    except (TypeError, ValueError, RecursionError) as error:  # not JSON; UnicodeEncodeError is a ValueError
        raise GenerateError(f"{where}.parameters: is not JSON: {type(error).__name__}") from None
    return Tool(name, description, parameters)


def _refuse_others(found: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    if unknown := [key for key in found if key not in known]:
        raise GenerateError(f"{where}: {unknown[0]!r:.80} is not understood; it has {', '.join(known)}")


def _check_finite(value: Any, where: str) -> None:
    """Python's JSON has NaN and infinities, and JSON has neither."""
    if isinstance(value, float) and not math.isfinite(value):
        raise GenerateError(f"{where}: has a number that JSON does not have, {value}")
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_finite(part, where)

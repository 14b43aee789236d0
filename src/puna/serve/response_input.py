"""From what `/v1/responses` is asked to a conversation, its functions, and what the answer repeats of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from puna.chat.messages import Message
from puna.chat.tools import NO_PARAMETERS, Tool, ToolCall, arguments_of
from puna.core.errors import GenerateError
from puna.serve.errors import ApiError
from puna.serve.schema.response_items import Called, Content, Item, Returned, Said, TextPart
from puna.serve.schema.responses import ChosenFunction, ResponseRequest


def messages_of(body: ResponseRequest) -> list[Message]:
    """The conversation, one message for each turn: calls belong to the turn of the text before them.

    Raises:
        ApiError: A function gave back what nobody called, or a call's arguments are not a JSON object.
    """
    turns = [] if body.instructions is None else [Message("system", body.instructions)]
    if isinstance(body.input, str):
        return [*turns, Message("user", body.input)]
    return turns + _turns(body.input)


@dataclass(frozen=True)
class Functions:
    """What may be called."""

    told: list[Tool]
    """All that the model is told of: none where it must not call any."""
    allowed: list[str] | None
    """The names of those that it may call; None is all."""
    required: bool
    """Whether it must call one."""
    strict: list[str]
    """The names of those whose arguments have to fit their schemas."""


def functions_of(body: ResponseRequest) -> Functions:
    """The functions of a request, by its `tools` and its `tool_choice`.

    Raises:
        ApiError: Two functions have one name, or one is chosen that is not among them.
    """
    tools = [Tool(one.name, one.description, one.parameters or NO_PARAMETERS) for one in body.tools or ()]
    names = [tool.name for tool in tools]
    if twice := next((name for at, name in enumerate(names) if name in names[:at]), None):
        raise ApiError(400, f"tools has two functions of the name {twice}", param="tools")
    strict = [one.name for one in body.tools or () if one.strict]
    choice = body.tool_choice or "auto"
    if isinstance(choice, str):
        if choice == "required" and not tools:
            raise ApiError(400, "tool_choice is required, but tools has no functions", param="tool_choice")
        return Functions([] if choice == "none" else tools, None, choice == "required", strict)
    if isinstance(choice, ChosenFunction):
        return Functions(tools, [_chosen(choice, names, "tool_choice.name")], True, strict)
    allowed = [_chosen(one, names, f"tool_choice.tools[{at}].name") for at, one in enumerate(choice.tools)]
    return Functions(tools, allowed, choice.mode == "required", strict)


def settings_of(body: ResponseRequest, model: str) -> dict[str, Any]:
    """What the answer repeats of the request, with the defaults that held where nothing was said.

    Args:
        body: The request.
        model: The name of the model that answers.
    """
    tools = [
        {"type": "function"} | tool.model_dump(include={"name", "description", "parameters", "strict"})
        for tool in body.tools or ()
    ]
    choice = body.tool_choice or "auto"
    form = body.text.format if body.text else None
    return {
        "model": model,
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "max_tool_calls": body.max_tool_calls,
        "temperature": _or(body.temperature, 1.0),
        "top_p": _or(body.top_p, 1.0),
        "presence_penalty": body.presence_penalty or 0.0,
        "frequency_penalty": body.frequency_penalty or 0.0,
        "top_logprobs": body.top_logprobs or 0,
        "text": {"format": {"type": "text"} if form is None else form.model_dump(by_alias=True)},
        "tools": tools,
        "tool_choice": choice if isinstance(choice, str) else choice.model_dump(),
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "reasoning": {"effort": None, "summary": None},
        "metadata": body.metadata or {},
        "user": body.user,
        "safety_identifier": body.safety_identifier,
        "prompt_cache_key": body.prompt_cache_key,
        "previous_response_id": None,
        "truncation": "disabled",
        "service_tier": "default",
        "store": False,
        "background": False,
    }


def _turns(items: Sequence[Item]) -> list[Message]:
    turns: list[Message] = []
    calls: dict[str, str] = {}
    goes_on = False
    """Whether a call belongs to the last turn."""
    for at, item in enumerate(items):
        match item:
            case Said():
                turns.append(Message(item.role, _text(item.content)))
            case Called():
                call = _call(item, f"input[{at}]")
                calls[call.id] = call.name
                before = turns.pop() if goes_on else Message("assistant", "")
                turns.append(Message("assistant", before.content, (*before.tool_calls, call)))
            case Returned():
                if item.call_id not in calls:
                    raise ApiError(
                        400, f"input[{at}].call_id is that of no function_call before it; send the calls, too",
                        param=f"input[{at}].call_id",
                    )  # fmt: skip
                name = item.name or calls[item.call_id]
                turns.append(Message("tool", _text(item.output), tool_call_id=item.call_id, name=name))
        goes_on = isinstance(item, Called) or (isinstance(item, Said) and item.role == "assistant")
    return turns


def _text(content: Content) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.text if isinstance(part, TextPart) else part.refusal for part in content)


def _call(item: Called, where: str) -> ToolCall:
    try:
        arguments_of(item.arguments, f"{where}.arguments")
    except GenerateError as error:
        raise ApiError(400, error.message, param=f"{where}.arguments") from None
    return ToolCall(item.call_id, item.name, item.arguments)


def _chosen(choice: ChosenFunction, names: Sequence[str], param: str) -> str:
    if choice.name not in names:
        raise ApiError(400, f"{param} is {choice.name!r}, but tools has no function of this name", param=param)
    return choice.name


def _or(value: float | None, default: float) -> float:
    return default if value is None else value

"""Conversations as prompts, and what ends the answers to them.

Chat completions and responses go this way. The template is rendered beside the event loop, in a process that bounds it
(`puna.chat.renderer`).
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from puna.chat.messages import Message
from puna.chat.tools import Tool
from puna.core.errors import GenerateError
from puna.infer.requests import Token
from puna.serve.answers import of_generate
from puna.serve.errors import ApiError
from puna.serve.prompts import refuse_long
from puna.serve.served_model import ServedModel
from puna.serve.token_names import names_of
from puna.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    from puna.chat.template import ChatTemplate


@dataclass(frozen=True)
class Dialogue:
    """A conversation that a model is to go on with."""

    prompt: tuple[int, ...]
    """Token ids, the beginning of the answer included."""
    stop_ids: frozenset[int]
    """Tokens that end the answer."""
    stops: tuple[str, ...]
    """Texts that end the answer, where the template marks the ends of turns with texts."""


async def dialogue(
    model: ServedModel, messages: Sequence[Message], tools: Sequence[Tool], *, param: str = "messages"
) -> Dialogue:
    """A conversation in the model's own form.

    Args:
        model: Whose chat template writes it.
        messages: The turns.
        tools: Functions that the model may call.
        param: The field with the turns, for errors.

    Raises:
        ApiError: The model has no chat template, the template refuses these turns, or they are too long (400).
    """
    template = template_of(model)
    refuse_long_dialogue(model, messages, tools, param=param)
    try:
        return await asyncio.to_thread(_dialogue, template, messages, tools)
    except GenerateError as error:
        raise ApiError(400, of_generate(error).message, param=param) from None


def refuse_long_dialogue(
    model: ServedModel, messages: Sequence[Message], tools: Sequence[Tool], *, param: str = "messages"
) -> None:
    """Refuse a conversation that can only be too long, before a template and a tokenizer work on it for seconds.

    Args:
        model: Whose context it has to fit into.
        messages: The turns; what they call is written, too.
        tools: Functions, which are described.
        param: The field with the turns, for errors.

    Raises:
        ApiError: It has more tokens than the context even if each were the longest one.
    """
    calls = (call.arguments for message in messages for call in message.tool_calls)
    refuse_long("".join([*(message.content for message in messages), *calls]), model, param)
    described = [
        (tool.description or "") + json.dumps(dict(tool.parameters), separators=(",", ":"), ensure_ascii=False)
        for tool in tools
    ]
    refuse_long("".join(described), model, "tools")


def _dialogue(template: "ChatTemplate", messages: Sequence[Message], tools: Sequence[Tool]) -> Dialogue:
    ids = template.ids(messages, tools=tools)
    form = template.tool_form if tools else None
    ends = template.turn_end.tokens.union(template.tokenizer.stops, form.ends if form else ())
    return Dialogue(tuple(ids), ends, template.turn_end.texts)


def template_of(model: ServedModel) -> "ChatTemplate":
    """The model's chat template.

    Raises:
        ApiError: It has none (400).
    """
    if model.template is None:
        raise ApiError(
            400, f"the model {model.name} has no chat template, since it was not tuned to conversations; "
            "/v1/completions continues texts", param="model",
        )  # fmt: skip
    return model.template


def room(model: ServedModel, prompt: Sequence[int]) -> int:
    """Tokens that an answer may have where nobody bounds it: what the model's context leaves, and at least one."""
    return max(1, model.longest - len(prompt))


def logprob_of(token: Token, tokenizer: Tokenizer) -> dict[str, Any]:
    """A token's log-probability and those of the likeliest, as OpenAI's chats and responses tell them.

    Tokens that are not whole characters are named by their bytes (`puna.serve.token_names`).

    Args:
        token: One whose log-probability was asked for.
        tokenizer: The model's.
    """
    best = [_entry(one, logprob, tokenizer) for one, logprob in token.best]
    return _entry(token.id, token.logprob or 0.0, tokenizer) | {"top_logprobs": best}


def _entry(token: int, logprob: float, tokenizer: Tokenizer) -> dict[str, Any]:
    known = token < tokenizer.vocab_size and not tokenizer.is_control(token)
    content = [*tokenizer.bytes_of(token)] if known else None
    return {"token": names_of(tokenizer)[token], "bytes": content, "logprob": logprob}

"""The `context` of EasyLM's `/chat`: a text that clients give back as they got it.

EasyLM puts the conversation into it as the model reads it. With a chat template that could not be told from what was
typed, so it is the turns, as a saved conversation has them.
"""

import json
from collections.abc import Sequence

from puna.chat.messages import Message, read_messages
from puna.core.errors import GenerateError
from puna.serve.body import parsed_json
from puna.serve.errors import ApiError


def messages_of(context: str) -> list[Message]:
    """The turns in a context; none in an empty one.

    Raises:
        ApiError: It is not what an answer told.
    """
    if not context:
        return []
    try:
        turns = parsed_json(context.encode())
        return read_messages(turns)
    except (ApiError, GenerateError):
        raise ApiError(
            400, "context is not what an answer of this server told; leave it out to begin again", param="context"
        ) from None


def context_of(messages: Sequence[Message]) -> str:
    """The context of these turns."""
    return json.dumps([{"role": turn.role, "content": turn.content} for turn in messages], ensure_ascii=False)

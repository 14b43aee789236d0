"""The turns of `/v1/chat/completions`.

Source: OpenAI's API reference, "Create chat completion" (openai-python 3.57, `types/chat/*_message_param.py`).
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from puna.chat.messages import Message
from puna.chat.tools import NAME, ToolCall, arguments_of
from puna.core.errors import GenerateError
from puna.serve.body import Body, wrong

_MOST_PARTS = 1024
"""Parts of one turn; chosen here, far above what clients send."""
_TEXT_ONLY = "models here read text only"
_NO_NAMES = "chat templates do not write who speaks; put the name into the content"

FunctionName = Annotated[str, Field(pattern=f"^{NAME.pattern}$")]


class TextPart(Body):
    """A part of a turn's text."""

    refused: ClassVar[Mapping[str, str]] = {
        "image_url": _TEXT_ONLY, "input_audio": _TEXT_ONLY, "file": _TEXT_ONLY,
        "prompt_cache_breakpoint": "every prefix is kept that was read; leave it out",
    }  # fmt: skip

    type: Literal["text"]
    text: str


class RefusalPart(Body):
    """A part of an answer in which a model of OpenAI's has refused to answer."""

    type: Literal["refusal"]
    refusal: str


Content = str | Annotated[list[TextPart], Field(fail_fast=True, min_length=1, max_length=_MOST_PARTS)]


class SystemMessage(Body):
    """What the answers are to be like. A developer is the system, unless the model's template knows developers."""

    refused: ClassVar[Mapping[str, str]] = {"name": _NO_NAMES}

    role: Literal["system", "developer"]
    content: Content

    def turn(self) -> Message:
        """The turn as chat templates take it."""
        return Message(self.role, text_of(self.content))


class UserMessage(Body):
    """The turn of a user."""

    refused: ClassVar[Mapping[str, str]] = {"name": _NO_NAMES}

    role: Literal["user"]
    content: Content

    def turn(self) -> Message:
        """The turn as chat templates take it."""
        return Message("user", text_of(self.content))


class CalledFunction(Body):
    """The function that was called."""

    name: FunctionName
    arguments: str = Field(description="A JSON object, as text.")

    @field_validator("arguments")
    @classmethod
    def _is_object(cls, value: str) -> str:
        try:
            arguments_of(value or "{}", "it")
        except GenerateError as error:
            raise wrong(f"is not a JSON object, as text: {error.message.removeprefix('it: ')}") from None
        return value or "{}"


class Call(Body):
    """A call that the model has made."""

    refused: ClassVar[Mapping[str, str]] = {"custom": "the tools of this server are functions"}

    id: Annotated[str, Field(min_length=1, max_length=256)]
    type: Literal["function"]
    function: CalledFunction


class AssistantMessage(Body):
    """What the model has answered, as the answer had it."""

    refused: ClassVar[Mapping[str, str]] = {
        "name": _NO_NAMES, "audio": "models here write text only", "function_call": "write tool_calls",
        "refusal": "write it as content",
    }  # fmt: skip

    role: Literal["assistant"]
    content: (
        str
        | Annotated[list[TextPart | RefusalPart], Field(fail_fast=True, min_length=1, max_length=_MOST_PARTS)]
        | None
    ) = None
    tool_calls: Annotated[list[Call], Field(fail_fast=True, min_length=1, max_length=_MOST_PARTS)] | None = None
    annotations: Annotated[list[Any], Field(max_length=0)] | None = Field(
        None, description="As OpenAI's answers have it; only empty."
    )

    def turn(self) -> Message:
        """The turn as chat templates take it."""
        calls = tuple(ToolCall(one.id, one.function.name, one.function.arguments) for one in self.tool_calls or ())
        return Message("assistant", text_of(self.content), tool_calls=calls)


class ToolMessage(Body):
    """What a function that the model has called gave back."""

    role: Literal["tool"]
    content: Content
    tool_call_id: str = Field(description="The id of the call, which stands in a turn before.")

    def turn(self) -> Message:
        """The turn as chat templates take it."""
        return Message("tool", text_of(self.content), tool_call_id=self.tool_call_id)


Turn = Annotated[SystemMessage | UserMessage | AssistantMessage | ToolMessage, Field(discriminator="role")]


def text_of(content: "str | list[TextPart] | list[TextPart | RefusalPart] | None") -> str:
    """The text of a turn; parts follow one another without anything between them."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part.text if isinstance(part, TextPart) else part.refusal for part in content)


def refuse_disorder(turns: "list[Turn]") -> None:
    """Refuse results of calls that nobody made, and answers that say nothing.

    Raises:
        PydanticCustomError: The sentence names the turn.
    """
    called: set[str] = set()
    for at, turn in enumerate(turns):
        if isinstance(turn, AssistantMessage):
            if turn.content is None and turn.tool_calls is None:
                raise wrong("is missing, and so is tool_calls", field=f"messages[{at}].content")
            called.update(call.id for call in turn.tool_calls or ())
        elif isinstance(turn, ToolMessage) and turn.tool_call_id not in called:
            raise wrong("is not the id of a call in the turns before", field=f"messages[{at}].tool_call_id")

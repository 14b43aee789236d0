"""The items of a conversation that `/v1/responses` takes: messages, calls of functions, and what these gave back.

Items of an earlier answer can be sent as they came. What says nothing to a model (`id`, `status` and so on) is taken
and not looked at.

Source: OpenAI's API reference (openai-python 3.57, `types/responses/response_input_item_param.py`).
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, StringConstraints, Tag

from puna.serve.body import Body, wrong

MOST_ITEMS = 4096
"""Items of an input, and parts of one: more than the turns of any context."""
NAME = StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")
"""Of a function or a format, as OpenAI's reference has it."""

_NAMESPACE, _CALLER = "functions have no namespaces here", "only the client calls functions"
Status = Literal["in_progress", "completed", "incomplete"]
Identity = Annotated[str, Field(min_length=1, max_length=256)]


class TextPart(Body):
    """Text of whoever writes: `input_text`, or what a model wrote before."""

    refused: ClassVar[dict[str, str]] = {"prompt_cache_breakpoint": "every beginning of a text is found in the cache"}

    type: Literal["input_text", "output_text", "text"]
    text: str
    annotations: list[Any] | None = Field(None, description="Of an earlier answer; not looked at.")
    logprobs: list[Any] | None = Field(None, description="Of an earlier answer; not looked at.")


class RefusalPart(Body):
    """What a model wrote instead of an answer."""

    type: Literal["refusal"]
    refusal: str


def _kind(value: Any) -> str | None:
    """The kind of an item or a part, which a message need not tell."""
    if not isinstance(value, dict):
        return None
    kind = value.get("type")
    return "message" if kind is None and "role" in value else kind if isinstance(kind, str) else None


def _one_of(kinds: tuple[str, ...], problem: str) -> BeforeValidator:
    """Refuse what is of another kind, in these words."""

    def check(value: Any) -> Any:
        if _kind(value) not in kinds:
            raise wrong(problem)
        return value

    return BeforeValidator(check)


Part = Annotated[
    Annotated[TextPart, Tag("input_text")]
    | Annotated[TextPart, Tag("output_text")]
    | Annotated[TextPart, Tag("text")]
    | Annotated[RefusalPart, Tag("refusal")],
    Discriminator(_kind),
    _one_of(
        ("input_text", "output_text", "text", "refusal"),
        'must be text, {"type": "input_text", "text": "…"}: these models read and write text alone',
    ),
]
Content = str | Annotated[list[Part], Field(fail_fast=True, max_length=MOST_ITEMS)]


class Said(Body):
    """A message of the conversation."""

    type: Literal["message"] | None = None
    role: Literal["user", "assistant", "system", "developer"]
    content: Content
    id: str | None = Field(None, description="Of an earlier answer; not looked at.")
    status: Status | None = Field(None, description="Of an earlier answer; not looked at.")
    phase: Literal["commentary", "final_answer"] | None = Field(None, description="Not looked at.")


class Called(Body):
    """A call that the model wrote before."""

    refused: ClassVar[dict[str, str]] = {"namespace": _NAMESPACE, "caller": _CALLER, "async": "calls are awaited"}

    type: Literal["function_call"]
    call_id: Identity
    name: Annotated[str, NAME]
    arguments: str
    id: str | None = Field(None, description="Not looked at.")
    status: Status | None = Field(None, description="Not looked at.")


class Returned(Body):
    """What a called function gave back."""

    refused: ClassVar[dict[str, str]] = {"namespace": _NAMESPACE, "caller": _CALLER}

    type: Literal["function_call_output"]
    call_id: Identity
    output: Content
    name: Annotated[str, NAME] | None = Field(None, description="The function's; otherwise its call says it.")
    id: str | None = Field(None, description="Not looked at.")
    status: Status | None = Field(None, description="Not looked at.")


Item = Annotated[
    Annotated[Said, Tag("message")]
    | Annotated[Called, Tag("function_call")]
    | Annotated[Returned, Tag("function_call_output")],
    Discriminator(_kind),
    _one_of(
        ("message", "function_call", "function_call_output"),
        "must be a message, a function_call or a function_call_output: the server has no others",
    ),
]

"""What `/v1/chat/completions` takes and answers.

Source: OpenAI's API reference, "Create chat completion" (openai-python 3.57, `types/chat/completion_create_params.py`).
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from puna.chat.messages import Message
from puna.chat.tools import NO_PARAMETERS, Tool
from puna.serve.body import Body, refusal, wrong
from puna.serve.schema.chat_messages import FunctionName, Turn, refuse_disorder
from puna.serve.schema.completions import TokenUsage
from puna.serve.schema.fields import SamplingFields, StreamOptions
from puna.serve.schema.structured import ResponseFormat, StructuredOutputs, TextFormat

MOST_LOGPROBS = 20
MOST_TURNS = 4096
"""Turns of a conversation; chosen here, far above what fits into a context."""
MOST_TOOLS = 128
"""OpenAI's limit: "A max of 128 functions are supported" (API reference)."""
_LARGEST = 2**31 - 1

_Tokens = Annotated[int, Field(ge=1, le=_LARGEST)]


class FunctionDefinition(Body):
    """A function that the model may ask for."""

    name: FunctionName
    description: str | None = Field(None, description="What it does, for the model.")
    parameters: dict[str, Any] | None = Field(None, description="A JSON schema of its arguments (no arguments).")
    strict: bool | None = Field(
        None, description="Whether arguments must fit the schema, also where the model is free to call (false)."
    )


class FunctionTool(Body):
    """A tool: a function."""

    refused: ClassVar[Mapping[str, str]] = {"custom": "the tools of this server are functions"}

    type: Literal["function"]
    function: FunctionDefinition


def functions_of(tools: Sequence[FunctionTool] | None) -> list[Tool]:
    """Functions as chat templates take them."""
    return [
        Tool(one.function.name, one.function.description, one.function.parameters or NO_PARAMETERS)
        for one in tools or ()
    ]


class ChosenFunction(Body):
    """The name of a function."""

    name: FunctionName


class NamedChoice(Body):
    """The function that the model has to call."""

    refused: ClassVar[Mapping[str, str]] = {
        "custom": "the tools of this server are functions",
        "allowed_tools": "send the tools that may be called in tools, and no others",
    }

    type: Literal["function"]
    function: ChosenFunction


class ChatRequest(SamplingFields):
    """A conversation to answer."""

    refused: ClassVar[Mapping[str, str]] = {
        "audio": "models here write text only",
        "function_call": "it was replaced by tool_choice",
        "functions": "it was replaced by tools",
        "moderation": "nothing here judges texts",
        "prediction": "the engine drafts by itself",
        "prompt_cache_options": "every prefix is kept that was read, as long as there is room",
        "prompt_cache_retention": "every prefix is kept that was read, as long as there is room",
        "reasoning_effort": "models here do not reason apart from their answers",
        "verbosity": "say in a message how long answers are to be",
        "web_search_options": "the server asks nobody",
    }

    model: str | None = Field(None, description="A name that /v1/models lists (the first of them).")
    messages: Annotated[list[Turn], Field(fail_fast=True, min_length=1, max_length=MOST_TURNS)] = Field(
        description="The turns."
    )
    max_completion_tokens: _Tokens | None = Field(
        None, description="Tokens to write at most (what the model's context leaves)."
    )
    max_tokens: _Tokens | None = Field(
        None, description="The older name of `max_completion_tokens`.", json_schema_extra={"deprecated": True}
    )
    logprobs: bool | None = Field(None, description="Whether the log-probability of each token is told (false).")
    top_logprobs: Annotated[int, Field(ge=0, le=MOST_LOGPROBS)] | None = Field(
        None, description="How many of the likeliest tokens are told at each place (0); only with `logprobs`."
    )
    tools: Annotated[list[FunctionTool], Field(fail_fast=True, max_length=MOST_TOOLS)] | None = Field(
        None, description="Functions that the model may call (none)."
    )
    tool_choice: Literal["none", "auto", "required"] | NamedChoice | None = Field(
        None, description="Whether the model may call functions, must, or must call this one (auto)."
    )
    parallel_tool_calls: bool | None = Field(None, description="Whether an answer may have several calls (true).")
    response_format: ResponseFormat | None = Field(None, description="The form of the answer (any text).")
    structured_outputs: StructuredOutputs | None = Field(None, description="The same in vLLM's words (any text).")
    stream: bool | None = Field(None, description="Whether the answer comes in pieces, as server-sent events (false).")
    stream_options: StreamOptions | None = Field(None, description="Only with `stream`.")
    modalities: Annotated[list[Literal["text"]], Field(fail_fast=True)] | None = Field(None, description="Only text.")
    service_tier: Literal["auto", "default"] | None = Field(None, description="All requests are served alike.")
    store: bool | None = Field(None, description="Only false: the server keeps no conversations.")
    metadata: Annotated[dict[str, str], Field(fail_fast=True, max_length=16)] | None = Field(
        None, description="Not looked at: it belongs to conversations that are kept."
    )
    user: str | None = Field(None, description="Not looked at: it changes no text.")
    safety_identifier: str | None = Field(None, description="Not looked at: it changes no text.")
    prompt_cache_key: str | None = Field(None, description="Not looked at: prefixes are found by their tokens.")

    @field_validator("store")
    @classmethod
    def _keeps_nothing(cls, value: bool | None) -> bool | None:
        if value:
            raise refusal("the server keeps no conversations; leave it out or false")
        return value

    @model_validator(mode="after")
    def _fits(self) -> "ChatRequest":
        refuse_disorder(self.messages)
        if self.max_tokens is not None and self.max_completion_tokens not in (None, self.max_tokens):
            raise wrong("is not the same as max_completion_tokens; leave it out", field="max_tokens")
        if self.top_logprobs is not None and not self.logprobs:
            raise wrong("must be left out where logprobs is not true", field="top_logprobs")
        if self.stream_options is not None and not self.stream:
            raise wrong("must be left out where stream is not true", field="stream_options")
        if not self.tools and (self.tool_choice not in (None, "none", "auto") or self.parallel_tool_calls is not None):
            field = "parallel_tool_calls" if self.tool_choice in (None, "none", "auto") else "tool_choice"
            raise wrong("must be left out where there are no tools", field=field)
        self._check_tools()
        guides = [name for name in ("response_format", "structured_outputs") if self._guides(name)]
        if guides and self.tools and self.tool_choice != "none":
            raise refusal('an answer in this form calls nothing; set tool_choice to "none"', field=guides[0])
        if len(guides) == 2:
            raise wrong("must be left out where response_format is given", field=guides[1])
        return self

    def _guides(self, name: str) -> bool:
        """Whether a field bounds the answer's text."""
        value = getattr(self, name)
        return value is not None and not isinstance(value, TextFormat)

    def _check_tools(self) -> None:
        names = [tool.function.name for tool in self.tools or ()]
        for at, name in enumerate(names):
            if name in names[:at]:
                raise wrong("is the name of two functions", field=f"tools[{at}].function.name")
        if isinstance(self.tool_choice, NamedChoice) and self.tool_choice.function.name not in names:
            raise wrong("is not the name of one of the tools", field="tool_choice.function.name")

    @property
    def must_call(self) -> bool:
        """Whether the answer has to be a call."""
        return self.tool_choice == "required" or isinstance(self.tool_choice, NamedChoice)

    @property
    def most_tokens(self) -> int | None:
        """Tokens to write at most; None is what the context leaves."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    @property
    def top(self) -> int | None:
        """The engine's `logprobs`: None is none, otherwise how many of the likeliest are told."""
        return (self.top_logprobs or 0) if self.logprobs else None

    def turns(self) -> list[Message]:
        """The turns as chat templates take them."""
        return [turn.turn() for turn in self.messages]

    def functions(self) -> list[Tool]:
        """The functions that the model is told of: none where it must not call any."""
        if self.tool_choice == "none":
            return []
        return functions_of(self.tools)

    def strict(self) -> list[str]:
        """The names of the functions whose arguments have to fit their schemas."""
        return [one.function.name for one in self.tools or () if one.function.strict]

    def allowed(self) -> list[str] | None:
        """The names of the functions that it may call; None is all."""
        return [self.tool_choice.function.name] if isinstance(self.tool_choice, NamedChoice) else None


class TokenLogprob(BaseModel):
    """The log-probability of a token."""

    token: str
    bytes: list[int] | None
    logprob: float


class PlacedLogprob(TokenLogprob):
    """Of a token of the answer, those of a call included."""

    top_logprobs: list[TokenLogprob]


class ChatLogprobs(BaseModel):
    """Of each token of the answer."""

    content: list[PlacedLogprob]
    refusal: None = None


class AnsweredFunction(BaseModel):
    """What is to be called."""

    name: str
    arguments: str


class AnsweredCall(BaseModel):
    """A call that the model makes."""

    id: str
    type: Literal["function"]
    function: AnsweredFunction


class AnsweredMessage(BaseModel):
    """The answer; it can be sent back as a turn."""

    role: Literal["assistant"]
    content: str | None
    refusal: None = None
    tool_calls: list[AnsweredCall] | None = None


class ChatChoice(BaseModel):
    """One answer of those that were asked for."""

    index: int
    message: AnsweredMessage
    logprobs: ChatLogprobs | None
    finish_reason: Literal["stop", "length", "tool_calls"]


class ChatAnswer(BaseModel):
    """The answers to a conversation. A stream's chunks have `delta` in the place of `message`."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChoice]
    usage: TokenUsage

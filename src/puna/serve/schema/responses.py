"""What `/v1/responses` takes.

The server keeps nothing: a conversation is sent whole each time, and what would need memory, a tool of OpenAI's or
another kind of content than text is refused with what to do instead. Fields that ask for what happens anyway are taken.

Sources: OpenAI's API reference, "Create a model response" (openai-python 3.57,
`types/responses/response_create_params.py`); `presence_penalty` and
`frequency_penalty` are the Open Responses specification's.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from puna.infer.requests import LARGEST_SEED, Sampling
from puna.serve.body import Body, refusal, wrong
from puna.serve.schema.fields import DrawFields, sampling_of
from puna.serve.schema.response_items import MOST_ITEMS, NAME, Item
from puna.serve.schema.structured import ResponseTextFormat, TextFormat

MOST_TOP_LOGPROBS = 20
LOGPROBS = "message.output_text.logprobs"
_STATELESS = "the server keeps no answers; send the conversation's items in input"
Number = Annotated[float, Field(ge=-2, le=2)]


class FunctionTool(Body):
    """A function that the model may ask its client to call."""

    refused: ClassVar[dict[str, str]] = {
        "defer_loading": "all tools are shown to the model", "allowed_callers": "only the client calls functions",
        "output_schema": "what functions give back is not checked", "async": "calls are waited for",
    }  # fmt: skip

    type: Literal["function"]
    name: Annotated[str, NAME]
    description: str | None = None
    parameters: dict[str, Any] | None = Field(None, description="A JSON schema of the arguments, an object.")
    strict: bool | None = Field(
        None, description="Whether arguments must fit the schema, also where the model is free to call (false)."
    )

    @model_validator(mode="before")
    @classmethod
    def _only_functions(cls, value: Any) -> Any:
        kind = value.get("type") if isinstance(value, dict) else None
        if isinstance(kind, str) and kind != "function":
            raise refusal(f"the server has no {kind:.40}, only functions of its clients", field="type")
        return value


class ChosenFunction(Body):
    """The function that must be called."""

    type: Literal["function"]
    name: Annotated[str, NAME]


class AllowedTools(Body):
    """Those of the tools that may be called now."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: Annotated[list[ChosenFunction], Field(fail_fast=True, min_length=1, max_length=128)]


class TextSettings(Body):
    """How the answer's text is written."""

    format: ResponseTextFormat | None = Field(None, description="The form of the text (text).")
    verbosity: Literal["medium"] | None = Field(None, description="Only medium: the models have no such setting.")


class ReasoningSettings(Body):
    """How a model thinks before it answers, which these models have no setting for."""

    effort: Literal["none"] | None = None
    summary: None = None
    generate_summary: None = None
    context: Literal["auto"] | None = None
    mode: Literal["standard"] | None = None


class ResponseStreamOptions(Body):
    """What a stream has besides its events."""

    include_obfuscation: Literal[False] | None = Field(None, description="Only false: events are not padded.")


class ResponseRequest(DrawFields):
    """A conversation to go on with."""

    refused: ClassVar[dict[str, str]] = {
        "previous_response_id": _STATELESS,
        "conversation": _STATELESS,
        "prompt": "the server keeps no prompts; write the text itself in instructions and input",
        "background_options": "answers are not made in the background; use stream",
        "context_management": "no context is shortened; send fewer items",
        "moderation": "no model here moderates texts",
        "access_programs": "they are programs of OpenAI's",
        "image": "these models read and write text alone",
        "prompt_cache_options": "every beginning of a text is found in the cache while there is room",
        "prompt_cache_retention": "how long the cache keeps a text depends on its room alone",
    }

    model: str | None = Field(None, description="A name that /v1/models lists (the first of them).")
    input: (
        Annotated[str, Field(min_length=1)]
        | Annotated[list[Item], Field(fail_fast=True, min_length=1, max_length=MOST_ITEMS)]
    ) = Field(description="What a user says, or the items of a conversation.")
    instructions: str | None = Field(None, description="A system message before the conversation (none).")
    max_output_tokens: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = Field(
        None, description="Tokens to write at most (as many as the model's context has room for)."
    )
    seed: Annotated[int, Field(ge=0, le=LARGEST_SEED)] | None = Field(
        None, description="The same seed writes the same text (a random one)."
    )
    presence_penalty: Number | None = Field(
        None, description="Subtracted once from the logits of tokens that the text has (0)."
    )
    frequency_penalty: Number | None = Field(
        None, description="Subtracted from a token's logit each time that the text has the token (0)."
    )
    text: TextSettings | None = Field(None, description="The form of the answer.")
    tools: Annotated[list[FunctionTool], Field(fail_fast=True, max_length=128)] | None = Field(
        None, description="Functions that the model may ask to be called (none)."
    )
    tool_choice: Literal["none", "auto", "required"] | ChosenFunction | AllowedTools | None = Field(
        None, description="Whether the model must call a function, and which (auto)."
    )
    parallel_tool_calls: bool | None = Field(None, description="Whether an answer may have several calls (true).")
    max_tool_calls: Annotated[int, Field(ge=1)] | None = Field(
        None, description="Counts OpenAI's own tools, of which the server has none."
    )
    include: (
        Annotated[list[Literal["message.output_text.logprobs", "reasoning.encrypted_content"]], Field(fail_fast=True)]
        | None
    ) = Field(
        None, description="Log-probabilities of the tokens. Encrypted reasoning: there is none, so nothing is added."
    )
    top_logprobs: Annotated[int, Field(ge=0, le=MOST_TOP_LOGPROBS)] | None = Field(
        None, description=f"As many of the likeliest tokens at each place (0); above 0 only with {LOGPROBS}."
    )
    stream: bool | None = Field(None, description="Whether the answer comes as events (false).")
    stream_options: ResponseStreamOptions | None = Field(None, description="Only with `stream`.")
    store: Literal[False] | None = Field(None, description="Only false: the server keeps no answers.")
    background: Literal[False] | None = Field(None, description="Only false; use `stream`.")
    truncation: Literal["disabled"] | None = Field(None, description="Only disabled: no input is shortened unasked.")
    service_tier: Literal["auto", "default"] | None = Field(None, description="All requests are served alike.")
    reasoning: ReasoningSettings | None = Field(None, description="Only what asks for none.")
    metadata: (
        Annotated[
            dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]],
            Field(fail_fast=True, max_length=16),
        ]
        | None
    ) = Field(None, description="Given back in the answer.")
    user: str | None = Field(None, description="Given back in the answer.")
    safety_identifier: Annotated[str, Field(max_length=128)] | None = Field(
        None, description="Given back in the answer."
    )
    prompt_cache_key: str | None = Field(
        None, description="Given back in the answer; the cache finds equal beginnings of all texts of a key."
    )

    @field_validator("store", "background", "truncation", mode="before")
    @classmethod
    def _has_no_memory(cls, value: Any, info: Any) -> Any:
        if info.field_name == "store" and value is True:
            raise refusal(f"{_STATELESS}, and leave it out or false")
        if info.field_name == "background" and value is True:
            raise refusal("answers are not made in the background; use stream")
        if info.field_name == "truncation" and value == "auto":
            raise refusal("no input is shortened unasked; send fewer items")
        return value

    @model_validator(mode="after")
    def _fits(self) -> "ResponseRequest":
        if self.stream_options is not None and not self.stream:
            raise wrong("must be left out where stream is not true", field="stream_options")
        form = self.text.format if self.text else None
        if self.tools and self.tool_choice != "none" and not isinstance(form, TextFormat | None):
            raise refusal('an answer in this form calls nothing; set tool_choice to "none"', field="text.format")
        if self.top_logprobs and not self.tells_logprobs:
            raise wrong(f'must be left out where include does not have "{LOGPROBS}"', field="top_logprobs")
        return self

    @property
    def tells_logprobs(self) -> bool:
        """Whether the answer has log-probabilities."""
        return LOGPROBS in (self.include or ())

    def sampling(self) -> Sampling:
        """How the engine draws.

        Raises:
            GenerateError: A value is out of the engine's range.
        """
        return sampling_of(
            self, seed=self.seed, frequency_penalty=self.frequency_penalty or 0.0,
            presence_penalty=self.presence_penalty or 0.0,
        )  # fmt: skip

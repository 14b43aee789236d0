"""What `/v1/completions` takes and answers.

Source: OpenAI's API reference, "Completions" (openai-python 3.57, `types/completion_create_params.py`).
"""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from puna.serve.body import refusal, wrong
from puna.serve.schema.fields import Count, SamplingFields, StreamOptions
from puna.serve.schema.structured import StructuredOutputs

MAX_TOKENS = 16
"""OpenAI's default of `max_tokens` here: "The maximum number of tokens … default: 16" (API reference, legacy
completions, 2023 to 2026; vLLM has the same)."""
MOST_LOGPROBS = 5
_MOST_PROMPTS = 2048
"""Prompts of a request, as OpenAI's limit of inputs to its embeddings; its completions name none."""

_Ids = Annotated[list[Annotated[int, Field(ge=0, le=2**31 - 1)]], Field(fail_fast=True, min_length=1)]
_Prompt = (
    str
    | Annotated[list[str], Field(fail_fast=True, min_length=1, max_length=_MOST_PROMPTS)]
    | _Ids
    | Annotated[list[_Ids], Field(fail_fast=True, min_length=1, max_length=_MOST_PROMPTS)]
)


class CompletionRequest(SamplingFields):
    """Prompts to continue."""

    model: str | None = Field(None, description="A name that /v1/models lists (the first of them).")
    prompt: _Prompt = Field(description="A text, token ids, or a list of one of these.")
    max_tokens: Count | None = Field(
        None, description=f"Tokens to write at most ({MAX_TOKENS}); 0 only reads the prompt, for `echo` and `logprobs`."
    )
    echo: bool | None = Field(None, description="Whether the answer begins with the prompt (false).")
    logprobs: Annotated[int, Field(ge=0, le=MOST_LOGPROBS)] | None = Field(
        None, description="Log-probabilities of the tokens and this many of the likeliest at each place (none)."
    )
    structured_outputs: StructuredOutputs | None = Field(
        None, description="What the text is to be: JSON of a schema, a match of a regular expression, one of several."
    )
    stream: bool | None = Field(None, description="Whether the answer comes in pieces, as server-sent events (false).")
    stream_options: StreamOptions | None = Field(None, description="Only with `stream`.")
    best_of: int | None = Field(None, description="Only the same as `n`: no texts are written to be left out.")
    suffix: str | None = Field(None, description='Only "": LLaMA was not trained to write between two texts.')
    user: str | None = Field(None, description="Not looked at: it changes no text.")

    @field_validator("suffix")
    @classmethod
    def _no_suffix(cls, value: str | None) -> str | None:
        if value:
            raise refusal("LLaMA was not trained to write between two texts; leave it out")
        return value

    @model_validator(mode="after")
    def _fits(self) -> "CompletionRequest":
        if self.best_of not in (None, self.samples):
            raise refusal(f"write n texts and choose among them; it may only be n, {self.samples}", field="best_of")
        if self.stream_options is not None and not self.stream:
            raise wrong("must be left out where stream is not true", field="stream_options")
        if self.stream and self.echo and self.logprobs is not None:
            raise refusal("log-probabilities of a prompt are known at its end; leave it out", field="stream")
        return self


class TokenUsage(BaseModel):
    """How many tokens the request took."""

    class Cached(BaseModel):
        """Of the prompt's tokens, those that were not computed again."""

        cached_tokens: int

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: Cached


class Logprobs(BaseModel):
    """Of each token, the prompt's first where it is echoed."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None] | None
    text_offset: list[int]


class Choice(BaseModel):
    """A text that continues a prompt."""

    index: int
    text: str
    logprobs: Logprobs | None
    finish_reason: Literal["stop", "length"] | None


class CompletionAnswer(BaseModel):
    """The texts of all prompts in their order, or a piece of them in a stream."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[Choice]
    usage: TokenUsage | None

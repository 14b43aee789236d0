"""What `/v1/responses` answers: the response, whole; a stream tells of it in events (`serve.response_writer`).

Sources: as of `schema.responses`; fields that the Open Responses specification requires are always there.
"""

from typing import Any, Literal

from pydantic import BaseModel

from puna.serve.schema.response_items import Status


class LikelyToken(BaseModel):
    """A token that could have been written."""

    token: str
    bytes: list[int]
    logprob: float


class TokenLogprob(LikelyToken):
    """A token that was written."""

    top_logprobs: list[LikelyToken]


class OutputText(BaseModel):
    """The text of a message."""

    type: Literal["output_text"]
    text: str
    annotations: list[None]
    logprobs: list[TokenLogprob]


class OutputMessage(BaseModel):
    """A message of the model."""

    type: Literal["message"]
    id: str
    status: Status
    role: Literal["assistant"]
    content: list[OutputText]


class OutputCall(BaseModel):
    """A call of a function that the client is asked for."""

    type: Literal["function_call"]
    id: str
    status: Status
    call_id: str
    name: str
    arguments: str


class InputTokens(BaseModel):
    """Of the prompt's tokens."""

    cached_tokens: int
    cache_write_tokens: int


class OutputTokens(BaseModel):
    """Of the written tokens."""

    reasoning_tokens: int


class ResponseUsage(BaseModel):
    """Numbers of tokens, of the prompt and of what was written."""

    input_tokens: int
    input_tokens_details: InputTokens
    output_tokens: int
    output_tokens_details: OutputTokens
    total_tokens: int


class IncompleteDetails(BaseModel):
    """Why an answer is incomplete."""

    reason: Literal["max_output_tokens"]


class ResponseFailure(BaseModel):
    """Why an answer broke off."""

    code: str
    message: str


class ResponseAnswer(BaseModel):
    """A response, begun or ended, with what it repeats of its request."""

    id: str
    object: Literal["response"]
    created_at: int
    completed_at: int | None
    status: Literal["in_progress", "completed", "incomplete", "failed"]
    error: ResponseFailure | None
    incomplete_details: IncompleteDetails | None
    output: list[OutputMessage | OutputCall]
    usage: ResponseUsage | None
    model: str
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: int | None
    temperature: float
    top_p: float
    presence_penalty: float
    frequency_penalty: float
    top_logprobs: int
    text: dict[str, Any]
    tools: list[dict[str, Any]]
    tool_choice: str | dict[str, Any]
    parallel_tool_calls: bool
    reasoning: dict[str, Any]
    metadata: dict[str, str]
    user: str | None
    safety_identifier: str | None
    prompt_cache_key: str | None
    previous_response_id: None
    truncation: Literal["disabled"]
    service_tier: Literal["default"]
    store: Literal[False]
    background: Literal[False]

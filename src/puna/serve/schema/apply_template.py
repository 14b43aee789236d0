"""What `/apply-template` takes and answers. Source: llama.cpp's server; the token ids are not llama.cpp's."""

from typing import Annotated

from pydantic import BaseModel, Field, model_validator

from puna.serve.body import Body
from puna.serve.schema.chat import MOST_TOOLS, MOST_TURNS, FunctionTool
from puna.serve.schema.chat_messages import Turn, refuse_disorder


class ApplyTemplateRequest(Body):
    """A conversation to be written, and not to be answered."""

    model: str | None = Field(None, description="A name that /v1/models lists (the first of them).")
    messages: Annotated[list[Turn], Field(fail_fast=True, min_length=1, max_length=MOST_TURNS)] = Field(
        description="The turns."
    )
    tools: Annotated[list[FunctionTool], Field(fail_fast=True, max_length=MOST_TOOLS)] | None = Field(
        None, description="Functions that the model may call (none)."
    )
    add_generation_prompt: bool | None = Field(
        None, description="Whether the model's turn begins at the end, as it does for an answer (true)."
    )

    @model_validator(mode="after")
    def _fits(self) -> "ApplyTemplateRequest":
        refuse_disorder(self.messages)
        return self


class ApplyTemplateAnswer(BaseModel):
    """The conversation as the model reads it.

    Only the ids tell control tokens from what was typed: as text they may look alike.
    """

    prompt: str
    tokens: list[int]
    count: int
    max_model_len: int

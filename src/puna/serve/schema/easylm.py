"""What the routes of EasyLM's server take and answer.

Source: EasyLM (commit 0526e32), EasyLM/serving.py and docs/serving.md. `model` is not EasyLM's, which has one model.
"""

from typing import Annotated

from pydantic import BaseModel, Field, model_validator

from puna.serve.body import Body, wrong

MOST_TEXTS = 2048
TEMPERATURE, TOP_K = 1.0, 50
"""EasyLM's `default_temperature` and its LLaMA server's `top_k`."""

_Texts = Annotated[list[str], Field(fail_fast=True, max_length=MOST_TEXTS)]
_Temperature = Annotated[float, Field(ge=0, le=2)]
_Until = Annotated[str, Field(min_length=1, max_length=1000)]
_MODEL = "A name that /v1/models lists (the first of them)."


class EasyBody(Body):
    """What every request may say."""

    model: str | None = Field(None, description=_MODEL)


class LikelihoodRequest(EasyBody):
    """Texts, each after a text that comes before it."""

    prefix_text: _Texts | None = Field(None, description="As many as `text` (empty ones).")
    text: _Texts = Field(description="What is scored.")

    @model_validator(mode="after")
    def _as_many(self) -> "LikelihoodRequest":
        if self.prefix_text is not None and len(self.prefix_text) != len(self.text):
            raise wrong(f"has {len(self.prefix_text)} texts, and text {len(self.text)}", field="prefix_text")
        return self


class RollingRequest(EasyBody):
    """Texts of any length."""

    text: _Texts = Field(description="What is scored.")


class GenerateRequest(EasyBody):
    """Texts that are continued with sampling."""

    prefix_text: _Texts = Field(description="What is continued.")
    temperature: _Temperature | None = Field(None, description=f"Divides the logits ({TEMPERATURE:g}).")


class GreedyUntilRequest(EasyBody):
    """Texts to continue until others."""

    prefix_text: _Texts = Field(description="What is continued.")
    until: Annotated[
        list[_Until | Annotated[list[_Until], Field(fail_fast=True, max_length=64)]],
        Field(fail_fast=True, max_length=MOST_TEXTS),
    ] = Field(description="For each prefix, the text or the texts that end what is written.")

    @model_validator(mode="after")
    def _as_many(self) -> "GreedyUntilRequest":
        if len(self.until) != len(self.prefix_text):
            raise wrong(f"has {len(self.until)} entries, and prefix_text {len(self.prefix_text)}", field="until")
        return self


class ChatTurnRequest(EasyBody):
    """The next turn of a conversation."""

    prompt: str = Field(description="The user's turn.")
    context: str | None = Field(None, description="As the last answer told it; empty at the beginning.")
    temperature: _Temperature | None = Field(None, description=f"Divides the logits ({TEMPERATURE:g}).")


class LikelihoodAnswer(BaseModel):
    """Natural logarithms of probabilities, and whether greedy generation would write the text."""

    prefix_text: list[str]
    text: list[str]
    log_likelihood: list[float]
    is_greedy: list[bool]


class RollingAnswer(BaseModel):
    """The same without prefixes."""

    text: list[str]
    log_likelihood: list[float]
    is_greedy: list[bool]


class GenerateAnswer(BaseModel):
    """The texts that were written."""

    prefix_text: list[str]
    output_text: list[str]
    temperature: float


class GreedyUntilAnswer(BaseModel):
    """What was written, and how many tokens it could have been."""

    prefix_text: list[str]
    until: list[str | list[str]]
    max_length: int
    output_text: list[str]


class ChatTurnAnswer(BaseModel):
    """The answer, and what the next request gives back as `context`."""

    response: str
    context: str
    temperature: float

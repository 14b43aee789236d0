"""Fields that several interfaces share, with OpenAI's ranges.

The defaults are what OpenAI's reference says of each field. `top_k`, `min_p` and `repetition_penalty` are not OpenAI's;
they have the names and ranges that vLLM and llama.cpp gave them.
"""

from collections.abc import Mapping
from secrets import randbelow
from typing import Annotated

from pydantic import Field, field_validator

from puna.infer.requests import LARGEST_SEED, Sampling
from puna.serve.body import Body, refusal

MOST_SAMPLES = 128
"""Texts for each prompt, OpenAI's limit of `n`."""
_MOST_STOPS = 4
_MOST_BIASES = 1024
"""Biases are put on a model's scores one by one at each token, in the time that all who are served share."""
_LARGEST = 2**31 - 1

Stop = Annotated[str, Field(min_length=1, max_length=1000)]
Count = Annotated[int, Field(ge=0, le=_LARGEST)]
"""A number of tokens."""


class StreamOptions(Body):
    """What a stream has besides pieces of text."""

    include_usage: bool | None = Field(None, description="Whether a last chunk tells the numbers of tokens (false).")
    include_obfuscation: bool | None = Field(None, description="Only false: chunks are not padded to hide lengths.")

    @field_validator("include_obfuscation")
    @classmethod
    def _none(cls, value: bool | None) -> bool | None:
        if value:
            raise refusal("chunks are not padded; leave it out or false")
        return value


def wants_usage(options: StreamOptions | None) -> bool:
    """Whether a stream tells the numbers of tokens at its end."""
    return options is not None and options.include_usage is True


class DrawFields(Body):
    """How tokens are drawn."""

    temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(
        None, description="Divides the logits (1); 0 takes the most likely token each time."
    )
    top_p: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="Only the likeliest tokens whose probabilities sum to this are drawn (1)."
    )
    top_k: Count | None = Field(None, description="Only this many of the likeliest tokens are drawn (0, which is all).")
    min_p: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="Only tokens at least this share as likely as the likeliest are drawn (0)."
    )
    repetition_penalty: Annotated[float, Field(ge=0.01, le=100)] | None = Field(
        None, description="Makes tokens that the prompt or the text has less likely where it is above 1 (1)."
    )


class SamplingFields(DrawFields):
    """How tokens are drawn, how many texts, and what ends them: completions' and chats'."""

    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = Field(
        None, description="Subtracted from a token's logit each time that the text has the token (0)."
    )
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = Field(
        None, description="Subtracted once from the logits of tokens that the text has (0)."
    )
    logit_bias: (
        Annotated[
            dict[Annotated[str, Field(pattern=r"^[0-9]{1,9}$")], Annotated[float, Field(ge=-100, le=100)]],
            Field(fail_fast=True, max_length=_MOST_BIASES),
        ]
        | None
    ) = Field(None, description="Added to the logits of these token ids (none).")
    n: Annotated[int, Field(ge=1, le=MOST_SAMPLES)] | None = Field(None, description="Texts for each prompt (1).")
    seed: Annotated[int, Field(ge=0, le=LARGEST_SEED)] | None = Field(
        None, description="The same seed writes the same text (a random one). Text i of several draws with seed + i."
    )
    stop: Stop | Annotated[list[Stop], Field(fail_fast=True, max_length=_MOST_STOPS)] | None = Field(
        None, description="Texts that end the text where they would begin (none)."
    )

    @property
    def samples(self) -> int:
        """Texts for each prompt."""
        return self.n or 1

    @property
    def stops(self) -> tuple[str, ...]:
        """Texts that end the text."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    def sampling(self) -> Sampling:
        """How the engine draws.

        Raises:
            GenerateError: A value is out of the engine's range.
        """
        return sampling_of(
            self, seed=self.seed, frequency_penalty=self.frequency_penalty or 0.0,
            presence_penalty=self.presence_penalty or 0.0,
            logit_bias={int(token): bias for token, bias in (self.logit_bias or {}).items()},
        )  # fmt: skip


def sampling_of(
    fields: DrawFields, *, seed: int | None, frequency_penalty: float = 0.0, presence_penalty: float = 0.0,
    logit_bias: Mapping[int, float] | None = None,
) -> Sampling:  # fmt: skip
    """How the engine draws; what is None has the default of its field.

    Args:
        fields: The others.
        seed: None is a random one, so that the same request writes another text each time.
        frequency_penalty: As of `Sampling`.
        presence_penalty: As of `Sampling`.
        logit_bias: As of `Sampling`.

    Raises:
        GenerateError: A value is out of the engine's range.
    """
    return Sampling(
        temperature=_or(fields.temperature, 1.0), top_p=_or(fields.top_p, 1.0), top_k=fields.top_k or 0,
        min_p=fields.min_p or 0.0, repetition_penalty=_or(fields.repetition_penalty, 1.0),
        frequency_penalty=frequency_penalty, presence_penalty=presence_penalty, logit_bias=logit_bias or {},
        # Small enough that a sample's number can be added.
        seed=randbelow(LARGEST_SEED - MOST_SAMPLES) if seed is None else seed,
    )  # fmt: skip


def _or(value: float | None, default: float) -> float:
    return default if value is None else float(value)

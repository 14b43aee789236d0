"""What is asked of an engine and what it answers.

Every record checks itself when it is made, so that the engine never meets one that it cannot serve for its form alone;
what depends on the model (token ids, the context's length) `check` looks at when the request is added.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from puna.config.recipe import ModelConfig
from puna.core.errors import GenerateError
from puna.infer.guides import Guide

FinishReason = Literal["stop", "length", "cancelled", "error"]
"""A stop token or stop string, or the end of what a guide allows; `max_tokens` or the model's context; `Engine.cancel`;
or what `Completion.error` says, behind which this text has no next token. Other texts go on."""
NOT_FINITE = "the model's scores for the next token are not finite numbers, so its weights are damaged or too large"
"""Why a text ends in an error that is not its guide's."""
GUIDE_BROKEN = "the grammar of its guide cannot go on: it is too complex, or no token of the vocabulary fits"
"""Why a text ends in an error where it has a guide."""

LARGEST_SEED = 2**63 - 1
LARGEST = 1e9
"""Of a bias, a penalty or a temperature: more than any logit, and so little that float32 holds what all of them make of
one together. A text ends in an error where a logit is not finite, so settings must not be able to make one."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How a token is drawn from its logits; the values work in the order in which they stand here, the bias first.

    Raises:
        GenerateError: A value is out of range; the sentence names the field.
    """

    logit_bias: Mapping[int, float] = field(default_factory=dict)
    """Added to the logits of these token ids (OpenAI's `logit_bias`)."""
    repetition_penalty: float = 1.0
    """Divides the positive and multiplies the negative logits of tokens that stand in the prompt or the text (Keskar et
    al. 2019, section 4.1, in the form of Hugging Face's `RepetitionPenaltyLogitsProcessor`); 1 changes nothing."""
    presence_penalty: float = 0.0
    """Subtracted once from the logits of tokens that stand in the text so far, the prompt left out (OpenAI)."""
    frequency_penalty: float = 0.0
    """Subtracted as many times as a token stands in the text so far, the prompt left out (OpenAI)."""
    temperature: float = 1.0
    """Divides the logits; 0 takes the most likely token, and the lowest id among equals. 1 is the model itself."""
    top_k: int = 0
    """Only this many of the likeliest tokens are drawn (Fan et al. 2018); 0 is all."""
    top_p: float = 1.0
    """Only the likeliest tokens whose probabilities before them sum to at most this are drawn (nucleus sampling,
    Holtzman et al. 2020; the boundary as in Meta's released generation code)."""
    min_p: float = 0.0
    """Only tokens at least this share as likely as the likeliest are drawn (Nguyen et al. 2024)."""
    seed: int = 0
    """The same seed draws the same tokens from the same logits; sample i of a request draws with seed + i."""

    def __post_init__(self) -> None:
        for name in ("repetition_penalty", "presence_penalty", "frequency_penalty", "temperature", "top_p", "min_p"):
            _number(name, getattr(self, name))
        _whole("top_k", self.top_k, 0, None, "0 is all tokens")
        _whole("seed", self.seed, 0, LARGEST_SEED)
        if self.temperature < 0:
            raise _wrong("temperature", self.temperature, "at least 0", "0 takes the most likely token each time")
        if not 0 <= self.top_p <= 1:
            raise _wrong("top_p", self.top_p, "from 0 to 1", "1 draws from all tokens")
        if not 0 <= self.min_p <= 1:
            raise _wrong("min_p", self.min_p, "from 0 to 1", "0 draws from all tokens")
        if self.repetition_penalty < 1 / LARGEST:
            raise _wrong(
                "repetition_penalty", self.repetition_penalty, f"at least {1 / LARGEST:g}", "1 changes nothing"
            )
        for token, bias in self.logit_bias.items():
            _whole("logit_bias", token, 0, None, "its keys are token ids")
            _number(f"logit_bias[{token}]", bias)

    @property
    def adjusts(self) -> bool:
        """Whether bias or a penalty changes any logit."""
        return bool(self.logit_bias) or (
            (self.repetition_penalty, self.presence_penalty, self.frequency_penalty) != (1, 0, 0)
        )

    @property
    def narrows(self) -> bool:
        """Whether top-k, top-p or min-p leaves only a part of the tokens."""
        return self.top_k > 0 or self.top_p < 1 or self.min_p > 0


@dataclass(frozen=True, kw_only=True)
class Request:
    """One prompt and what is wanted of it.

    Raises:
        GenerateError: A value is out of range; the sentence names the field.
    """

    prompt: tuple[int, ...]
    """Token ids, the beginning-of-sequence token included; at least one."""
    max_tokens: int
    """Tokens to write at most; 0 only reads the prompt, for its log-probabilities."""
    sampling: Sampling = field(default_factory=Sampling)
    stop_ids: frozenset[int] = frozenset()
    """Tokens that end the text; they are not part of it. A tokenizer's are its `stops`."""
    stop: tuple[str, ...] = ()
    """Strings that end the text, also across the borders of tokens; the text ends before the first of them."""
    logprobs: int | None = None
    """Log-probabilities of the written tokens: None is none, 0 those of the tokens themselves, n also those of the n
    likeliest at each position. They are the model's own, before bias, penalties and temperature."""
    prompt_logprobs: int | None = None
    """The same for the prompt's tokens from `scored_from` on."""
    scored_from: int = 1
    """The first position of the prompt whose log-probability is computed; position 0 has none, since nothing precedes
    it. No output layer runs for positions that nobody asked for."""
    instead: tuple[int, ...] = ()
    """Tokens that could stand in the place of the prompt's last one, whose log-probabilities are wanted as well: they
    cost next to nothing, since the model scores all tokens there. Only with `prompt_logprobs`, and that one scored."""
    n: int = 1
    """Samples of one prompt, which is read once."""
    salt: str = ""
    """Prefixes are shared only between requests of one salt, so that nobody learns by timing what others have asked."""
    adapter: str = ""
    """The name of the adapter that the model answers with, of `Runner.adapters`; empty is the model itself."""
    guide: Guide | None = None
    """What the text is to be. Only tokens that fit are drawn, as if all others had no probability; bias and penalties
    come before, temperature and what narrows behind. Tokens of `stop_ids` fit where the text may end, and it ends by
    itself where nothing can follow. Log-probabilities stay the model's own."""

    def __post_init__(self) -> None:
        if not self.prompt:
            raise GenerateError("prompt has no tokens, and a model needs at least one to continue")
        _whole("max_tokens", self.max_tokens, 0, None)
        _whole("n", self.n, 1, None)
        if self.sampling.seed + self.n - 1 > LARGEST_SEED:
            raise _wrong("n", self.n, f"such that seed + n - 1 is at most {LARGEST_SEED}", "take a smaller seed")
        for name in ("logprobs", "prompt_logprobs"):
            if getattr(self, name) is not None:
                _whole(name, getattr(self, name), 0, None, "0 is the tokens' own log-probabilities alone")
        _whole("scored_from", self.scored_from, 1, len(self.prompt))
        if self.instead and (self.prompt_logprobs is None or self.scored_from == len(self.prompt) or self.n > 1):
            raise _wrong("instead", self.instead, "empty where the prompt's last token is not scored, or n is above 1")
        if isinstance(self.stop, str):
            raise _wrong("stop", self.stop, "a tuple of texts", "one text is (text,)")
        for text in self.stop:
            if not isinstance(text, str) or not text:
                raise _wrong("stop", text, "texts of at least one character")

    @property
    def origin(self) -> tuple[str, str]:
        """What requests that may share a prefix have in common: who may learn of it, and what computes it."""
        return self.salt, self.adapter


@dataclass(frozen=True, kw_only=True, slots=True)
class Token:
    """A token and, where they were asked for, the model's natural logarithms of probabilities."""

    id: int
    logprob: float | None = None
    best: tuple[tuple[int, float], ...] = ()
    """The likeliest ids and their log-probabilities, falling, the lower id first among equals."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Completion:
    """All of one sample of one request."""

    request: int
    """What `Engine.add` answered; from `Engine.generate` the request's place in the list."""
    sample: int
    """Which sample of the request, from 0 to n - 1."""
    text: str
    """The text written, without stop strings; empty if the engine has no tokenizer."""
    tokens: tuple[Token, ...]
    """Those that were written, a stop string's included, a stop token left out."""
    prompt: tuple[Token, ...]
    """The prompt's tokens from `scored_from` on if `prompt_logprobs` is given, otherwise nothing."""
    instead: tuple[Token, ...] = ()
    """Those of `Request.instead`."""
    finish: FinishReason
    stop: str | int | None
    """The string or token id that ended the text; None if none did."""
    stop_token: Token | None = None
    """The token that ended the text and is not in it, with its log-probability as those of `tokens`."""
    error: str = ""
    """What went wrong where `finish` is "error"; otherwise nothing."""
    prompt_tokens: int
    cached_tokens: int
    """Of the prompt, found in the cache and not computed again."""
    proposed_tokens: int = 0
    """Tokens that speculation proposed."""
    accepted_tokens: int = 0
    """Of the proposed ones, equal to the model's own choice."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """What one token of one sample adds; the last one of a sample carries its completion."""

    request: int
    sample: int
    token: Token | None
    """None where nothing was written: a stop token, a cancelled request, or one with `max_tokens` 0."""
    text: str
    """Text that is certain now. Half a character, and what might begin a stop string, is held back for a later event.
    The texts of a sample's events make its completion's text."""
    completion: Completion | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """How likely a continuation is after its context."""

    logprobs: tuple[float, ...]
    """Natural logarithms of the probabilities of the continuation's tokens, each given all before it."""
    greedy: bool
    """Whether every one of them is the likeliest token, so that greedy generation would write the continuation."""

    @property
    def total(self) -> float:
        """The logarithm of the continuation's probability."""
        return math.fsum(self.logprobs)


def check(request: Request, config: ModelConfig, *, longest: int) -> None:
    """Refuse a request that a model cannot serve.

    Args:
        request: What is asked.
        config: The model's.
        longest: Tokens of a text at most: the model's context, or what the cache holds.

    Raises:
        GenerateError: The prompt is too long, or a token id or a number of them is not in the vocabulary.
    """
    length = len(request.prompt)
    whose = "the model's context is" if longest == config.context else "the cache has room for"
    if request.max_tokens and length >= longest:
        raise GenerateError(
            f"the prompt is {length} tokens long, but {whose} {longest} and one of them is needed to answer",
            hint="shorten the prompt",
        )
    if length > longest + 1:  # the last token is only looked at, not put into the model
        raise GenerateError(f"the text is {length} tokens long, but {whose} {longest}", hint="shorten the text")
    ids_of = {
        "prompt": request.prompt,
        "instead": request.instead,
        "stop_ids": request.stop_ids,
        "logit_bias": request.sampling.logit_bias,
    }
    for name, ids in ids_of.items():
        for token in (min(ids), max(ids)) if ids else ():
            if not 0 <= token < config.vocab_size:
                raise GenerateError(
                    f"{name} has the token id {token}, but the vocabulary has {config.vocab_size} tokens"
                )
    for name in ("logprobs", "prompt_logprobs"):
        if (number := getattr(request, name) or 0) > config.vocab_size:
            raise GenerateError(f"{name} is {number}, but the vocabulary has {config.vocab_size} tokens")


def _wrong(name: str, value: object, expected: str, hint: str = "") -> GenerateError:
    return GenerateError(f"{name} is {value!r}, but must be {expected}", hint=hint)


def _number(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -LARGEST <= value <= LARGEST:
        raise _wrong(name, value, f"a number from {-LARGEST:g} to {LARGEST:g}")


def _whole(name: str, value: object, least: int, most: int | None, hint: str = "") -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(name, value, "a whole number", hint)
    if value < least or (most is not None and value > most):
        raise _wrong(name, value, f"at least {least}" if most is None else f"from {least} to {most}", hint)

"""What a task asks of a model about one document, and what the model answers.

Four kinds of asking cover all benchmarks of the papers. Each is text; `puna.evaluate.joining` makes token ids of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Row: TypeAlias = Mapping[str, Any]
"""A row of a benchmark's data, as its file has it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """One of several continuations."""

    context: str
    """What the model reads. Options of one document mostly share it; in tasks with one ending it is what differs."""
    continuation: str
    """What is scored, with the space or line break that sets it off."""
    text: str
    """The option itself, without what sets it off: what normalisations count the characters and bytes of."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choose:
    """Which of several options is the likeliest."""

    options: tuple[Option, ...]
    gold: tuple[int, ...]
    """The right ones, mostly one."""
    own: tuple[tuple[str, str], ...] = ()
    """For each option a context and continuation whose likelihood it is divided by, such as ("Answer:", " no")."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Continue:
    """How likely one target is, and whether greedy generation would write it."""

    context: str
    target: str
    """With the space or line break that sets it off."""
    text: str
    """The target itself, whose bytes are counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Read:
    """How likely whole texts are, which may be longer than the model's context."""

    texts: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Write:
    """Texts that the model writes after a prompt."""

    prompt: str
    max_tokens: int
    stop: tuple[str, ...] = ()
    """Texts that end the answer where they would begin."""
    n: int = 1
    """Samples; sample i draws with `seed` + i."""
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


Ask: TypeAlias = Choose | Continue | Read | Write


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One document of a task, ready to be asked about."""

    id: str
    """The same for this document in every run: the row's own id, else its number in the split from 0."""
    ask: Ask
    category: str = ""
    """Subject, category or group by which results are split; empty where there are none."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What judging needs beyond `ask`: the listed answers, unit tests; plain JSON values, shown in the viewer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Likelihood:
    """How likely a model finds a continuation, or a whole text."""

    logprob: float
    """The natural logarithm of its probability."""
    tokens: int
    """Tokens that were scored."""
    greedy: bool
    """Whether each of them is the likeliest one."""
    cut: int = 0
    """Tokens that were left out of the context's beginning because the model's context is shorter."""
    moved: bool = False
    """Whether a token of the context is scored too, because the last one spans the join."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """A text that a model wrote."""

    text: str
    tokens: int
    finish: str
    """As `puna.infer.requests.FinishReason`."""
    cut: int = 0
    """Tokens that were left out of the prompt's beginning because the model's context is shorter."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a model answered about one document."""

    likelihoods: tuple[Likelihood, ...] = ()
    """Of `Choose` one for each option, of `Continue` one, of `Read` one for each text."""
    own: tuple[Likelihood, ...] = ()
    """Of `Choose.own`, one for each option."""
    written: tuple[Written, ...] = ()
    """Of `Write`, the samples in order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """A document with its answer and what that is worth."""

    example: Example
    answer: Answer
    values: Mapping[str, float | None]
    """By metric; None where it could not be measured, which is counted and never taken for 0."""
    shown: Mapping[str, Any] = field(default_factory=dict)
    """What judging found on the way, for the viewer: the option chosen, the answer extracted, the error of a test."""

"""From texts to token ids: a context and what is scored after it, whole texts, and prompts.

Where a context ends and its continuation begins is clear in text and not always in tokens: a token may span the join.
Protocols settle it differently, and so score different tokens:

- `jointly` (lm-evaluation-harness): spaces at the context's end count to the continuation, whose tokens are those of
  both as one text, behind as many as the context alone has. The model reads the context as it is alone: inside of a
  word that may be other tokens than the whole text's, and is done all the same so that scores are the harness's. Where
  nothing would be left, which ends the harness, the whole text's last token is scored.
- `common`: the same, but cut where the whole text's tokens stop being those of the context alone, so that all that is
  read is one text as the tokenizer writes it, and a token that spans the join is scored.
- `separately` (LLM-foundry): each is encoded on its own.

The token that begins a sequence (BOS) stands once before a context where the tokenizer adds one, and not at all where
it does not. Something has to stand before the first token that is scored, so an empty context is BOS in any case.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from puna.evaluate.backend import Backend, Pair
from puna.evaluate.example import Likelihood, Write
from puna.evaluate.task import Join
from puna.infer.requests import Request, Sampling, Score
from puna.tokenizer.tokenizer import Tokenizer

Ids: TypeAlias = tuple[int, ...]

VERSION = 1
"""Raised with every change that can change the ids of a text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Joined:
    """A continuation after its context, in token ids."""

    pairs: tuple[Pair, ...]
    """Mostly one; several windows where the continuation alone is longer than the model's context, and none where it
    has no tokens. Their continuations follow each other."""
    cut: int = 0
    """Tokens left out of the context's beginning."""
    moved: bool = False
    """Whether a token of the context is scored too."""

    def likelihood(self, scores: Sequence[Score]) -> Likelihood:
        """What a model says of it, given the scores of `pairs`; without any tokens the probability is 1."""
        return Likelihood(
            logprob=math.fsum(score.total for score in scores), tokens=sum(len(score.logprobs) for score in scores),
            greedy=all(score.greedy for score in scores), cut=self.cut, moved=self.moved,
        )  # fmt: skip


def join(tokenizer: Tokenizer, texts: Sequence[tuple[str, str]], how: Join, *, longest: int) -> list[Joined]:
    """Token ids of contexts and their continuations.

    A context that is too long loses tokens at its beginning, never its BOS; a continuation loses none. Texts that
    stand in several pairs are encoded once.

    Args:
        tokenizer: The model's.
        texts: Pairs of a context and a continuation.
        how: The protocol's rule. With `separately`, a tokenizer that puts a space before every text (the dummy prefix)
            puts the one with which a continuation begins, which is not encoded twice.
        longest: As `Backend.longest`.

    Raises:
        TokenizerError: A text has a lone surrogate, so it is not Unicode text.
    """
    if how == "separately":
        apart = [(context, _without_prefix(tokenizer, continuation)) for context, continuation in texts]
        ids = _encoded(tokenizer, (text for pair in apart for text in pair))
        return [
            fitted(tokenizer, _begun(tokenizer, ids[context]), ids[continuation], longest=longest)
            for context, continuation in apart
        ]
    stripped = [context.rstrip() for context, _ in texts]
    whole = [context + continuation for context, continuation in texts]
    ids = _encoded(tokenizer, (*stripped, *whole))
    joined = []
    for context, both in zip(stripped, whole, strict=True):
        first = _begun(tokenizer, ids[context])
        # An empty context is BOS, which the whole text lacks where the tokenizer adds none.
        all_of_it = (tokenizer.bos_id, *ids[both]) if tokenizer.add_bos or not ids[context] else ids[both]
        split = len(first) if how == "jointly" else _common(first, all_of_it)
        moved = split < len(first)
        if split >= len(all_of_it) and all_of_it != first:
            split, moved = len(all_of_it) - 1, True
        before = all_of_it[:split] if moved else first
        joined.append(fitted(tokenizer, before or (tokenizer.bos_id,), all_of_it[split:], longest=longest, moved=moved))
    return joined


def read(tokenizer: Tokenizer, texts: Sequence[str], *, longest: int) -> list[Joined]:
    """Token ids of whole texts after BOS, each token scored once.

    A text that is longer than the model's context is read in windows that do not overlap, each after the one token
    before it; only the last begins earlier, as far as fits (lm-evaluation-harness's `loglikelihood_rolling`).

    Args:
        tokenizer: The model's.
        texts: What is scored.
        longest: As `Backend.longest`.

    Raises:
        TokenizerError: A text has a lone surrogate.
    """
    ids = _encoded(tokenizer, texts)
    return [fitted(tokenizer, (tokenizer.bos_id,), ids[text], longest=longest) for text in texts]


def score_all(backend: Backend, joined: Sequence[Joined]) -> list[Likelihood]:
    """What a model says of each, all of them asked together."""
    scores = iter(backend.score([pair for one in joined for pair in one.pairs]))
    return [one.likelihood([next(scores) for _ in one.pairs]) for one in joined]


def request_of(tokenizer: Tokenizer, ask: Write, *, longest: int) -> tuple[Request, int]:
    """A request for texts, and how many tokens its prompt has lost at the beginning, BOS never among them.

    A prompt is cut for the answer that may be long, down to half of the model's context; then the answer is shortened.

    Args:
        tokenizer: The model's; its stop tokens end the text too.
        ask: What is asked.
        longest: As `Backend.longest`.

    Raises:
        TokenizerError: The prompt has a lone surrogate.
        GenerateError: A number is out of its range.
    """
    whole = _begun(tokenizer, tuple(tokenizer.encode(ask.prompt)))
    prompt = _last(tokenizer, whole, max(1, longest - ask.max_tokens, longest // 2))
    request = Request(
        prompt=prompt, max_tokens=min(ask.max_tokens, longest - len(prompt)), n=ask.n, stop=ask.stop,
        sampling=Sampling(temperature=ask.temperature, top_p=ask.top_p, seed=ask.seed),
        stop_ids=frozenset(tokenizer.stops),
    )  # fmt: skip
    return request, len(whole) - len(prompt)


def _encoded(tokenizer: Tokenizer, texts: Iterable[str]) -> dict[str, Ids]:
    different = list(dict.fromkeys(texts))
    return dict(zip(different, map(tuple, tokenizer.encode_batch(different)), strict=True))


def _begun(tokenizer: Tokenizer, ids: Ids) -> Ids:
    return (tokenizer.bos_id, *ids) if tokenizer.add_bos or not ids else ids


def _without_prefix(tokenizer: Tokenizer, text: str) -> str:
    return text.removeprefix(" ") if tokenizer.space_prefix else text


def _common(one: Ids, other: Ids) -> int:
    """How many tokens both begin with."""
    return next((n for n, (x, y) in enumerate(zip(one, other, strict=False)) if x != y), min(len(one), len(other)))


def _last(tokenizer: Tokenizer, context: Ids, room: int) -> Ids:
    """The end of a context, behind its BOS."""
    if len(context) <= room:
        return context
    if tokenizer.add_bos:
        return (context[0], *context[len(context) - room + 1 :])
    return context[len(context) - room :]


def fitted(tokenizer: Tokenizer, context: Ids, continuation: Ids, *, longest: int, moved: bool = False) -> Joined:
    """The pairs of it that a model can take: the last token is only looked at, so there is room for one more.

    Args:
        tokenizer: The model's, which decides whether a context begins with BOS.
        context: At least one token.
        continuation: What is scored; where it has no tokens there is nothing to ask.
        longest: As `Backend.longest`.
        moved: Whether a token of the context is scored too.
    """
    if not continuation:
        return Joined(pairs=())
    kept = _last(tokenizer, context, max(1, longest + 1 - len(continuation)))
    ids, pairs = (*kept, *continuation), []
    for begin in range(len(kept), len(ids), longest):
        end = min(begin + longest, len(ids))
        pairs.append((ids[max(0, end - longest - 1) : begin], ids[begin:end]))
    return Joined(pairs=tuple(pairs), cut=len(context) - len(kept), moved=moved)

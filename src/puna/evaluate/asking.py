"""Examples become token ids, and what a backend says of those becomes answers.

Documents are asked in groups. A group has about `TOKENS` tokens that are new to the backend, beginnings that follow
each other counted once: enough work to fill it, and little enough that a process that is killed loses little.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from puna.evaluate.backend import Backend, Pair
from puna.evaluate.cache import TokenCache, digest_of
from puna.evaluate.example import Answer, Choose, Continue, Example, Read, Write
from puna.evaluate.joining import Joined, join, read, request_of
from puna.evaluate.store import Cost
from puna.evaluate.task import Join
from puna.infer.requests import Request

TOKENS = 8192
"""32 steps of the engine (`puna.infer.engine.MAX_ROWS`): its last step, which may be half empty, is a 64th of them."""
_ENCODED = 64
"""Documents whose texts are encoded together; few, so that the first ones are asked soon."""


@dataclass(kw_only=True, slots=True)
class Asked:
    """A document in token ids."""

    example: Example
    joined: tuple[Joined, ...] = ()
    """Of its likelihoods: those of the options, then those that they are divided by."""
    requests: tuple[Request, ...] = ()
    """Of its texts, at most one."""
    cut: int = 0
    """Tokens left out of the prompt's beginning."""

    @property
    def tokens(self) -> int:
        """Tokens of all contexts, continuations and prompts."""
        scored = sum(len(context) + len(continuation) for context, continuation in self.pairs)
        return scored + sum(len(request.prompt) for request in self.requests)

    @property
    def pairs(self) -> list[Pair]:
        """What is scored for it, in order."""
        return [pair for one in self.joined for pair in one.pairs]


@dataclass(kw_only=True)
class Group:
    """Documents that are asked together."""

    asked: list[Asked] = field(default_factory=list)

    def answers(self, backend: Backend) -> tuple[list[Answer], Cost]:
        """The answer of each document, and what they took without the time.

        Raises:
            UserError: The backend cannot compute them, or cannot be reached.
        """
        pairs = [pair for one in self.asked for pair in one.pairs]
        requests = [request for one in self.asked for request in one.requests]
        scores = iter(backend.score(pairs) if pairs else [])
        texts = iter(backend.write(requests) if requests else [])
        answers = []
        for one in self.asked:
            likelihoods = tuple(joined.likelihood([next(scores) for _ in joined.pairs]) for joined in one.joined)
            written = tuple(replace(text, cut=one.cut) for _ in one.requests for text in next(texts))
            ask = one.example.ask
            options = len(ask.options) if isinstance(ask, Choose) else len(likelihoods)
            answers.append(Answer(likelihoods=likelihoods[:options], own=likelihoods[options:], written=written))
        count = sum(len(one.joined) for one in self.asked) + sum(request.n for request in requests)
        return answers, Cost(requests=count, tokens_read=sum(one.tokens for one in self.asked))


def in_order(examples: Iterable[Example]) -> list[Example]:
    """The order in which examples are asked: those that begin alike follow each other, and keep their order."""
    return sorted(examples, key=_beginning)


def groups(
    examples: Sequence[Example],
    backend: Backend,
    how: Join,
    *,
    tokens: int = TOKENS,
    cache: TokenCache | None = None,
) -> Iterator[Group]:
    """All examples in token ids, in groups.

    Args:
        examples: In the order of asking.
        backend: Its tokenizer and the length of its context decide the ids.
        how: The protocol's way to join contexts and continuations.
        tokens: New tokens of a group at least, but in the last one; a document is never divided.
        cache: Has ids of earlier evaluations and learns those of this one; it is saved after the last group.

    Raises:
        TokenizerError: A text has a lone surrogate.
    """
    group, size, before = Group(), 0, ()
    for start in range(0, len(examples), _ENCODED):
        for asked in _encoded(examples[start : start + _ENCODED], backend, how, cache):
            group.asked.append(asked)
            new, before = _new(asked, before)
            size += new
            if size >= tokens:
                yield group
                group, size = Group(), 0
    if group.asked:
        yield group
    if cache is not None:
        cache.save()


def _beginning(example: Example) -> str:
    ask = example.ask
    match ask:
        case Choose():
            return ask.options[0].context if ask.options else ""
        case Continue():
            return ask.context
        case Write():
            return ask.prompt
        case Read():
            return ""


def _encoded(examples: Sequence[Example], backend: Backend, how: Join, cache: TokenCache | None) -> Iterator[Asked]:
    """Examples in token ids, in their order."""
    tokenizer, longest = backend.tokenizer, backend.longest
    digests = [_digest(example) if cache is not None else b"" for example in examples]
    known = [cache.get(digest) if cache is not None else None for digest in digests]
    new = [example for example, joined in zip(examples, known, strict=True) if joined is None]
    pairs = [pair for example in new for pair in _pairs(example)]
    texts = [text for example in new if isinstance(example.ask, Read) for text in example.ask.texts]
    joined = iter(join(tokenizer, pairs, how, longest=longest))
    wholes = iter(read(tokenizer, texts, longest=longest))
    for example, digest, found in zip(examples, digests, known, strict=True):
        if isinstance(example.ask, Write):
            request, cut = request_of(tokenizer, example.ask, longest=longest)
            yield Asked(example=example, requests=(request,), cut=cut)
            continue
        if found is None:
            if isinstance(example.ask, Read):
                found = tuple(next(wholes) for _ in example.ask.texts)
            else:
                found = tuple(next(joined) for _ in _pairs(example))
            if cache is not None:
                cache.add(digest, found)
        yield Asked(example=example, joined=found)


def _digest(example: Example) -> bytes:
    """The hash of all that is encoded of an example's likelihoods."""
    texts = example.ask.texts if isinstance(example.ask, Read) else chain.from_iterable(_pairs(example))
    return digest_of((type(example.ask).__name__, *texts))


def _pairs(example: Example) -> list[tuple[str, str]]:
    """Contexts and continuations that are scored for an example."""
    match example.ask:
        case Choose() as ask:
            return [*((option.context, option.continuation) for option in ask.options), *ask.own]
        case Continue() as ask:
            return [(ask.context, ask.target)]
        case _:
            return []


def _new(asked: Asked, before: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    """Tokens of a document that the one before it does not begin with, written ones included; and its own last ids."""
    size = 0
    for context, continuation in asked.pairs:
        same = next((at for at, (x, y) in enumerate(zip(context, before, strict=False)) if x != y), None)
        size += len(context) - (min(len(context), len(before)) if same is None else same) + len(continuation)
        before = context
    for request in asked.requests:
        size += len(request.prompt) + request.n * request.max_tokens
    return size, before

"""How likely many continuations are: each context is computed once, and its last row serves all that follows it.

A context with several continuations is a request of its own, which asks for all their first tokens in one place. When
it is done, the continuations follow as requests that find it in the cache, whole pages to share and the last part of a
page to copy, and compute only their own rows; those of one token are answered already. Contexts come in the order of
their tokens, so what they begin with alike (the solved examples of a benchmark's subject) is computed once too.

All of it only decides what is computed when. A score is made of the same rows as that of the pair alone.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from puna.core.errors import GenerateError
from puna.infer.requests import Completion, Event, Request, Score, Token
from puna.infer.runner import Runner
from puna.infer.sampling import not_finite

Ids: TypeAlias = tuple[int, ...]
Pair: TypeAlias = tuple[Ids, Ids]
"""Token ids of a context and of its continuation."""

TOGETHER = 1 << 18
"""Tokens of pairs that are put in order together: a thousand steps of the engine, and some megabytes."""


class Serving(Protocol):
    """What computes requests: `puna.infer.engine.Engine`."""

    runner: Runner

    def serve(self, give: Callable[[], Request | None]) -> Iterator[Event | None]:
        """Events of requests that are given while others are computed."""
        ...


def scores(engine: Serving, pairs: Iterable[Pair], *, salt: str = "", adapter: str = "") -> Iterator[Score]:
    """The score of each pair, in the order of the pairs.

    Args:
        engine: Computes.
        pairs: As of `Engine.score`.
        salt: As `Request.salt`.
        adapter: As `Request.adapter`.

    Raises:
        GenerateError: As `Engine.score`.
    """
    for window in _windows(pairs):
        found = _Window(engine, window, salt, adapter).scores()
        yield from (found[pair] for pair in window)


def _windows(pairs: Iterable[Pair]) -> Iterator[list[Pair]]:
    window: list[Pair] = []
    tokens = 0
    for context, continuation in pairs:
        if not context:
            raise GenerateError("context has no tokens, and a model needs at least one to continue")
        window.append((tuple(context), tuple(continuation)))
        tokens += len(context) + len(continuation)
        if tokens >= TOGETHER:
            yield window
            window, tokens = [], 0
    if window:
        yield window


@dataclass(slots=True)
class _Group:
    """A context and the continuations that it has."""

    context: Ids
    continuations: dict[Ids, None] = field(default_factory=dict)
    firsts: dict[int, Token] = field(default_factory=dict)
    """What the model says of their first tokens, by id."""
    open: int = 0
    """Continuations that are not answered yet."""


class _Window:
    """Pairs that are put in order together."""

    def __init__(self, engine: Serving, pairs: list[Pair], salt: str, adapter: str) -> None:
        self._engine, self._salt, self._adapter = engine, salt, adapter
        self._found = {pair: Score(logprobs=(), greedy=True) for pair in pairs}
        groups: dict[Ids, _Group] = {}
        for context, continuation in self._found:
            if continuation:
                groups.setdefault(context, _Group(context)).continuations[continuation] = None
        self._coming = deque(groups[context] for context in sorted(groups))
        self._ready: deque[tuple[_Group, Ids]] = deque()
        """Continuations whose context is in the cache."""
        self._given: dict[int, tuple[_Group, Ids | None]] = {}
        """What was asked, by its place in the stream; None is the context itself."""
        self._next = 0
        self._held = 0
        """Pages that open groups need for their contexts, if they shared none."""

    def scores(self) -> dict[Pair, Score]:
        """The scores of all pairs."""
        for event in self._engine.serve(self._give):
            assert event is not None  # noqa: S101 - `serve` is not asked for idle steps
            if event.completion is not None:
                self._take(event.completion)
        return self._found

    def _give(self) -> Request | None:
        """The next request: first what follows contexts that are there, then another context if there is room."""
        if self._ready:
            group, continuation = self._ready.popleft()
            return self._ask(group, continuation, scored_from=len(group.context) + 1)
        pages = self._engine.runner.pages
        if not self._coming or (self._held and self._held + self._pages(self._coming[0]) > pages // 2):
            return None
        group = self._coming.popleft()
        group.open = len(group.continuations)
        self._held += self._pages(group)
        if group.open == 1:
            (continuation,) = group.continuations
            return self._ask(group, continuation, scored_from=len(group.context))
        return self._ask(group, None, scored_from=len(group.context))

    def _ask(self, group: _Group, continuation: Ids | None, *, scored_from: int) -> Request:
        self._given[self._next] = group, continuation
        self._next += 1
        firsts = dict.fromkeys(continuation[0] for continuation in group.continuations)
        then, instead = (continuation, ()) if continuation else (tuple(firsts)[:1], tuple(firsts)[1:])
        return Request(
            prompt=group.context + then, max_tokens=0, prompt_logprobs=1, scored_from=scored_from, instead=instead,
            salt=self._salt, adapter=self._adapter,
        )  # fmt: skip

    def _take(self, completion: Completion) -> None:
        """Write down what a request found."""
        if completion.finish == "error":
            raise not_finite()
        group, continuation = self._given.pop(completion.request)
        if continuation is not None:
            firsts = (group.firsts[continuation[0]],) if group.firsts else ()
            self._answer(group, continuation, firsts + completion.prompt)
            return
        group.firsts = {token.id: token for token in (*completion.prompt, *completion.instead)}
        for continuation in group.continuations:
            if len(continuation) == 1:
                self._answer(group, continuation, (group.firsts[continuation[0]],))
            else:
                self._ready.append((group, continuation))

    def _answer(self, group: _Group, continuation: Ids, tokens: tuple[Token, ...]) -> None:
        logprobs = tuple(token.logprob for token in tokens if token.logprob is not None)
        greedy = all(token.id == token.best[0][0] for token in tokens)
        self._found[group.context, continuation] = Score(logprobs=logprobs, greedy=greedy)
        group.open -= 1
        if not group.open:
            self._held -= self._pages(group)

    def _pages(self, group: _Group) -> int:
        return len(group.context) // self._engine.runner.page_size + 1

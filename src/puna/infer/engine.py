"""The engine: many requests at once, each answered as if it were alone.

A step is `schedule -> runner -> sample -> write down`. The scheduler says which positions of which sequences are
computed; the runner computes them all in one pass and gives logits where some are wanted; each of these becomes a
token, and the host learns all of them at once. Requests come and go between steps.

Company changes nothing: a runner that is `exact` computes the same bits for a row whatever stands beside it, a token is
drawn by a function of its own row (`sampling`), and everything else here is whole numbers.

An engine belongs to one thread.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace
from itertools import chain
from typing import Literal, overload

import numpy as np
import torch

from puna.core.errors import GenerateError
from puna.infer.grammars import Guides, GuideState
from puna.infer.pages import Pages
from puna.infer.requests import (
    GUIDE_BROKEN,
    NOT_FINITE,
    Completion,
    Event,
    FinishReason,
    Request,
    Score,
    Token,
    check,
)
from puna.infer.runner import Piece, Runner, rows_of
from puna.infer.sampling import NONE, Asked, answers
from puna.infer.scheduler import Chunk, Scheduler, Sequence
from puna.infer.scoring import Pair, scores
from puna.infer.speculate import Drafter
from puna.infer.stops import Text
from puna.tokenizer.tokenizer import Tokenizer

MAX_ROWS = 256
"""Half of llama.cpp's `--ubatch-size`: enough rows for one reading of the weights that arithmetic takes the time, not
memory, and those who write wait half as long for the next token."""
MAX_REQUESTS = 64
"""Sequences whose rows of a step still leave most of `MAX_ROWS` to prompts."""
_AHEAD = 2
"""As many samples as can run at once are taken when they begin, and as many more wait."""


class Engine:
    """Answers requests with one model.

    Args:
        runner: Computes the model; its pages are the engine's alone.
        tokenizer: Turns ids into text; None where only ids are wanted.
        max_rows: Positions that a step computes at most, and the size of a prompt's chunks.
        max_requests: Sequences that run at once; more wait.
        drafter: Guesses at tokens, which changes when they come and nothing else.
    """

    def __init__(
        self,
        runner: Runner,
        tokenizer: Tokenizer | None = None,
        *,
        max_rows: int = MAX_ROWS,
        max_requests: int = MAX_REQUESTS,
        drafter: Drafter | None = None,
    ) -> None:
        if max_rows < max_requests:
            raise GenerateError(
                f"max_rows is {max_rows}, but must be at least max_requests, {max_requests}: each that writes has a row"
            )
        self.runner, self.tokenizer = runner, tokenizer
        self.longest = min(runner.config.context, runner.pages * runner.page_size)
        """Tokens of a sequence at most: the model's context, or what the cache holds."""
        self.max_requests = max_requests
        """Sequences that run at once."""
        self._drafter, self._max_rows = drafter, max_rows
        self._guides: Guides | None = None
        self._clear()
        width = -(-self.longest // runner.page_size)
        self._tables_SP = np.zeros((max_requests, width), dtype=np.int32)
        self._tables = torch.from_numpy(self._tables_SP)  # the same memory
        self._open: dict[int, list[Sequence]] = {}
        self._inboxes: dict[int, deque[Event]] = {}
        self._events: list[Event] = []
        self._next = 0
        self._in_step = False
        self._late: list[int] = []

    @property
    def busy(self) -> bool:
        """Whether `step` has anything to do or to tell."""
        return bool(self._open or self._events)

    def add(self, request: Request) -> int:
        """Take a request; returns its number, which its events carry.

        Raises:
            GenerateError: The model cannot serve it: the prompt is too long, a token id is not in the vocabulary, or
                there is no such adapter.
        """
        self._check(request)
        number, scored = self._next, []
        self._next += 1
        longest = min(len(request.prompt) + request.max_tokens, max(self.longest, len(request.prompt)))
        sequences = []
        for sample in range(request.n):
            text = Text(self.tokenizer, request.prompt, request.stop)
            sequence = Sequence(request, number, sample, list(request.prompt), longest, text, scored)
            sequence.guide = self._guide(request)
            if request.adapter:
                sequence.adapter = self.runner.adapters.index(request.adapter)
            sequences.append(sequence)
        self._open[number] = sequences
        self._scheduler.waiting += sequences
        return number

    def prepare(self, request: Request) -> None:
        """Compile a request's guide, so that `add` takes no time for it; another thread may call this meanwhile.

        Raises:
            GenerateError: The guide cannot be followed.
        """
        self._guide(request)

    def cancel(self, number: int) -> None:
        """End a request; its pages are free at once, and the next step tells its end. One that has ended stays so."""
        if self._in_step:  # Python's collector closes a stream that was left open, whatever runs just then
            self._late.append(number)
            return
        for sequence in list(self._open.get(number, ())):
            self._finish(sequence, "cancelled", None, token=None, text="")

    def step(self) -> list[Event]:
        """Compute the next rows; returns what is new. After an error in a step all requests are cancelled."""
        self._in_step = True
        try:
            if chunks := self._scheduler.schedule():
                self._compute(chunks)
        except BaseException:
            # Pages may be known and not computed, and lists half changed: all of it is made again.
            lost, self._open = self._open, {}
            self._clear()
            for sequence in (one for sequences in lost.values() for one in sequences):
                self._tell_end(sequence, "cancelled", None, token=None, text="")
            raise
        finally:
            self._in_step = False
            while self._late:
                self.cancel(self._late.pop())
        events, self._events = self._events, []
        for event in events:
            if (inbox := self._inboxes.get(event.request)) is not None:
                inbox.append(event)
        return events

    def progress(self) -> list[tuple[int, int, int]]:
        """Of each request whose prompt is read in part: its number, the tokens read, and those of the prompt."""
        return [
            (sequence.number, sequence.computed, len(sequence.request.prompt))
            for sequence in self._scheduler.running
            if sequence.sample == 0 and sequence.computed < len(sequence.request.prompt)
        ]

    def generate(self, requests: Iterable[Request]) -> list[Completion]:
        """The completions of all requests in their order, the samples of a request one after another.

        Args:
            requests: As of `stream`.

        Raises:
            GenerateError: The model cannot serve one of them; of a list, none is served then.
        """
        done = [event.completion for event in self.stream(requests) if event.completion is not None]
        return sorted(done, key=lambda completion: (completion.request, completion.sample))

    @overload
    def stream(self, requests: Iterable[Request]) -> Generator[Event]: ...
    @overload
    def stream(self, requests: Iterable[Request], *, idle: Literal[True]) -> Generator[Event | None]: ...
    def stream(self, requests: Iterable[Request], *, idle: bool = False) -> Generator[Event | None]:
        """Events as they come; `Event.request` counts the requests given here from 0.

        Several streams may be read in turns. One that is closed before its end cancels its requests.

        Args:
            requests: What is asked. They are taken when they can soon be computed, so that an iterator may give
                millions.
            idle: Whether None comes after each step that told nothing, so that a reader can stop in a long prompt.

        Raises:
            GenerateError: The model cannot serve one of them; of a list, none is served then.
        """
        if isinstance(requests, list | tuple):
            for request in requests:
                self._check(request)
        given = iter(requests)
        return self.serve(lambda: next(given, None), idle=idle)

    def serve(self, give: Callable[[], Request | None], *, idle: bool = False) -> Generator[Event | None]:
        """Events of requests that are given while others are computed, as `stream`'s.

        Args:
            give: Asked for another request before each step for which there is room; None is none for now. When it has
                none and all that it gave are answered, the stream ends.
            idle: As of `stream`.

        Raises:
            GenerateError: The model cannot serve a request; the others of this stream are cancelled.
        """
        places: dict[int, int] = {}
        samples: dict[int, int] = {}
        inbox: deque[Event] = deque()
        given = 0
        try:
            while True:
                if inbox:
                    event = inbox.popleft()
                    number, completion = event.request, event.completion
                    place = places[number]
                    if completion is not None:
                        completion = replace(completion, request=place)
                        samples[number] -= 1
                        if not samples[number]:
                            del samples[number], places[number], self._inboxes[number]
                    yield replace(event, request=place, completion=completion)
                    continue
                while sum(samples.values()) < _AHEAD * self.max_requests and (request := give()) is not None:
                    number = self.add(request)
                    places[number], samples[number], self._inboxes[number] = given, request.n, inbox
                    given += 1
                if not samples:
                    return
                self.step()
                if idle and not inbox:
                    yield None
        finally:
            for number in places:
                del self._inboxes[number]
                self.cancel(number)

    def score(self, pairs: Iterable[Pair], *, salt: str = "", adapter: str = "") -> list[Score]:
        """How likely each continuation is after its context; what texts begin with alike is computed once.

        Args:
            pairs: Token ids of context and continuation; a context has at least one, the beginning of sequence. An
                iterator may give millions.
            salt: As `Request.salt`.
            adapter: As `Request.adapter`.

        Raises:
            GenerateError: A context is empty, a pair is longer than the model's context and one token more, or the
                model's scores are not finite numbers.
        """
        return list(scores(self, pairs, salt=salt, adapter=adapter))

    def _check(self, request: Request) -> None:
        check(request, self.runner.config, longest=self.longest)
        if request.adapter and request.adapter not in (names := self.runner.adapters):
            near = f"there is {', '.join(names)}" if names else "the model was loaded without any"
            raise GenerateError(f"adapter is {request.adapter!r}, which there is not: {near}")
        if request.stop and self.tokenizer is None:
            raise GenerateError("stop has texts, but the model has no tokenizer to find them with")
        self._guide(request)

    def _guide(self, request: Request) -> GuideState | None:
        """The beginning of a text in its grammar; None where it has no guide.

        Raises:
            GenerateError: The guide cannot be followed, or the model has no tokenizer.
        """
        if request.guide is None:
            return None
        if self._guides is None:
            if self.tokenizer is None:
                raise GenerateError("guide needs the bytes of tokens, but the model has no tokenizer")
            self._guides = Guides(self.tokenizer, self.runner.config.vocab_size)
        return self._guides.begin(request.guide, prompt=request.prompt, stop_ids=request.stop_ids)

    def _clear(self) -> None:
        """Begin with an empty cache and without sequences."""
        self._pages = Pages(self.runner.pages, self.runner.page_size)
        self._scheduler = Scheduler(
            self._pages, max_rows=self._max_rows, max_running=self.max_requests,
            drafts=self._drafter.tokens if self._drafter else 0,
        )  # fmt: skip

    def _compute(self, chunks: list[Chunk]) -> None:
        """Run the model on these chunks and write down what it says."""
        for chunk in chunks:
            sequence = chunk.sequence
            if sequence.tabled != len(sequence.pages):
                self._tables_SP[sequence.slot, sequence.tabled : len(sequence.pages)] = sequence.pages[
                    sequence.tabled :
                ]
                sequence.tabled = len(sequence.pages)
        if self._drafter:
            self._drafter.guess(chunks, self._tables)
            for chunk in chunks:
                if chunk.sequence.guide is not None:
                    # What the grammar does not take cannot be drawn, so nothing behind it would count.
                    del chunk.drafts[chunk.sequence.guide.fitting(chunk.drafts) :]
        pieces, asked = zip(*map(self._piece, chunks), strict=True)
        tokens: Iterator[Token] = iter(())
        if any(piece.tokens for piece in pieces):
            copies = [chunk.copied for chunk in chunks if chunk.copied is not None]
            logits_WV = self.runner.logits(rows_of(pieces, self._tables, copies))
            if wishes := list(chain.from_iterable(asked)):
                tokens = iter(answers(logits_WV, wishes))
        for chunk, wishes in zip(chunks, asked, strict=True):
            self._write_down(chunk, [next(tokens) for _ in wishes])

    @staticmethod
    def _piece(chunk: Chunk) -> tuple[Piece, list[Asked]]:
        """The rows of a chunk, and what is asked of those that want logits."""
        sequence, request = chunk.sequence, chunk.sequence.request
        start, end = sequence.computed, sequence.computed + chunk.count
        # The row of a position gives the logits of the token at the next one.
        last = len(request.prompt) - 1
        scored = range(max(start, sequence.next_scored - 1), min(end, last))
        asked = [Asked(None, sequence.tokens[row + 1], request.prompt_logprobs) for row in scored]
        if scored and scored.stop == last:
            asked += [Asked(None, token, request.prompt_logprobs, again=True) for token in request.instead]
        wanted = range(scored.start - start, scored.stop - start) if scored else range(0)
        if end == len(sequence.tokens) and chunk.count:
            drawn = range(len(chunk.drafts) + 1)
            asked += [Asked(sequence.draw(chunk.drafts[:row]), 0, request.logprobs) for row in drawn]
            wanted = range(wanted.start if scored else chunk.count - 1, chunk.count + len(chunk.drafts))
        return Piece(sequence.slot, start, sequence.tokens[start:end] + chunk.drafts, wanted, sequence.adapter), asked

    def _write_down(self, chunk: Chunk, tokens: list[Token]) -> None:
        """What a step found out about a sequence: log-probabilities of its prompt, then tokens of its text."""
        sequence, request = chunk.sequence, chunk.sequence.request
        drawn = len(chunk.drafts) + 1 if sequence.computed + chunk.count == len(sequence.tokens) and chunk.count else 0
        sequence.computed += chunk.count
        told, tokens = tokens[: len(tokens) - drawn], tokens[len(tokens) - drawn :]
        if any(token.id == NONE for token in told):
            self._finish(sequence, "error", None, token=None, text="", error=NOT_FINITE)
            return
        unscored = len(request.prompt) - request.scored_from - len(sequence.scored)
        sequence.scored += told[:unscored]
        sequence.instead += told[unscored:]
        if request.max_tokens == 0 and sequence.computed == sequence.target:
            self._finish(sequence, "length", None, token=None, text="")
            return
        sequence.proposed += len(chunk.drafts)
        for place, token in enumerate(tokens):
            # A guess is right if the model draws the same: what it draws after a wrong one has no meaning.
            right = place < len(chunk.drafts) and token.id == chunk.drafts[place]
            sequence.computed += right
            sequence.accepted += right
            if self._append(sequence, token) or not right:
                break
        # What a draft model computed behind a wrong guess is not of this text.
        sequence.drafted = min(sequence.drafted, sequence.computed)

    def _append(self, sequence: Sequence, token: Token) -> bool:
        """Write a token; whether the text ends with it."""
        guide = sequence.guide
        if token.id == NONE:
            stuck = guide is not None and not guide.allowed().any()
            if guide is not None and stuck and guide.complete:
                self._finish(sequence, "stop", None, token=None, text="")
            else:
                error = GUIDE_BROKEN if stuck else NOT_FINITE
                self._finish(sequence, "error", None, token=None, text="", error=error)
            return True
        if token.id in sequence.request.stop_ids:
            sequence.ended = token
            self._finish(sequence, "stop", token.id, token=None, text="")
            return True
        sequence.tokens.append(token.id)
        sequence.written.append(token)
        text, stop = sequence.text.push(token.id)
        if guide is not None:
            guide.accept(token.id)
        if stop is not None or (guide is not None and guide.ended):
            self._finish(sequence, "stop", stop, token=token, text=text)
        elif len(sequence.tokens) >= sequence.longest:
            self._finish(sequence, "length", None, token=token, text=text)
        else:
            self._events.append(Event(request=sequence.number, sample=sequence.sample, token=token, text=text))
            return False
        return True

    def _finish(
        self, sequence: Sequence, finish: FinishReason, stop: str | int | None, *, token: Token | None, text: str,
        error: str = "",
    ) -> None:  # fmt: skip
        """Give back what the sequence has, and tell its end."""
        self._scheduler.finish(sequence)
        self._open[sequence.number].remove(sequence)
        if not self._open[sequence.number]:
            del self._open[sequence.number]
        self._tell_end(sequence, finish, stop, token=token, text=text, error=error)

    def _tell_end(
        self, sequence: Sequence, finish: FinishReason, stop: str | int | None, *, token: Token | None, text: str,
        error: str = "",
    ) -> None:  # fmt: skip
        """The last event of a sequence."""
        if not isinstance(stop, str):
            rest, found = sequence.text.finish()
            text += rest
            if found is not None:
                finish, stop = "stop", found
        completion = Completion(
            request=sequence.number, sample=sequence.sample, text=sequence.text.given, tokens=tuple(sequence.written),
            prompt=tuple(sequence.scored), instead=tuple(sequence.instead), finish=finish, stop=stop,
            stop_token=sequence.ended, error=error, prompt_tokens=len(sequence.request.prompt),
            cached_tokens=sequence.cached, proposed_tokens=sequence.proposed, accepted_tokens=sequence.accepted,
        )  # fmt: skip
        event = Event(request=sequence.number, sample=sequence.sample, token=token, text=text, completion=completion)
        self._events.append(event)

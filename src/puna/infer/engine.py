"""The engine: many requests at once, each answered as if it were alone.

A step is `schedule -> runner -> sample -> write down`. The scheduler says which positions of which sequences are
computed; the runner computes them all in one pass and gives logits where some are wanted; each of these becomes a
token, and the host learns all of them at once. Requests come and go between steps.

Company changes nothing: a runner that is `exact` computes the same bits for a row whatever stands beside it, a token is
drawn by a function of its own row (`sampling`), and everything else here is whole numbers.

An engine belongs to one thread.
"""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from typing import Literal, overload

import numpy as np
import torch

from puna.core.errors import GenerateError
from puna.infer.pages import Pages
from puna.infer.requests import Completion, Event, FinishReason, Request, Score, Token, check
from puna.infer.runner import Piece, Runner, rows_of
from puna.infer.sampling import NONE, Asked, answers, not_finite
from puna.infer.scheduler import Chunk, Scheduler, Sequence
from puna.infer.speculate import Drafter
from puna.infer.stops import Text
from puna.tokenizer.tokenizer import Tokenizer

MAX_ROWS = 256
"""Half of llama.cpp's `--ubatch-size`: enough rows for one reading of the weights that arithmetic takes the time, not
memory, and those who write wait half as long for the next token."""
MAX_REQUESTS = 64
"""Sequences whose rows of a step still leave most of `MAX_ROWS` to prompts."""


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
        self._drafter, self._max_rows, self._max_requests = drafter, max_rows, max_requests
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
            GenerateError: The model cannot serve it: the prompt is too long, or a token id is not in the vocabulary.
        """
        check(request, self.runner.config, longest=self.longest)
        if request.stop and self.tokenizer is None:
            raise GenerateError("stop has texts, but the model has no tokenizer to find them with")
        number, scored = self._next, []
        self._next += 1
        longest = min(len(request.prompt) + request.max_tokens, max(self.longest, len(request.prompt)))
        sequences = []
        for sample in range(request.n):
            text = Text(self.tokenizer, request.prompt, request.stop)
            sequences.append(Sequence(request, number, sample, list(request.prompt), longest, text, scored))
        self._open[number] = sequences
        self._scheduler.waiting += sequences
        return number

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

    def generate(self, requests: Iterable[Request]) -> list[Completion]:
        """The completions of all requests in their order, the samples of a request one after another.

        Raises:
            GenerateError: The model cannot serve one of them; then none is served.
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
            requests: What is asked.
            idle: Whether None comes after each step that told nothing, so that a reader can stop in a long prompt.

        Raises:
            GenerateError: The model cannot serve one of them; then none is served.
        """
        places: dict[int, int] = {}
        inbox: deque[Event] = deque()
        try:
            left = 0
            for place, request in enumerate(requests):
                number = self.add(request)
                places[number], self._inboxes[number] = place, inbox
                left += request.n
            while left:
                while not inbox:
                    self.step()
                    if idle and not inbox:
                        yield None
                event = inbox.popleft()
                place, completion = places[event.request], event.completion
                if completion is not None:
                    left -= 1
                    completion = replace(completion, request=place)
                yield replace(event, request=place, completion=completion)
        finally:
            for number in places:
                del self._inboxes[number]
                self.cancel(number)

    def score(self, pairs: Iterable[tuple[tuple[int, ...], tuple[int, ...]]], *, salt: str = "") -> list[Score]:
        """How likely each continuation is after its context; contexts that begin alike are computed once.

        Args:
            pairs: Token ids of context and continuation; a context has at least one, the beginning of sequence.
            salt: As `Request.salt`.

        Raises:
            GenerateError: A context is empty, a pair is longer than the model's context and one token more, or the
                model's scores are not finite numbers.
        """
        pairs = list(pairs)
        if any(not context for context, _ in pairs):
            raise GenerateError("context has no tokens, and a model needs at least one to continue")
        # In this order those that begin alike follow each other, so the pages of one are still there for the next.
        order = sorted((place for place, pair in enumerate(pairs) if pair[1]), key=lambda place: pairs[place])
        requests = (
            Request(prompt=(*first, *then), max_tokens=0, prompt_logprobs=1, scored_from=len(first), salt=salt)
            for first, then in (pairs[place] for place in order)
        )
        scores = [Score(logprobs=(), greedy=True)] * len(pairs)
        for place, completion in zip(order, self.generate(requests), strict=True):
            if completion.finish == "error":
                raise not_finite()
            logprobs = tuple(token.logprob for token in completion.prompt if token.logprob is not None)
            scores[place] = Score(logprobs=logprobs, greedy=all(t.id == t.best[0][0] for t in completion.prompt))
        return scores

    def _clear(self) -> None:
        """Begin with an empty cache and without sequences."""
        self._pages = Pages(self.runner.pages, self.runner.page_size)
        self._scheduler = Scheduler(
            self._pages, max_rows=self._max_rows, max_running=self._max_requests,
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
        asked: list[Asked] = []
        pieces = [self._piece(chunk, asked) for chunk in chunks]
        tokens: Iterator[Token] = iter(())
        if any(piece.tokens for piece in pieces):
            logits_WV = self.runner.logits(rows_of(pieces, self._tables))
            tokens = iter(answers(logits_WV, asked)) if asked else tokens
        for chunk, piece in zip(chunks, pieces, strict=True):
            self._write_down(chunk, [next(tokens) for _ in piece.wanted])

    def _piece(self, chunk: Chunk, asked: list[Asked]) -> Piece:
        """The rows of a chunk; what is asked of those that want logits is added to `asked`."""
        sequence, request = chunk.sequence, chunk.sequence.request
        start, end = sequence.computed, sequence.computed + chunk.count
        # The row of a position gives the logits of the token at the next one.
        scored = range(max(start, sequence.next_scored - 1), min(end, len(request.prompt) - 1))
        asked += [Asked(None, sequence.tokens[row + 1], request.prompt_logprobs) for row in scored]
        wanted = range(scored.start - start, scored.stop - start) if scored else range(0)
        if end == len(sequence.tokens) and chunk.count:
            drawn = range(len(chunk.drafts) + 1)
            asked += [Asked(sequence.draw(chunk.drafts[:row]), 0, request.logprobs) for row in drawn]
            wanted = range(wanted.start if scored else chunk.count - 1, chunk.count + len(chunk.drafts))
        return Piece(sequence.slot, start, sequence.tokens[start:end] + chunk.drafts, wanted)

    def _write_down(self, chunk: Chunk, tokens: list[Token]) -> None:
        """What a step found out about a sequence: log-probabilities of its prompt, then tokens of its text."""
        sequence, request = chunk.sequence, chunk.sequence.request
        drawn = len(chunk.drafts) + 1 if sequence.computed + chunk.count == len(sequence.tokens) and chunk.count else 0
        sequence.computed += chunk.count
        if any(token.id == NONE for token in tokens[: len(tokens) - drawn]):
            self._finish(sequence, "error", None, token=None, text="")
            return
        sequence.scored += tokens[: len(tokens) - drawn]
        if request.max_tokens == 0 and sequence.computed == sequence.target:
            self._finish(sequence, "length", None, token=None, text="")
            return
        sequence.proposed += len(chunk.drafts)
        for place, token in enumerate(tokens[len(tokens) - drawn :]):
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
        if token.id == NONE:
            self._finish(sequence, "error", None, token=None, text="")
            return True
        if token.id in sequence.request.stop_ids:
            self._finish(sequence, "stop", token.id, token=None, text="")
            return True
        sequence.tokens.append(token.id)
        sequence.written.append(token)
        text, stop = sequence.text.push(token.id)
        if stop is not None:
            self._finish(sequence, "stop", stop, token=token, text=text)
        elif len(sequence.tokens) >= sequence.longest:
            self._finish(sequence, "length", None, token=token, text=text)
        else:
            self._events.append(Event(request=sequence.number, sample=sequence.sample, token=token, text=text))
            return False
        return True

    def _finish(
        self, sequence: Sequence, finish: FinishReason, stop: str | int | None, *, token: Token | None, text: str
    ) -> None:
        """Give back what the sequence has, and tell its end."""
        self._scheduler.finish(sequence)
        self._open[sequence.number].remove(sequence)
        if not self._open[sequence.number]:
            del self._open[sequence.number]
        self._tell_end(sequence, finish, stop, token=token, text=text)

    def _tell_end(
        self, sequence: Sequence, finish: FinishReason, stop: str | int | None, *, token: Token | None, text: str
    ) -> None:
        """The last event of a sequence."""
        if not isinstance(stop, str):
            rest, found = sequence.text.finish()
            text += rest
            if found is not None:
                finish, stop = "stop", found
        completion = Completion(
            request=sequence.number, sample=sequence.sample, text=sequence.text.given, tokens=tuple(sequence.written),
            prompt=tuple(sequence.scored), finish=finish, stop=stop, prompt_tokens=len(sequence.request.prompt),
            cached_tokens=sequence.cached, proposed_tokens=sequence.proposed, accepted_tokens=sequence.accepted,
        )  # fmt: skip
        event = Event(request=sequence.number, sample=sequence.sample, token=token, text=text, completion=completion)
        self._events.append(event)

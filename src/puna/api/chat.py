"""A conversation with a model that goes on: each answer is streamed, and the next turn finds its beginning computed."""

import contextlib
import shlex
import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from puna.api.language_model import ANSWER_TOKENS
from puna.chat.conversation import Conversation
from puna.chat.template import template_for
from puna.core.console import say, warn
from puna.core.layout import RunDir
from puna.core.outdated import chat_is_outdated

if TYPE_CHECKING:
    from puna.api.language_model import LanguageModel
    from puna.api.recipes import PathLike
    from puna.infer.requests import Completion, Request, Sampling


def chatting(path: "PathLike") -> "PathLike":
    """The model to chat with at a path: of a run that has learned to chat since, the one that did, which is said.

    Args:
        path: As `puna.load` takes it.
    """
    if (tuned := tuned_since(path)) is None:
        return path
    run = RunDir(Path(path))
    say(f"{path}: {tuned} is the model that has learned to chat; {run.model} is the one before")
    warn_if_outdated(run)
    return tuned.root


def warn_if_outdated(run: RunDir) -> None:
    """Warn where the run inside of a run has learned to chat from other weights than the run's model has now."""
    if chat_is_outdated(run):
        again = shlex.join(["puna", "run", str(run.config), "--run-dir", str(run)])
        warn(f"{run.chat}: was tuned from other weights than {run.model} has now; `{again}` tunes these")


def tuned_since(path: "PathLike") -> RunDir | None:
    """The run inside of a finished run in which its model has learned to chat; None of everything else.

    Args:
        path: As `puna.load` takes it.
    """
    with contextlib.suppress(OSError):  # opening it gives the error in a sentence
        if (run := RunDir(Path(path))).has_model and run.chat.has_model:
            return run.chat
    return None


@dataclass(frozen=True)
class Answer:
    """What an answer took."""

    tokens: int
    """Those that were written."""
    first_s: float
    """Seconds from the turn to the first token: the time in which the model read the turn."""
    rest_s: float
    """Seconds from the first token to the last."""
    prompt_tokens: int
    """What the model read, the turns before this one included."""
    cached_tokens: int | None
    """Of these, known from earlier turns and not computed again; None where the answer was stopped."""
    context: int
    """Tokens that the model can read and write."""

    def __str__(self) -> str:
        words = f"{self.tokens:,} token{'s' * (self.tokens != 1)}"
        if self.tokens > 1 and self.rest_s > 0:
            words += f", {(self.tokens - 1) / self.rest_s:.1f}/s"
        words += f", the first after {self.first_s:.2f} s"
        words += f"; context {self.prompt_tokens + self.tokens:,} of {self.context:,}"
        return words if self.cached_tokens is None else f"{words}, {self.cached_tokens:,} of it reused"


class Chat:
    """A conversation with a model.

    Args:
        model: Who answers. A model without a chat template continues the text of all turns.
        system: The system prompt; empty for none.
        max_tokens: Tokens of an answer at most.
        sampling: How answers are drawn; the seed is that of the first answer, and the next have the next seeds.

    Raises:
        CheckpointError: The model has no tokenizer.
        GenerateError: A value is out of range.
    """

    def __init__(
        self, model: "LanguageModel", *, system: str = "", max_tokens: int = ANSWER_TOKENS, sampling: "Sampling"
    ) -> None:
        self._model, self._max_tokens, self._sampling = model, max_tokens, sampling
        template = template_for(model.chat_template, model.tokenizer)
        self._end = template.turn_end
        self.conversation = Conversation(template, model.engine.longest, system)
        """The turns; they may be changed between answers."""
        self.last: Answer | None = None
        """What the last answer took."""
        self._answers = 0

    def say(self, text: str) -> Generator[str]:
        """Say something; the answer in pieces, each as soon as its characters are whole.

        Empty pieces come while the model reads, one for each of its steps. An iterator that is closed before its end
        stops the answer; what was written by then is in the conversation. Where nothing was, the turn is taken back.

        Args:
            text: The user's turn.

        Raises:
            GenerateError: The turn cannot be read; the conversation is as before.
        """
        return self._answer(self._request(self.conversation.ask(text, self._max_tokens)))

    def summary(self) -> str:
        """What the last answer took, in words; empty before the first."""
        return str(self.last or "")

    def _request(self, ids: list[int]) -> "Request":
        from puna.infer.requests import LARGEST_SEED, Request

        seed = (self._sampling.seed + self._answers) % (LARGEST_SEED + 1)
        self._answers += 1
        return Request(
            prompt=tuple(ids), max_tokens=self._max_tokens, sampling=replace(self._sampling, seed=seed),
            stop_ids=self._end.tokens.union(self._model.tokenizer.stops), stop=self._end.texts,
            adapter=self._model.adapter,
        )  # fmt: skip

    def _answer(self, request: "Request") -> Generator[str]:
        engine, conversation = self._model.engine, self.conversation
        began = first = last = time.perf_counter()
        written, tokens = "", 0
        completion: Completion | None = None
        try:
            with contextlib.closing(engine.stream([request], idle=True)) as events:
                for event in events:
                    last = time.perf_counter()
                    if event is None:
                        yield ""
                        continue
                    tokens += event.token is not None
                    first = last if tokens <= 1 else first
                    written += event.text
                    completion = event.completion
                    yield event.text
        finally:
            if written or completion is not None:
                conversation.answer(written)
            else:
                conversation.undo()
            cached = completion.cached_tokens if completion is not None else None
            self.last = Answer(tokens, first - began, last - first, len(request.prompt), cached, engine.longest)

"""A model in this process, asked by the engine."""

from collections.abc import Sequence
from dataclasses import replace

from puna.evaluate.backend import Pair
from puna.evaluate.example import Written
from puna.infer.engine import Engine
from puna.infer.requests import Request, Score
from puna.infer.sampling import not_finite
from puna.tokenizer.tokenizer import Tokenizer

ROWS = 1024
"""Positions of a step: nobody waits for the next token, and four times the engine's own number read prompts an eighth
faster."""


class LocalBackend:
    """Implements `puna.evaluate.backend.Backend`.

    Args:
        engine: Answers; it has the tokenizer too where texts end at stop strings.
        tokenizer: The model's.
        adapter: As `Request.adapter`, of all that is asked.
    """

    def __init__(self, engine: Engine, tokenizer: Tokenizer, adapter: str = "") -> None:
        self._engine, self.tokenizer, self._adapter = engine, tokenizer, adapter
        self.title = engine.runner.title
        self.longest = engine.longest
        self.exact = engine.runner.exact

    def score(self, pairs: Sequence[Pair]) -> list[Score]:
        """How likely each continuation is.

        Raises:
            GenerateError: A pair is longer than the model's context and one token more, or the model's scores are not
                finite numbers.
        """
        return self._engine.score(pairs, adapter=self._adapter)

    def write(self, requests: Sequence[Request]) -> list[list[Written]]:
        """The samples of each request.

        Raises:
            GenerateError: The model cannot serve one of them, or its scores are not finite numbers.
        """
        written: list[list[Written]] = [[] for _ in requests]
        if self._adapter:
            requests = [replace(request, adapter=self._adapter) for request in requests]
        for completion in self._engine.generate(requests):
            if completion.finish == "error":
                raise not_finite()
            written[completion.request].append(
                Written(text=completion.text, tokens=len(completion.tokens), finish=completion.finish)
            )
        return written

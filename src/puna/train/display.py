"""What a person sees while training: a bar with rate and time left, or a line now and then where stderr is a file."""

import contextlib
import sys
import time
from types import TracebackType
from typing import Self

from puna.config.recipe import Recipe
from puna.core.console import progress, say
from puna.core.units import format_count, format_duration

_LINE_INTERVAL_S = 10.0


class Display:
    """The progress of the steps."""

    def __init__(self, recipe: Recipe, first_step: int) -> None:
        self._recipe = recipe
        self._first_step = first_step
        self._started = time.monotonic()
        self._last_line = 0.0
        self._stack = contextlib.ExitStack()
        self._on_terminal = sys.stderr.isatty()

    def __enter__(self) -> Self:
        if self._on_terminal:
            steps = self._recipe.total_steps - self._first_step
            self._advance = self._stack.enter_context(
                progress(f"train {self._recipe.name}", steps * self._recipe.train.batch_tokens, "tokens")
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def advance(self) -> None:
        """One step is done."""
        if self._on_terminal:
            self._advance(self._recipe.train.batch_tokens)

    def log(self, step: int, loss: float, lr: float, tokens_per_second: float) -> None:
        """Say how training stands, every ten seconds at most."""
        now = time.monotonic()
        total = self._recipe.total_steps
        if now - self._last_line < _LINE_INTERVAL_S and step != total:
            return
        self._last_line = now
        left = (total - step) * (now - self._started) / max(1, step - self._first_step)
        say(
            f"step {step}/{total}  loss {loss:.3f}  lr {lr:.2e}  {format_count(tokens_per_second)} tokens/s  "
            f"{format_duration(left)} left"
        )

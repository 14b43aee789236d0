"""The display for people during training: a moving picture, or a line now and then if stderr is a file."""

import contextlib
import sys
import time
from types import TracebackType
from typing import Self

from puna.config.recipe import Recipe
from puna.core.console import console, say
from puna.core.schema.lines import (
    CheckpointLine,
    EvaluationLine,
    Line,
    RollbackLine,
    SampleLine,
    SkippedLine,
    TrainLine,
    ValidationLine,
)
from puna.core.units import format_count, format_duration
from puna.train.dashboard import Dashboard
from puna.train.session import Listener, Outcome, Session

_LINE_INTERVAL_S = 10.0
_PICTURES_PER_S = 4


class Display(Listener):
    """The progress of the steps; messages and other progress appear beside it.

    Args:
        recipe: What is trained.
        first_step: Steps done before this session.
    """

    def __init__(self, recipe: Recipe, first_step: int) -> None:
        self._recipe = recipe
        self._pace = _Pace()
        self._last_line = 0.0
        self._stack = contextlib.ExitStack()
        self._dashboard = Dashboard(recipe, first_step)
        self._drawn = sys.stderr.isatty() and not console().is_dumb_terminal

    def __enter__(self) -> Self:
        if self._drawn:
            from rich.live import Live

            # stdout stays free for data.
            live = Live(self._dashboard, console=console(), refresh_per_second=_PICTURES_PER_S, redirect_stdout=False)
            self._stack.enter_context(live)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def stepped(self, session: Session, outcome: Outcome) -> None:
        """Call it when a step is done and its line, if it was due, is logged."""
        self._pace.step()
        self._dashboard.step += 1
        self._dashboard.seconds_left = self._pace.seconds(self._recipe.total_steps - self._dashboard.step)

    def recorded(self, session: Session, line: Line) -> None:
        """Show a line of the metrics; a file gets one `train` line every ten seconds at most, and the last one."""
        if not isinstance(line, TrainLine):
            self._pace.begin()
        if isinstance(line, TrainLine):
            self._log(line)
        elif isinstance(line, ValidationLine):
            self._dashboard.validated(line)
        elif isinstance(line, EvaluationLine):
            self._dashboard.evaluated(line)
        elif isinstance(line, SampleLine):
            self._dashboard.sampled(line)
        elif isinstance(line, SkippedLine):
            self._event(f"step {line.step}: batch left out: {line.reason}")
        elif isinstance(line, RollbackLine):
            self._event(f"back from step {line.from_step} to {line.step}: {line.reason}")
        elif isinstance(line, CheckpointLine):
            self._event(f"step {line.step}: checkpoint, training stood still for {line.seconds:.2f} s")

    def _log(self, line: TrainLine) -> None:
        if line.step <= self._dashboard.step:  # the run went back to a checkpoint
            self._dashboard.step = line.step - 1
        self._dashboard.log(line)
        if not self._drawn:
            self._say(line)

    def _event(self, text: str) -> None:
        """Show what happened beside the steps."""
        if self._drawn:
            self._dashboard.event(text)
        else:
            say(text)

    def _say(self, line: TrainLine) -> None:
        now, step, total = time.monotonic(), line.step, self._recipe.total_steps
        if now - self._last_line < _LINE_INTERVAL_S and step != total:
            return
        self._last_line = now
        facts = [
            f"step {step}/{total}",
            f"loss {line.loss:.3f}",
            f"lr {line.lr:.2e}",
            f"{format_count(line.tokens_per_second)} tokens/s",
        ]
        if line.mfu:
            facts.append(f"MFU {line.mfu['causal']:.1%}")
        if line.data_wait is not None:
            facts.append(f"data wait {line.data_wait:.1%}")
        left = self._pace.seconds(total - step)
        if left is not None:
            facts.append(f"{format_duration(left)} left")
        say("  ".join(facts))


class _Pace:
    """Time of the steps, with all between them; the first one, which may compile, counts until a second is done."""

    def __init__(self) -> None:
        self._steps = 0
        self._began = self._first = self._last = time.monotonic()

    def begin(self) -> None:
        """Count from now on, where no step has ended yet: what was measured before the first one comes once only."""
        if not self._steps:
            self._began = self._first = self._last = time.monotonic()

    def step(self) -> None:
        """Count a step that has just ended."""
        self._steps += 1
        self._last = time.monotonic()
        if self._steps == 1:
            self._first = self._last

    def seconds(self, steps: int) -> float | None:
        """How long this number of steps will take; None before the first one is done."""
        if self._steps < 2:
            return (self._last - self._began) * steps if self._steps else None
        return (self._last - self._first) / (self._steps - 1) * steps

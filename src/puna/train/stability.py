"""Which steps of a run are fit to learn from: finite, and not far above those before them.

OLMo 2 (section 3) leaves out a step whose loss or gradient norm lies six standard deviations above the mean of the last
128 steps. Here a step that is left out does not enter the window, so repeated spikes cannot raise the threshold.

A run gives up when too many of its last steps were left out, or when it went back to one checkpoint too often. Neither
count is reset by a single fine step, or by the return itself: only steps that are learned from bring a run on.
"""

import math
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from puna.config.commands import new_run_from, train_command
from puna.config.recipe import Recipe, StabilityConfig
from puna.core.errors import TrainError
from puna.core.layout import RunDir


@dataclass(frozen=True)
class Verdict:
    """The judgement of one step."""

    kind: Literal["fine", "spike", "not_finite"]
    sentence: str = ""
    """What is wrong, as a sentence; empty if nothing is."""

    @property
    def fine(self) -> bool:
        """Whether the step may change the weights."""
        return self.kind == "fine"


FINE = Verdict("fine")


def ways_on(recipe: Recipe, run: RunDir | None, checkpoint: Path | None) -> str:
    """The hint of a run that gives up: commands that a user can type, with half the learning rate.

    Args:
        recipe: What it trains.
        run: Its directory; None of a session that has none.
        checkpoint: Its newest checkpoint; None where it has none yet.
    """
    lower = f"optim.lr={recipe.optim.lr / 2:g}"
    skips = recipe.stability.action != "stop"
    if run is None:
        return f"lower the learning rate: {lower}"
    if checkpoint is None:
        again = f"`{train_command(recipe, '--force', lower)}` starts again with half the learning rate"
        return again if skips else f"{again}; stability.action=skip in its place leaves such batches out"
    new = (
        f"`{train_command(recipe, *new_run_from(recipe, run, checkpoint), lower)}` begins a new run with the newest "
        "checkpoint's weights and half the learning rate"
    )
    skips_on = train_command(recipe, "--resume", "stability.action=skip")
    skip = f"`{skips_on}` goes on from the newest checkpoint and leaves such batches out; "
    return new if skips else skip + new


class Monitor:
    """Judges each step by the fine ones before it.

    Args:
        config: The recipe's section.
        history: `history` of the monitor that this one replaces; only the last steps that fit the window are used.
        recent: Its `recent`.
    """

    def __init__(
        self, config: StabilityConfig, history: list[list[float]] | None = None, recent: list[bool] | None = None
    ) -> None:
        self._config = config
        self._window = deque((tuple(pair) for pair in history or []), maxlen=config.window)
        # A short window still holds one more than may be left out.
        self._recent = deque(recent or [], maxlen=max(config.window, config.most + 1))

    @property
    def history(self) -> list[list[float]]:
        """Loss and gradient norm of the fine steps in the window, oldest first; JSON keeps them exactly."""
        return [list(pair) for pair in self._window]

    @property
    def recent(self) -> list[bool]:
        """Whether each of the last steps was fine, oldest first; steps that a return to a checkpoint undid, too."""
        return list(self._recent)

    def judge(self, loss: float, norm: float) -> Verdict:
        """Whether a step is fit to learn from, before it changes the weights.

        Args:
            loss: Mean loss of the batch in nats.
            norm: Norm of its gradient before clipping.

        Raises:
            TrainError: More than `most` of the last batches were not fit.
        """
        verdict = self._verdict(loss, norm)
        self._recent.append(verdict.fine)
        if verdict.fine:
            self._window.append((loss, norm))
            return verdict
        unfit = self._recent.count(False)
        if unfit > self._config.most:
            raise TrainError(
                f"{unfit} of the last {len(self._recent)} batches were not fit to learn from, more than stability.most "
                f"= {self._config.most}; of the last one, {verdict.sentence}",
            )
        return verdict

    def check_returns(self, returns: int, step: int) -> None:
        """Give up where the run has gone back to one checkpoint too often.

        Args:
            returns: How often it has, this time included.
            step: The checkpoint's.

        Raises:
            TrainError: More often than `most` times.
        """
        if returns > self._config.most:
            raise TrainError(
                f"step {step}: the run went back to this checkpoint {returns - 1} times and did not reach the next "
                f"one; stability.most = {self._config.most}"
            )

    def _verdict(self, loss: float, norm: float) -> Verdict:
        if not math.isfinite(loss) or not math.isfinite(norm):
            return Verdict("not_finite", f"the loss is {loss:g} and the gradient's norm {norm:g}")
        if self._config.action == "stop" or len(self._window) < self._config.window:
            return FINE
        losses, norms = zip(*self._window, strict=True)
        for name, value, before in (("loss", loss, losses), ("gradient's norm", norm, norms)):
            limit = self._limit(before)
            if value > limit:
                return Verdict(
                    "spike",
                    f"the {name} is {value:g}, above {limit:g}, which is {self._config.deviations:g} standard "
                    f"deviations over the mean of {len(before)} steps",
                )
        return FINE

    def _limit(self, values: tuple[float, ...]) -> float:
        """The largest value that does not count as a spike after these."""
        mean = math.fsum(values) / len(values)
        # hypot squares without overflow.
        deviation = math.hypot(*(value - mean for value in values)) / math.sqrt(len(values) - 1)
        return mean + self._config.deviations * deviation

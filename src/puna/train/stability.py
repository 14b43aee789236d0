"""Which steps of a run are fit to learn from: finite, and not far above those before them.

OLMo 2 (section 3) leaves out a step whose loss or gradient norm lies six standard deviations above the mean of the last
128 steps. Here a step that is left out does not enter the window, so repeated spikes cannot raise the threshold.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Literal

from puna.config.recipe import StabilityConfig
from puna.core.errors import TrainError


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


class Monitor:
    """Judges each step by the fine ones before it.

    Args:
        config: The recipe's section.
        history: `history` of the monitor that this one replaces; only the last steps that fit the window are used.
        consecutive: How many batches the replaced monitor had left out since its last fine step.
    """

    def __init__(self, config: StabilityConfig, history: list[list[float]] | None = None, consecutive: int = 0) -> None:
        self._config = config
        self._window = deque((tuple(pair) for pair in history or []), maxlen=config.window)
        self.consecutive = consecutive
        """Steps that were not fine since the last one that was."""

    @property
    def history(self) -> list[list[float]]:
        """Loss and gradient norm of the fine steps in the window, oldest first; JSON keeps them exactly."""
        return [list(pair) for pair in self._window]

    def judge(self, loss: float, norm: float) -> Verdict:
        """Whether a step is fit to learn from, before it changes the weights.

        Args:
            loss: Mean loss of the batch in nats.
            norm: Norm of its gradient before clipping.

        Raises:
            TrainError: More than `most` batches one after another were not fit.
        """
        verdict = self._verdict(loss, norm)
        if verdict.fine:
            self._window.append((loss, norm))
            self.consecutive = 0
            return verdict
        self.consecutive += 1
        if self.consecutive > self._config.most:
            raise TrainError(
                f"{self.consecutive} batches one after another were not fit to learn from, more than stability.most = "
                f"{self._config.most}; of the last one, {verdict.sentence}",
                hint="lower optim.lr, or start from an older checkpoint",
            )
        return verdict

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

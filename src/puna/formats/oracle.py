"""What exports owe to other implementations that run them.

Two implementations take the sums of a decoder in another order, and each rounds to float32 after every operation. How
far apart that brings them follows from the numbers:

- A sum of n products is off by about u sqrt(n) of its own size, u = 2^-24 (Higham and Mary 2019, theorem 2.4: rounding
  errors are as good as independent). Three sums of `dim` terms and one of `ffn_dim` follow one another in a layer, and
  one of `dim` after the last. A rotary angle at position T is off by about u T.
- Errors of independent roundings add as squares: all together are u sqrt(L (3 dim + ffn_dim + T^2) + dim) of the
  logits' spread, their standard deviation within a distribution.
- Of N values that are compared, the largest is about sqrt(2 ln N) times as far off as the typical one.
- A value of size m cannot be stored closer than u m, on either side.

No constant is fitted; both implementations err, which is the factor sqrt(2).
"""

import math
from dataclasses import dataclass

from torch import Tensor

from puna.config.recipe import ModelConfig
from puna.core.schema.export import OracleResults

_UNIT = 2.0**-24
"""Half a unit in the last place of float32."""


@dataclass
class Difference:
    """Compares logits, row by row, and says how far apart they are and may be.

    Args:
        config: The decoder.
        length: Positions of a row, T.
    """

    config: ModelConfig
    length: int
    largest: float = 0.0
    """Largest difference of a logit, or of a log probability; infinite where one is not a number."""
    _count: int = 0
    _squares: float = 0.0
    _size: float = 0.0

    def add(self, ours_TV: Tensor, theirs_TV: Tensor) -> None:
        """Compare the values of one row."""
        difference = (ours_TV.double() - theirs_TV.double()).abs().max().item()
        self.largest = max(self.largest, math.inf if math.isnan(difference) else difference)
        centred_TV = ours_TV.double() - ours_TV.double().mean(-1, keepdim=True)
        self._squares += centred_TV.square().sum().item()
        self._count += ours_TV.numel()
        self._size = max(self._size, ours_TV.abs().max().item())

    @property
    def allowed(self) -> float:
        """The largest difference that rounding explains."""
        c = self.config
        terms = c.n_layers * (3 * c.dim + c.ffn_dim + self.length**2) + c.dim
        spread = math.sqrt(self._squares / self._count)
        furthest = math.sqrt(2 * math.log(self._count))
        return _UNIT * (math.sqrt(2 * terms) * spread * furthest + 2 * self._size)


def not_asked(reason: str) -> OracleResults:
    """No implementation has run the export, and why."""
    return OracleResults(oracle=None, oracle_missing=reason, logits_max_abs_difference=None)

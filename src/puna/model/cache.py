"""Keys and values of the positions that were computed already, so that each new token costs one position."""

from torch import Tensor

from puna.config.recipe import ModelConfig


class KVCache:
    """Room for the keys and values of one layer, allocated once, when the first ones come.

    Args:
        length: Positions at most.
    """

    def __init__(self, length: int) -> None:
        self._room = length
        self._k_BKSH: Tensor | None = None
        self._v_BKSH: Tensor | None = None
        self.length = 0
        """How many positions it holds."""

    def update(self, k_BKTH: Tensor, v_BKTH: Tensor) -> tuple[Tensor, Tensor]:
        """Append T positions; returns all keys and all values so far, (B, K, S, H) each."""
        if self._k_BKSH is None or self._v_BKSH is None:
            batch, heads, _, width = k_BKTH.shape
            self._k_BKSH = k_BKTH.new_empty(batch, heads, self._room, width)
            self._v_BKSH = v_BKTH.new_empty(batch, heads, self._room, width)
        end = self.length + k_BKTH.shape[2]
        self._k_BKSH[:, :, self.length : end] = k_BKTH
        self._v_BKSH[:, :, self.length : end] = v_BKTH
        self.length = end
        return self._k_BKSH[:, :, :end], self._v_BKSH[:, :, :end]


def new_caches(config: ModelConfig, length: int) -> list[KVCache]:
    """An empty cache for every layer, with room for `length` positions."""
    return [KVCache(length) for _ in range(config.n_layers)]

"""Keys and values of the positions that were computed already, so that each new token costs one position."""

import torch
from torch import Tensor

from puna.config.recipe import ModelConfig


class KVCache:
    """Room for the keys and values of one layer, allocated once.

    Args:
        batch: Sequences (B).
        length: Positions at most.
        config: Heads and their width.
        device: Where the weights are.
        dtype: The weights' dtype.
    """

    def __init__(self, batch: int, length: int, config: ModelConfig, device: torch.device, dtype: torch.dtype) -> None:
        shape = (batch, config.n_kv_heads, length, config.head_dim)
        self._k_BKSH = torch.empty(shape, device=device, dtype=dtype)
        self._v_BKSH = torch.empty(shape, device=device, dtype=dtype)
        self.length = 0
        """Positions held."""

    def update(self, k_BKTH: Tensor, v_BKTH: Tensor) -> tuple[Tensor, Tensor]:
        """Append T positions; returns all keys and all values so far, (B, K, S, H) each."""
        end = self.length + k_BKTH.shape[2]
        self._k_BKSH[:, :, self.length : end] = k_BKTH
        self._v_BKSH[:, :, self.length : end] = v_BKTH
        self.length = end
        return self._k_BKSH[:, :, :end], self._v_BKSH[:, :, :end]


def new_caches(config: ModelConfig, batch: int, length: int, device: torch.device, dtype: torch.dtype) -> list[KVCache]:
    """An empty cache for every layer."""
    return [KVCache(batch, length, config, device, dtype) for _ in range(config.n_layers)]

"""Keys and values of the tokens seen so far, so that decoding computes each position once.

One pair of tensors (B, K, C, H) per layer, allocated whole for the capacity C; nothing is copied as it fills.
"""

import torch
from torch import Tensor

from puna.config.recipe import ModelConfig


class LayerCache:
    """One layer's keys and values."""

    def __init__(self, shape: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device) -> None:
        self.keys_BKCH = torch.zeros(shape, dtype=dtype, device=device)
        self.values_BKCH = torch.zeros(shape, dtype=dtype, device=device)
        self.length = 0
        """Tokens held."""

    def append(self, k_BKTH: Tensor, v_BKTH: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, K, S, H) of all tokens held, after these have been added.

        Raises:
            ValueError: The capacity is exceeded.
        """
        start, end = self.length, self.length + k_BKTH.shape[2]
        if end > self.keys_BKCH.shape[2]:
            raise ValueError(f"the cache holds {self.keys_BKCH.shape[2]} tokens, {end} were fed")
        self.keys_BKCH[:, :, start:end] = k_BKTH
        self.values_BKCH[:, :, start:end] = v_BKTH
        self.length = end
        return self.keys_BKCH[:, :, :end], self.values_BKCH[:, :, :end]


class KVCache:
    """The whole decoder's keys and values.

    Args:
        config: The decoder's shape.
        batch: Sequences that are decoded side by side (B).
        capacity: Tokens of each that it can hold (C).
        dtype: The dtype of keys and values: that of the weights, or autocast's.
        device: Where the model is.
    """

    def __init__(
        self, config: ModelConfig, batch: int, capacity: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        shape = (batch, config.n_kv_heads, capacity, config.head_dim)
        self.layers = [LayerCache(shape, dtype, device) for _ in range(config.n_layers)]

    @property
    def length(self) -> int:
        """Tokens held, and so the position of the next one."""
        return self.layers[0].length

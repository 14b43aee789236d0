"""Adapters: low-rank updates of a model's linear layers, and parameters that were trained whole.

A layer with an update computes W x + scale B A x (LoRA, Hu et al. 2022); with magnitudes, each output of that is
scaled to a norm of its own, m (W x + scale B A x) / |W + scale B A| (DoRA, Liu et al. 2024). Names are those of the
decoder (`layers.0.attention.wq`), rotary halves are those of the decoder too, so that PEFT's files need no permutation.

Shapes in names: R rank   I inputs   O outputs
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from puna.config.finetune import LoraConfig
from puna.config.model import ModelConfig
from puna.core.errors import CheckpointError
from puna.model.llama import Llama


@dataclass(frozen=True, kw_only=True)
class LowRank:
    """The update of one linear layer."""

    a_RI: Tensor
    b_OR: Tensor
    scale: float
    """alpha / rank, or alpha / sqrt(rank) where it is rank-stabilised."""
    magnitude_O: Tensor | None = None
    """DoRA's norms of the rows of the updated weight; None without it."""

    @property
    def rank(self) -> int:
        """Rows of A and columns of B."""
        return self.a_RI.shape[0]

    def merged(self, weight_OI: Tensor) -> Tensor:
        """The updated weight, in float32."""
        updated_OI = weight_OI.float() + self.scale * (self.b_OR.float() @ self.a_RI.float())
        if self.magnitude_O is None:
            return updated_OI
        norms_O1 = torch.linalg.vector_norm(updated_OI, dim=1, keepdim=True)
        return updated_OI * (self.magnitude_O.float()[:, None] / norms_O1)


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """All updates of a model."""

    updates: dict[str, LowRank]
    """By the name of the linear layer."""
    whole: dict[str, Tensor] = field(default_factory=dict)
    """Parameters that take the place of the model's, by their names, such as embeddings with new tokens."""
    base: str = ""
    """The model that it was trained on, as it was named; empty where that is not known."""
    base_sha256: str = ""
    """The hash of that model's weights; empty where that is not known."""

    def check(self, config: ModelConfig, where: str) -> None:
        """Refuse an adapter of another decoder.

        Args:
            config: The decoder that it is to change.
            where: What to call the adapter in the error.

        Raises:
            CheckpointError: The decoder lacks a layer or a parameter of it, or has it in another shape.
        """
        with torch.device("meta"):
            shapes = {name: tuple(weight.shape) for name, weight in Llama(config).named_parameters()}
        if config.tie_embeddings:
            shapes["output.weight"] = shapes["tok_embeddings.weight"]
        found = {name: tuple(tensor.shape) for name, tensor in self.whole.items()}
        for layer, update in self.updates.items():
            found[f"{layer}.weight"] = (update.b_OR.shape[0], update.a_RI.shape[1])
        for name, shape in found.items():
            if name not in shapes:
                raise CheckpointError(f"{where}: changes {name}, which the model does not have")
            if shape != shapes[name]:
                raise CheckpointError(
                    f"{where}: is of another model, it makes {name} {list(shape)}, but it is {list(shapes[name])}"
                )


def scale_of(config: LoraConfig) -> float:
    """What the product of B and A is multiplied by: alpha / rank, or alpha / sqrt(rank)."""
    return config.alpha / (math.sqrt(config.rank) if config.rank_stabilised else config.rank)

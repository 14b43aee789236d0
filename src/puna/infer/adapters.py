"""Adapters as runners compute them: what they add to the products of a model's linear layers, which stay as they are.

So one model in memory, quantized or not, answers with any number of adapters at once, each request with its own.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from puna.config.recipe import ModelConfig
from puna.core.errors import GenerateError
from puna.infer.part import PartSource
from puna.infer.source import Source
from puna.model.adapter import Adapter, LowRank
from puna.ops.low_rank import LowRankProduct

Products: TypeAlias = Mapping[str, LowRankProduct]
"""What an adapter adds, by the names of linear layers: `layers.0.attention.wq`, `output`."""


def linear_shapes(config: ModelConfig) -> dict[str, tuple[int, int]]:
    """Outputs and inputs of all linear layers of a decoder, by their names."""
    queries, keys = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
    of_block = {
        "attention.wq": (queries, config.dim),
        "attention.wk": (keys, config.dim),
        "attention.wv": (keys, config.dim),
        "attention.wo": (config.dim, queries),
        "feed_forward.w1": (config.ffn_dim, config.dim),
        "feed_forward.w2": (config.dim, config.ffn_dim),
        "feed_forward.w3": (config.ffn_dim, config.dim),
    }
    shapes = {f"layers.{i}.{name}": shape for i in range(config.n_layers) for name, shape in of_block.items()}
    return shapes | {"output": (config.vocab_size, config.dim)}


def _as_stored(source: Source, name: str) -> Tensor:
    return source.tensor(name)


def products_of(
    adapter: Adapter, source: Source, *, name: str, kept: Callable[[Source, str], Tensor] = _as_stored
) -> dict[str, LowRankProduct]:
    """What an adapter adds to a model's layers.

    Args:
        adapter: The updates.
        source: The model, or this process's part of it.
        name: The adapter's, for errors.
        kept: Gives a weight as the runner keeps it, perhaps in fewer bits: norms of DoRA are those of what computes.

    Raises:
        GenerateError: The adapter has parameters that were trained whole.
        CheckpointError: It is not of this model.
    """
    whole = source.source if isinstance(source, PartSource) else source
    if adapter.whole:
        raise GenerateError(
            f"adapter {name}: {min(adapter.whole)} was trained whole, and a model's own parameters cannot be another's "
            "from request to request",
            hint="merge the adapter into the model, and take the result",
        )
    adapter.check(whole.config, f"adapter {name}")
    found = {}
    for layer, update in adapter.updates.items():
        product = _product(update, whole, layer, kept)
        found[layer] = source.part_of_product(layer, product) if isinstance(source, PartSource) else product
    return found


def _product(
    update: LowRank, source: Source, layer: str, kept: Callable[[Source, str], Tensor]
) -> LowRankProduct:  # fmt: skip
    factors_O = None
    if update.magnitude_O is not None:
        tied = layer == "output" and source.config.tie_embeddings
        weight_OI = kept(source, "tok_embeddings.weight" if tied else f"{layer}.weight")
        updated_OI = weight_OI.float() + update.scale * (update.b_OR.float() @ update.a_RI.float())
        factors_O = update.magnitude_O.float() / torch.linalg.vector_norm(updated_OI, dim=1)
    return LowRankProduct(down_RI=update.a_RI.float(), up_OR=update.scale * update.b_OR.float(), factors_O=factors_O)

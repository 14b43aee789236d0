"""The decoder run from a checkpoint one block at a time, in float32, so that the whole model is never in memory."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from puna.formats.checkpoint import Checkpoint
from puna.model.llama import Llama, rope_table


@torch.no_grad()
def last_states(checkpoint: Checkpoint, tokens_BT: Tensor, advance: Callable[[int], None]) -> Tensor:
    """The normalised stream before the output layer, (B, T, D), in float32.

    Args:
        checkpoint: The weights; those of one block are in memory at a time.
        tokens_BT: Token ids, beginning at position 0.
        advance: Called with 1 after each block.
    """
    config = checkpoint.config
    with torch.device("meta"):
        model = Llama(config)
    positions_T = torch.arange(tokens_BT.shape[1])
    cos, sin = rope_table(positions_T, config.head_dim, config.rope_theta, config.rope_scaling)
    x_BTD = checkpoint.tensor("tok_embeddings.weight")[tokens_BT].float()
    for layer, block in enumerate(model.blocks()):
        _fill(block, checkpoint, f"layers.{layer}.")
        x_BTD = block(x_BTD, cos, sin)
        block.to("meta")
        advance(1)
    _fill(model.norm, checkpoint, "norm.")
    return model.norm(x_BTD)


@torch.no_grad()
def logits_by_row(checkpoint: Checkpoint, x_BTD: Tensor) -> Iterator[Tensor]:
    """Logits (T, V) in float32 of each sequence in turn."""
    tied = checkpoint.config.tie_embeddings
    output_VD = checkpoint.tensor("tok_embeddings.weight" if tied else "output.weight").float()
    for x_TD in x_BTD:
        yield x_TD @ output_VD.T


def _fill(module: nn.Module, checkpoint: Checkpoint, prefix: str) -> None:
    names = [name for name, _ in module.named_parameters()]
    module.load_state_dict({name: checkpoint.tensor(prefix + name).float() for name in names}, assign=True)

"""Loss and bits per byte of the held-out documents, per source.

Bits per byte is the negative log2-likelihood of the text divided by its UTF-8 bytes; unlike the loss it compares
across tokenizers. Text is read in windows of the model's context that do not overlap, so a token sees half a context
before it on average. The end of a document is predicted and counted; the beginning-of-sequence token is not.
"""

import math
from dataclasses import dataclass

import torch

from puna.core.console import progress
from puna.data.heldout import heldout_batches
from puna.data.shards import TokenShards
from puna.model.llama import Llama
from puna.ops.cross_entropy import token_losses


@dataclass(frozen=True)
class Validation:
    """One number per source."""

    loss: dict[str, float]
    """Mean negative log-likelihood, nats per token."""
    bits_per_byte: dict[str, float]


@torch.no_grad()
def validate(
    model: Llama,
    heldout: dict[str, TokenShards],
    token_bytes: list[int],
    *,
    max_tokens: int | None,
    micro_batch_tokens: int,
    chunk_tokens: int,
    autocast: torch.autocast,
) -> Validation:
    """Loss and bits per byte of each source.

    Args:
        model: Runs eagerly here, because shapes differ from training's and compiling again would cost more.
        heldout: The held-out shards by source.
        token_bytes: Bytes of text that each token id stands for.
        max_tokens: Tokens per source at most, spread evenly; None for all.
        micro_batch_tokens: Tokens per forward pass.
        chunk_tokens: Tokens whose logits exist at one time.
        autocast: The context of the forward pass.
    """
    device = model.tok_embeddings.weight.device
    context = model.config.context
    rows = max(1, micro_batch_tokens // context)
    loss, bits = {}, {}
    for source, shards in heldout.items():
        nats = n_tokens = n_bytes = 0.0
        total = min(shards.tokens, max_tokens or shards.tokens)
        with torch.compiler.set_stance("force_eager"), progress(f"validate {source}", total, "tokens") as advance:
            for batch in heldout_batches(shards, context, rows, token_bytes, max_tokens=max_tokens):
                tokens_BT = torch.from_numpy(batch.inputs_BT).to(device)
                targets_N = torch.from_numpy(batch.targets_BT).to(device).flatten()
                with autocast:
                    x_BTD = model.hidden(tokens_BT)
                    losses_N = token_losses(x_BTD.flatten(0, 1), model.output.weight, targets_N, chunk_tokens)
                nats += losses_N.double().sum().item()
                n_tokens += int((batch.targets_BT >= 0).sum())
                n_bytes += int(batch.bytes_BT.sum())
                advance(tokens_BT.numel())
        loss[source] = nats / n_tokens
        bits[source] = nats / math.log(2) / n_bytes
    return Validation(loss, bits)

"""The messages between the devices of a layout in an optimizer step; no torch.

Read beside `puna.parallel`: each message here is a collective there.
"""

import math
from dataclasses import dataclass

from puna.plan.layout import Share
from puna.plan.learning import BY_INPUTS
from puna.plan.links import (
    Group,
    Links,
    Sent,
    context_group,
    gathered,
    group,
    reduced,
    replica_group,
    tensor_group,
    weight_group,
)
from puna.plan.memory import MUON_AT_ONCE

SUM_BYTES = 4
"""Gradients are added up over devices in float32 in every precision (`puna.parallel.apply`)."""


@dataclass(frozen=True)
class WeightMessages:
    """Messages of sharding (FSDP2), for one block or for the ends of the model."""

    gather: Sent
    """The gather of the weights, in the dtype of the passes."""
    reduce: Sent
    """The scatter of the gradients to the devices that hold their weights."""
    replicas: Sent
    """The sum of the replicas' gradients, once per step."""


@dataclass(frozen=True)
class StreamMessages:
    """Messages that a block waits for in a pass, because it reads their content."""

    forward: Sent
    backward: Sent
    again: Sent
    """Messages of the forward pass that are repeated where a block is computed again (policy `full`)."""


def weight_messages(share: Share, links: Links, elements: float, learned: float | None = None) -> WeightMessages:
    """Messages for a number of parameters, counted in this device's part of a tensor-parallel group.

    Args:
        share: One device's part.
        links: Between the devices.
        elements: Parameters that are gathered.
        learned: Those of them that learn, whose gradients are added up; None is all.
    """
    learned = elements if learned is None else learned
    if not share.grouped:
        return WeightMessages(Sent(), Sent(), Sent())
    weights, replicas = weight_group(share, links), replica_group(share, links)
    return WeightMessages(
        gather=gathered(share.matrix_bytes * elements, weights, links),
        reduce=gathered(SUM_BYTES * learned, weights, links) if learned else Sent(),
        replicas=reduced(SUM_BYTES * learned / share.weight_devices, replicas, links) if learned else Sent(),
    )


def block_messages(share: Share, links: Links) -> WeightMessages:
    """Messages for a block, on average: of all of its weights, and of the gradients of those that learn."""
    layers = share.recipe.model.n_layers
    return weight_messages(share, links, share.blocks / layers, share.learned_blocks / layers)


def end_messages(share: Share, links: Links) -> WeightMessages:
    """Messages for the embedding and for the output layer with the last norm; for tied ones one message."""
    whole = [weight_messages(share, links, size) for size in share.end_groups]
    learned = [weight_messages(share, links, size) for size in share.learned_end_groups]
    return WeightMessages(
        gather=sum((messages.gather for messages in whole), Sent()),
        reduce=sum((messages.reduce for messages in learned), Sent()),
        replicas=sum((messages.replicas for messages in learned), Sent()),
    )


def tensor_messages(share: Share, links: Links) -> StreamMessages:
    """Messages of a block: the stream is gathered before and scattered after each half, its gradient in reverse.

    The backward pass reads what was gathered forward, and adds up the gradients of the gains, which all devices have. A
    block that is computed again ends before its last product, so its last scatter isn't repeated.
    """
    config, among = share.recipe.model, tensor_group(share, links)
    one = gathered(share.matrix_bytes * share.tokens * config.dim, among, links)
    gain = reduced(share.matrix_bytes * config.dim, among, links)
    blocks, (gains, _) = share.work[:-1], share.learned_gains
    back = one * (sum(block.streams for block in blocks) / config.n_layers)
    back += gain * (gains / config.dim / config.n_layers)
    forward, gradients = _update_messages(share, links)
    # What is repeated ends before the block's last product and its update's.
    return StreamMessages(one * 4 + forward, back + forward + gradients, one * 3 + forward)


def _update_messages(share: Share, links: Links) -> tuple[Sent, Sent]:
    """Messages of a block's updates, on average: what A makes of split inputs, and gradients of what all devices have.

    Where a layer's inputs are split, A's outputs are added up and scattered over the sequence, in the backward pass
    gathered, and every device has B and the magnitudes whole. Where its outputs are, every device has A.
    """
    among, c = tensor_group(share, links), share.matrix_bytes
    low, gradients = Sent(), Sent()
    for _, layer in share.learning.updates():
        sizes = {name: math.prod(shape) for name, shape in share.learning.update(layer).items()}
        if layer.name in BY_INPUTS:
            low += gathered(c * share.tokens * sizes["a"] / layer.inputs, among, links)
        whole = [size for name, size in sizes.items() if (name == "a") != (layer.name in BY_INPUTS)]
        gradients += sum((reduced(c * size, among, links) for size in whole), Sent())
    layers = share.recipe.model.n_layers
    return low * (1 / layers), gradients * (1 / layers)


def tensor_end_messages(share: Share, links: Links) -> Sent:
    """Messages of a pass: the embedding's sums scattered, the stream gathered for the output layer, gradients back."""
    dim, among = share.recipe.model.dim, tensor_group(share, links)
    one = gathered(share.matrix_bytes * share.tokens * dim, among, links)
    back = share.work[-1].reached + share.learning.embedding
    return one * (2 + back) + reduced(share.matrix_bytes * dim, among, links) * (share.learned_gains[1] // dim)


def loss_messages(share: Share, links: Links) -> Sent:
    """Messages of a pass: each row's maximum, then its sum and target's logit in float32 (`puna.ops.cross_entropy`)."""
    among, chunks = tensor_group(share, links), share.loss_chunks
    mean = share.tokens / chunks
    return (reduced(4 * mean, among, links) + reduced(8 * mean, among, links)) * chunks


def context_messages(share: Share, links: Links) -> StreamMessages:
    """Messages of a block: keys and values of all are gathered, their gradients scattered (`puna.parallel.context`)."""
    config = share.recipe.model
    pairs = 2 * share.tokens * share.context * config.n_kv_heads * config.head_dim // share.tensor
    one = gathered(share.matrix_bytes * pairs, context_group(share, links), links)
    blocks = share.work[:-1]
    return StreamMessages(one, one * (sum(block.pairs for block in blocks) / len(blocks)), one)


def muon_messages(share: Share, links: Links) -> Sent:
    """Messages of a step: every matrix gathered in bfloat16, and sent to all by the device that made it orthogonal."""
    if share.recipe.optim.name != "muon" or share.devices == 1:
        return Sent()
    whole = 2.0 * sum(
        math.prod(shape) for name, shape in share.learning.shapes.items() if "layers." in name and len(shape) == 2
    )
    sent = gathered(whole / share.tensor, weight_group(share, links), links)
    sent += gathered(whole, tensor_group(share, links), links)
    if muon_workers(share) > 1:
        everybody: Group = group(share.devices, 1, links.node_devices)
        sent += gathered(whole, everybody, links)
    return sent


def muon_workers(share: Share) -> int:
    """Devices that make matrices orthogonal in parallel; one where tensor parallelism splits the matrices (Muon)."""
    return min(MUON_AT_ONCE, share.devices) if share.tensor == 1 else 1

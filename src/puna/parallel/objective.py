"""The loss of a batch in any layout: each device's part of it, and how the parts are added up.

The gradient is that of the sum over all tokens, divided by the caller's number; each device computes the part of its
own tokens, and sharding adds the parts up.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Partial, Replicate

from puna.config.recipe import DEFAULT_LOSS_CHUNK, Recipe
from puna.model.llama import Llama
from puna.model.parts import local
from puna.ops.attention import document_mask
from puna.ops.cross_entropy import linear_cross_entropy, token_losses
from puna.parallel.context import own_positions, part_masks
from puna.parallel.mesh import Mesh
from puna.parallel.working import WorkingWeights


@dataclass(frozen=True, kw_only=True)
class Passed:
    """What goes through the model in one pass, on the device.

    Axes: B sequences   T tokens of a sequence   K pairs of a sequence
    """

    inputs_BT: Tensor
    """The input of the model."""
    targets_BT: Tensor
    """The token to predict at each position; -1 where none is."""
    documents_BT: Tensor | None = None
    """Number of each token's document, within which attention stays; None where `bos_id` marks documents."""
    positions_BT: Tensor | None = None
    """Position of each token; None counts them along the sequence."""
    pairs_BK: Tensor | None = None
    """Number of each pair of answers among the run's, -1 where a sequence has fewer; None where there are no pairs.
    Of the k-th pair of a sequence the preferred answer is its document 2k, the other one its document 2k + 1."""
    first: int = 0
    """Number of the first sequence in the order of the run, which noise is drawn by."""


@dataclass(frozen=True)
class Objective:
    """Computes the losses of tokens.

    Axes: B batch   T tokens of a sequence   P of them on this device   D model width.
    """

    model: Llama
    mesh: Mesh
    chunk_tokens: int
    """Tokens whose logits exist at one time."""
    z_loss: float = 0.0
    bos_id: int | None = None
    """The token that begins a document, if attention stops at it; None lets attention see earlier documents."""
    compiled: bool = False
    """Whether the loss's own kernel is compiled."""
    working: WorkingWeights | None = None
    """The weights that passes compute with; None where these are the parameters, or where sharding makes them."""

    @classmethod
    def of(cls, recipe: Recipe, model: Llama, mesh: Mesh, bos_id: int | None = None) -> Self:
        """The recipe's objective for its model in its layout; `bos_id` of the tokenizer masks documents if asked for.

        The model has its initial weights.
        """
        train, device = recipe.train, next(model.parameters()).device
        on_gpu = device.type != "cpu"
        working = None
        if mesh.fsdp_mesh is None and train.precision == "bf16":
            working = WorkingWeights(model, compiled=train.compile and on_gpu)
        chunk = train.loss_chunk_tokens or DEFAULT_LOSS_CHUNK["gpu" if on_gpu else "cpu"]
        masked = bos_id if train.document_mask else None
        return cls(model, mesh, chunk, train.z_loss, masked, train.compile, working)

    def passes(self) -> AbstractContextManager[Any]:
        """A context for forward and backward passes; leave it before the optimizer moves the weights."""
        return self.working or nullcontext()

    def train(self, passed: Passed, weigh: Callable[[Tensor], Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """The sum of this device's losses, to be differentiated, and each token's, (B, P) float32 in nats.

        The sum is scaled by the number of devices that sharding averages over, so that its gradients are sums.

        Args:
            passed: The sequences, whole on each device that shares them.
            weigh: Makes the weights (B, P) of the sum's terms out of the losses (B, P), for which the output layer runs
                forward once more; None gives all the weight 1.
        """
        x_ND, targets_N, shape = self._hidden(passed)
        weight_VD, weights_N = self._weight(), None
        if weigh is not None:
            losses_N = token_losses(x_ND, weight_VD, targets_N, self.chunk_tokens, group=self._group())
            weights_N = weigh(losses_N.view(shape)).flatten()
        total, losses_N = linear_cross_entropy(
            x_ND, weight_VD, targets_N, self.chunk_tokens, z_loss=self.z_loss, weights_N=weights_N, group=self._group(),
            compiled=self.compiled,
        )  # fmt: skip
        averaged = self.mesh.fsdp_mesh.size() if self.mesh.fsdp_mesh is not None else 1
        return total * averaged, losses_N.view(shape)

    @torch.no_grad()
    def measure(self, passed: Passed) -> Tensor:
        """Each token's loss on this device, (B, P) float32 in nats, 0 for ignored targets; nothing is kept."""
        x_ND, targets_N, shape = self._hidden(passed)
        return token_losses(x_ND, self._weight(), targets_N, self.chunk_tokens, group=self._group()).view(shape)

    def own_part(self, values_BT: Tensor) -> Tensor:
        """The values (B, P) of this device's tokens, in the order of its losses."""
        if self.mesh.context == 1:
            return values_BT
        own_P = own_positions(values_BT.shape[1], self.mesh.context_index, self.mesh.context, values_BT.device)
        return values_BT[:, own_P]

    def _hidden(self, passed: Passed) -> tuple[Tensor, Tensor, torch.Size]:
        """The input of the output layer for this device's tokens, their targets in the same order, and their shape."""
        tokens_BT, targets_BT, documents_BT = passed.inputs_BT, passed.targets_BT, passed.documents_BT
        positions: Tensor | None = passed.positions_BT
        if self.working is not None and not self.working.entered:
            raise RuntimeError("passes run within Objective.passes()")
        mask: Any = None
        if documents_BT is None and self.bos_id is not None:
            documents_BT = (tokens_BT == self.bos_id).cumsum(1)
        if self.mesh.context > 1:
            index, devices = self.mesh.context_index, self.mesh.context
            own_P = own_positions(tokens_BT.shape[1], index, devices, tokens_BT.device)
            if documents_BT is not None:
                mask = part_masks(documents_BT, index, devices)
            tokens_BT, targets_BT = tokens_BT[:, own_P], targets_BT[:, own_P]
            positions = own_P if positions is None else positions[:, own_P]
        elif documents_BT is not None:
            mask = document_mask(documents_BT)
        x_BPD = self.model.hidden(tokens_BT, positions_T=positions, mask=mask)
        if isinstance(x_BPD, DTensor):
            # Each device's part of the vocabulary gives a part of the gradient.
            x_BPD = x_BPD.redistribute(placements=[Replicate()]).to_local(grad_placements=[Partial()])
        return x_BPD.flatten(0, 1), targets_BT.flatten(), targets_BT.shape

    def _weight(self) -> Tensor:
        weight = self.model.output.weight
        if self.working is not None:
            # Its gradient is summed in float32 without being rounded in between.
            weight = self.working.own(weight)
        return local(weight)

    def _group(self) -> torch.distributed.ProcessGroup | None:
        return None if self.mesh.tensor_mesh is None else self.mesh.tensor_mesh.get_group()

"""The output layer and its cross-entropy in one, in chunks: the logits of the whole batch never exist.

A batch of 4,096 tokens over 32,000 pieces has half a gigabyte of logits, and as much again of their gradient. Here a
chunk of rows goes all the way: logits, probabilities in the same memory, the loss, the gradient in the same memory,
its two matrix products. So the gradients are there when the loss is, nothing but them is kept for the backward pass,
and that only scales them.

The gradient of -log p[target] with respect to the logits is p - onehot(target).

Matrix products run in autocast's dtype where autocast is on, else in the dtype of `x_ND`; probabilities, losses and
the sum of the weight's gradient over chunks are float32.

Shapes in names: N tokens   C tokens of a chunk   D model width   V vocabulary
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_TINY = torch.finfo(torch.float32).tiny


def linear_cross_entropy(
    x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, chunk: int, ignore_index: int = -1
) -> Tensor:
    """The sum over tokens of -log softmax(weight x)[target], a float32 scalar that can be differentiated once.

    Args:
        x_ND: What the output layer reads.
        weight_VD: The output layer's weight.
        targets_N: The right token of each row; rows with `ignore_index` count nothing.
        chunk: Rows whose logits exist at one time.
        ignore_index: No token, but "leave this row out".
    """
    wants_x, wants_weight = (torch.is_grad_enabled() and tensor.requires_grad for tensor in (x_ND, weight_VD))
    return _LinearCrossEntropy.apply(x_ND, weight_VD, targets_N, chunk, ignore_index, wants_x, wants_weight)


@torch.no_grad()
def token_losses(x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, chunk: int, ignore_index: int = -1) -> Tensor:
    """Each token's -log softmax(weight x)[target] in nats, (N,) float32, without gradients; 0 for ignored rows."""
    losses_N, _, _ = _forward(x_ND, weight_VD, targets_N, chunk, ignore_index, wants_x=False, wants_weight=False)
    return losses_N


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, chunk: int, ignore_index: int,
        wants_x: bool, wants_weight: bool,
    ) -> Tensor:  # fmt: skip
        losses_N, *gradients = _forward(
            x_ND, weight_VD, targets_N, chunk, ignore_index, wants_x=wants_x, wants_weight=wants_weight
        )
        ctx.gradients, ctx.dtypes = gradients, (x_ND.dtype, weight_VD.dtype)
        return losses_N.sum()

    @staticmethod
    @once_differentiable
    # pyrefly: ignore[bad-override] the decorator hides the parameters' names
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError("linear_cross_entropy gave its gradients away already; it runs backward once")
        # Scaled in place and handed over: the weight's gradient is as large as the weight.
        gradients, ctx.gradients = ctx.gradients, None
        scaled = (
            None if gradient is None else gradient.mul_(grad_outputs[0]).to(dtype)
            for gradient, dtype in zip(gradients, ctx.dtypes, strict=True)
        )
        return *scaled, None, None, None, None, None


def _forward(
    x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, chunk: int, ignore_index: int, *,
    wants_x: bool, wants_weight: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None]:  # fmt: skip
    """Losses (N,), and the gradients of their sum with respect to x and weight where they are wanted."""
    device = x_ND.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x_ND.dtype
    with torch.autocast(device, enabled=False):
        x_ND, weight_VD = x_ND.to(dtype), weight_VD.to(dtype)
        rows, vocabulary = x_ND.shape[0], weight_VD.shape[0]
        counted_N = targets_N != ignore_index
        targets_N = targets_N.where(counted_N, 0)
        target_probs_N = torch.empty(rows, dtype=torch.float32, device=x_ND.device)
        grad_x_ND = torch.empty_like(x_ND) if wants_x else None
        grad_weight_VD = torch.zeros_like(weight_VD, dtype=torch.float32) if wants_weight else None
        buffer_CV = torch.empty(min(chunk, rows), vocabulary, dtype=torch.float32, device=x_ND.device)
        for start in range(0, rows, chunk):
            part = slice(start, start + chunk)
            x_CD, targets_C1 = x_ND[part], targets_N[part, None]
            probs_CV = _probabilities(x_CD, weight_VD, buffer_CV[: len(x_CD)])
            target_probs_N[part] = probs_CV.gather(1, targets_C1)[:, 0]
            if grad_x_ND is None and grad_weight_VD is None:
                continue
            grad_CV = probs_CV.scatter_add_(1, targets_C1, probs_CV.new_full((), -1.0).expand(targets_C1.shape))
            grad_CV, counted_C1 = grad_CV.to(dtype), counted_N[part, None].to(dtype)
            if grad_x_ND is not None:
                torch.mm(grad_CV, weight_VD, out=grad_x_ND[part]).mul_(counted_C1)
            if grad_weight_VD is not None:
                _add_product(grad_weight_VD, grad_CV.T, x_CD * counted_C1)
        losses_N = -target_probs_N.log()
        # A loss above 87 nats: the probability is no normal float32 number, so its logarithm says too little.
        rare_N = target_probs_N < _TINY
        if rare_N.any():
            losses_N[rare_N] = _exact_losses(x_ND[rare_N], weight_VD, targets_N[rare_N], chunk)
        return losses_N.where(counted_N, 0.0), grad_x_ND, grad_weight_VD


def _probabilities(x_CD: Tensor, weight_VD: Tensor, out_CV: Tensor) -> Tensor:
    """softmax(weight x) in float32, written into `out_CV`."""
    # Softmax has read a row before it writes it, and a row fits into a core's cache: one pass over the memory.
    shared_CV = out_CV if x_CD.dtype == out_CV.dtype else None
    logits_CV = torch.mm(x_CD, weight_VD.T, out=shared_CV)
    return torch.softmax(logits_CV, dim=1, dtype=torch.float32, out=out_CV)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add left @ right to a float32 total."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total.add_(left @ right)


def _exact_losses(x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, chunk: int) -> Tensor:
    """The losses by log-softmax, which takes more passes but has no smallest probability."""
    losses = []
    for x_CD, targets_C in zip(x_ND.split(chunk), targets_N.split(chunk), strict=True):
        log_probs_CV = torch.log_softmax(x_CD @ weight_VD.T, dim=1, dtype=torch.float32)
        losses.append(-log_probs_CV.gather(1, targets_C[:, None])[:, 0])
    return torch.cat(losses)

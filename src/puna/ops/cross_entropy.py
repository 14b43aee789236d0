"""The output layer and its cross-entropy in one, in chunks: the logits of the whole batch never exist.

A batch of 4,096 tokens over 32,000 pieces has half a gigabyte of logits, and as much again of their gradient. Here a
chunk of rows goes all the way: logits, probabilities in the same memory, the loss, the gradient in the same memory, its
two matrix products. So the gradients are ready with the loss; only they are kept for the backward pass, which only
scales them.

The gradient of -log p[target] with respect to the logits is p - onehot(target). The z-loss adds z L^2 for the logarithm
L of the softmax's denominator and keeps L near zero (PaLM, section 5); with it the gradient is
p (1 + 2 z L) - onehot(target).

A row's loss may have a weight, of either sign, which multiplies its two products: a loss of whole answers, such as that
of preferences, is learned by giving its derivative to each token of an answer.

Matrix products run in the dtype of `x_ND`, into which the weight is cast; probabilities, losses and the sum of the
weight's gradient over chunks are float32.

One kernel makes the gradient out of the logits and nothing waits for the device (`softmax_gradient`); compiled for a
GPU, it reads them twice and writes once. Its twin for CPUs does so in the logits' memory, row by row in a core's cache
(`cpu/softmax.cpp`). Without a C++ compiler, and in bfloat16, PyTorch's softmax turns rows into probabilities there.

Where processes share the vocabulary, each has the logits of its own pieces only; they tell each other two numbers of
each row, its maximum and its sum of exponentials, and the logit of its target (Megatron-LM, Shoeybi et al. 2019,
section 3).

Shapes in names: N tokens   C tokens of a chunk   D model width   V vocabulary, of this process where they share it
"""

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributed import ProcessGroup

from puna.ops import cpu

_TINY = torch.finfo(torch.float32).tiny


def linear_cross_entropy(
    x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, chunk: int, *,
    ignore_index: int = -1, z_loss: float = 0.0, weights_N: Tensor | None = None, group: ProcessGroup | None = None,
    compiled: bool = False,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The sum over tokens of w (-log softmax(weight x)[target] + z_loss L^2), and -log softmax of each, in float32.

    The sum can be differentiated once; the tokens' losses (N,), in nats, not weighted and 0 for ignored rows, cannot.

    Args:
        x_ND: What the output layer reads.
        weight_VD: The output layer's weight.
        targets_N: The right token of each row; rows with `ignore_index` count nothing.
        chunk: Rows whose logits exist at one time.
        ignore_index: A target that means "leave this row out".
        z_loss: Weight of the squared logarithm of the softmax's denominator.
        weights_N: The float32 weight w of each row, of either sign, which is not differentiated; None is 1 for all.
        group: Processes that share the vocabulary: process i of n has the i-th of n equal parts of the weight's rows,
            all have the same x and targets. The losses are those of the whole vocabulary; the gradient of x is this
            process's part of it, to be summed over the group.
        compiled: Whether `softmax_gradient`, where it is used, runs compiled.
    """
    wants_x, wants_weight = (torch.is_grad_enabled() and tensor.requires_grad for tensor in (x_ND, weight_VD))
    return _LinearCrossEntropy.apply(
        x_ND, weight_VD, targets_N, chunk, ignore_index, z_loss, weights_N, group, compiled, wants_x, wants_weight
    )  # fmt: skip


@torch.no_grad()
def token_losses(
    x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, chunk: int, *,
    ignore_index: int = -1, group: ProcessGroup | None = None,
) -> Tensor:  # fmt: skip
    """Each token's -log softmax(weight x)[target] in nats, (N,) float32, without gradients; 0 for ignored rows.

    Arguments as for `linear_cross_entropy`.
    """
    return _forward(
        x_ND, weight_VD, targets_N, chunk, ignore_index, 0.0, None, group,
        compiled=False, wants_x=False, wants_weight=False,
    )[1]  # fmt: skip


def softmax_gradient(
    logits_CV: Tensor, targets_C1: Tensor, counted_C1: Tensor, z_loss: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient of the losses' sum with respect to the logits, and the terms of the losses.

    Args:
        logits_CV: In any dtype; computed with in float32.
        targets_C1: The right token of each row.
        counted_C1: Whether a row takes part; the gradient of others is zero.
        z_loss: Weight of the squared logarithm of the softmax's denominator.

    Returns:
        The gradient (C, V) in the logits' dtype; the logarithm of the denominator and the target's logit, (C, 1) each
        in float32.
    """
    logits32_CV = logits_CV.float()
    log_sums_C1, target_logits_C1 = _statistics(logits32_CV, targets_C1)
    scale_C1 = (1 + 2 * z_loss * log_sums_C1).where(counted_C1, 0.0)
    grad_CV = (logits32_CV - log_sums_C1).exp() * scale_C1
    is_target_CV = torch.arange(logits_CV.shape[1], device=logits_CV.device) == targets_C1
    grad_CV = grad_CV - (is_target_CV & counted_C1).to(grad_CV.dtype)
    return grad_CV.to(logits_CV.dtype), log_sums_C1, target_logits_C1


def _statistics(logits32_CV: Tensor, targets_C1: Tensor) -> tuple[Tensor, Tensor]:
    highest_C1 = logits32_CV.amax(1, keepdim=True)
    log_sums_C1 = (logits32_CV - highest_C1).exp().sum(1, keepdim=True).log() + highest_C1
    return log_sums_C1, logits32_CV.gather(1, targets_C1)


_Kernel = Callable[[Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor, Tensor]]
"""`softmax_gradient`, as it is or compiled."""


@cache
def _kernel(compiled: bool) -> _Kernel:
    return torch.compile(softmax_gradient, dynamic=False) if compiled else softmax_gradient


def softmax_gradient_in_cache(
    logits_CV: Tensor, targets_C1: Tensor, counted_C1: Tensor, z_loss: float
) -> tuple[Tensor, Tensor, Tensor]:
    """`softmax_gradient` of contiguous float32 logits on a CPU, in their memory, by the compiled operator."""
    rows, vocabulary = logits_CV.shape
    log_sums_C1, target_logits_C1 = logits_CV.new_empty(2, rows, 1)
    targets_C1, counted_C1 = targets_C1.contiguous(), counted_C1.contiguous()
    memory = [ctypes.c_void_p(x.data_ptr()) for x in (logits_CV, targets_C1, counted_C1)]
    sums = [ctypes.c_void_p(x.data_ptr()) for x in (log_sums_C1, target_logits_C1)]
    sizes = (ctypes.c_int64(size) for size in (rows, vocabulary, torch.get_num_threads()))
    cpu.compiled().puna_softmax_gradient(*sizes, *memory, ctypes.c_float(z_loss), *sums)
    return logits_CV, log_sums_C1, target_logits_C1


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, chunk: int, ignore_index: int, z_loss: float,
        weights_N: Tensor | None, group: ProcessGroup | None, compiled: bool, wants_x: bool, wants_weight: bool,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        total, losses_N, *gradients = _forward(
            x_ND, weight_VD, targets_N, chunk, ignore_index, z_loss, weights_N, group,
            compiled=compiled, wants_x=wants_x, wants_weight=wants_weight,
        )  # fmt: skip
        ctx.gradients, ctx.dtypes = gradients, (x_ND.dtype, weight_VD.dtype)
        ctx.mark_non_differentiable(losses_N)
        return total, losses_N

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
        return *scaled, *[None] * 9


def _forward(
    x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, chunk: int, ignore_index: int, z_loss: float,
    weights_N: Tensor | None, group: ProcessGroup | None, *, compiled: bool, wants_x: bool, wants_weight: bool,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:  # fmt: skip
    """The sum, losses (N,), and the sum's gradients with respect to x and weight where they are wanted."""
    weight_VD = weight_VD.to(x_ND.dtype)
    rows, vocabulary, differentiated = x_ND.shape[0], weight_VD.shape[0], wants_x or wants_weight
    counted_N = targets_N != ignore_index
    targets_N = targets_N.where(counted_N, 0)
    in_cache = group is None and x_ND.device.type == "cpu" and x_ND.dtype == torch.float32 and cpu.library() is not None
    in_place = not in_cache and _in_place(x_ND.device, group)
    if in_place:
        plain = z_loss == 0 and group is None
        chunks = _Plain(targets_N) if plain else _General(targets_N, vocabulary, z_loss, group)
    else:
        kernel = softmax_gradient_in_cache if in_cache else _kernel(compiled) if differentiated else None
        chunks = _Fused(targets_N, counted_N, z_loss, kernel)
    grad_x_ND = torch.empty_like(x_ND) if wants_x else None
    grad_weight_VD = torch.zeros_like(weight_VD, dtype=torch.float32) if wants_weight else None
    factors_N = _factors(counted_N, weights_N, x_ND.dtype, marked=not in_place) if differentiated else None
    # Chunks of one size, so that the kernel is compiled once.
    size = -(-rows // -(-rows // chunk)) if rows else chunk
    buffered = in_place or in_cache
    buffer_CV = torch.empty(size if buffered else 0, vocabulary, dtype=torch.float32, device=x_ND.device)
    for start in range(0, rows, size):
        part = slice(start, start + size)
        x_CD = x_ND[part]
        out_CV = buffer_CV[: len(x_CD)]
        # Where the dtypes agree the logits are in the buffer already.
        logits_CV = torch.mm(x_CD, weight_VD.T, out=out_CV if buffered and x_CD.dtype == out_CV.dtype else None)
        chunks.measure(part, logits_CV, out_CV)
        del logits_CV  # in bfloat16 it is not part of the buffer, and would live until the next one is made
        if not differentiated:
            continue
        grad_CV = chunks.differentiate(part, out_CV).to(x_CD.dtype)
        factors_C1 = None if factors_N is None else factors_N[part, None]
        if grad_x_ND is not None:
            product_CD = torch.mm(grad_CV, weight_VD, out=grad_x_ND[part])
            if factors_C1 is not None:
                product_CD.mul_(factors_C1)
        if grad_weight_VD is not None:
            _add_product(grad_weight_VD, grad_CV.T, x_CD if factors_C1 is None else (x_CD * factors_C1).to(x_CD.dtype))
        del grad_CV
    losses_N = chunks.losses(x_ND, weight_VD, size).where(counted_N, 0.0)
    return chunks.total(losses_N, counted_N, weights_N), losses_N, grad_x_ND, grad_weight_VD


def _factors(counted_N: Tensor, weights_N: Tensor | None, dtype: torch.dtype, *, marked: bool) -> Tensor | None:
    """What a row's gradients are multiplied by; None where by nothing, since the kernel left out what does not count.

    Weights are float32: rounded to bfloat16, one would shift the gradients of all its rows alike.
    """
    if weights_N is None:
        return None if marked else counted_N.to(dtype)
    return weights_N.float().where(counted_N, 0.0)


def _in_place(device: torch.device, group: ProcessGroup | None) -> bool:
    """Whether the gradient is made in the memory of float32 logits."""
    return device.type == "cpu" or group is not None


class _Fused:
    """The whole vocabulary on one device: one kernel from the logits to their gradient."""

    def __init__(self, targets_N: Tensor, counted_N: Tensor, z_loss: float, kernel: _Kernel | None) -> None:
        self._targets_N1, self._counted_N1, self._z_loss = targets_N[:, None], counted_N[:, None], z_loss
        self._kernel = kernel
        self._log_sums_N, self._target_logits_N = torch.empty(
            2, len(targets_N), dtype=torch.float32, device=targets_N.device
        )
        self._grad_CV: Tensor | None = None

    def measure(self, part: slice, logits_CV: Tensor, out_CV: Tensor) -> None:
        """Keep the terms of the loss, and compute the gradient."""
        targets_C1, counted_C1 = self._targets_N1[part], self._counted_N1[part]
        if self._kernel is None:
            log_sums_C1, target_logits_C1 = _statistics(logits_CV.float(), targets_C1)
        else:
            self._grad_CV, log_sums_C1, target_logits_C1 = self._kernel(
                logits_CV, targets_C1, counted_C1, self._z_loss
            )  # fmt: skip
        self._log_sums_N[part], self._target_logits_N[part] = log_sums_C1[:, 0], target_logits_C1[:, 0]

    def differentiate(self, part: slice, out_CV: Tensor) -> Tensor:
        """The gradient with respect to the logits; the caller owns it."""
        grad_CV, self._grad_CV = self._grad_CV, None
        return cast(Tensor, grad_CV)

    def losses(self, x_ND: Tensor, weight_VD: Tensor, chunk: int) -> Tensor:
        """The losses of all rows, (N,)."""
        return self._log_sums_N - self._target_logits_N

    def total(self, losses_N: Tensor, counted_N: Tensor, weights_N: Tensor | None) -> Tensor:
        """The weighted sum; without weights `differentiate` gives its gradient."""
        return _with_z_loss(losses_N, self._log_sums_N.where(counted_N, 0.0), self._z_loss, weights_N)


class _Plain:
    """The cross-entropy alone, of a vocabulary that is all here: softmax in one pass over the memory.

    The kernel has read a row before it writes it, and a row fits into a core's cache.
    """

    def __init__(self, targets_N: Tensor) -> None:
        self._targets_N1 = targets_N[:, None]
        self._target_probs_N = torch.empty(len(targets_N), dtype=torch.float32, device=targets_N.device)

    def measure(self, part: slice, logits_CV: Tensor, out_CV: Tensor) -> None:
        """Turn logits into probabilities in `out_CV`, which may be the same memory, and note what the loss needs."""
        torch.softmax(logits_CV, dim=1, dtype=torch.float32, out=out_CV)
        self._target_probs_N[part] = out_CV.gather(1, self._targets_N1[part])[:, 0]

    def differentiate(self, part: slice, out_CV: Tensor) -> Tensor:
        """The gradient with respect to the logits, in the memory of what `measure` left."""
        targets_C1 = self._targets_N1[part]
        return out_CV.scatter_add_(1, targets_C1, out_CV.new_full((), -1.0).expand(targets_C1.shape))

    def losses(self, x_ND: Tensor, weight_VD: Tensor, chunk: int) -> Tensor:
        """The losses of all rows, (N,)."""
        losses_N = -self._target_probs_N.log()
        # A loss above 87 nats: the probability is not a normal float32 number, so its logarithm is not exact enough.
        rare_N = self._target_probs_N < _TINY
        if rare_N.any():
            losses_N[rare_N] = _exact_losses(x_ND[rare_N], weight_VD, self._targets_N1[rare_N, 0], chunk)
        return losses_N

    def total(self, losses_N: Tensor, counted_N: Tensor, weights_N: Tensor | None) -> Tensor:
        """The weighted sum; without weights `differentiate` gives its gradient."""
        return losses_N.sum() if weights_N is None else losses_N @ weights_N.float()


class _General:
    """With the z-loss, or with a part of the vocabulary in this process: the same in single steps."""

    def __init__(self, targets_N: Tensor, vocabulary: int, z_loss: float, group: ProcessGroup | None) -> None:
        self._z_loss, self._group = z_loss, group
        targets_N1 = targets_N[:, None] - (0 if group is None else dist.get_rank(group) * vocabulary)
        self._owned_N1 = (targets_N1 >= 0) & (targets_N1 < vocabulary)
        self._targets_N1 = targets_N1.where(self._owned_N1, 0)
        self._log_sums_N, self._target_logits_N = torch.empty(
            2, len(targets_N), dtype=torch.float32, device=targets_N.device
        )

    def measure(self, part: slice, logits_CV: Tensor, out_CV: Tensor) -> None:
        """Turn logits into exponentials in `out_CV`, which may be the same memory, and note what the loss needs."""
        if logits_CV.dtype != out_CV.dtype:
            out_CV.copy_(logits_CV)
        target_logits_C1 = out_CV.gather(1, self._targets_N1[part]).where(self._owned_N1[part], 0.0)
        highest_C1 = out_CV.amax(1, keepdim=True)
        if self._group is not None:
            dist.all_reduce(highest_C1, dist.ReduceOp.MAX, self._group)
        sums_C1 = out_CV.sub_(highest_C1).exp_().sum(1, keepdim=True)
        if self._group is not None:
            both_2C1 = torch.stack((sums_C1, target_logits_C1))
            dist.all_reduce(both_2C1, dist.ReduceOp.SUM, self._group)
            sums_C1, target_logits_C1 = both_2C1
        self._log_sums_N[part] = (sums_C1.log() + highest_C1)[:, 0]
        self._target_logits_N[part] = target_logits_C1[:, 0]
        self._sums_C1 = sums_C1

    def differentiate(self, part: slice, out_CV: Tensor) -> Tensor:
        """The gradient with respect to this process's logits, in the memory of what `measure` left."""
        out_CV.mul_((1 + 2 * self._z_loss * self._log_sums_N[part, None]) / self._sums_C1)
        return out_CV.scatter_add_(1, self._targets_N1[part], -self._owned_N1[part].to(out_CV.dtype))

    def losses(self, x_ND: Tensor, weight_VD: Tensor, chunk: int) -> Tensor:
        """The losses of all rows, (N,)."""
        return self._log_sums_N - self._target_logits_N

    def total(self, losses_N: Tensor, counted_N: Tensor, weights_N: Tensor | None) -> Tensor:
        """The weighted sum; without weights `differentiate` gives its gradient."""
        return _with_z_loss(losses_N, self._log_sums_N.where(counted_N, 0.0), self._z_loss, weights_N)


def _with_z_loss(losses_N: Tensor, log_sums_N: Tensor, z_loss: float, weights_N: Tensor | None) -> Tensor:
    if weights_N is None:
        return losses_N.sum() + z_loss * log_sums_N.square().sum()
    return (losses_N + z_loss * log_sums_N.square()) @ weights_N.float()


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add left @ right to a float32 total."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    elif total.device.type == "cuda":
        torch.addmm(total, left, right, out_dtype=total.dtype, out=total)
    else:
        total.add_(left @ right)


def _exact_losses(x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, chunk: int) -> Tensor:
    """The losses by log-softmax, which takes more passes but works for the smallest probabilities."""
    losses = []
    for x_CD, targets_C in zip(x_ND.split(chunk), targets_N.split(chunk), strict=True):
        log_probs_CV = torch.log_softmax(x_CD @ weight_VD.T, dim=1, dtype=torch.float32)
        losses.append(-log_probs_CV.gather(1, targets_C[:, None])[:, 0])
    return torch.cat(losses)

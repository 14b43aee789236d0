"""Policies, by name: what the backward pass computes again instead of keeping it.

| policy | kept of a block |
|---|---|
| `none` | all that the backward pass reads; of a compiled block less, because the compiler recomputes what is cheap |
| `llama` | outputs of linear layers and attention, not of norms, rotary turns and SwiGLU (LLaMA, section 2.4) |
| `full` | its input (Chen et al. 2016) |
| `every-n` | its input in every n-th block, all in the others |
| `budget=x` | what the compiler finds worth most in the share x of the memory of `none` |

On a CPU, `none` compiled keeps no output of a norm or of SwiGLU either, though products of the backward pass read them:
that is a fifth of what a block keeps, for one write of each (docs/decisions/0014).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from puna.model.llama import Block, Llama

Forward = Callable[..., Tensor]
"""The block and its arguments -> the stream after it."""


def recomputed(block: Block, number: int, policy: str) -> Forward:
    """How block `number` runs forward under the policy.

    Raises:
        ValueError: There is no such policy.
    """
    name, _, every = policy.partition("-")
    if policy == "full" or (name == "every" and number % int(every) == 0):
        return _fully
    if policy == "llama":
        return partial(_selectively, _shape_of_w2(block))
    if policy == "none" or name == "every" or policy.startswith("budget="):
        return _plainly
    raise ValueError(policy)


def set_compiler_budget(policy: str, *, on_cpu: bool = False) -> None:
    """Tell the compiler which share of the memory of `none` activations may take, and on a CPU to keep no operands."""
    import torch._functorch.config as compiler

    compiler.ban_recompute_materialized_backward = not on_cpu
    compiler.activation_memory_budget = float(policy.removeprefix("budget=")) if policy.startswith("budget=") else 1.0


def _plainly(block: Block, *inputs: Any) -> Tensor:
    return Block.forward(block, *inputs)


def _fully(block: Block, *inputs: Any) -> Tensor:
    return checkpoint(Block.forward, block, *inputs, use_reentrant=False, preserve_rng_state=False)


def _selectively(shape_of_w2: tuple[int, int], block: Block, *inputs: Any) -> Tensor:
    contexts = partial(create_selective_checkpoint_contexts, partial(_llama_policy, shape_of_w2))
    return checkpoint(Block.forward, block, *inputs, use_reentrant=False, preserve_rng_state=False, context_fn=contexts)


def _shape_of_w2(block: Block) -> tuple[int, int]:
    """Shape of the weight in the block's last product, (F, D), on this device."""
    layer = block.feed_forward.w2
    if (weight := layer.weight) is None:  # kept in fewer bits
        return layer.in_features, layer.out_features
    local = weight.to_local() if hasattr(weight, "to_local") else weight
    return local.shape[1], local.shape[0]


_KEPT = {
    "aten::mm", "aten::addmm", "aten::bmm", "aten::_scaled_mm", "puna::causal_attention",
    "aten::_scaled_dot_product_flash_attention_for_cpu", "aten::_scaled_dot_product_flash_attention",
    "aten::_scaled_dot_product_efficient_attention", "aten::_scaled_dot_product_cudnn_attention",
    "aten::_scaled_dot_product_attention_math", "flex_attention",
    "_c10d_functional::reduce_scatter_tensor", "_c10d_functional::all_gather_into_tensor",
}  # fmt: skip
"""Operators whose outputs are kept: linear layers, attention, and what had to travel between devices."""


def _llama_policy(shape_of_w2: tuple[int, int], context: Any, operator: Any, *inputs: Any, **options: Any) -> Any:
    name = operator.name() if callable(operator.name) else operator.name
    name = name.partition(".")[0]
    # Only the sum that ends the block reads the last product, and the gradient of a sum needs no operand.
    last = name in ("aten::mm", "aten::_scaled_mm") and tuple(inputs[1].shape) == shape_of_w2
    return CheckpointPolicy.MUST_SAVE if name in _KEPT and not last else CheckpointPolicy.PREFER_RECOMPUTE


def apply_recompute(model: Llama, policy: str, *, compile: bool = False, on_cpu: bool = False) -> None:
    """Let every block run under the policy, compiled or not, in place."""
    set_compiler_budget(policy, on_cpu=on_cpu)
    forwards: dict[Any, Forward] = {}
    for number, block in enumerate(model.blocks()):
        forward = recomputed(block, number, policy)
        # Blocks that run alike share one compiled function, whose argument is the block: compiled once, not L times.
        key = getattr(forward, "func", forward)
        if key not in forwards:
            forwards[key] = torch.compile(forward) if compile else forward
        block.forward = partial(forwards[key], block)

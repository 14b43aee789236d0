"""The operator for CPUs keeps its promises: memory, layout, and those of a custom operator."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from puna.ops.blocked import BLOCK, _backward, _forward

attention = torch.ops.puna.causal_attention


def _inputs(tokens: int, n_keys: int, *, width: int = 16, heads: int = 2) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(tokens)
    return [
        torch.randn(2, length, n, width, generator=generator).transpose(1, 2).requires_grad_()
        for n, length in ((heads, tokens), (1, n_keys), (1, n_keys))
    ]


@pytest.mark.parametrize("documents", [False, True])
@pytest.mark.parametrize("earlier", [0, 40])
def test_operator_keeps_the_promises_of_a_custom_operator(documents: bool, earlier: int):
    tokens = BLOCK + 3
    inputs = _inputs(tokens, earlier + tokens)
    keys_BS = torch.arange(earlier + tokens).div(50, rounding_mode="floor").expand(2, -1)
    masks = (keys_BS[:, earlier:], keys_BS) if documents else (None, None)
    torch.library.opcheck(attention.default, (*inputs, *masks))
    grad, out = torch.randn_like(inputs[0]), attention(*inputs, *masks)
    detached = [x.detach() for x in (grad, *inputs, out)]
    torch.library.opcheck(torch.ops.puna.causal_attention_backward.default, (*detached, *masks))


class _Largest(TorchDispatchMode):
    """Remembers the number of elements of the largest tensor that any operation made."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


def _largest(tokens: int, *documents: torch.Tensor | None) -> int:
    """Elements of the largest tensor of both passes, within the operators, which a mode doesn't see from outside."""
    q, k, v, grad = (torch.randn(1, 1, tokens, 2) for _ in range(4))
    with _Largest() as largest:
        out = _forward._init_fn(q, k, v, *documents)
        _backward._init_fn(grad, q, k, v, out, *documents)
    return largest.elements


def test_weights_of_all_pairs_never_exist():
    tokens = 16 * BLOCK
    assert _largest(tokens, None, None) == BLOCK * tokens
    one = torch.zeros(1, tokens, dtype=torch.long)
    assert _largest(tokens, one, one) == BLOCK * tokens


def test_blocks_of_earlier_documents_are_not_computed():
    documents = torch.arange(16 * BLOCK).div(BLOCK, rounding_mode="floor")[None]
    assert _largest(16 * BLOCK, documents, documents) == BLOCK * BLOCK


def test_saved_for_the_backward_pass_is_linear_in_the_tokens():
    saved = []
    tokens, width = 4 * BLOCK, 2
    inputs = [torch.randn(1, 1, tokens, width, requires_grad=True) for _ in range(3)]
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x.numel()) or x, lambda x: x):
        attention(*inputs, None, None)
    assert sum(saved) == 4 * tokens * width


def test_heads_of_the_output_lie_side_by_side_as_the_next_layer_reads_them():
    out_BNTH = attention(*_inputs(BLOCK, BLOCK, heads=4), None, None)
    flat_BTD = out_BNTH.transpose(1, 2).flatten(2)
    assert flat_BTD.data_ptr() == out_BNTH.data_ptr()
    assert flat_BTD.is_contiguous()


@pytest.mark.parametrize("layout", ["one value for all", "columns first"])
def test_gradients_come_in_any_layout(layout: str):
    inputs = _inputs(BLOCK, BLOCK, width=8)
    out = attention(*inputs, None, None)
    grad = torch.ones(()).expand(out.shape)
    if layout == "columns first":
        grad = torch.empty_strided(out.shape, (1, 2, 4, 4 * BLOCK)).copy_(torch.randn(out.shape))
    assert not grad.is_contiguous()
    ours = torch.autograd.grad(out, inputs, grad, retain_graph=True)
    for x, y in zip(ours, torch.autograd.grad(out, inputs, grad.contiguous()), strict=True):
        torch.testing.assert_close(x, y)

"""Blocked causal attention: values and gradients of the formula and of PyTorch's kernel, in linear memory."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from puna.ops.attention import _FEWEST, causal_attention
from puna.ops.reference import reference_causal_attention

TOLERANCE = {"rtol": 1e-5, "atol": 2e-5}


def _inputs(batch: int, heads: int, kv_heads: int, tokens: int, width: int, *, strided: bool) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(tokens * 31 + heads)
    tensors = []
    for n in (heads, kv_heads, kv_heads):
        if strided:  # as the model has them: heads come from the last axis of a projection
            x = torch.randn(batch, tokens, n, width, generator=generator).transpose(1, 2)
        else:
            x = torch.randn(batch, n, tokens, width, generator=generator)
        tensors.append(x.requires_grad_())
    return tensors


def _run(function, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    out = function(*inputs)
    weight = torch.linspace(-1, 1, out.numel()).view(out.shape).to(out.dtype)
    return [out, *torch.autograd.grad((out * weight).sum(), inputs)]


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 2),
    kv_heads=st.integers(1, 2),
    group=st.integers(1, 3),
    tokens=st.sampled_from([1, 7, _FEWEST - 1, _FEWEST, _FEWEST + 1, _FEWEST + 77, 2 * _FEWEST]),
    width=st.sampled_from([2, 20, 64]),
    strided=st.booleans(),
)
def test_values_and_gradients_are_the_formulas(
    batch: int, kv_heads: int, group: int, tokens: int, width: int, strided: bool
):
    inputs = _inputs(batch, kv_heads * group, kv_heads, tokens, width, strided=strided)
    for ours, reference in zip(_run(causal_attention, inputs), _run(reference_causal_attention, inputs), strict=True):
        torch.testing.assert_close(ours.double(), reference.double(), **TOLERANCE)


@pytest.mark.parametrize("tokens", [64, 300])
def test_equals_pytorchs_kernel(tokens: int):
    inputs = _inputs(2, 4, 2, tokens, 32, strided=True)

    def kernel(*qkv: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(*qkv, is_causal=True, enable_gqa=True)

    for ours, theirs in zip(_run(causal_attention, inputs), _run(kernel, inputs), strict=True):
        torch.testing.assert_close(ours, theirs, **TOLERANCE)


def test_later_tokens_change_nothing_before_them():
    q, k, v = (x.detach() for x in _inputs(1, 2, 2, 300, 16, strided=True))
    before = causal_attention(q, k, v)
    for x in (q, k, v):
        x[:, :, 200:] = 7.0
    assert torch.equal(causal_attention(q, k, v)[:, :, :200], before[:, :, :200])


def test_compiled_equals_eager():
    inputs = _inputs(1, 2, 1, _FEWEST, 16, strided=True)
    compiled = torch.compile(causal_attention, fullgraph=True, backend="aot_eager")
    for ours, theirs in zip(_run(compiled, inputs), _run(causal_attention, inputs), strict=True):
        torch.testing.assert_close(ours, theirs, **TOLERANCE)


def test_operator_keeps_the_promises_of_a_custom_operator():
    inputs = _inputs(1, 2, 1, _FEWEST, 16, strided=True)
    torch.library.opcheck(torch.ops.puna.causal_attention.default, tuple(inputs))


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


def test_weights_of_all_pairs_never_exist():
    tokens = 8 * _FEWEST
    inputs = _inputs(1, 1, 1, tokens, 2, strided=False)
    with _Largest() as largest:
        _run(causal_attention, inputs)
    assert largest.elements <= tokens * _FEWEST < tokens * tokens / 4


def test_saved_for_the_backward_pass_is_linear_in_the_tokens():
    saved = []
    inputs = _inputs(1, 1, 1, 4 * _FEWEST, 2, strided=False)
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x.numel()) or x, lambda x: x):
        causal_attention(*inputs)
    assert sum(saved) == 4 * 4 * _FEWEST * 2

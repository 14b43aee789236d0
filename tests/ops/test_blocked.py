"""The operator for CPUs keeps its promises: memory, layout, and those of a custom operator."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from puna.ops import blocked, cpu
from puna.ops.blocked import BLOCK, backward_by_products, forward_by_products
from puna.ops.cpu.attention import backward_in_cache, empty_like, forward_in_cache
from puna.ops.cpu.builder import find_compiler

attention = torch.ops.puna.causal_attention
compiled = pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler")
Documents = tuple[torch.Tensor, torch.Tensor] | tuple[None, None]


def _inputs(tokens: int, n_keys: int, *, width: int = 16, heads: int = 2) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(tokens)
    return [
        torch.randn(2, length, n, width, generator=generator).transpose(1, 2).requires_grad_()
        for n, length in ((heads, tokens), (1, n_keys), (1, n_keys))
    ]


@pytest.fixture(params=["in cache", "by products"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both forms of the operator, one after the other."""
    if request.param == "in cache" and cpu.library() is None:
        pytest.skip("no C++ compiler")
    monkeypatch.setattr(blocked, "_in_cache", lambda _: request.param == "in cache")
    return request.param


def _forward(way: str, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, documents: Documents) -> list[torch.Tensor]:
    outputs = [empty_like(q), q.new_empty(q.shape[:3])]
    forward = forward_in_cache if way == "in cache" else forward_by_products
    forward(q, k, v, *documents, *outputs)
    return outputs


@compiled
@settings(max_examples=60)
@given(
    batch=st.integers(1, 3), key_heads=st.integers(1, 2), group=st.integers(1, 3), tokens=st.integers(1, 260),
    earlier=st.sampled_from([0, 0, 1, 31, 97]), width=st.sampled_from([1, 2, 16, 20, 40, 64, 80]),
    share=st.sampled_from([None, 0.0, 0.02, 1.0]), scale=st.sampled_from([1.0, 30.0]),
)  # fmt: skip
def test_in_cache_equals_by_products(
    batch: int, key_heads: int, group: int, tokens: int, earlier: int, width: int, share: float | None, scale: float
):
    generator = torch.Generator().manual_seed(tokens * 7 + width)
    shapes = ((tokens, group * key_heads), *[(earlier + tokens, key_heads)] * 2, (tokens, group * key_heads))
    q, k, v, grad = (
        torch.randn(batch, length, heads, width, generator=generator).transpose(1, 2) for length, heads in shapes
    )
    q = q * scale
    documents: Documents = (None, None)
    if share is not None:
        keys_BS = (torch.rand(batch, earlier + tokens, generator=generator) < share).cumsum(1)
        documents = (keys_BS[:, earlier:], keys_BS)
    ours, theirs = (_forward(way, q, k, v, documents) for way in ("in cache", "by products"))
    for x, y in zip(ours, theirs, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-5, atol=2e-5)
    ours = backward_in_cache(grad, q, k, v, *theirs, *documents)
    for x, y in zip(ours, backward_by_products(grad, q, k, v, *theirs, *documents), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-5, atol=3e-5 * scale)


@compiled
def test_the_number_of_threads_changes_no_bit():
    q, k, v, grad = (torch.randn(2, 3, 300, 24) for _ in range(4))
    threads, found = torch.get_num_threads(), []
    try:
        for number in (1, 2, 3, 3):
            torch.set_num_threads(number)
            outputs = _forward("in cache", q, k, v, (None, None))
            found.append([*outputs, *backward_in_cache(grad, q, k, v, *outputs, None, None)])
    finally:
        torch.set_num_threads(threads)
    for others in found[1:]:
        assert all(torch.equal(x, y) for x, y in zip(found[0], others, strict=True))


@pytest.mark.parametrize("documents", [False, True])
@pytest.mark.parametrize("earlier", [0, 40])
def test_operator_keeps_the_promises_of_a_custom_operator(documents: bool, earlier: int, either_way: str):
    tokens = BLOCK + 3
    inputs = _inputs(tokens, earlier + tokens)
    keys_BS = torch.arange(earlier + tokens).div(50, rounding_mode="floor").expand(2, -1)
    masks = (keys_BS[:, earlier:], keys_BS) if documents else (None, None)
    torch.library.opcheck(attention.default, (*inputs, *masks))
    grad, outputs = torch.randn_like(inputs[0]), attention(*inputs, *masks)
    detached = [x.detach() for x in (grad, *inputs, *outputs)]
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


def _largest(tokens: int, documents: Documents) -> int:
    """Elements of the largest tensor of both passes, within the operators, which a mode doesn't see from outside."""
    q, k, v, grad = (torch.randn(1, 1, tokens, 2) for _ in range(4))
    with _Largest() as largest:
        outputs = _forward("by products", q, k, v, documents)
        backward_by_products(grad, q, k, v, *outputs, *documents)
    return largest.elements


def test_weights_of_all_pairs_never_exist():
    tokens = 16 * BLOCK
    assert _largest(tokens, (None, None)) == BLOCK * tokens
    one = torch.zeros(1, tokens, dtype=torch.long)
    assert _largest(tokens, (one, one)) == BLOCK * tokens


def test_blocks_of_earlier_documents_are_not_computed():
    documents = torch.arange(16 * BLOCK).div(BLOCK, rounding_mode="floor")[None]
    assert _largest(16 * BLOCK, (documents, documents)) == BLOCK * BLOCK


def test_saved_for_the_backward_pass_is_linear_in_the_tokens(either_way: str):
    saved = []
    tokens, width = 4 * BLOCK, 2
    inputs = [torch.randn(1, 1, tokens, width, requires_grad=True) for _ in range(3)]
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x.numel()) or x, lambda x: x):
        attention(*inputs, None, None)
    assert sum(saved) == 4 * tokens * width + tokens


def test_heads_of_the_output_lie_side_by_side_as_the_next_layer_reads_them(either_way: str):
    out_BNTH, _ = attention(*_inputs(BLOCK, BLOCK, heads=4), None, None)
    flat_BTD = out_BNTH.transpose(1, 2).flatten(2)
    assert flat_BTD.data_ptr() == out_BNTH.data_ptr()
    assert flat_BTD.is_contiguous()


@pytest.mark.parametrize("layout", ["one value for all", "columns first"])
def test_gradients_come_in_any_layout(layout: str, either_way: str):
    inputs = _inputs(BLOCK, BLOCK, width=8)
    out, _ = attention(*inputs, None, None)
    grad = torch.ones(()).expand(out.shape)
    if layout == "columns first":
        grad = torch.empty_strided(out.shape, (1, 2, 4, 4 * BLOCK)).copy_(torch.randn(out.shape))
    assert not grad.is_contiguous()
    ours = torch.autograd.grad(out, inputs, grad, retain_graph=True)
    for x, y in zip(ours, torch.autograd.grad(out, inputs, grad.contiguous()), strict=True):
        torch.testing.assert_close(x, y)

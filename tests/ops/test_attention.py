"""The rule of kernels, and that all of them that run here compute the formula, with and without documents."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from puna.ops.attention import (
    _FEWEST,
    BLOCKED,
    FLEX,
    PYTORCH,
    Mask,
    attention_backend,
    causal_attention,
    document_mask,
)
from puna.ops.reference import reference_causal_attention

TOLERANCE = {"rtol": 1e-5, "atol": 2e-5}


def _inputs(
    batch: int, heads: int, kv_heads: int, tokens: int, width: int, *, strided: bool, n_keys: int | None = None
) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(tokens * 31 + heads)
    tensors = []
    for n, length in ((heads, tokens), (kv_heads, n_keys or tokens), (kv_heads, n_keys or tokens)):
        if strided:  # as the model has them: heads come from the last axis of a projection
            x = torch.randn(batch, length, n, width, generator=generator).transpose(1, 2)
        else:
            x = torch.randn(batch, n, length, width, generator=generator)
        tensors.append(x.requires_grad_())
    return tensors


def _documents(batch: int, tokens: int, share: float) -> torch.Tensor:
    """Numbers of documents; a new document begins at each token with a probability of `share`."""
    generator = torch.Generator().manual_seed(tokens + batch)
    return (torch.rand(batch, tokens, generator=generator) < share).cumsum(1)


def _run(function, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    out = function(*inputs)
    weight = torch.linspace(-1, 1, out.numel()).view(out.shape).to(out.dtype)
    return [out, *torch.autograd.grad((out * weight).sum(), inputs)]


def _compare(inputs: list[torch.Tensor], mask: Mask | None = None) -> None:
    """Values and gradients against the reference."""
    ours = _run(lambda *qkv: causal_attention(*qkv, mask), inputs)
    documents = None if mask is None else (mask.queries_BT, mask.keys_BS)
    theirs = _run(lambda *qkv: reference_causal_attention(*qkv, documents), inputs)
    for x, reference in zip(ours, theirs, strict=True):
        torch.testing.assert_close(x.double(), reference.double(), **TOLERANCE)


@settings(max_examples=40)
@given(
    batch=st.integers(1, 2),
    kv_heads=st.integers(1, 2),
    group=st.integers(1, 3),
    tokens=st.sampled_from([1, 7, _FEWEST - 1, _FEWEST, _FEWEST + 1, _FEWEST + 77, 2 * _FEWEST]),
    earlier=st.sampled_from([0, 0, 1, 128, 200]),
    width=st.sampled_from([2, 20, 64]),
    strided=st.booleans(),
    share=st.sampled_from([None, 0.0, 0.004, 0.1, 1.0]),
)
def test_values_and_gradients_are_the_formulas(
    batch: int, kv_heads: int, group: int, tokens: int, earlier: int, width: int, strided: bool, share: float | None
):
    n_keys = earlier + tokens
    inputs = _inputs(batch, kv_heads * group, kv_heads, tokens, width, strided=strided, n_keys=n_keys)
    mask = None
    if share is not None:
        keys_BS = _documents(batch, n_keys, share)
        mask = document_mask(keys_BS[:, earlier:], keys_BS)
    _compare(inputs, mask)


@pytest.mark.parametrize("tokens", [64, 300])
def test_equals_pytorchs_kernel(tokens: int):
    inputs = _inputs(2, 4, 2, tokens, 32, strided=True)

    def kernel(*qkv: torch.Tensor) -> torch.Tensor:
        return F.scaled_dot_product_attention(*qkv, is_causal=True, enable_gqa=True)

    for ours, theirs in zip(_run(causal_attention, inputs), _run(kernel, inputs), strict=True):
        torch.testing.assert_close(ours, theirs, **TOLERANCE)


@pytest.mark.parametrize("tokens", [5, _FEWEST])
def test_one_document_is_not_a_mask_and_documents_of_one_token_are_its_value(tokens: int):
    q, k, v = (x.detach() for x in _inputs(2, 4, 4, tokens, 16, strided=True))
    whole = document_mask(torch.zeros(2, tokens, dtype=torch.long))
    torch.testing.assert_close(causal_attention(q, k, v, whole), causal_attention(q, k, v), **TOLERANCE)
    single = document_mask(torch.arange(tokens).expand(2, tokens))
    torch.testing.assert_close(causal_attention(q, k, v, single), v, **TOLERANCE)


def test_documents_need_not_be_numbered_in_order():
    keys_BS = torch.tensor([[3] * 100 + [1] * 150 + [3] * 50 + [0] * 20, [0, 1] * 160])
    _compare(_inputs(2, 2, 1, 320, 8, strided=True), document_mask(keys_BS))


def test_the_last_queries_get_what_they_get_among_all():
    q, k, v = (x.detach() for x in _inputs(2, 4, 2, 600, 16, strided=True))
    keys_BS = _documents(2, 600, 0.01)
    whole = causal_attention(q, k, v, document_mask(keys_BS))
    for tokens in (1, 40, 300):
        mask = document_mask(keys_BS[:, -tokens:], keys_BS)
        torch.testing.assert_close(causal_attention(q[:, :, -tokens:], k, v, mask), whole[:, :, -tokens:], **TOLERANCE)


def test_later_tokens_change_nothing_before_them():
    q, k, v = (x.detach() for x in _inputs(1, 2, 2, 300, 16, strided=True))
    before = causal_attention(q, k, v)
    for x in (q, k, v):
        x[:, :, 200:] = 7.0
    assert torch.equal(causal_attention(q, k, v)[:, :, :200], before[:, :, :200])


@pytest.mark.parametrize("earlier", [0, 30])
@pytest.mark.parametrize("tokens", [6, _FEWEST])
@pytest.mark.parametrize("documents", [False, True])
def test_compiled_whole_equals_eager(earlier: int, tokens: int, documents: bool):
    inputs = _inputs(2, 2, 1, tokens, 16, strided=True, n_keys=earlier + tokens)
    keys_BS = _documents(2, earlier + tokens, 0.02)
    mask = document_mask(keys_BS[:, earlier:], keys_BS) if documents else None
    compiled = torch.compile(causal_attention, fullgraph=True, backend="aot_eager")
    ours = _run(lambda *qkv: compiled(*qkv, mask), inputs)
    theirs = _run(lambda *qkv: causal_attention(*qkv, mask), inputs)
    for x, y in zip(ours, theirs, strict=True):
        torch.testing.assert_close(x, y, **TOLERANCE)


@pytest.mark.parametrize(
    ("device", "dtype", "tokens", "masked", "kernel"),
    [
        ("cpu", torch.float32, _FEWEST, False, BLOCKED),
        ("cpu", torch.float32, _FEWEST, True, BLOCKED),
        ("cpu", torch.float32, _FEWEST - 1, False, PYTORCH),
        ("cpu", torch.bfloat16, 4096, True, PYTORCH),
        ("cuda", torch.bfloat16, 4096, False, PYTORCH),
        ("cuda", torch.bfloat16, 4096, True, FLEX),
        ("mps", torch.float32, 4096, True, PYTORCH),
    ],
)
def test_the_rule_of_kernels(device: str, dtype: torch.dtype, tokens: int, masked: bool, kernel: str):
    name, reason = attention_backend(device, dtype, tokens, masked)
    assert name == kernel
    assert reason


def test_the_reason_tells_a_written_out_mask_from_none():
    reasons = {attention_backend("cpu", torch.bfloat16, 64, masked)[1] for masked in (False, True)}
    assert len(reasons) == 2


@pytest.mark.parametrize("documents", [False, True])
def test_the_kernel_that_runs_is_the_one_that_the_rule_names(documents: bool, monkeypatch: pytest.MonkeyPatch):
    q, k, v = (x.detach() for x in _inputs(1, 2, 1, 64, 16, strided=True))
    mask = Mask(*[torch.zeros(1, 64, dtype=torch.long)] * 2) if documents else None
    expected = causal_attention(q, k, v, mask)
    asked = []

    def blocks(*rule) -> tuple[str, str]:
        asked.append(rule)
        return BLOCKED, ""

    monkeypatch.setattr("puna.ops.attention.attention_backend", blocks)
    monkeypatch.setattr("puna.ops.attention._pytorch", None)
    torch.testing.assert_close(causal_attention(q, k, v, mask), expected, **TOLERANCE)
    assert asked == [("cpu", torch.float32, 64, documents)]


def test_one_query_without_documents_sees_all_keys():
    q, k, v = (x.detach() for x in _inputs(2, 4, 2, 1, 8, strided=True, n_keys=9))
    expected = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    torch.testing.assert_close(causal_attention(q, k, v), expected)


def test_bfloat16_under_documents_is_close_to_float32():
    inputs = [x.detach() for x in _inputs(2, 4, 2, 300, 16, strided=True)]
    mask = document_mask(_documents(2, 300, 0.02))
    ours = causal_attention(*(x.bfloat16() for x in inputs), mask)
    assert ours.dtype == torch.bfloat16
    torch.testing.assert_close(ours.float(), causal_attention(*inputs, mask), rtol=0.02, atol=0.03)

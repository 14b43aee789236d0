"""FlexAttention's part: its masks against PyTorch's own, its values (forward only: it has no backward pass on CPUs)."""

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

import puna.ops.flex
from puna.ops.attention import FLEX, Mask, causal_attention
from puna.ops.flex import block_mask, flex_causal_attention
from puna.ops.reference import reference_causal_attention

TOLERANCE = {"rtol": 1e-5, "atol": 2e-5}


@pytest.fixture(autouse=True)
def _fresh() -> None:
    torch.compiler.reset()


def _documents(seed: int, n_keys: int) -> torch.Tensor:
    return (torch.rand(2, n_keys, generator=torch.Generator().manual_seed(seed)) < 0.01).cumsum(1)


def _inputs(tokens: int, n_keys: int, width: int = 16) -> list[torch.Tensor]:
    return [torch.randn(2, n, length, width) for n, length in ((4, tokens), (2, n_keys), (2, n_keys))]


@pytest.mark.parametrize(("tokens", "earlier"), [(512, 0), (300, 0), (384, 256), (100, 128)])
def test_block_masks_are_those_that_pytorch_finds_from_every_pair(tokens: int, earlier: int):
    keys_BS = _documents(tokens, earlier + tokens)
    queries_BT = keys_BS[:, earlier:]
    ours = block_mask(queries_BT, keys_BS)
    theirs = create_block_mask(
        lambda b, h, q, k: (queries_BT[b, q] == keys_BS[b, k]) & (k <= q + earlier),
        2, None, tokens, earlier + tokens, device="cpu",
    )  # fmt: skip
    assert ours.shape == theirs.shape
    for name in ("kv", "full_kv", "q", "full_q"):
        counts = getattr(theirs, f"{name}_num_blocks")
        assert torch.equal(getattr(ours, f"{name}_num_blocks"), counts), name
        # Behind the blocks that count, the order means nothing.
        chosen = torch.arange(getattr(theirs, f"{name}_indices").shape[-1]) < counts[..., None]
        indices = (getattr(mask, f"{name}_indices")[chosen] for mask in (ours, theirs))
        assert torch.equal(*indices), name
    assert torch.equal(ours.to_dense(), theirs.to_dense())


@pytest.mark.parametrize(("tokens", "earlier", "width"), [(300, 0, 16), (200, 190, 32), (130, 3, 4)])
def test_values_are_the_formulas_under_documents(
    tokens: int, earlier: int, width: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(puna.ops.flex, "_compiled", lambda: torch.compile(flex_attention, backend="aot_eager"))
    keys_BS = _documents(3, earlier + tokens)
    queries_BT, qkv = keys_BS[:, earlier:], _inputs(tokens, earlier + tokens, width)
    expected = reference_causal_attention(*qkv, (queries_BT, keys_BS)).float()
    with torch.compiler.set_stance("force_eager"):
        out = flex_causal_attention(*qkv, block_mask(queries_BT, keys_BS))
    torch.testing.assert_close(out, expected, **TOLERANCE)


def test_it_stays_compiled_in_a_compiled_block_that_validation_runs_eagerly(monkeypatch: pytest.MonkeyPatch):
    counter = CompileCounterWithBackend("aot_eager")
    monkeypatch.setattr(puna.ops.flex, "_compiled", lambda: torch.compile(flex_attention, backend=counter))
    keys_BS, qkv = _documents(4, 140), _inputs(140, 140)
    blocks = block_mask(keys_BS, keys_BS)
    others = CompileCounterWithBackend("aot_eager")
    block = torch.compile(lambda *qkv: flex_causal_attention(*qkv, blocks).sin(), backend=others)
    with torch.compiler.set_stance("force_eager"):
        out = block(*qkv)
        block(*qkv)
    torch.testing.assert_close(out, reference_causal_attention(*qkv, (keys_BS, keys_BS)).float().sin(), **TOLERANCE)
    assert (counter.frame_count, others.frame_count) == (1, 0)


@pytest.mark.parametrize("documents", [False, True])
@pytest.mark.parametrize("earlier", [0, 256])
def test_compiled_once_for_all_batches(documents: bool, earlier: int, monkeypatch: pytest.MonkeyPatch):
    """As on a GPU, where the rule takes it under a mask and for the last of the keys' positions in compiled code."""
    monkeypatch.setattr("puna.ops.attention.attention_backend", lambda *rule: (FLEX, ""))
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(causal_attention, backend=counter, fullgraph=True)
    for seed in range(3):
        keys_BS, qkv = _documents(seed, earlier + 300), _inputs(300, earlier + 300)
        pair = (keys_BS[:, earlier:], keys_BS)
        out = compiled(*qkv, Mask(*pair, block_mask(*pair)) if documents else None)
        expected = reference_causal_attention(*qkv, pair if documents else None).float()
        torch.testing.assert_close(out, expected, **TOLERANCE)
    assert counter.frame_count == 1

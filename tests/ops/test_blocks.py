"""The blocks that a mask leaves, against the mask written out."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from puna.ops.blocks import seen_blocks

SIZE = 4


def _written_out(queries_BT: torch.Tensor, keys_BS: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The same by every pair of tokens."""
    n_queries, n_keys = queries_BT.shape[1], keys_BS.shape[1]
    allowed = torch.zeros(len(queries_BT), -(-n_queries // SIZE) * SIZE, -(-n_keys // SIZE) * SIZE, dtype=torch.bool)
    for row in range(len(queries_BT)):
        for query in range(n_queries):
            for key in range(n_keys - n_queries + query + 1):
                allowed[row, query, key] = queries_BT[row, query] == keys_BS[row, key]
    blocks = allowed.unflatten(2, (-1, SIZE)).unflatten(1, (-1, SIZE))
    return blocks.any(4).any(2), blocks.all(4).all(2)


@settings(max_examples=80)
@given(
    tokens=st.integers(1, 21),
    earlier=st.integers(0, 9),
    share=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    seed=st.integers(0, 99),
)
def test_no_block_is_missed_and_none_is_called_whole_that_is_not(tokens: int, earlier: int, share: float, seed: int):
    generator = torch.Generator().manual_seed(seed)
    keys_BS = (torch.rand(2, earlier + tokens, generator=generator) < share).cumsum(1)
    queries_BT = keys_BS[:, earlier:]
    some, whole = seen_blocks(queries_BT, keys_BS, SIZE)
    expected_some, expected_whole = _written_out(queries_BT, keys_BS)
    assert torch.equal(whole, expected_whole)
    assert not (expected_some & ~some).any()
    if earlier % SIZE == 0:
        assert torch.equal(some, expected_some)


@settings(max_examples=40)
@given(seed=st.integers(0, 999))
def test_documents_in_any_order_are_never_missed(seed: int):
    keys_BS = torch.randint(-2, 3, (2, 19), generator=torch.Generator().manual_seed(seed))
    some, whole = seen_blocks(keys_BS, keys_BS, SIZE)
    expected_some, expected_whole = _written_out(keys_BS, keys_BS)
    assert torch.equal(whole, expected_whole)
    assert not (expected_some & ~some).any()

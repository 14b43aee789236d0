"""Which part of a sequence each device has."""

import pytest
import torch

from puna.ops.attention import causal_attention
from puna.parallel.context import own_positions, part_masks


@pytest.mark.parametrize("devices", [1, 2, 4])
def test_parts_are_the_whole_and_cost_the_same(devices: int):
    parts = [own_positions(32, index, devices) for index in range(devices)]
    assert torch.cat(parts).sort().values.tolist() == list(range(32))
    # A query at position p looks at p + 1 keys.
    assert len({int((part + 1).sum()) for part in parts}) == 1


def test_part_masks_are_the_rows_of_the_whole_mask():
    """Attention of each part, with its mask, gives the rows that attention over the whole sequence gives."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 2, 16, 4, generator=generator) for _ in range(3))
    documents_BT = torch.randint(0, 2, (2, 16), generator=generator).cumsum(1)
    allowed = torch.ones(16, 16).tril().bool() & (documents_BT[:, None, :, None] == documents_BT[:, None, None, :])
    whole = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
    for index in range(2):
        masks = part_masks(documents_BT, index, 2)
        for mask, part in zip(masks, (index, 3 - index), strict=True):
            rows, end = slice(part * 4, part * 4 + 4), part * 4 + 4
            ours = causal_attention(q[:, :, rows], k[:, :, :end], v[:, :, :end], mask)
            torch.testing.assert_close(ours, whole[:, :, rows])

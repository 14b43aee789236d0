"""Running a model block by block, against running it whole."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from puna.formats.streamed import last_states, logits_by_row


@pytest.mark.parametrize(
    "shape",
    [
        {}, {"tie_embeddings": True}, {"head_dim": 12}, {"norm": "layer", "qk_norm": True},
        {"rotary": "head", "n_kv_heads": 4}, {"rope_scaling": {"kind": "linear", "factor": 2.0}},
        {"dtype": torch.bfloat16},
    ],
    ids=str,
)  # fmt: skip
def test_logits_are_those_of_the_whole_model(
    source: Callable[..., Any], decoder: Callable[..., Any], shape: dict[str, Any]
) -> None:
    checkpoint = source(**shape)
    tokens_BT = torch.randint(0, 512, (3, 17), generator=torch.Generator().manual_seed(0))
    blocks: list[int] = []
    states_BTD = last_states(checkpoint, tokens_BT, blocks.append)
    rows = torch.stack(list(logits_by_row(checkpoint, states_BTD)))
    with torch.no_grad():
        whole = decoder(checkpoint)(tokens_BT)
    assert (rows - whole).abs().max() <= 1e-5
    assert blocks == [1, 1]
    assert rows.dtype == torch.float32

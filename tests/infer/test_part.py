"""The parts of a model that processes share are the model."""

import pytest
import torch
import torch.distributed as dist
from model_source import ModelSource, random_model

from puna.config.recipe import ModelConfig
from puna.core.errors import GenerateError
from puna.infer.part import PartSource, part_of
from puna.ops.quantized import Blocks, WeightKind, dequantize, quantize

CONFIG = ModelConfig(dim=64, n_layers=1, n_heads=4, n_kv_heads=2, head_dim=10, ffn_dim=128, vocab_size=301, context=64)


def parts(monkeypatch: pytest.MonkeyPatch, source: ModelSource) -> list[PartSource]:
    found = []
    monkeypatch.setattr(dist, "get_world_size", lambda group: 2)
    for rank in range(2):
        monkeypatch.setattr(dist, "get_rank", lambda group, rank=rank: rank)
        found.append(PartSource(source))
    return found


def test_parts_of_each_matrix_make_it_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model(CONFIG)
    first, second = parts(monkeypatch, ModelSource(model))
    split = 0
    for name, weight in model.named_parameters():
        shares = first.tensor(name), second.tensor(name)
        if shares[0].shape == weight.shape:
            assert torch.equal(shares[0], weight)
            assert torch.equal(shares[1], weight)
            continue
        assert torch.equal(torch.cat(shares, int(shares[0].shape[0] == weight.shape[0])), weight)
        split += 1
    assert split == 7
    assert (first.config.n_heads, first.config.n_kv_heads, first.config.ffn_dim) == (2, 1, 64)
    assert (first.config.dim, first.config.head_dim) == (64, 10)


def test_blocks_are_split_between_groups_and_never_through_one(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model(CONFIG)
    weights = dict(model.named_parameters())
    names = ["layers.0.attention.wo.weight", "layers.0.feed_forward.w2.weight", "layers.0.attention.wq.weight"]
    blocks = {name: quantize(weights[name], WeightKind.INT8) for name in names}
    first, second = parts(monkeypatch, ModelSource(model, blocks))
    through, between, rows = names
    assert first.blocks(through) is None  # 20 of 40 inputs
    for name, axis in ((between, 1), (rows, 0)):
        shares = [part.blocks(name) for part in (first, second)]
        values = torch.cat([dequantize(share) for share in shares if isinstance(share, Blocks)], axis)
        assert torch.equal(values, dequantize(blocks[name]))
    assert first.blocks("norm.weight") is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"n_heads": 3, "n_kv_heads": 3}, "n_heads = 3 is not a multiple of the 2 processes"),
        ({"n_kv_heads": 1}, "n_kv_heads = 1 is not a multiple"),
        ({"ffn_dim": 99}, "ffn_dim = 99 is not a multiple"),
        ({"qk_norm": True}, "qk_norm"),
    ],
)
def test_a_model_that_cannot_be_split_says_why(change: dict[str, object], why: str) -> None:
    with pytest.raises(GenerateError, match=why):
        part_of(CONFIG.model_copy(update=change), 2)

import pytest
import torch

from puna.config.recipe import ModelConfig
from puna.model.cache import new_caches
from puna.model.init import init_weights
from puna.model.llama import Llama

PIECES = {"at once": [48], "one by one": [1] * 48, "mixed": [10, 1, 1, 20, 3, 13], "all but the last": [47, 1]}


@pytest.mark.parametrize("pieces", PIECES.values(), ids=PIECES.keys())
def test_cached_decoding_equals_the_full_forward_pass(config: ModelConfig, pieces: list[int]) -> None:
    model = Llama(config)
    init_weights(model, 0)
    tokens_BT = torch.randint(0, config.vocab_size, (3, 48), generator=torch.Generator().manual_seed(1))
    caches = new_caches(config, 48)
    with torch.no_grad():
        full_BTV = model(tokens_BT)
        logits, start = [], 0
        for piece_BT in tokens_BT.split(pieces, dim=1):
            logits.append(model(piece_BT, caches, start))
            start += piece_BT.shape[1]
    assert full_BTV.std() > 0.1
    assert (torch.cat(logits, dim=1) - full_BTV).abs().max() <= 1e-5
    assert [cache.length for cache in caches] == [48] * config.n_layers


def test_more_positions_than_there_is_room_for_are_refused(config: ModelConfig) -> None:
    cache = new_caches(config, 4)[0]
    piece = torch.zeros(1, config.n_kv_heads, 3, config.head_dim)
    cache.update(piece, piece)
    with pytest.raises(RuntimeError):
        cache.update(piece, piece)

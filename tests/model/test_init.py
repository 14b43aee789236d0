import math

import pytest
import torch

from puna.config.recipe import ModelConfig
from puna.model.init import init_weights
from puna.model.llama import Llama

CONFIG = ModelConfig(dim=128, n_layers=8, n_heads=4, n_kv_heads=2, ffn_dim=256, vocab_size=1000, init_std=0.03)


def build(seed: int, config: ModelConfig = CONFIG) -> Llama:
    with torch.device("meta"):
        model = Llama(config)
    model.to_empty(device="cpu")
    init_weights(model, seed)
    return model


def test_standard_deviations_are_the_recipes_and_smaller_where_the_stream_is_written() -> None:
    for name, parameter in build(0).named_parameters():
        if name.endswith("norm.weight"):
            assert (parameter == 1).all()
            continue
        expected = 0.03
        if name.split(".")[-2] in {"wo", "w2"}:
            expected /= math.sqrt(16)
        assert parameter.std().item() == pytest.approx(expected, rel=0.05), name
        assert abs(parameter.mean().item()) < expected * 0.05, name


def test_equal_seeds_give_equal_weights_and_other_seeds_others() -> None:
    first, second, other = build(1), build(1), build(2)
    for (name, a), (_, b), (_, c) in zip(*(m.named_parameters() for m in (first, second, other)), strict=True):
        assert torch.equal(a, b), name
        assert name.endswith("norm.weight") or not torch.equal(a, c), name


def test_global_random_state_is_neither_used_nor_changed() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = build(1).output.weight
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(build(1).output.weight, first)


def test_tied_model_is_initialised_once_and_stays_tied() -> None:
    model = build(0, CONFIG.model_copy(update={"tie_embeddings": True}))
    assert model.output.weight is model.tok_embeddings.weight
    assert torch.equal(model.tok_embeddings.weight, build(0).tok_embeddings.weight)


def test_loss_before_training_is_that_of_a_uniform_guess() -> None:
    model = build(0)
    tokens_BT = torch.randint(0, 1000, (4, 65), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(model(tokens_BT[:, :-1]).flatten(0, 1), tokens_BT[:, 1:].flatten())
    assert loss.item() == pytest.approx(math.log(1000), rel=0.02)

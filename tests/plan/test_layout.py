"""What each device has, against the decoder's own parameters and counted by hand."""

from typing import Any

import pytest
import torch

from puna.config.recipe import Recipe
from puna.core.errors import TrainError
from puna.model.llama import Llama
from puna.plan.layout import CPU, FACTORED_FROM, GPU, share_of
from puna.train import adafactor


def recipe(**tables: dict[str, Any]) -> Recipe:
    model = {"dim": 32, "n_layers": 3, "n_heads": 4, "n_kv_heads": 2, "ffn_dim": 64, "vocab_size": 512, "context": 32}
    train = {"tokens": 1024, "batch_tokens": 256, "micro_batch_tokens": 64, "precision": "fp32"}
    values: dict[str, Any] = {"name": "small", "model": model, "train": train, "optim": {"warmup_steps": 0}}
    for name, table in tables.items():
        values[name] = values.get(name, {}) | table
    return Recipe.model_validate(values)


@pytest.mark.parametrize("model", [{}, {"tie_embeddings": True}, {"qk_norm": True, "norm": "layer"}])
def test_one_device_holds_what_the_decoder_has(model: dict[str, Any]):
    config = recipe(model=model)
    with torch.device("meta"):
        decoder = Llama(config.model)
    share = share_of(config, 1, CPU)
    assert share.held == sum(parameter.numel() for parameter in decoder.parameters())
    assert share.block == sum(parameter.numel() for parameter in decoder.layers[0].parameters())
    assert share.matrices_held == sum(p.numel() for p in decoder.layers.parameters() if p.ndim == 2)


def test_devices_share_weights_over_shards_contexts_and_tensor_but_not_replicas():
    parallel = {"replicate": 2, "context": 2, "tensor": 2}
    config = recipe(parallel=parallel, train={"batch_tokens": 512})
    share = share_of(config, 16, GPU)
    assert (share.shard, share.weight_devices, share.passes, share.tokens) == (2, 4, 2, 32)
    # All matrices are split by two devices of a tensor-parallel group, all gains are whole; four devices share that.
    matrices, gains = 3 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64) + 2 * 512 * 32, 7 * 32
    assert share.held == (matrices // 2 + gains) // 4
    assert share_of(recipe(parallel=parallel | {"shard": 2}, train={"batch_tokens": 512}), 16, GPU).held == share.held


@pytest.mark.parametrize(
    ("optim", "precision", "state"),
    [("adamw", "fp32", 8), ("adamw", "bf16", 8), ("adamw", "bf16-stochastic", 4)],
)
def test_adamw_remembers_two_moments_in_the_dtype_of_the_weights(optim: str, precision: str, state: int):
    share = share_of(recipe(optim={"name": optim}, train={"precision": precision}), 1, GPU)
    assert share.optimizer_state == state * share.held
    assert share.state == (state + state // 2) * share.held


def test_muon_remembers_one_momentum_of_the_blocks_matrices_and_adamws_two_of_the_rest():
    share = share_of(recipe(optim={"name": "muon"}), 1, CPU)
    assert share.optimizer_state == 4 * share.matrices_held + 8 * (share.ends + 3 * share.norms)


@pytest.mark.parametrize("model", [{}, {"dim": 128, "ffn_dim": 160}, {"dim": 256, "vocab_size": 300}])
def test_adafactor_remembers_what_its_state_has(model: dict[str, Any]):
    config = recipe(optim={"name": "adafactor"}, model=model)
    with torch.device("meta"):
        decoder = Llama(config.model)
        states = [adafactor.zero_state(parameter) for parameter in decoder.parameters()]
    numbers = sum(tensor.numel() for state in states for name, tensor in state.items() if name != "step")
    assert share_of(config, 1, CPU).optimizer_state == 4 * numbers
    assert adafactor.is_factored((FACTORED_FROM, FACTORED_FROM))
    assert not adafactor.is_factored((FACTORED_FROM, FACTORED_FROM - 1))


def test_devices_share_the_rows_of_adafactors_state_and_each_has_its_columns():
    config = recipe(optim={"name": "adafactor"}, model={"dim": 128, "ffn_dim": 160, "n_layers": 1, "n_kv_heads": 4})
    # Embedding and output layer, wq, wk, wv and wo, w1 and w3, w2; three norms.
    rows, columns = 2 * 512 + 4 * 128 + 2 * 160 + 128, 8 * 128 + 160
    assert share_of(config, 4, GPU).optimizer_state == 4 * (rows // 4 + columns + 3 * 128 // 4)


@pytest.mark.parametrize(
    ("precision", "devices", "grouped", "copied"),
    [
        ("fp32", 1, False, False), ("bf16-stochastic", 1, False, False), ("bf16", 1, False, True),
        ("fp32", 2, True, False), ("bf16", 2, True, False),
    ],
)  # fmt: skip
def test_several_devices_gather_weights_and_one_copies_them_where_it_casts(
    precision: str, devices: int, grouped: bool, copied: bool
):
    share = share_of(recipe(train={"precision": precision}), devices, GPU)
    assert (share.grouped, share.copied, share.alone) == (grouped, copied, devices == 1)


def test_devices_that_share_only_products_have_nobody_to_gather_from():
    share = share_of(recipe(parallel={"tensor": 2}), 2, GPU)
    assert (share.grouped, share.alone) == (True, True)


def test_layout_of_another_size_is_refused_with_both_numbers():
    with pytest.raises(TrainError, match=r"= 1 x 3 x 1 x 2 = 6, but the number of processes is 8"):
        share_of(recipe(parallel={"shard": 3, "tensor": 2}), 8, GPU)


def test_batch_that_devices_cannot_share_is_refused():
    with pytest.raises(
        TrainError, match=r"batch_tokens = 256 is not a multiple of train.micro_batch_tokens = 64 on each"
    ):
        share_of(recipe(), 8, GPU)

"""What is kept of a block, against what autograd really keeps of it."""

from typing import Any

import pytest
import torch
import torch._functorch.config as compiler
from torch import Tensor

from puna.config.recipe import Recipe
from puna.finetune.noise import apply_noise
from puna.model.llama import Block, rope_table
from puna.parallel.apply import build_model
from puna.parallel.mesh import build_mesh
from puna.parallel.objective import Passed
from puna.parallel.world import World
from puna.plan.activations import kept, kept_by_full, kept_by_llama, kept_compiled, kept_in_eager, total
from puna.plan.layout import CPU, GPU, Share, share_of


def share(model: dict[str, Any], train: dict[str, Any], kind: str = CPU, **parallel: int) -> Share:
    shape = {"dim": 64, "n_layers": 4, "n_heads": 4, "n_kv_heads": 2, "ffn_dim": 192, "vocab_size": 512, "context": 256}
    training = {"tokens": 16384, "batch_tokens": 4096, "micro_batch_tokens": 512, "precision": "fp32"}
    recipe = Recipe.model_validate(
        {
            "name": "small", "model": shape | model, "train": training | train, "optim": {"warmup_steps": 0},
            "parallel": parallel,
        }
    )  # fmt: skip
    devices = parallel.get("context", 1) * parallel.get("tensor", 1)
    return share_of(recipe, devices, kind)


def kept_for_backward(one: Share, compiled: bool) -> int:
    """Bytes of all memory that a block's backward pass has hold of, besides its parameters and the angles."""
    config, train = one.recipe.model, one.recipe.train
    dtype = torch.float32 if train.precision == "fp32" else torch.bfloat16
    block = Block(config).to(dtype)
    forward = torch.compile(block) if compiled else block
    cos, sin = rope_table(torch.arange(config.context), config.head_dim, config.rope_theta)
    found: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    x_BTD = torch.randn(train.micro_batch_tokens // config.context, config.context, config.dim, dtype=dtype)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        # In the middle of a model, the stream is not a leaf and its gradient is wanted.
        out_BTD = forward(x_BTD.requires_grad_() * 1, cos, sin)
    others = {tensor.untyped_storage().data_ptr() for tensor in (*block.parameters(), cos, sin, x_BTD)}
    assert out_BTD.requires_grad
    return sum(size for pointer, size in found.items() if pointer not in others)


@pytest.mark.parametrize("precision", ["fp32", "bf16-stochastic"])
@pytest.mark.parametrize("context", [128, 512])
@pytest.mark.parametrize("model", [{}, {"norm": "layer"}, {"qk_norm": True}, {"qk_norm": True, "norm": "layer"}])
def test_eager_block_keeps_the_tensors_that_are_listed(precision: str, context: int, model: dict[str, Any]):
    one = share(model | {"context": context, "n_kv_heads": 4}, {"precision": precision, "compile": False})
    # The generator's seed and the like are a few bytes.
    assert kept_for_backward(one, compiled=False) == pytest.approx(total(kept_in_eager(one)), abs=64)


def test_grouped_heads_keep_fewer_keys_and_values():
    one = share({}, {"compile": False})
    assert kept_for_backward(one, compiled=False) == total(kept_in_eager(one))
    assert total(kept_in_eager(share({"n_kv_heads": 4}, {}))) - total(kept_in_eager(one)) == 2 * 4 * 512 * 32


# A session on a CPU, which other tests have opened, tells the compiler to keep less.
@compiler.patch(ban_recompute_materialized_backward=True)
def test_compiled_block_keeps_the_tensors_that_are_listed():
    one = share({}, {})
    assert kept_for_backward(one, compiled=True) == pytest.approx(total(kept_compiled(one)), rel=0.01)


def test_policies_by_hand():
    # 512 tokens, D 64, N 4, N H 64, K H 32, F 192, float32: in units of 512 x 4 bytes.
    one = share({}, {})
    assert total(kept_by_full(one)) == 64 * 2048
    assert total(kept_by_llama(one)) == (64 + (64 + 2 * 32) + 64 + 4 + 64 + 2 * 192) * 2048
    assert total(kept_compiled(one)) == (2 * 64 + 2 + 2 * 64 + (2 * 64 + 2 * 32) + 4 + 3 * 192) * 2048
    assert total(kept_in_eager(one)) == ((2 + 2 + 2) * 64 + 2 + (2 * 64 + 2 * 32) + 4 + 4 * 192) * 2048


@pytest.mark.parametrize(
    ("policy", "full", "whole"),
    [("none", 0, 4), ("full", 4, 0), ("every-2", 2, 2), ("every-3", 2, 2), ("every-5", 1, 3)],
)
def test_every_nth_block_is_counted_as_full_from_the_first_on(policy: str, full: int, whole: int):
    one = share({}, {"recompute": policy})
    kept_terms, working = kept(one)
    assert total(kept_terms) == full * total(kept_by_full(one)) + whole * total(kept_compiled(one))
    assert total(working) == total(kept_compiled(one))


def test_budget_lies_between_full_and_none_in_proportion():
    least, most = (total(kept(share({}, {"recompute": policy}))[0]) for policy in ("full", "none"))
    assert total(kept(share({}, {"recompute": "budget=0"}))[0]) == least
    assert total(kept(share({}, {"recompute": "budget=1"}))[0]) == most
    assert total(kept(share({}, {"recompute": "budget=0.25"}))[0]) == pytest.approx(least + 0.25 * (most - least))


def test_tensor_parallelism_splits_all_but_what_is_gathered():
    model = {"n_kv_heads": 4}
    one, four = (share(model, {"precision": "bf16"}, GPU, tensor=n) for n in (1, 4))
    gathered = 2 * 2 * 512 * 64
    for terms in (kept_in_eager, kept_compiled):
        assert total(terms(four)) - gathered == pytest.approx((total(terms(one)) - gathered) / 4)


def test_context_parallelism_splits_tokens_but_every_device_has_all_keys():
    one, two = (share({"context": 512}, {"precision": "bf16"}, GPU, context=n) for n in (1, 2))
    keys, joined = 2 * 2 * 512 * 32, 2 * 256 * 64
    assert total(kept_compiled(two)) - keys - joined == (total(kept_compiled(one)) - keys) // 2


LORAS: list[dict[str, Any]] = [
    {}, {"targets": ["wq", "wv"]}, {"targets": ["w2"]}, {"dropout": 0.25}, {"dora": True},
    {"dora": True, "dropout": 0.5, "targets": ["wk", "w1"]},
]  # fmt: skip


def tuned(finetune: dict[str, Any], train: dict[str, Any]) -> Share:
    """A share of a recipe that tunes; its context is one that attention does not take by blocks."""
    shape = {"dim": 64, "n_layers": 2, "n_heads": 4, "n_kv_heads": 4, "ffn_dim": 192, "vocab_size": 512, "context": 128}
    training = {"tokens": 16384, "batch_tokens": 512, "micro_batch_tokens": 512, "precision": "fp32", "compile": False}
    recipe = Recipe.model_validate(
        {
            "name": "small", "model": shape, "train": training | train, "optim": {"warmup_steps": 0},
            "finetune": finetune,
        }
    )  # fmt: skip
    return share_of(recipe, 1, CPU)


def kept_by_last_block(one: Share) -> int:
    """Bytes of what the last block of a model under tuning keeps for its backward pass."""
    recipe, tuning = one.recipe, one.recipe.finetune
    assert tuning is not None
    world = World(0, 1, torch.device("cpu"), None)
    mesh = build_mesh(recipe.parallel, world)
    model = build_model(recipe, mesh, world.device)
    tokens_BT = torch.ones(4, 128, dtype=torch.int64)
    if (noise := apply_noise(model, mesh, tuning, 0)) is not None:
        noise.begin(Passed(inputs_BT=tokens_BT, targets_BT=tokens_BT))
    found: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    cos, sin = rope_table(torch.arange(128), 16, 10_000.0)
    dtype = torch.float32 if recipe.train.precision == "fp32" else torch.bfloat16
    x_BTD = torch.randn(4, 128, 64, dtype=dtype).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        out_BTD = model.layers[1](x_BTD * 1, cos, sin)
    mine = (*model.parameters(), *model.buffers(), cos, sin, x_BTD)
    assert out_BTD.requires_grad
    return sum(size for at, size in found.items() if at not in {x.untyped_storage().data_ptr() for x in mine})


@pytest.mark.parametrize("base", ["as-it-is", "int4"])
@pytest.mark.parametrize("precision", ["fp32", "bf16-stochastic"])
@pytest.mark.parametrize("lora", LORAS, ids=str)
def test_block_with_updates_keeps_the_tensors_that_are_listed(lora: dict[str, Any], precision: str, base: str):
    one = tuned({"method": "lora", "base": base, "lora": {"rank": 8} | lora}, {"precision": precision})
    # Scales of rows are what is left over.
    assert kept_by_last_block(one) == pytest.approx(total(kept_in_eager(one)), rel=0.01)


@pytest.mark.parametrize("freeze", [["*norm*"], ["layers.1.attention.*"], ["*.w2.*"]])
def test_block_that_learns_in_part_keeps_the_tensors_that_are_listed(freeze: list[str]):
    one = tuned({"freeze": freeze}, {})
    assert kept_by_last_block(one) == pytest.approx(total(kept_in_eager(one)), abs=64)

"""Bytes of updates and of integers, against those that PyTorch's operators really touch."""

from typing import Any

import pytest
import torch
from touched import NoAttention, Touched

from puna.config.recipe import Recipe
from puna.finetune import noise as noise_module
from puna.finetune.noise import apply_noise
from puna.model.llama import Block, rope_table
from puna.ops import packed, random_bits
from puna.ops.quantized import WeightKind
from puna.parallel.apply import build_model
from puna.parallel.mesh import build_mesh
from puna.parallel.objective import Passed
from puna.parallel.world import World
from puna.plan.kernels import block_backward, block_forward
from puna.plan.layout import GPU, Share, share_of
from puna.plan.updates import _UNPACK, gains_spared, unpacked, update_bytes


def share(finetune: dict[str, Any], precision: str = "bf16-stochastic", *, compiled: bool = False) -> Share:
    model = {
        "dim": 256, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "ffn_dim": 512, "vocab_size": 272, "context": 64,
    }  # fmt: skip
    train = {
        "tokens": 2**20, "batch_tokens": 8192, "micro_batch_tokens": 1024, "precision": precision, "compile": compiled,
    }  # fmt: skip
    tables = {"name": "small", "model": model, "train": train, "optim": {"warmup_steps": 0}, "finetune": finetune}
    return share_of(Recipe.model_validate(tables), 1, GPU)


def touched(one: Share) -> tuple[int, int]:
    """By the last block, forward and backward; a CPU computes what a GPU's operators would."""
    recipe, world = one.recipe, World(0, 1, torch.device("cpu"), None)
    mesh = build_mesh(recipe.parallel, world)
    model = build_model(recipe, mesh, world.device)
    assert recipe.finetune is not None
    tokens_BT = torch.ones(16, 64, dtype=torch.int64)
    if (noise := apply_noise(model, mesh, recipe.finetune, 0)) is not None:
        noise.begin(Passed(inputs_BT=tokens_BT, targets_BT=tokens_BT))
    block = model.layers[1]
    assert isinstance(block, Block)
    block.attention.core = NoAttention()
    cos, sin = rope_table(torch.arange(64), 64, 10_000.0)
    dtype = torch.float32 if recipe.train.precision == "fp32" else torch.bfloat16
    leaf_BTD = torch.randn(16, 64, 256, dtype=dtype).requires_grad_()
    # From the second pass on, gradients are added to those that are there; the first one copies none.
    x_BTD = leaf_BTD * 1
    with Touched() as forward:
        out_BTD = block(x_BTD, cos, sin)
    gradient = torch.ones_like(out_BTD)
    with Touched() as backward:
        out_BTD.backward(gradient)
    return forward.bytes, backward.bytes


UPDATES: list[dict[str, Any]] = [
    {"method": "lora"}, {"method": "lora", "lora": {"targets": ["wv", "w2"], "rank": 4}},
    {"method": "lora", "lora": {"dropout": 0.1}}, {"method": "lora", "lora": {"dora": True}}, {"dropout": 0.1},
]  # fmt: skip


@pytest.mark.parametrize("precision", ["fp32", "bf16-stochastic"])
@pytest.mark.parametrize("finetune", UPDATES, ids=str)
def test_block_touches_the_bytes_that_are_counted(
    monkeypatch: pytest.MonkeyPatch, finetune: dict[str, Any], precision: str
):
    # What draws is one operator, of which the ones within count.
    monkeypatch.setattr(noise_module, "streams", random_bits.streams._init_fn)
    one = share(finetune, precision)
    assert touched(one) == pytest.approx((block_forward(one).memory, block_backward(one).memory), rel=0.03)


@pytest.mark.parametrize("base", ["int8", "int4"])
def test_integers_touch_the_bytes_that_are_counted(base: str):
    kind = WeightKind(base)
    one = share({"method": "lora", "base": base})
    for dtype, width in ((torch.bfloat16, 2), (torch.float32, 4)):
        integers = torch.zeros(512, packed.row_bytes(512, kind), dtype=torch.uint8, device="meta")
        scales = torch.zeros(512, 16, dtype=torch.float16, device="meta")
        with Touched() as seen:
            packed._unpack._init_fn(integers, scales, 512, dtype)
        # Scales, one for 32 integers, are what is left over.
        assert seen.bytes == pytest.approx(_UNPACK[base, width] * 512**2, rel=0.02)
    assert unpacked(one) == _UNPACK[base, 2] * one.block_matrices
    plain = share({"method": "lora"})
    assert block_forward(one).memory - block_forward(plain).memory == unpacked(one)
    assert unpacked(plain) == 0


def test_compiled_updates_by_hand():
    """Per token: inputs are 256 but those of w2, 512; outputs 256 of wq and wo and w2, 128 of wk and wv, else 512."""
    one = share({"method": "lora"}, compiled=True)
    inputs, outputs = 6 * 256 + 512, 3 * 256 + 2 * 128 + 2 * 512
    assert update_bytes(one).forward == 2 * 1024 * 3 * outputs
    assert update_bytes(one).backward == 2 * 1024 * (2 * outputs + inputs)
    dropping = share({"method": "lora", "lora": {"dropout": 0.1}}, compiled=True)
    assert update_bytes(dropping).forward - update_bytes(one).forward == (112 + 4 + 4 + 1) * 1024 * inputs
    dora = update_bytes(share({"method": "lora", "lora": {"dora": True}}, compiled=True))
    assert dora.forward - update_bytes(one).forward == 2 * 1024 * outputs + 6 * one.block_matrices
    assert dora.products == 2 * 16 * one.block_matrices


def test_gains_that_learn_spare_nothing():
    assert gains_spared(share({})) == 0
    assert gains_spared(share({"freeze": ["*.ffn_norm.*"]})) == gains_spared(share({"method": "lora"})) / 2 > 0

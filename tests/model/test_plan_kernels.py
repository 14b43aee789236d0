"""What is computed, against the model's FLOPs, and bytes against those that PyTorch's operators really touch."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from puna.config.recipe import Recipe
from puna.model.count import flops_per_token
from puna.model.llama import Block, rope_table
from puna.model.plan_kernels import (
    ATTENTION_BACKWARD,
    SUSTAINED,
    Rates,
    Work,
    block_again,
    block_backward,
    block_forward,
    copies,
    ends,
    optimizer_step,
    recomputed_blocks,
)
from puna.model.plan_layout import GPU, Share, share_of


def share(devices: int = 1, **tables: dict[str, Any]) -> Share:
    model = {"dim": 256, "n_layers": 6, "n_heads": 4, "n_kv_heads": 4, "ffn_dim": 512, "vocab_size": 1024}
    train = {"tokens": 2**20, "batch_tokens": 8192, "micro_batch_tokens": 1024, "precision": "bf16"}
    values: dict[str, Any] = {
        "name": "small",
        "model": model | {"context": 64},
        "train": train,
        "optim": {"warmup_steps": 0},
    }
    for name, table in tables.items():
        values[name] = values.get(name, {}) | table
    return share_of(Recipe.model_validate(values), devices, GPU)


@pytest.mark.parametrize("model", [{}, {"n_kv_heads": 2}, {"tie_embeddings": True}, {"head_dim": 32}])
@pytest.mark.parametrize(("devices", "parallel"), [(1, {}), (4, {"tensor": 2, "context": 2})])
def test_a_pass_computes_the_models_flops(model: dict[str, Any], devices: int, parallel: dict[str, Any]):
    one = share(devices, model=model, parallel=parallel)
    both = (block_forward(one) + block_backward(one)) * 6 + ends(one)
    # Attention's backward pass computes one of five products again, which is none of the model's.
    attention = both.attention * 3 / (1 + ATTENTION_BACKWARD)
    expected = flops_per_token(one.recipe.model, 64)
    assert devices * both.products / 1024 == pytest.approx(expected["param"])
    assert devices * attention / 1024 == pytest.approx(expected["causal"] - expected["param"])


def test_times_add_up_at_the_share_that_a_run_sustains():
    rates = Rates(products=100.0, attention=50.0, memory=10.0)
    work = Work(products=200.0, attention=150.0, memory=40.0)
    assert work.seconds(rates) == pytest.approx((2 + 3 + 4) / SUSTAINED)
    assert (work + work * 2).seconds(rates) == pytest.approx(3 * work.seconds(rates))


class _Attention(torch.autograd.Function):
    """In the place of attention's kernel, of which another rate is known."""

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        ctx.save_for_backward(*inputs)
        return torch.empty_like(inputs[0])

    @staticmethod
    # pyrefly: ignore[bad-override] one name for all gradients
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.empty_like(tensor) for tensor in ctx.saved_tensors)


class _Core(nn.Module):
    def forward(self, q_BNTH: Tensor, k_BKSH: Tensor, v_BKSH: Tensor, mask: Any = None) -> Tensor:
        return _Attention.apply(q_BNTH, k_BKSH, v_BKSH)


class _Touched(TorchDispatchMode):
    """Bytes that operators read and write, matrix products, views and memory that is only made aside."""

    ASIDE = ("mm", "addmm", "bmm", "empty_like", "empty", "_unsafe_view", "ones_like", "detach")

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        name = function._schema.name.partition("::")[2]
        if name not in self.ASIDE and not function.is_view:
            for tensor in tree_leaves((args, kwargs, out)):
                if isinstance(tensor, Tensor):
                    kept = [size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride]
                    self.bytes += torch.Size(kept).numel() * tensor.element_size()
        return out


def touched(one: Share) -> tuple[int, int]:
    """By a block that is not compiled, forward and backward, on the meta device."""
    config, train = one.recipe.model, one.recipe.train
    with torch.device("meta"):
        block = Block(config).to(torch.float32 if train.precision == "fp32" else torch.bfloat16)
        block.attention.core = _Core()
        cos, sin = rope_table(torch.arange(config.context), config.head_dim, config.rope_theta)
        batch, dtype = train.micro_batch_tokens // config.context, block.attention.wq.weight.dtype
        x_BTD = torch.randn(batch, config.context, config.dim, dtype=dtype).requires_grad_() * 1
        block(x_BTD, cos, sin)
        with _Touched() as forward:
            out_BTD = block(x_BTD, cos, sin)
        gradient = torch.empty_like(out_BTD)
        with _Touched() as backward:
            out_BTD.backward(gradient)
    return forward.bytes, backward.bytes


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    "model", [{}, {"norm": "layer"}, {"norm": "layer-bias"}, {"n_kv_heads": 2}, {"qk_norm": True}, {"ffn_dim": 1024}]
)
def test_block_that_isnt_compiled_touches_the_bytes_that_are_counted(precision: str, model: dict[str, Any]):
    one = share(model=model, train={"precision": precision, "compile": False})
    # Statistics of the norms, gains and angles are what is left over.
    assert touched(one) == pytest.approx((block_forward(one).memory, block_backward(one).memory), rel=0.02)


def test_compiled_block_by_hand():
    one = share()
    # In elements per token: D 256, queries and keys 512, F 512.
    assert block_forward(one).memory == 2 * 1024 * (9 * 256 + 2 * 512 + 3 * 512)
    assert block_backward(one).memory == 2 * 1024 * (15 * 256 + 2 * 512 + 5 * 512)
    eager = share(train={"compile": False})
    assert block_forward(one).memory < block_forward(eager).memory
    assert block_backward(one).memory < block_backward(eager).memory
    normed = share(model={"qk_norm": True})
    assert block_forward(normed).memory > block_forward(one).memory


def test_tensor_parallelism_shares_all_but_what_is_gathered():
    one, four = share(), share(4, parallel={"tensor": 4})
    assert block_forward(four).products == block_forward(one).products / 4
    assert block_forward(four).attention == block_forward(one).attention / 4
    assert block_forward(four).memory - 2 * 1024 * 8 * 256 == pytest.approx(block_forward(one).memory / 4)


@pytest.mark.parametrize(
    ("policy", "part"), [("none", 0), ("full", 1), ("every-2", 1 / 2), ("every-4", 1 / 3), ("budget=0.25", 3 / 4)]
)
def test_policies_compute_a_forward_pass_again_without_its_last_product(policy: str, part: float):
    one = share(train={"recompute": policy})
    assert recomputed_blocks(one) == pytest.approx(part)
    again, forward = block_again(one), block_forward(one)
    assert again.products == pytest.approx(part * (forward.products - 2 * 1024 * 256 * 512))
    assert (again.attention, again.memory) == pytest.approx((part * forward.attention, part * forward.memory))


@pytest.mark.parametrize("compiled", [True, False])
def test_llama_computes_again_what_is_no_product(compiled: bool):
    one = share(train={"recompute": "llama", "compile": compiled})
    again = block_again(one)
    assert (again.products, again.attention) == (0, 0)
    assert 0 < again.memory < block_forward(one).memory


def test_output_layer_is_heavier_where_its_vocabulary_is_shared_or_its_logits_are_weighed():
    plain, weighed = share(), share(train={"z_loss": 1e-4})
    assert ends(weighed).memory - ends(plain).memory == (36 - 12) * 1024 * 1024
    chunks = share(train={"loss_chunk_tokens": 256})
    assert ends(chunks).memory - ends(plain).memory == 3 * 12 * 1024 * 256


def test_one_device_casts_its_output_layer_in_every_pass_and_all_else_once_per_step():
    one, tied = share(), share(model={"tie_embeddings": True})
    output = 1024 * 256
    assert copies(one).memory == 6 * output + 10 * one.held
    assert copies(tied).memory == 10 * tied.held
    assert optimizer_step(one).memory == 40 * one.held + 6 * (one.held - output)
    assert optimizer_step(tied).memory == 46 * tied.held
    fp32 = share(train={"precision": "fp32"})
    assert copies(fp32).memory == 12 * fp32.held
    assert copies(share(train={"precision": "fp32", "micro_batch_tokens": 8192})).memory == 0


def test_sharded_weights_are_cast_copied_in_and_out_and_their_gradients_too():
    four = share(4)
    blocks, edge = 6 * four.block, four.ends
    out_of_the_message, into_it = 4 * (2 * blocks + edge), 10 * (2 * blocks + edge) / 4
    gradients = 6 * (blocks + edge) + 20 * four.held
    assert copies(four).memory == pytest.approx(out_of_the_message + into_it + gradients)
    # Where nobody shares a block's weights they are gathered once.
    pair = share(2, parallel={"tensor": 2})
    once = 4 * (6 * pair.block + pair.ends) + 10 * (6 * pair.block + pair.ends)
    assert copies(pair).memory == pytest.approx(once + 6 * (6 * pair.block + pair.ends) + 20 * pair.held)


def test_muon_multiplies_and_shares_the_work():
    one, two = (share(devices, optim={"name": "muon"}) for devices in (1, 2))
    square, wide = 4 * 256**3 + 2 * 256**3, 4 * 256 * 256 * 512 + 2 * 256**3
    assert optimizer_step(one).products == 5 * 6 * (4 * square + 3 * wide)
    assert optimizer_step(two).products == optimizer_step(one).products / 2
    split = share(2, optim={"name": "muon"}, parallel={"tensor": 2})
    assert optimizer_step(split).products == optimizer_step(one).products


def test_stochastic_rounding_reads_and_writes_most():
    assert optimizer_step(share(train={"precision": "bf16-stochastic"})).memory == 221 * share().held

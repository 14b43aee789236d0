"""What is computed, against the model's FLOPs, and bytes against those that PyTorch's operators really touch."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from touched import NoAttention, Touched

from puna.config.recipe import Recipe
from puna.model.llama import Block, rope_table
from puna.ops import cross_entropy
from puna.parallel import float8
from puna.plan.count import flops_per_token
from puna.plan.kernels import (
    _EAGER_FLOAT8,
    _EAGER_STOCHASTIC,
    ATTENTION_BACKWARD,
    SUSTAINED,
    Rates,
    Work,
    block_again,
    block_backward,
    block_forward,
    copies,
    ends,
    float8_bytes,
    loss_bytes,
    optimizer_step,
    recomputed_blocks,
)
from puna.plan.layout import GPU, Share, share_of
from puna.train import adafactor, muon, stochastic


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


def touched(one: Share) -> tuple[int, int]:
    """By a block that is not compiled, forward and backward, on the meta device."""
    config, train = one.recipe.model, one.recipe.train
    with torch.device("meta"):
        block = Block(config).to(torch.float32 if train.precision == "fp32" else torch.bfloat16)
        block.attention.core = NoAttention()
        if train.float8:
            for layer in block.modules():
                if isinstance(layer, nn.Linear):
                    layer.forward = partial(float8._linear, layer)
        cos, sin = rope_table(torch.arange(config.context), config.head_dim, config.rope_theta)
        batch, dtype = train.micro_batch_tokens // config.context, block.attention.wq.weight.dtype
        x_BTD = torch.randn(batch, config.context, config.dim, dtype=dtype).requires_grad_() * 1
        block(x_BTD, cos, sin)
        with Touched() as forward:
            out_BTD = block(x_BTD, cos, sin)
        gradient = torch.empty_like(out_BTD)
        with Touched() as backward:
            out_BTD.backward(gradient)
    return forward.bytes, backward.bytes


def loss_touched(one: Share, z_loss: float = 0.0) -> int:
    """By the output layer and its loss, of a vocabulary that is all here on the meta device, shared on the CPU."""
    config, train = one.recipe.model, one.recipe.train
    kind = "meta" if one.fused_loss else "cpu"
    dtype = torch.float32 if train.precision == "fp32" else torch.bfloat16
    x_ND = torch.ones(one.tokens, config.dim, dtype=dtype, device=kind).requires_grad_()
    stored = torch.float32 if one.copied else dtype
    weight_VD = torch.ones(one.vocabulary, config.dim, dtype=stored, device=kind).requires_grad_(one.learning.output)
    targets_N = torch.zeros(one.tokens, dtype=torch.int64, device=kind)
    with Touched() as seen:
        total, _ = cross_entropy.linear_cross_entropy(x_ND, weight_VD, targets_N, one.loss_chunk, z_loss=z_loss)
        total.backward()
    return seen.bytes


@pytest.mark.parametrize("precision", ["fp32", "bf16", "bf16-stochastic"])
@pytest.mark.parametrize(("devices", "chunk"), [(1, 0), (1, 256), (2, 256)])
def test_loss_touches_the_bytes_that_are_counted(
    monkeypatch: pytest.MonkeyPatch, precision: str, devices: int, chunk: int
):
    """A GPU adds a bfloat16 product to a float32 sum in one operator, which other devices do not have; nor has it the
    operator of CPUs.
    """
    monkeypatch.setattr(cross_entropy.cpu, "library", lambda: None)
    monkeypatch.setattr(cross_entropy, "_add_product", lambda total, left, right: total.addmm_(left, right))
    monkeypatch.setattr(Tensor, "addmm_", lambda total, left, right: total.add_(1))
    train = {"precision": precision, "compile": False, "loss_chunk_tokens": chunk}
    one = share(devices, model={"vocab_size": 4096}, train=train, parallel={"tensor": devices})
    # The z-loss stands for devices that have other parts of the vocabulary; numbers of one row are what is left over.
    assert loss_touched(one, 1e-4) == pytest.approx(loss_bytes(one), rel=0.01)


@pytest.mark.parametrize("precision", ["fp32", "bf16-stochastic"])
def test_log_probabilities_of_pairs_touch_the_bytes_that_are_counted(precision: str):
    preference: dict[str, Any] = {"finetune": {"preference": {}, "learn": "answers"}}
    train = {"precision": precision, "compile": False}
    plain, pairs = (share(model={"vocab_size": 4096}, train=train, **more) for more in ({}, preference))
    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    with torch.device("meta"):
        x_ND, weight_VD = torch.ones(plain.tokens, 256, dtype=dtype), torch.ones(4096, 256, dtype=dtype)
        with Touched() as seen:
            cross_entropy.token_losses(x_ND, weight_VD, torch.zeros(plain.tokens, dtype=torch.int64), plain.loss_chunk)
    assert ends(pairs).memory - ends(plain).memory == pytest.approx(seen.bytes, rel=0.01)
    assert ends(pairs).products - ends(plain).products == 2 * plain.tokens * 4096 * 256


@pytest.mark.parametrize("precision", ["fp32", "bf16", "bf16-stochastic"])
@pytest.mark.parametrize("devices", [1, 2])
def test_loss_under_a_frozen_output_layer_touches_the_bytes_that_are_counted(
    monkeypatch: pytest.MonkeyPatch, precision: str, devices: int
):
    monkeypatch.setattr(cross_entropy.cpu, "library", lambda: None)
    train = {"precision": precision, "compile": False, "loss_chunk_tokens": 256}
    frozen: dict[str, Any] = {"finetune": {"freeze": ["output.*"]}}
    one = share(devices, model={"vocab_size": 4096}, train=train, parallel={"tensor": devices}, **frozen)
    assert loss_touched(one, 1e-4) == pytest.approx(loss_bytes(one), rel=0.01)


def test_step_that_rounds_at_random_touches_the_bytes_that_are_counted():
    with torch.device("meta"):
        tensors = [torch.empty(2**16, dtype=torch.bfloat16) for _ in range(4)]
        numbers = torch.empty(()), torch.empty(6), torch.empty(2, dtype=torch.int32)
        with Touched() as seen:
            stochastic._move(*tensors, *numbers)
    assert seen.bytes == pytest.approx(_EAGER_STOCHASTIC * 2**16, rel=0.001)


def test_muon_touches_the_bytes_that_are_counted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(muon, "_orthogonalize_together", lambda matrices, shared: None)
    matrix = nn.Parameter(torch.zeros(64, 64))
    optimizer = muon.Muon([{"params": [matrix], "weight_decay": 0.1}], lr=0.1, momentum=0.9)
    for _ in range(2):
        matrix.grad = torch.zeros(64, 64)
        with Touched() as seen:
            optimizer.step(torch.ones(()))
    one = share(optim={"name": "muon"})
    others = 36 * one.held + 6 * one.held
    assert optimizer_step(one).memory - others == pytest.approx(
        (seen.bytes / 64**2 - 32) * one.matrices_held, rel=0.001
    )


def test_adafactor_touches_the_bytes_that_are_counted():
    matrix = nn.Parameter(torch.zeros(256, 256))
    optimizer = adafactor.Adafactor([{"params": [matrix], "weight_decay": 0.0}], lr=0.1)
    for _ in range(2):
        matrix.grad = torch.zeros(256, 256)
        with Touched() as seen:
            optimizer.step(torch.ones(()))
    one = share(optim={"name": "adafactor"})
    others = 36 * one.held + 6 * one.held
    # Vectors are what is left over.
    assert optimizer_step(one).memory - others == pytest.approx((seen.bytes / 256**2 - 32) * one.held, rel=0.05)


def test_rounding_to_float8_touches_the_bytes_that_are_counted():
    with torch.device("meta"), Touched() as seen:
        float8.to_float8(torch.empty(512, 512, dtype=torch.bfloat16))
    assert seen.bytes == pytest.approx(_EAGER_FLOAT8 * 512**2, rel=0.01)


@pytest.mark.parametrize("model", [{}, {"n_kv_heads": 2}, {"ffn_dim": 1024}])
def test_block_in_float8_touches_the_bytes_that_are_counted(monkeypatch: pytest.MonkeyPatch, model: dict[str, Any]):
    def units(left8: Tensor, left: Tensor, right8: Tensor, right: Tensor) -> Tensor:
        return torch.empty(len(left8), len(right8), dtype=torch.bfloat16, device="meta")

    monkeypatch.setattr(float8, "product_in_float32", units)
    one = share(model=model, train={"compile": False, "float8": True})
    expected = block_forward(one).memory, block_backward(one).memory
    assert touched(one) == pytest.approx(expected, rel=0.02)
    assert block_forward(one).memory - block_forward(share(model=model, train={"compile": False})).memory > 0


def test_float8_multiplies_forward_and_for_the_inputs_gradient():
    one, plain = share(train={"float8": True}), share()
    assert block_forward(one).float8 == block_forward(plain).products
    assert block_forward(one).products == 0
    assert block_backward(one).float8 == block_backward(one).products == block_backward(plain).products / 2
    assert ends(one) == ends(plain)
    again = block_again(share(train={"float8": True, "recompute": "full"}))
    assert (again.products, again.float8) == (0, block_forward(one).float8 - 2 * 1024 * 256 * 512)
    # Compiled: read twice and written once. D 256, queries and keys 256 each, F 512.
    weights = one.block_matrices
    assert float8_bytes(one) == (
        5 * (1024 * (4 * 256 + 512 - 256) + weights),
        5 * (1024 * (2 * 256 + 3 * 256 + 2 * 512) + weights),
    )
    rates = Rates(products=100.0, attention=50.0, memory=10.0, float8=200.0)
    assert Work(products=100.0, float8=100.0).seconds(rates) == pytest.approx(1.5 / SUSTAINED)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_compiled_block_rounds_what_several_layers_read_once():
    from functorch.compile import make_boxed_func
    from torch._dynamo.backends.common import aot_autograd
    from torch._functorch.partitioners import min_cut_rematerialization_partition

    rounded: list[int] = []

    def count(graph: torch.fx.GraphModule, example_inputs: Any) -> Any:
        rounded.append(sum(node.kwargs.get("dtype") == float8.FLOAT8 for node in graph.graph.nodes))
        return make_boxed_func(graph.forward)

    one = share(train={"float8": True})
    block = Block(one.recipe.model).to(torch.bfloat16)
    for layer in block.modules():
        if isinstance(layer, nn.Linear):
            layer.forward = partial(float8._linear, layer)
    cos, sin = rope_table(torch.arange(64), one.recipe.model.head_dim, one.recipe.model.rope_theta)
    backend = aot_autograd(fw_compiler=count, bw_compiler=count, partition_fn=min_cut_rematerialization_partition)
    compiled = torch.compile(block, backend=backend)
    out_BTD = compiled(torch.ones(2, 64, 256, dtype=torch.bfloat16).requires_grad_() * 1, cos, sin)
    out_BTD.sum().backward()
    # Four inputs and seven weights; seven gradients and seven weights.
    assert rounded == [11, 14]


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
def test_llama_computes_again_what_is_not_a_product(compiled: bool):
    one = share(train={"recompute": "llama", "compile": compiled})
    again = block_again(one)
    assert (again.products, again.attention) == (0, 0)
    assert 0 < again.memory < block_forward(one).memory


def test_compiled_loss_reads_the_logits_twice_and_writes_their_gradient_whatever_its_terms():
    plain, weighed = share(), share(train={"z_loss": 1e-4})
    assert ends(weighed) == ends(plain)
    logits, stream, output = 1024 * 1024, 1024 * 256, 1024 * 256
    assert loss_bytes(plain) == 3 * 2 * logits + 2 * 2 * stream + (8 + 12 + 6) * output
    # The norm reads and writes; backward it reads the stream and the gradient twice, and writes.
    assert ends(plain).memory - loss_bytes(plain) == 7 * 2 * stream + 5 * 2 * stream + 2 * output
    chunks = share(train={"loss_chunk_tokens": 256})
    assert ends(chunks).memory - ends(plain).memory == 3 * 8 * output
    split = share(2, parallel={"tensor": 2})
    assert ends(split).memory > ends(plain).memory


def test_one_device_copies_its_weights_once_per_step_and_adds_gradients_up_in_float32():
    """Of eight passes the first one's gradients are cast; the output layer's own come in float32."""
    one, tied = share(), share(model={"tie_embeddings": True})
    output = 1024 * 256
    assert one.passes == 8
    assert 8 * copies(one).memory == (6 + 7 * 10) * (one.held - output) + 7 * 12 * output
    # The embedding's are added to those of the output layer that it is.
    assert 8 * copies(tied).memory == (6 + 7 * 10) * (tied.held - output) + (7 * 12 + 8 * 10) * output
    assert optimizer_step(one).memory == (36 + 6) * one.held
    fp32 = share(train={"precision": "fp32"})
    assert 8 * copies(fp32).memory == pytest.approx(7 * 12 * fp32.held)
    assert optimizer_step(fp32).memory == 36 * fp32.held
    assert copies(share(train={"precision": "fp32", "micro_batch_tokens": 8192})).memory == 0


def test_sharded_weights_are_cast_copied_in_and_out_and_their_gradients_too():
    four = share(4)
    blocks, edge = 6 * four.block, four.ends
    # The last block stays between forward and backward.
    gathered = 2 * blocks - four.block + edge
    out_of_the_message, into_it = 4 * gathered, 10 * gathered / 4
    gradients = 6 * (blocks + edge) + 20 * four.held
    assert copies(four).memory == pytest.approx(out_of_the_message + into_it + gradients)
    # Weights of a block that are not sharded are gathered once.
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


def test_stochastic_rounding_reads_and_writes_least_where_it_is_compiled():
    narrow = {"precision": "bf16-stochastic"}
    assert optimizer_step(share(train=narrow)).memory == 16 * share().held
    assert optimizer_step(share(train=narrow | {"compile": False})).memory == 742 * share().held

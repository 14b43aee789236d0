"""Which parameter is moved by what, the updates against formulas and PyTorch, state and description."""

import pytest
import torch

from puna.config.recipe import ModelConfig, OptimConfig
from puna.model.llama import Llama
from puna.train.optimizer import build_optimizer, describe_groups, ensure_state, named_state, set_learning_rate

SMALL = ModelConfig(dim=8, n_layers=1, n_heads=2, n_kv_heads=2, ffn_dim=16, vocab_size=260, context=8)
KINDS = [("adamw", "fp32"), ("muon", "fp32"), ("adafactor", "fp32"), ("adamw", "bf16-stochastic")]


def test_matrices_decay_and_norms_do_not():
    model = Llama(SMALL)
    decayed, rest = build_optimizer(model, OptimConfig()).param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert decayed["weight_decay"] == 0.1
    assert rest["weight_decay"] == 0.0
    assert {names[id(p)] for p in rest["params"]} == {
        "layers.0.attention_norm.weight",
        "layers.0.ffn_norm.weight",
        "norm.weight",
    }
    assert len(decayed["params"]) + len(rest["params"]) == len(list(model.parameters()))


def test_tied_weight_is_optimized_once():
    model = Llama(SMALL.model_copy(update={"tie_embeddings": True}))
    groups = build_optimizer(model, OptimConfig()).param_groups
    parameters = [p for group in groups for p in group["params"]]
    assert len(parameters) == len({id(p) for p in parameters})


def test_update_equals_the_formula_of_loshchilov_and_hutter():
    config = OptimConfig(lr=0.01, beta1=0.9, beta2=0.95, eps=1e-8, weight_decay=0.1)
    linear = torch.nn.Linear(4, 3, bias=False).double()
    weight = linear.weight.detach().clone()
    optimizer = build_optimizer(linear, config)
    first = second = torch.zeros_like(weight)
    for step in range(1, 6):
        gradient = torch.sin(torch.arange(12.0).double().view(3, 4) * step)
        linear.weight.grad = gradient.clone()
        lr = 0.01 / step
        set_learning_rate(optimizer, lr)
        optimizer.step()
        first = 0.9 * first + 0.1 * gradient
        second = 0.95 * second + 0.05 * gradient**2
        weight = weight - lr * 0.1 * weight
        weight = weight - lr * (first / (1 - 0.9**step)) / ((second / (1 - 0.95**step)).sqrt() + 1e-8)
        torch.testing.assert_close(linear.weight.detach(), weight, rtol=1e-10, atol=1e-12)


def prepared(name: str, precision: str, *, prepare: bool = False) -> tuple[Llama, torch.optim.Optimizer]:
    """A model with gradients, and its optimizer."""
    torch.manual_seed(0)
    model = Llama(SMALL)
    if precision == "bf16-stochastic":
        model.to(torch.bfloat16)
    optimizer = build_optimizer(model, OptimConfig(name=name, lr=1e-2), precision)
    if prepare:
        ensure_state(model, optimizer)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape).to(parameter.dtype)
    return model, optimizer


@pytest.mark.parametrize(("name", "precision"), KINDS)
def test_prepared_state_changes_no_first_step(name, precision):
    (model, optimizer), (other, other_optimizer) = (prepared(name, precision, prepare=p) for p in (True, False))
    assert all(not tensor.any() for tensor in named_state(model, optimizer).values())
    optimizer.step()
    other_optimizer.step()
    for parameter, expected in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(parameter, expected)


@pytest.mark.parametrize(("name", "precision"), KINDS)
def test_prepared_state_has_the_names_and_forms_of_that_after_a_step(name, precision):
    def form(tensors: dict[str, torch.Tensor]) -> dict:
        return {key: (tensor.shape, tensor.dtype, tensor.device) for key, tensor in tensors.items()}

    model, optimizer = prepared(name, precision)
    assert named_state(model, optimizer) == {}
    optimizer.step()
    expected = named_state(model, optimizer)
    assert form(named_state(*prepared(name, precision, prepare=True))) == form(expected)
    assert any(tensor.any() for tensor in expected.values())


@pytest.mark.parametrize(("name", "precision"), KINDS)
def test_named_state_shares_memory_with_the_optimizer(name, precision):
    model, optimizer = prepared(name, precision, prepare=True)
    for tensor in named_state(model, optimizer).values():
        tensor.fill_(2.0)
    held = [value for state in optimizer.state.values() for value in state.values()]
    assert len(held) == len(named_state(model, optimizer))
    assert all((value == 2.0).all() for value in held)


def test_state_of_frozen_parameters_is_neither_made_nor_named():
    model = Llama(SMALL)
    model.output.weight.requires_grad_(False)
    optimizer = build_optimizer(model, OptimConfig())
    ensure_state(model, optimizer)
    assert len(named_state(model, optimizer)) == 3 * (len(list(model.parameters())) - 1)
    assert not any("output" in key for key in named_state(model, optimizer))


def test_muon_takes_the_matrices_of_the_blocks_and_adamw_the_rest():
    model = Llama(SMALL)
    optimizer = build_optimizer(model, OptimConfig(name="muon"))
    ensure_state(model, optimizer)
    heads, feed_forward = ("wq", "wk", "wv", "wo"), ("w1", "w2", "w3")
    matrices = {f"layers.0.attention.{name}.weight" for name in heads}
    matrices |= {f"layers.0.feed_forward.{name}.weight" for name in feed_forward}
    everything = {name for name, _ in model.named_parameters()}
    assert set(named_state(model, optimizer)) == {f"optim.{name}.momentum_buffer" for name in matrices} | {
        f"optim.{name}.{key}" for name in everything - matrices for key in ("step", "exp_avg", "exp_avg_sq")
    }


def test_muon_with_adamw_equals_both_of_pytorchs():
    model, optimizer = prepared("muon", "fp32")
    other, _ = prepared("muon", "fp32")
    matrices = [p for name, p in other.named_parameters() if "layers" in name and p.ndim == 2]
    embeddings = [other.tok_embeddings.weight, other.output.weight]
    norms = [p for p in other.parameters() if p.ndim == 1]
    muon = torch.optim.Muon(matrices, momentum=0.95, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    adamw = torch.optim.AdamW(
        [{"params": embeddings}, {"params": norms, "weight_decay": 0.0}], betas=(0.9, 0.95), weight_decay=0.1
    )
    for lr in (1e-2, 3e-3, 1e-3):
        for parameter, twin in zip(model.parameters(), other.parameters(), strict=True):
            parameter.grad = torch.randn(parameter.shape)
            twin.grad = parameter.grad.clone()
        for each in (optimizer, muon, adamw):
            set_learning_rate(each, lr)
            each.step()
    for parameter, twin in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(parameter, twin)
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("name", ["muon", "adafactor"])
def test_others_than_adamw_are_refused_in_bfloat16_before_anything_is_built(name):
    with pytest.raises(ValueError, match=f"{name} needs float32 weights"):
        build_optimizer(Llama(SMALL).to(torch.bfloat16), OptimConfig(name=name), "bf16-stochastic")


def test_adafactor_keeps_two_vectors_of_large_matrices_and_the_squares_of_all_else():
    model = Llama(SMALL.model_copy(update={"dim": 128, "ffn_dim": 192}))
    optimizer = build_optimizer(model, OptimConfig(name="adafactor"))
    ensure_state(model, optimizer)
    shapes = {name: tuple(tensor.shape) for name, tensor in named_state(model, optimizer).items()}
    assert shapes["optim.layers.0.feed_forward.w1.weight.row"] == (192,)
    assert shapes["optim.layers.0.feed_forward.w1.weight.column"] == (128,)
    assert shapes["optim.norm.weight.exp_avg_sq"] == (128,)
    assert {name.rsplit(".", 1)[1] for name in shapes} == {"step", "row", "column", "exp_avg_sq"}
    assert describe_groups(model, optimizer)[1] == (
        "Adafactor: 3 tensors, 384 parameters, rates relative to the weights, no decay: "
        "layers.*.attention_norm.weight, layers.*.ffn_norm.weight, norm.weight"
    )


def test_groups_are_described_with_numbers_and_names():
    model = Llama(SMALL.model_copy(update={"n_layers": 2}))
    assert describe_groups(model, build_optimizer(model, OptimConfig(name="muon"))) == [
        # In each block four matrices of 8 x 8 and three of 8 x 16.
        "Muon: 14 tensors, 1.28k parameters, momentum 0.95, decay 0.1: layers.*.attention.wq.weight, "
        "layers.*.attention.wk.weight, layers.*.attention.wv.weight, layers.*.attention.wo.weight, ...",
        "AdamW: 2 tensors, 4.16k parameters, betas 0.9 and 0.95, decay 0.1: tok_embeddings.weight, output.weight",
        "AdamW: 5 tensors, 40 parameters, betas 0.9 and 0.95, no decay: layers.*.attention_norm.weight, "
        "layers.*.ffn_norm.weight, norm.weight",
    ]


def test_description_names_stochastic_rounding_and_leaves_out_empty_groups():
    linear = torch.nn.Linear(4, 3, bias=False).bfloat16()
    assert describe_groups(linear, build_optimizer(linear, OptimConfig(), "bf16-stochastic")) == [
        "AdamW in bfloat16 with stochastic rounding: 1 tensor, 12 parameters, betas 0.9 and 0.95, decay 0.1: weight"
    ]


def test_sharded_model_is_described_with_the_numbers_of_the_whole(sharded_steps):
    assert sharded_steps.lines["fsdp"] == sharded_steps.lines["alone"]
    assert len(sharded_steps.lines["fsdp"]) == 3

"""AdamW: which parameters decay, and the update against the formula of the paper."""

import torch

from puna.config.recipe import ModelConfig, OptimConfig
from puna.model.llama import Llama
from puna.train.optimizer import build_optimizer, ensure_state, set_learning_rate

SMALL = ModelConfig(dim=8, n_layers=1, n_heads=2, n_kv_heads=2, ffn_dim=16, vocab_size=260, context=8)


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


def test_prepared_state_changes_no_first_step():
    def stepped(prepare: bool) -> torch.Tensor:
        torch.manual_seed(0)
        linear = torch.nn.Linear(4, 3, bias=False)
        optimizer = build_optimizer(linear, OptimConfig())
        if prepare:
            ensure_state(linear, optimizer)
        linear.weight.grad = torch.ones_like(linear.weight)
        optimizer.step()
        return linear.weight.detach()

    assert torch.equal(stepped(prepare=False), stepped(prepare=True))

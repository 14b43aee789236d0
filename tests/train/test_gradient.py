"""The norm before clipping, and the gradient that the optimizer moves by."""

import pytest
import torch

from puna.config.recipe import OptimConfig
from puna.train.gradient import all_finite, clip_divisor, gradient_norm
from puna.train.optimizer import build_optimizer


def linear() -> torch.nn.Linear:
    model = torch.nn.Linear(2, 1)
    model.weight.grad, model.bias.grad = torch.tensor([[3.0, 4.0]]), torch.tensor([12.0])
    return model


@pytest.mark.parametrize(("limit", "divisor"), [(1.0, 13.0), (100.0, 1.0)])
def test_the_divisor_brings_the_norm_down_to_the_limit(limit: float, divisor: float):
    norm = gradient_norm(linear())
    assert norm.item() == pytest.approx(13.0)
    assert clip_divisor(norm, limit).item() == pytest.approx(divisor, rel=1e-6)


def test_a_norm_that_is_not_finite_stays_so_in_the_divisor():
    assert clip_divisor(torch.tensor(float("inf")), 1.0).isinf()
    assert clip_divisor(torch.tensor(float("nan")), 1.0).isnan()


def test_norms_of_bfloat16_gradients_are_summed_in_float32():
    model = torch.nn.Linear(1000, 1, bias=False).bfloat16()
    model.weight.grad = torch.full((1, 1000), 0.1).bfloat16()
    exact = model.weight.grad.double().norm().item()
    assert gradient_norm(model).item() == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "precision"), [("adamw", "fp32"), ("muon", "fp32"), ("adafactor", "fp32"), ("adamw", "bf16-stochastic")]
)
def test_steps_with_a_divisor_are_those_of_clip_grad_norm(name: str, precision: str):
    config = OptimConfig(name=name, lr=1e-2)
    moved = []
    for clip in (True, False):
        torch.manual_seed(0)
        model = torch.nn.Sequential()
        model.layers = torch.nn.ModuleList([torch.nn.Linear(12, 8), torch.nn.Linear(8, 4)])
        model.to(torch.bfloat16 if precision == "bf16-stochastic" else torch.float32)
        optimizer = build_optimizer(model, config, precision)
        for step in range(3):
            for number, parameter in enumerate(model.parameters()):
                waves = torch.sin(torch.arange(parameter.numel()) * (number + 1.3) + step).view_as(parameter)
                parameter.grad = waves.to(parameter.dtype)
            if clip:
                torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
                optimizer.step()
            else:
                optimizer.step(clip_divisor(gradient_norm(model), 0.5))
        moved.append([parameter.detach().float() for parameter in model.parameters()])
    tolerance = 1e-5 if precision == "fp32" else 2e-2
    for ours, theirs in zip(*reversed(moved), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance * 1e-2)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_weight_that_is_not_finite_is_found_among_all(value: float, dtype: torch.dtype):
    model = torch.nn.Sequential(torch.nn.Linear(50, 40), torch.nn.Linear(40, 3)).to(dtype)
    assert all_finite(model)
    model[1].weight.data[2, 17] = torch.finfo(dtype).max
    assert all_finite(model)
    model[1].weight.data[1, 5] = value
    assert not all_finite(model)

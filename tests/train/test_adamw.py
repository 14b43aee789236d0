"""AdamW against PyTorch's own."""

import pytest
import torch

from puna.train.adamw import AdamW, zero_state


def parameters() -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((7, 5), (5,), (3, 3))]


def moved(kind: type, steps: int, **given: torch.Tensor) -> tuple[list[torch.nn.Parameter], torch.optim.Optimizer]:
    matrices = parameters()
    groups = [{"params": matrices[:1], "weight_decay": 0.1}, {"params": matrices[1:], "weight_decay": 0.0}]
    options = {} if kind is AdamW else {"foreach": False, "fused": False}
    optimizer = kind(groups, lr=1e-2, betas=(0.9, 0.95), eps=1e-8, **options)
    for step in range(steps):
        for number, parameter in enumerate(matrices):
            parameter.grad = torch.cos(torch.arange(parameter.numel()) * (number + 1.0) + step).view_as(parameter)
        # A parameter without a gradient stays where it is.
        if step == 1:
            matrices[2].grad = None
        optimizer.step(**given)
    return matrices, optimizer


def test_steps_are_those_of_torchs_adamw_operator_by_operator():
    (ours, mine), (theirs, other) = moved(AdamW, 5), moved(torch.optim.AdamW, 5)
    for one, another in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, another, rtol=1e-6, atol=1e-7)
        assert mine.state[one].keys() == other.state[another].keys()
        assert mine.state[one]["step"] == other.state[another]["step"]


@pytest.mark.parametrize("divisor", [1.0, 4.0])
def test_gradients_are_divided_on_the_way(divisor: float):
    scaled, _ = moved(AdamW, 1, divisor=torch.tensor(divisor))
    plain = parameters()
    optimizer = AdamW([{"params": plain[:1], "weight_decay": 0.1}, {"params": plain[1:]}], lr=1e-2,
                      betas=(0.9, 0.95), eps=1e-8)  # fmt: skip
    for number, parameter in enumerate(plain):
        parameter.grad = torch.cos(torch.arange(parameter.numel()) * (number + 1.0)).view_as(parameter) / divisor
    optimizer.step()
    for one, another in zip(scaled, plain, strict=True):
        assert torch.equal(one, another)


def test_the_zero_state_counts_where_the_parameter_is():
    state = zero_state(torch.nn.Parameter(torch.empty(2, 3, device="meta")))
    assert {name: (tensor.device.type, tuple(tensor.shape)) for name, tensor in state.items()} == {
        "step": ("meta", ()), "exp_avg": ("meta", (2, 3)), "exp_avg_sq": ("meta", (2, 3)),
    }  # fmt: skip

"""The learning rate at the points that the paper names, and against a second formula."""

import math

import pytest

from puna.config.recipe import OptimConfig
from puna.train.schedule import learning_rate

OPTIM = OptimConfig(lr=3e-4, warmup_steps=2000, final_lr_ratio=0.1)


def test_warm_up_rises_linearly_to_the_peak():
    assert learning_rate(0, OPTIM, 10_000) == pytest.approx(3e-4 / 2000)
    assert learning_rate(999, OPTIM, 10_000) == pytest.approx(1.5e-4)
    assert learning_rate(1999, OPTIM, 10_000) == pytest.approx(3e-4)


def test_cosine_starts_at_the_peak_and_ends_at_a_tenth():
    assert learning_rate(2000, OPTIM, 10_000) == pytest.approx(3e-4)
    assert learning_rate(9_999, OPTIM, 10_000) == pytest.approx(3e-5)
    middle = (2000 + 9999) / 2
    assert learning_rate(round(middle), OPTIM, 10_000) == pytest.approx((3e-4 + 3e-5) / 2, rel=1e-3)


def test_schedule_equals_pytorchs_cosine():
    import torch

    optim = OptimConfig(lr=1.0, warmup_steps=0, final_lr_ratio=0.1)
    total = 50
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=total - 1, eta_min=0.1)
    for step in range(total):
        assert learning_rate(step, optim, total) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-9)
        optimizer.step()
        scheduler.step()


def test_every_step_has_a_positive_rate_even_in_the_shortest_run():
    optim = OptimConfig(lr=1.0, warmup_steps=3, final_lr_ratio=0.0)
    rates = [learning_rate(step, optim, 4) for step in range(4)]
    assert all(math.isfinite(rate) for rate in rates)
    assert rates[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])

"""The learning rate at the points that the papers name, against PyTorch's schedulers, and for every recipe."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from puna.config.recipe import OptimConfig
from puna.train.schedule import learning_rate

OPTIM = OptimConfig(lr=3e-4, warmup_steps=2000, final_lr_ratio=0.1)
FALLING = ["cosine", "linear", "wsd"]


def rates(optim: OptimConfig, total: int) -> list[float]:
    return [learning_rate(step, optim, total) for step in range(total)]


@pytest.mark.parametrize("schedule", [*FALLING, "constant"])
def test_warm_up_rises_linearly_to_the_peak(schedule):
    optim = OPTIM.model_copy(update={"schedule": schedule})
    assert learning_rate(0, optim, 10_000) == pytest.approx(3e-4 / 2000)
    assert learning_rate(999, optim, 10_000) == pytest.approx(1.5e-4)
    assert learning_rate(1999, optim, 10_000) == 3e-4


def test_cosine_starts_at_the_peak_and_ends_at_a_tenth():
    assert learning_rate(2000, OPTIM, 10_000) == pytest.approx(3e-4)
    assert learning_rate(9_999, OPTIM, 10_000) == pytest.approx(3e-5)
    middle = (2000 + 9999) / 2
    assert learning_rate(round(middle), OPTIM, 10_000) == pytest.approx((3e-4 + 3e-5) / 2, rel=1e-3)


def test_wsd_is_constant_until_the_last_fifth():
    optim = OPTIM.model_copy(update={"schedule": "wsd", "cooldown_ratio": 0.2})
    assert {learning_rate(step, optim, 10_000) for step in (1999, 2000, 5000, 7999)} == {3e-4}
    assert learning_rate(8000, optim, 10_000) < 3e-4
    assert learning_rate(8999, optim, 10_000) == pytest.approx((3e-4 + 3e-5) / 2)
    assert learning_rate(9_999, optim, 10_000) == pytest.approx(3e-5)


@pytest.mark.parametrize("schedule", [*FALLING, "constant"])
def test_schedule_equals_pytorchs(schedule):
    total, ratio = 50, 0.1
    optim = OptimConfig(lr=2.0, warmup_steps=0, final_lr_ratio=ratio, schedule=schedule, cooldown_ratio=0.3)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    schedulers = torch.optim.lr_scheduler
    last = total - 1
    oracle = {
        "cosine": lambda: schedulers.CosineAnnealingLR(optimizer, T_max=last, eta_min=2.0 * ratio),
        "linear": lambda: schedulers.LinearLR(optimizer, 1.0, ratio, total_iters=last),
        "constant": lambda: schedulers.ConstantLR(optimizer, 1.0),
        # 30 % of 50 steps: the peak is left after step 34.
        "wsd": lambda: schedulers.SequentialLR(
            optimizer,
            [schedulers.ConstantLR(optimizer, 1.0), schedulers.LinearLR(optimizer, 1.0, ratio, total_iters=15)],
            milestones=[34],
        ),
    }[schedule]()
    for step in range(total):
        assert learning_rate(step, optim, total) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        oracle.step()


@pytest.mark.parametrize(
    ("schedule", "steps", "shares"),
    [
        # 4 steps of warm-up; 25 % of 100 steps of cooldown.
        ("linear", [0, 3, 4, 99], [0.25, 1, 1, 0.2]),
        ("wsd", [0, 3, 74, 99], [0.25, 1, 1, 0.2]),
        ("constant", [0, 3, 99], [0.25, 1, 1]),
    ],
)
def test_straight_schedules_are_lines_between_their_corners(schedule, steps, shares):
    optim = OptimConfig(lr=0.5, warmup_steps=4, final_lr_ratio=0.2, schedule=schedule, cooldown_ratio=0.25)
    assert rates(optim, 100) == pytest.approx(0.5 * np.interp(np.arange(100), steps, shares))


def test_cooldown_of_the_whole_run_is_the_linear_schedule():
    whole = OptimConfig(warmup_steps=7, schedule="wsd", cooldown_ratio=1.0)
    assert rates(whole, 60) == rates(whole.model_copy(update={"schedule": "linear"}), 60)


@st.composite
def runs(draw) -> tuple[OptimConfig, int]:
    """A schedule and a length that a recipe could have."""
    total = draw(st.integers(1, 300))
    optim = OptimConfig(
        lr=draw(st.floats(1e-8, 10)),
        schedule=draw(st.sampled_from([*FALLING, "constant"])),
        cooldown_ratio=draw(st.floats(1e-6, 1)),
        final_lr_ratio=draw(st.floats(1e-6, 1)),
        warmup_steps=draw(st.integers(0, total - 1)),
    )
    return optim, total


@given(runs())
def test_every_rate_is_positive_and_at_most_the_peak_and_the_last_is_the_final_one(run):
    optim, total = run
    found = rates(optim, total)
    assert all(0 < rate <= optim.lr * (1 + 1e-12) for rate in found)
    floor = optim.lr * optim.final_lr_ratio
    assert found[-1] == (optim.lr if optim.schedule == "constant" else floor)
    assert all(rate >= floor * (1 - 1e-12) for rate in found[optim.warmup_steps :])


@given(runs())
def test_rates_rise_then_fall_without_a_jump(run):
    optim, total = run
    found, warmup = rates(optim, total), optim.warmup_steps
    changes = np.diff(found)
    rounding = 1e-12 * optim.lr
    assert (changes[: max(0, warmup - 1)] > 0).all()
    assert (changes[max(0, warmup - 1) :] <= rounding).all()
    # The steepest a fall can be, over the steps that it has at least; the cosine is pi/2 times as steep as a line.
    after = max(1, total - 1 - warmup)
    steps = min(after, max(1, round(optim.cooldown_ratio * total))) if optim.schedule == "wsd" else after
    fall = optim.lr * (1 - optim.final_lr_ratio) / steps * (math.pi / 2 if optim.schedule == "cosine" else 1)
    assert (changes >= -fall - rounding).all()
    if warmup > 1:
        assert changes[: warmup - 1] == pytest.approx(optim.lr / warmup)

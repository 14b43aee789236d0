"""Stochastic rounding by its statistics, and AdamW in bfloat16 against AdamW in float32."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from puna.config.recipe import OptimConfig
from puna.train import stochastic as module
from puna.train.optimizer import build_optimizer, ensure_state, named_state, set_learning_rate
from puna.train.stochastic import StochasticAdamW, random_bits, round_stochastically

MANY = 4096


def rounded_by(values: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """The values rounded with the bits of a key."""
    bits, _ = random_bits(values.numel(), torch.tensor([seed, ~seed], dtype=torch.int64).int())
    return round_stochastically(values, bits.view_as(values))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def constant(value: float) -> torch.nn.Parameter:
    """Many copies of one weight, whose mean shows the expected value."""
    return torch.nn.Parameter(torch.full((MANY,), value, dtype=torch.bfloat16))


def stochastic(parameter: torch.nn.Parameter, **changes) -> StochasticAdamW:
    settings = {"lr": 1e-3, "betas": (0.9, 0.95), "eps": 1e-8, "seed": 0} | changes
    decay = settings.pop("weight_decay", 0.0)
    return StochasticAdamW([{"params": [parameter], "weight_decay": decay}], **settings)


@pytest.mark.parametrize("value", [1.0 + 1 / 512, 1.0 + 1 / 1000, 3.14159, -2.71828, 1e-30, -123456.7, 1e-39])
def test_mean_of_many_roundings_is_the_value(value):
    count = 1 << 18
    exact = torch.tensor(value, dtype=torch.float32)
    rounded = rounded_by(exact.expand(count).contiguous()).double()
    low, high = rounded.min().item(), rounded.max().item()
    probability = (exact.item() - low) / (high - low)
    standard_error = (high - low) * math.sqrt(probability * (1 - probability) / count)
    assert abs(rounded.mean().item() - exact.item()) < 4 * standard_error


@given(st.floats(width=32, allow_nan=False, allow_infinity=False), st.integers(0, 2**32 - 1))
def test_result_is_one_of_the_two_neighbours_and_what_fits_stays(value, seed):
    exact = torch.tensor([value], dtype=torch.float32)
    rounded = rounded_by(exact, seed)
    fits = exact.bfloat16().float() == exact
    if fits:
        assert torch.equal(rounded, exact.bfloat16())
        assert torch.equal(rounded.signbit(), exact.signbit())
        return
    if rounded.isinf():
        assert abs(value) > torch.finfo(torch.bfloat16).max
        return
    towards = torch.full_like(rounded, math.copysign(math.inf, value - rounded.float().item()))
    beyond = torch.nextafter(rounded, towards).double().item()
    assert min(rounded.item(), beyond) < value < max(rounded.item(), beyond)


def test_both_neighbours_appear():
    rounded = rounded_by(torch.full((64,), 1.0 + 1 / 256))
    assert set(rounded.tolist()) == {1.0, 1.0 + 1 / 128}


def test_what_is_not_a_number_stays_what_it_is():
    patterns = torch.tensor([0x7FFFFFFF, 0x7F800001, -1, 0x7F800000, -0x00800000], dtype=torch.int32)
    for seed in range(20):
        rounded = rounded_by(patterns.view(torch.float32), seed)
        assert rounded[:3].isnan().all()
        assert rounded[3:].tolist() == [math.inf, -math.inf]


def test_random_bits_are_even_and_unlike_those_of_neighbours_and_of_other_keys():
    count = 1 << 16
    keys = [torch.tensor(key, dtype=torch.int32) for key in ([0, 0], [1, 0], [0, 1])]
    words = [word for key in keys for word in random_bits(count, key)]
    bits = torch.stack([(word[:, None] >> torch.arange(32)) & 1 for word in words]).double()
    # Five standard errors of a mean of fair coins, and of a correlation of two of them; there are 192 and 18,000.
    assert ((bits.mean(1) - 0.5).abs() < 5 * 0.5 / math.sqrt(count)).all()
    signs = (2 * bits - 1).permute(1, 0, 2).flatten(1)
    for later in (0, 1, 2):
        correlation = signs[: count - later].T @ signs[later:] / (count - later)
        if later == 0:
            correlation.fill_diagonal_(0)
        assert correlation.abs().max() < 5.5 / math.sqrt(count)


def test_a_compiled_step_is_the_eager_one_but_for_the_last_bit():
    size = 1000
    tensors = [torch.randn(size, generator=generator(i)).bfloat16() for i in range(4)]
    tensors[2].abs_()
    numbers = torch.tensor([0.1, 0.05, 0.99, 1e-2, 0.3, 1e-8]), torch.tensor([5, -7], dtype=torch.int32)
    outcomes = []
    for move in (module._move, torch.compile(module._move, dynamic=True)):
        copies = [tensor.clone() for tensor in tensors]
        move(*copies, torch.tensor(2.0), *numbers)
        outcomes.append(copies[:3])
    for eager, compiled in zip(*outcomes, strict=True):
        # A sum rounded once instead of twice may fall on the other side of a random bit, rarely.
        assert (eager != compiled).double().mean() < 0.01
        torch.testing.assert_close(eager, compiled, rtol=1 / 64, atol=1e-6)


def test_steps_are_those_of_float32_adamw_on_average():
    weights = constant(0.75)
    exact = torch.nn.Parameter(torch.tensor([0.75]))
    ours = stochastic(weights, weight_decay=0.1)
    oracle = torch.optim.AdamW([exact], lr=1e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    for step in range(60):
        gradient = torch.tensor([1.0 + math.sin(step)]).bfloat16()
        exact.grad, weights.grad = gradient.float(), gradient.expand(MANY).contiguous()
        lr = 1e-3 * (1 - step / 100)
        set_learning_rate(ours, lr)
        set_learning_rate(oracle, lr)
        ours.step()
        oracle.step()
    moved = 0.75 - exact.item()
    assert moved > 0.02
    assert weights.detach().double().mean().item() == pytest.approx(exact.item(), abs=0.02 * moved)
    for key in ("exp_avg", "exp_avg_sq"):
        mean = ours.state[weights][key].double().mean().item()
        assert mean == pytest.approx(oracle.state[exact][key].item(), rel=0.005)


def test_first_step_is_float32s_to_within_one_bfloat16_step():
    start, gradient = torch.randn(500, generator=generator()).bfloat16(), torch.randn(500, generator=generator(1))
    weights, exact = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.float())
    weights.grad, exact.grad = gradient.bfloat16(), gradient.bfloat16().float()
    stochastic(weights, lr=0.1, weight_decay=0.1).step()
    torch.optim.AdamW([exact], lr=0.1, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1).step()
    # Neighbouring bfloat16 numbers differ by at most 1/128 of their size.
    torch.testing.assert_close(weights.detach().float(), exact.detach(), rtol=1 / 128, atol=1e-6)


def test_tiny_updates_add_up_which_rounding_to_nearest_loses():
    weights, nearest = constant(1.0), constant(1.0)
    ours = stochastic(weights, lr=1e-4)
    theirs = torch.optim.AdamW([nearest], lr=1e-4, betas=(0.9, 0.95), weight_decay=0.0)
    for _ in range(100):
        for parameter in (weights, nearest):
            parameter.grad = torch.full_like(parameter, 1e-3)
        ours.step()
        theirs.step()
    assert torch.equal(nearest, constant(1.0))
    assert weights.detach().double().mean().item() == pytest.approx(0.99, abs=5e-4)


def test_second_moment_reaches_its_value_which_rounding_to_nearest_stops_short_of():
    weights, nearest = constant(1.0), constant(1.0)
    ours = stochastic(weights, lr=1e-6, betas=(0.9, 0.999))
    theirs = torch.optim.AdamW([nearest], lr=1e-6, betas=(0.9, 0.999))
    for _ in range(1500):
        for parameter in (weights, nearest):
            parameter.grad = torch.ones_like(parameter)
        ours.step()
        theirs.step()
    expected = 1 - 0.999**1500
    assert ours.state[weights]["exp_avg_sq"].double().mean().item() == pytest.approx(expected, rel=0.01)
    assert theirs.state[nearest]["exp_avg_sq"].double().mean().item() < 0.7 * expected


def steps(
    first: int, last: int, state: dict[str, torch.Tensor] | None = None, seed: int = 7
) -> dict[str, torch.Tensor]:
    """Weights and state after these steps, from a saved state or from the start."""
    model = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Linear(5, 4, bias=False)).bfloat16()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.linspace(-1, 1, parameter.numel()).view_as(parameter))
    optimizer = build_optimizer(model, OptimConfig(lr=1e-2), "bf16-stochastic", seed)

    def everything() -> dict[str, torch.Tensor]:
        return dict(model.named_parameters()) | named_state(model, optimizer)

    if state is not None:
        ensure_state(model, optimizer)
        with torch.no_grad():
            for name, tensor in everything().items():
                tensor.copy_(state[name])
    for step in range(first, last):
        for parameter in model.parameters():
            parameter.grad = torch.cos(torch.arange(parameter.numel()) + step).view_as(parameter).bfloat16()
        optimizer.step()
    return {name: tensor.detach().clone() for name, tensor in everything().items()}


def test_resumed_run_has_the_same_bits():
    straight, resumed = steps(0, 6), steps(3, 6, steps(0, 3))
    assert straight.keys() == resumed.keys()
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


def test_another_seed_rounds_in_another_way():
    assert not torch.equal(steps(0, 3)["0.weight"], steps(0, 3, seed=8)["0.weight"])


def test_equal_tensors_and_following_steps_draw_different_bits():
    pair = [constant(1.0), constant(1.0)]
    optimizer = StochasticAdamW([{"params": pair}], lr=1e-3, betas=(0.9, 0.95), eps=1e-8, seed=0)
    seen = []
    for _ in range(2):
        for parameter in pair:
            parameter.grad = torch.ones_like(parameter)
            parameter.data.fill_(1.0)
        optimizer.step()
        seen += [parameter.detach().clone() for parameter in pair]
    assert all(not torch.equal(seen[i], seen[j]) for i in range(4) for j in range(i))


def test_weights_moments_and_their_memory_are_bfloat16():
    weights = constant(1.0)
    optimizer = stochastic(weights)
    weights.grad = torch.ones_like(weights)
    optimizer.step()
    state = optimizer.state[weights]
    assert {weights.dtype, state["exp_avg"].dtype, state["exp_avg_sq"].dtype} == {torch.bfloat16}


def test_float32_weights_are_refused():
    with pytest.raises(TypeError, match=r"must be bfloat16, found \{torch.float32\}"):
        stochastic(torch.nn.Parameter(torch.ones(2)))


@pytest.mark.parametrize("layout", ["copies", "hybrid"])
def test_devices_with_copies_of_a_shard_keep_the_same_bits(sharded_steps, layout):
    parts = sharded_steps.of(layout)
    assert torch.equal(parts["device0"], parts["device1"])


@pytest.mark.parametrize("layout", ["rows", "columns", "copies", "hybrid"])
@pytest.mark.parametrize("matrix", ["wide", "tall", "square", "row", "ones"])
def test_sharded_steps_are_the_whole_ones_but_for_the_rounding(sharded_steps, layout, matrix):
    name = f"bf16-stochastic/{matrix}"
    sharded, whole = sharded_steps.of(layout)[name].float(), sharded_steps.of("whole")[name].float()
    # Three steps of at most one bfloat16 step each, and what they change of the next.
    torch.testing.assert_close(sharded, whole, rtol=3 / 128, atol=1e-3)


@pytest.mark.parametrize("layout", ["rows", "columns"])
def test_equal_shards_of_one_tensor_draw_different_bits(sharded_steps, layout):
    parts = sharded_steps.of(layout)
    assert parts["device0"].shape == parts["device1"].shape
    assert not torch.equal(parts["device0"], parts["device1"])

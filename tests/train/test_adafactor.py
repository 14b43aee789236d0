"""Adafactor against transformers' and optax's, against its formulas, and its state; sharded steps: tests/parallel."""

import numpy as np
import pytest
import torch

from puna.train.adafactor import Adafactor, is_factored, zero_state

SHAPES = [(128, 300), (300, 128), (256, 256), (64, 300), (300,), (1, 5)]


def gradients(shape: tuple[int, ...], steps: int) -> list[torch.Tensor]:
    """Of very different sizes by row, by column and by step."""
    generator = torch.Generator().manual_seed(0)
    drawn = [torch.randn(shape, generator=generator) * 3.0**number for number in range(steps)]
    return [each * torch.linspace(0.1, 5, shape[-1]) for each in drawn]


def stepped(start: torch.Tensor, steps: list[torch.Tensor], lrs: list[float], decay: float = 0.0) -> torch.Tensor:
    """The weight after steps of ours."""
    weight = torch.nn.Parameter(start.clone())
    optimizer = Adafactor([{"params": [weight], "weight_decay": decay}], lr=lrs[0])
    for gradient, lr in zip(steps, lrs, strict=True):
        optimizer.param_groups[0]["lr"] = lr
        weight.grad = gradient.clone()
        optimizer.step()
    return weight.detach()


@pytest.mark.parametrize("shape", [(128, 300), (300, 128), (256, 256), (300,)])
def test_steps_equal_those_of_transformers(shape: tuple[int, ...]) -> None:
    """`scale_parameter` is T5X's `multiply_by_parameter_scale`; it factors every matrix, so small ones are left out."""
    from transformers.optimization import Adafactor as Theirs

    start, *steps = gradients(shape, 8)
    lrs = [0.01 / (number + 1) for number in range(len(steps))]
    weight = torch.nn.Parameter(start.clone())
    oracle = Theirs([weight], lr=lrs[0], scale_parameter=True, relative_step=False)
    for gradient, lr in zip(steps, lrs, strict=True):
        oracle.param_groups[0]["lr"] = lr
        weight.grad = gradient.clone()
        oracle.step()
    torch.testing.assert_close(stepped(start, steps, lrs), weight.detach(), rtol=2e-6, atol=1e-7)
    assert (weight - start).abs().max() > 0.01


@pytest.mark.parametrize("shape", SHAPES)
def test_steps_equal_those_of_optax(shape: tuple[int, ...]) -> None:
    """With its defaults, which are T5X's: factored from 128 on, 1 - t^-0.8, clipping at 1, relative to the weights."""
    optax = pytest.importorskip("optax")
    jnp = pytest.importorskip("jax.numpy")
    start, *steps = gradients(shape, 8)
    oracle = optax.adafactor(0.01)
    weight = jnp.asarray(start.numpy())
    state = oracle.init(weight)
    for gradient in steps:
        updates, state = oracle.update(jnp.asarray(gradient.numpy()), state, weight)
        weight = optax.apply_updates(weight, updates)
    expected = torch.from_numpy(np.array(weight))
    torch.testing.assert_close(stepped(start, steps, [0.01] * 7), expected, rtol=5e-6, atol=1e-7)


def test_update_equals_the_formula_of_shazeer_and_stern() -> None:
    """Algorithm 4 with section 7.2's decay, in float64; a tensor of zeros counts as of size 1e-3."""
    start, *steps = [each.double() for each in gradients((130, 140), 6)]
    for begin in (start, torch.zeros_like(start)):
        weight, rows, columns = begin.clone(), torch.zeros(130).double(), torch.zeros(140).double()
        for number, gradient in enumerate(steps, 1):
            keep = 1 - number**-0.8
            square = gradient**2 + 1e-30
            rows, columns = keep * rows + (1 - keep) * square.sum(1), keep * columns + (1 - keep) * square.sum(0)
            update = gradient / torch.sqrt(torch.outer(rows, columns) / rows.sum())
            update /= max(1.0, update.square().mean().sqrt().item())
            weight = weight - 0.02 * max(1e-3, weight.square().mean().sqrt().item()) * update
        torch.testing.assert_close(stepped(begin, steps, [0.02] * 5), weight, rtol=1e-9, atol=1e-12)


def test_weight_decay_is_decoupled_and_in_proportion_to_the_rate() -> None:
    start, *steps = gradients((128, 130), 2)
    decayed, plain = stepped(start, steps, [0.5], decay=0.1), stepped(start, steps, [0.5])
    torch.testing.assert_close(decayed, plain - 0.5 * 0.1 * start)


def test_the_divisor_divides_the_gradient_before_anything_else() -> None:
    start, *steps = gradients((130, 140), 4)
    divided = stepped(start, [step / number for number, step in enumerate(steps, 2)], [0.1] * 3)
    weight = torch.nn.Parameter(start.clone())
    optimizer = Adafactor([{"params": [weight], "weight_decay": 0.0}], lr=0.1)
    for number, step in enumerate(steps, 2):
        weight.grad = step.clone()
        optimizer.step(torch.tensor(float(number)))
    torch.testing.assert_close(weight.detach(), divided)


def test_state_of_a_matrix_is_two_vectors_and_a_small_one_or_a_vector_keeps_its_squares() -> None:
    sizes = {shape: sum(each.numel() for each in zero_state(torch.zeros(shape)).values()) for shape in SHAPES}
    assert [is_factored(shape) for shape in SHAPES] == [True, True, True, False, False, False]
    assert sizes == {(128, 300): 429, (300, 128): 429, (256, 256): 513, (64, 300): 19201, (300,): 301, (1, 5): 6}


def test_a_parameter_without_a_gradient_stays() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = Adafactor([{"params": [weight], "weight_decay": 0.5}], lr=0.1)
    optimizer.step()
    assert weight.tolist() == [1, 1, 1]
    assert not optimizer.state[weight]


def test_a_gradient_of_zeros_moves_nothing_and_leaves_finite_numbers() -> None:
    for shape in SHAPES:
        start = torch.ones(shape)
        assert torch.equal(stepped(start, [torch.zeros(shape)] * 2, [0.1] * 2), start)

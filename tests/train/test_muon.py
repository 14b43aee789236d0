"""Muon against PyTorch's own on whole matrices, against singular values, and sharded against whole."""

import pytest
import torch

from puna.train.muon import Muon, orthogonalize, zero_state


def gradients(shape: tuple[int, int], steps: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator) for _ in range(steps)]


@pytest.mark.parametrize("shape", [(8, 32), (32, 8), (16, 16), (1, 5)])
def test_steps_equal_those_of_pytorchs_muon(shape):
    start, *steps = gradients(shape, 6)
    ours, theirs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    optimizer = Muon([{"params": [ours], "weight_decay": 0.1}], lr=0.02, momentum=0.9)
    oracle = torch.optim.Muon(
        [theirs], lr=0.02, momentum=0.9, weight_decay=0.1, nesterov=True, adjust_lr_fn="match_rms_adamw"
    )
    for gradient in steps:
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        optimizer.step()
        oracle.step()
        torch.testing.assert_close(ours, theirs)
    assert (ours - start).abs().max() > 0.01


@pytest.mark.parametrize("shape", [(12, 40), (40, 12)])
def test_orthogonal_matrix_keeps_its_vectors_and_has_the_quintics_singular_values(shape):
    matrix = gradients(shape, 1)[0]
    u, s, vh = torch.linalg.svd(matrix.double(), full_matrices=False)
    s = s / s.norm()
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    result = orthogonalize(matrix)
    assert result.dtype == torch.bfloat16
    torch.testing.assert_close(result.double(), u @ torch.diag(s) @ vh, rtol=0, atol=0.02)
    assert torch.linalg.svdvals(result.float()).min() > 0.6
    assert torch.linalg.svdvals(result.float()).max() < 1.3


def test_size_of_the_gradient_does_not_matter():
    matrix = gradients((6, 10), 1)[0]
    assert torch.equal(orthogonalize(matrix), orthogonalize(matrix * 1024))


def test_matrix_of_zeros_stays_zero():
    assert torch.equal(orthogonalize(torch.zeros(3, 4)), torch.zeros(3, 4, dtype=torch.bfloat16))


def test_a_step_has_about_the_size_of_an_adamw_step():
    weight = torch.nn.Parameter(torch.zeros(64, 96))
    optimizer = Muon([{"params": [weight], "weight_decay": 0.0}], lr=1.0, momentum=0.95)
    weight.grad = gradients((64, 96), 1)[0]
    optimizer.step()
    assert weight.detach().square().mean().sqrt() == pytest.approx(0.2, rel=0.25)


def test_many_matrices_step_as_each_alone():
    starts, steps = gradients((5, 7), 11), gradients((5, 7), 11)
    together = [torch.nn.Parameter(start.clone()) for start in starts]
    for parameter, gradient in zip(together, steps, strict=True):
        parameter.grad = gradient
    Muon([{"params": together, "weight_decay": 0.1}], lr=0.1, momentum=0.9).step()
    for parameter, start, gradient in zip(together, starts, steps, strict=True):
        alone = torch.nn.Parameter(start.clone())
        alone.grad = gradient
        Muon([{"params": [alone], "weight_decay": 0.1}], lr=0.1, momentum=0.9).step()
        assert torch.equal(parameter, alone)


def test_matrix_without_gradient_stays():
    weight = torch.nn.Parameter(torch.ones(2, 3))
    optimizer = Muon([{"params": [weight], "weight_decay": 0.1}], lr=0.1, momentum=0.9)
    optimizer.step()
    assert torch.equal(weight, torch.ones(2, 3))
    assert not optimizer.state


def test_zero_state_is_that_before_the_first_step():
    weight = torch.nn.Parameter(torch.ones(2, 3))
    assert {key: value.tolist() for key, value in zero_state(weight).items()} == {"momentum_buffer": [[0.0] * 3] * 2}


def test_model_sharded_over_two_processes_steps_to_the_same_bits_as_one(sharded_steps):
    fsdp, alone = sharded_steps.of("fsdp"), sharded_steps.of("alone")
    assert fsdp.keys() == alone.keys()
    matrices = [name for name in alone if "layers." in name and alone[name].ndim == 2]
    # Seven matrices in each of two blocks, and the momentum of each.
    assert len(matrices) == 28
    for name in matrices:
        assert torch.equal(fsdp[name], alone[name]), name
    for name, tensor in alone.items():
        # AdamW's vector code may round a shard's last elements in another way.
        torch.testing.assert_close(fsdp[name], tensor, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("layout", ["rows", "columns", "copies", "hybrid"])
@pytest.mark.parametrize("matrix", ["wide", "tall", "square", "row", "ones"])
def test_every_placement_steps_to_the_same_bits(sharded_steps, layout, matrix):
    name = f"fp32/{matrix}"
    assert torch.equal(sharded_steps.of(layout)[name], sharded_steps.of("whole")[name])

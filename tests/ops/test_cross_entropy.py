from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from puna.ops import cpu, cross_entropy
from puna.ops.cpu.builder import find_compiler
from puna.ops.cross_entropy import linear_cross_entropy, softmax_gradient, softmax_gradient_in_cache, token_losses
from puna.ops.reference import reference_token_losses, reference_z_losses

IGNORED = -1


def inputs(n: int, d: int, v: int, seed: int = 0, ignored: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x_ND = torch.randn(n, d, generator=generator)
    weight_VD = torch.randn(v, d, generator=generator)
    targets_N = torch.randint(0, v, (n,), generator=generator)
    targets_N[torch.rand(n, generator=generator) < ignored] = IGNORED
    return x_ND.requires_grad_(), weight_VD.requires_grad_(), targets_N


def reference(
    x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, z_loss: float = 0.0, weights_N: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The sum and its gradients, of the float64 oracle."""
    x_ND, weight_VD = (tensor.detach().double().requires_grad_() for tensor in (x_ND, weight_VD))
    losses_N = reference_token_losses(x_ND, weight_VD, targets_N)
    losses_N = losses_N + z_loss * reference_z_losses(x_ND, weight_VD, targets_N)
    loss = losses_N.sum() if weights_N is None else losses_N @ weights_N.double()
    return loss, *torch.autograd.grad(loss, (x_ND, weight_VD))


WAYS = ["in cache", "in place", "kernel"]
"""By the compiled operator for CPUs, where there is a compiler; by PyTorch's operators in the logits' memory; by the
function that is compiled for GPUs. The first one hides the others wherever it can run."""


@contextmanager
def by(way: str) -> Iterator[None]:
    """Compute in one of these ways."""
    with pytest.MonkeyPatch.context() as patched:
        if way != "in cache":
            patched.setattr(cpu, "library", lambda: None)
        if way == "kernel":
            patched.setattr(cross_entropy, "_in_place", lambda device, group: False)
        yield


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(actual.double(), expected.double(), rtol=tolerance, atol=tolerance)


def test_oracle_equals_pytorch_cross_entropy() -> None:
    x_ND, weight_VD, targets_N = inputs(12, 5, 9, ignored=0.3)
    expected = torch.nn.functional.cross_entropy(
        (x_ND @ weight_VD.T).double(), targets_N, ignore_index=IGNORED, reduction="none"
    )
    close(reference_token_losses(x_ND, weight_VD, targets_N), expected)


@settings(max_examples=60)
@given(
    n=st.integers(1, 40),
    d=st.integers(1, 24),
    v=st.integers(1, 50),
    chunk=st.integers(1, 50),
    seed=st.integers(0, 1000),
    ignored=st.sampled_from([0.0, 0.3, 1.0]),
    way=st.sampled_from(WAYS),
)
def test_loss_and_both_gradients_equal_the_oracle(
    n: int, d: int, v: int, chunk: int, seed: int, ignored: float, way: str
) -> None:
    x_ND, weight_VD, targets_N = inputs(n, d, v, seed, ignored)
    with by(way):
        loss, losses_N = linear_cross_entropy(x_ND, weight_VD, targets_N, chunk)
    loss.backward()
    expected, grad_x_ND, grad_weight_VD = reference(x_ND, weight_VD, targets_N)
    assert loss.dtype == torch.float32
    close(loss, expected)
    close(losses_N, reference_token_losses(x_ND, weight_VD, targets_N))
    close(x_ND.grad, grad_x_ND)
    close(weight_VD.grad, grad_weight_VD)


@settings(max_examples=40)
@given(
    n=st.integers(1, 20),
    v=st.integers(1, 50),
    chunk=st.integers(1, 25),
    seed=st.integers(0, 1000),
    ignored=st.sampled_from([0.0, 0.3, 1.0]),
    z_loss=st.sampled_from([0.0, 0.03]),
)
def test_the_kernel_for_gpus_has_the_oracles_loss_and_gradients(
    n: int, v: int, chunk: int, seed: int, ignored: float, z_loss: float
) -> None:
    x_ND, weight_VD, targets_N = inputs(n, 4, v, seed, ignored)
    with by("kernel"):
        loss, losses_N = linear_cross_entropy(x_ND, weight_VD, targets_N, chunk, z_loss=z_loss)
        loss.backward()
        measured_N = token_losses(x_ND, weight_VD, targets_N, chunk)
    expected, grad_x_ND, grad_weight_VD = reference(x_ND, weight_VD, targets_N, z_loss)
    close(loss, expected)
    close(losses_N, reference_token_losses(x_ND, weight_VD, targets_N))
    close(measured_N, losses_N)
    close(x_ND.grad, grad_x_ND)
    close(weight_VD.grad, grad_weight_VD)


def test_the_kernel_for_gpus_keeps_exact_losses_of_targets_whose_probability_underflows() -> None:
    logits_CV = torch.tensor([[200.0, -200.0, 0.0], [0.0, 1.0, 2.0]])
    targets_C1, counted_C1 = torch.tensor([[1], [2]]), torch.tensor([[True], [True]])
    _, log_sums_C1, target_logits_C1 = softmax_gradient(logits_CV, targets_C1, counted_C1, 0.0)
    expected_C = torch.nn.functional.cross_entropy(logits_CV.double(), targets_C1[:, 0], reduction="none")
    close((log_sums_C1 - target_logits_C1)[:, 0], expected_C)


def test_the_kernel_for_gpus_computes_the_same_compiled() -> None:
    logits_CV = torch.randn(6, 300, generator=torch.Generator().manual_seed(0)).bfloat16()
    targets_C1, counted_C1 = torch.arange(6)[:, None] * 40, torch.arange(6)[:, None] != 3
    eager = softmax_gradient(logits_CV, targets_C1, counted_C1, 0.01)
    compiled = torch.compile(softmax_gradient, dynamic=False)(logits_CV, targets_C1, counted_C1, 0.01)
    for actual, expected in zip(compiled, eager, strict=True):
        assert actual.dtype == expected.dtype
        close(actual, expected, 1e-5 if expected.dtype == torch.float32 else 4e-3)


@pytest.mark.parametrize("way", WAYS)
def test_all_rows_ignored_gives_zero_loss_and_zero_gradients(way: str) -> None:
    x_ND, weight_VD, targets_N = inputs(7, 4, 11, ignored=1.0)
    with by(way):
        loss, _ = linear_cross_entropy(x_ND, weight_VD, targets_N, chunk=3)
    loss.backward()
    assert loss == 0
    assert not x_ND.grad.any()
    assert not weight_VD.grad.any()


def test_gradients_are_scaled_by_what_comes_from_above() -> None:
    x_ND, weight_VD, targets_N = inputs(9, 4, 11)
    (linear_cross_entropy(x_ND, weight_VD, targets_N, chunk=4)[0] * 0.25).backward()
    _, grad_x_ND, grad_weight_VD = reference(x_ND, weight_VD, targets_N)
    close(x_ND.grad, grad_x_ND / 4)
    close(weight_VD.grad, grad_weight_VD / 4)


def test_a_weight_that_is_also_the_embedding_gets_both_gradients() -> None:
    _, weight_VD, targets_N = inputs(9, 4, 11)
    tokens_N = torch.arange(9)
    linear_cross_entropy(weight_VD[tokens_N].tanh(), weight_VD, targets_N, chunk=4)[0].backward()
    double_VD = weight_VD.detach().double().requires_grad_()
    reference_token_losses(double_VD[tokens_N].tanh(), double_VD, targets_N).sum().backward()
    close(weight_VD.grad, double_VD.grad)


@pytest.mark.parametrize("trained", ["x", "weight"])
def test_only_the_wanted_gradient_is_computed(trained: str) -> None:
    x_ND, weight_VD, targets_N = inputs(9, 4, 11)
    (weight_VD if trained == "x" else x_ND).requires_grad_(False)
    linear_cross_entropy(x_ND, weight_VD, targets_N, chunk=4)[0].backward()
    given_grads = {"x": x_ND.grad, "weight": weight_VD.grad}
    expected = dict(zip(("x", "weight"), reference(x_ND, weight_VD, targets_N)[1:], strict=True))
    close(given_grads.pop(trained), expected[trained])
    assert list(given_grads.values()) == [None]


def test_second_backward_pass_is_refused_and_not_wrong() -> None:
    x_ND, weight_VD, targets_N = inputs(9, 4, 11)
    loss, _ = linear_cross_entropy(x_ND, weight_VD, targets_N, chunk=4)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="backward once"):
        loss.backward()


def test_chunk_size_does_not_change_the_losses() -> None:
    x_ND, weight_VD, targets_N = inputs(32, 8, 64)
    whole_N = token_losses(x_ND, weight_VD, targets_N, chunk=32)
    for chunk in (1, 5, 100):
        close(token_losses(x_ND, weight_VD, targets_N, chunk), whole_N, 1e-6)


def test_token_losses_equal_the_oracle_row_by_row_without_gradients() -> None:
    x_ND, weight_VD, targets_N = inputs(20, 8, 33, ignored=0.2)
    losses_N = token_losses(x_ND, weight_VD, targets_N, chunk=6)
    assert not losses_N.requires_grad
    close(losses_N, reference_token_losses(x_ND, weight_VD, targets_N))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_target_whose_probability_underflows_keeps_an_exact_loss_and_gradient(way: str, dtype: torch.dtype) -> None:
    """Three rows with losses of 400, 150 and 1; numbers that bfloat16 holds."""
    x_ND = torch.tensor([[200.0, 0.0], [1.0, 0.0], [-100.0, 1.0]], dtype=dtype, requires_grad=True)
    weight_VD = torch.tensor([[1.0, 0.0], [-1.0, 1.0], [0.5, 2.0]], dtype=dtype, requires_grad=True)
    targets_N = torch.tensor([1, 2, 2])
    for chunk in (1, 2):
        x_ND.grad = weight_VD.grad = None
        with by(way):
            loss, losses_N = linear_cross_entropy(x_ND, weight_VD, targets_N, chunk)
            measured_N = token_losses(x_ND, weight_VD, targets_N, chunk)
        loss.backward()
        expected, grad_x_ND, grad_weight_VD = reference(x_ND, weight_VD, targets_N)
        assert loss > 400
        close(loss, expected)
        tolerance = 1e-5 if dtype == torch.float32 else 4e-3
        close(x_ND.grad, grad_x_ND, tolerance)
        close(weight_VD.grad, grad_weight_VD, tolerance)
        for found_N in (losses_N, measured_N):
            close(found_N, reference_token_losses(x_ND, weight_VD, targets_N))


def test_broken_activations_give_a_loss_that_is_not_finite() -> None:
    x_ND, weight_VD, targets_N = inputs(4, 4, 11)
    x_ND.data[2, 1] = float("nan")
    assert not linear_cross_entropy(x_ND, weight_VD, targets_N, chunk=2)[0].isfinite()


def test_bfloat16_activations_round_products_but_neither_statistics_nor_a_float32_weights_gradient() -> None:
    x_ND, weight_VD, targets_N = inputs(64, 16, 200)
    x_ND = x_ND.detach().bfloat16().requires_grad_()
    loss, _ = linear_cross_entropy(x_ND, weight_VD, targets_N, chunk=10)
    losses_N = token_losses(x_ND, weight_VD, targets_N, chunk=10)
    loss.backward()
    logits_NV = (x_ND.detach().bfloat16() @ weight_VD.detach().bfloat16().T).double()
    expected_N = torch.nn.functional.cross_entropy(logits_NV, targets_N, reduction="none")
    close(losses_N, expected_N)
    close(loss, expected_N.sum())
    _, grad_x_ND, grad_weight_VD = reference(x_ND, weight_VD, targets_N)
    assert (x_ND.grad.dtype, weight_VD.grad.dtype) == (torch.bfloat16, torch.float32)
    for gradient, expected in ((x_ND.grad, grad_x_ND), (weight_VD.grad, grad_weight_VD)):
        assert (gradient - expected).norm() < 0.01 * expected.norm()


def test_bfloat16_tensors_get_bfloat16_gradients_and_a_float32_loss() -> None:
    x_ND, weight_VD, targets_N = inputs(64, 16, 200)
    x_ND, weight_VD = (tensor.detach().bfloat16().requires_grad_() for tensor in (x_ND, weight_VD))
    loss, _ = linear_cross_entropy(x_ND, weight_VD, targets_N, chunk=10)
    loss.backward()
    assert (loss.dtype, x_ND.grad.dtype, weight_VD.grad.dtype) == (torch.float32, torch.bfloat16, torch.bfloat16)
    _, grad_x_ND, grad_weight_VD = reference(x_ND, weight_VD, targets_N)
    assert (weight_VD.grad - grad_weight_VD).norm() < 0.01 * grad_weight_VD.norm()
    assert (x_ND.grad - grad_x_ND).norm() < 0.01 * grad_x_ND.norm()


@settings(max_examples=40)
@given(
    n=st.integers(1, 30),
    v=st.integers(1, 40),
    chunk=st.integers(1, 40),
    seed=st.integers(0, 1000),
    ignored=st.sampled_from([0.0, 0.3, 1.0]),
    z_loss=st.sampled_from([0.0, 1e-4, 0.1, 2.0]),
    weighted=st.booleans(),
    way=st.sampled_from(WAYS),
)
def test_z_loss_and_weights_of_rows_join_the_sum_and_its_gradients_and_not_the_tokens_losses(
    n: int, v: int, chunk: int, seed: int, ignored: float, z_loss: float, weighted: bool, way: str
) -> None:
    x_ND, weight_VD, targets_N = inputs(n, 6, v, seed, ignored)
    weights_N = torch.randn(n, generator=torch.Generator().manual_seed(seed)) if weighted else None
    with by(way):
        loss, losses_N = linear_cross_entropy(x_ND, weight_VD, targets_N, chunk, z_loss=z_loss, weights_N=weights_N)
    loss.backward()
    expected, grad_x_ND, grad_weight_VD = reference(x_ND, weight_VD, targets_N, z_loss, weights_N)
    close(loss, expected, 2e-5)
    close(losses_N, reference_token_losses(x_ND, weight_VD, targets_N))
    close(x_ND.grad, grad_x_ND)
    close(weight_VD.grad, grad_weight_VD, 2e-5)


@pytest.mark.parametrize("way", WAYS)
def test_weights_of_bfloat16_rows_are_not_rounded_themselves(way: str) -> None:
    """0.7 would be 0.6992 in bfloat16; over many elements the gradients tell them apart."""
    x_ND, weight_VD, targets_N = inputs(256, 64, 50)
    weight = 0.7
    gradients = []
    for weights_N in (None, torch.full((256,), weight)):
        x_ND, weight_VD = (tensor.detach().bfloat16().requires_grad_() for tensor in (x_ND, weight_VD))
        with by(way):
            linear_cross_entropy(x_ND, weight_VD.float(), targets_N, 32, weights_N=weights_N)[0].backward()
        gradients.append((x_ND.grad.float(), weight_VD.grad.float()))
    for plain, weighted in zip(*gradients, strict=True):
        assert (weighted * plain).sum() / plain.square().sum() == pytest.approx(weight, abs=2e-4)


@pytest.mark.parametrize("way", WAYS)
def test_z_loss_of_a_target_whose_probability_underflows_is_exact(way: str) -> None:
    x_ND = torch.tensor([[200.0, 0.0], [1.0, 0.0]], requires_grad=True)
    weight_VD = torch.tensor([[1.0, 0.0], [-1.0, 1.0], [0.5, 2.0]], requires_grad=True)
    targets_N = torch.tensor([1, 2])
    with by(way):
        loss, losses_N = linear_cross_entropy(x_ND, weight_VD, targets_N, chunk=2, z_loss=0.01)
    loss.backward()
    expected, grad_x_ND, grad_weight_VD = reference(x_ND, weight_VD, targets_N, 0.01)
    close(loss, expected)
    close(losses_N, reference_token_losses(x_ND, weight_VD, targets_N))
    close(x_ND.grad, grad_x_ND)
    close(weight_VD.grad, grad_weight_VD)


def test_z_loss_with_bfloat16_tensors_is_close_to_the_oracle() -> None:
    x_ND, weight_VD, targets_N = inputs(64, 16, 200)
    x_ND, weight_VD = (tensor.detach().bfloat16().requires_grad_() for tensor in (x_ND, weight_VD))
    loss, losses_N = linear_cross_entropy(x_ND, weight_VD, targets_N, chunk=10, z_loss=0.1)
    loss.backward()
    assert (loss.dtype, losses_N.dtype, x_ND.grad.dtype) == (torch.float32, torch.float32, torch.bfloat16)
    expected, grad_x_ND, grad_weight_VD = reference(x_ND, weight_VD, targets_N, 0.1)
    assert abs(loss - expected) < 0.01 * expected
    assert (weight_VD.grad - grad_weight_VD).norm() < 0.01 * grad_weight_VD.norm()
    assert (x_ND.grad - grad_x_ND).norm() < 0.01 * grad_x_ND.norm()


def test_broken_activations_give_a_sum_with_z_loss_that_is_not_finite() -> None:
    x_ND, weight_VD, targets_N = inputs(4, 4, 11)
    x_ND.data[2, 1] = float("nan")
    assert not linear_cross_entropy(x_ND, weight_VD, targets_N, chunk=2, z_loss=0.1)[0].isfinite()


def test_losses_of_tokens_carry_no_gradient() -> None:
    _, losses_N = linear_cross_entropy(*inputs(4, 4, 11), chunk=2)
    assert not losses_N.requires_grad


def test_another_number_can_stand_for_rows_to_leave_out() -> None:
    x_ND, weight_VD, targets_N = inputs(12, 4, 11, ignored=0.4)
    renamed_N = targets_N.where(targets_N != IGNORED, -100)
    for z_loss in (0.0, 0.1):
        total, losses_N = linear_cross_entropy(x_ND, weight_VD, renamed_N, 5, ignore_index=-100, z_loss=z_loss)
        close(total, reference(x_ND, weight_VD, targets_N, z_loss)[0])
        close(losses_N, reference_token_losses(x_ND, weight_VD, targets_N))
    close(token_losses(x_ND, weight_VD, renamed_N, 5, ignore_index=-100), losses_N)


class LargestTensor(TorchDispatchMode):
    """Remembers the most elements that any operation returned."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(result):
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


@pytest.mark.parametrize("z_loss", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("way", WAYS)
def test_no_tensor_ever_holds_more_logits_than_a_chunk(dtype: torch.dtype, way: str, z_loss: float) -> None:
    n, d, v, chunk = 64, 4, 1000, 8
    x_ND, weight_VD, targets_N = inputs(n, d, v)
    x_ND = x_ND.to(dtype)
    with by(way), LargestTensor() as largest:
        linear_cross_entropy(x_ND, weight_VD, targets_N, chunk, z_loss=z_loss)[0].backward()
    assert largest.elements == chunk * v
    with LargestTensor() as everything:
        reference_token_losses(x_ND, weight_VD, targets_N)
    assert everything.elements == n * v


@pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler")
@settings(max_examples=60)
@given(
    c=st.integers(1, 9), v=st.integers(1, 100), seed=st.integers(0, 1000), z_loss=st.sampled_from([0.0, 0.01]),
    scale=st.sampled_from([0.0, 1.0, 40.0, 1000.0]),
)  # fmt: skip
def test_in_cache_the_gradient_is_the_same(c: int, v: int, seed: int, z_loss: float, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits_CV = torch.randn(c, v, generator=generator) * scale
    targets_C1 = torch.randint(v, (c, 1), generator=generator)
    counted_C1 = torch.rand(c, 1, generator=generator) < 0.7
    exact_CV = logits_CV.double()
    log_sums_C1 = exact_CV.logsumexp(1, keepdim=True)
    scale_C1 = 1 + 2 * z_loss * log_sums_C1
    grad_CV = (exact_CV - log_sums_C1).exp() * scale_C1 - torch.nn.functional.one_hot(targets_C1[:, 0], v)
    expected = grad_CV * counted_C1, log_sums_C1, exact_CV.gather(1, targets_C1)
    found = softmax_gradient_in_cache(logits_CV, targets_C1, counted_C1, z_loss)
    assert found[0] is logits_CV
    for x, y in zip(found, expected, strict=True):
        torch.testing.assert_close(x.double(), y, rtol=2e-5, atol=1e-5 * max(1.0, scale_C1.abs().max().item()))


@pytest.mark.parametrize("z_loss", [0.0, 0.01])
def test_without_the_compiled_operator_all_is_the_same(monkeypatch: pytest.MonkeyPatch, z_loss: float) -> None:
    def run() -> tuple[Tensor, ...]:
        x_ND, weight_VD, targets_N = inputs(30, 8, 50, ignored=0.3)
        loss, losses_N = linear_cross_entropy(x_ND, weight_VD, targets_N, 7, ignore_index=IGNORED, z_loss=z_loss)
        return losses_N, loss, *torch.autograd.grad(loss, (x_ND, weight_VD))

    with_it = run()
    monkeypatch.setattr(cpu, "library", lambda: None)
    for x, y in zip(with_it, run(), strict=True):
        close(x, y)


@pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler")
@pytest.mark.parametrize(("dtype", "calls"), [(torch.float32, 2), (torch.bfloat16, 0)])
def test_the_compiled_operator_takes_float32_on_a_cpu_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, calls: int
) -> None:
    seen: list[torch.dtype] = []

    def noted(logits_CV: Tensor, *arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
        seen.append(logits_CV.dtype)
        return softmax_gradient_in_cache(logits_CV, *arguments)

    monkeypatch.setattr(cross_entropy, "softmax_gradient_in_cache", noted)
    x_ND, weight_VD, targets_N = inputs(8, 4, 11)
    linear_cross_entropy(x_ND.to(dtype), weight_VD, targets_N, chunk=4)
    assert len(seen) == calls
    with by("in place"):
        linear_cross_entropy(x_ND.to(dtype), weight_VD, targets_N, chunk=4)
    assert len(seen) == calls


@pytest.mark.parametrize("wanted", [None, False, True])
def test_the_kernel_is_compiled_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch, wanted: bool | None) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(cross_entropy, "_kernel", lambda compiled: asked.append(compiled) or softmax_gradient)
    x_ND, weight_VD, targets_N = inputs(8, 4, 11)
    with by("kernel"):
        linear_cross_entropy(x_ND, weight_VD, targets_N, 4, **({} if wanted is None else {"compiled": wanted}))
        assert asked == [bool(wanted)]
        token_losses(x_ND, weight_VD, targets_N, 4)
    assert asked == [bool(wanted)], "without gradients there is nothing for it to do"


def test_the_gradient_is_made_in_the_logits_memory_on_cpus_and_where_processes_share_the_vocabulary() -> None:
    cases = [("cpu", None), ("cpu", "group"), ("cuda", "group"), ("cuda", None)]
    found = [cross_entropy._in_place(torch.device(kind), group) for kind, group in cases]  # type: ignore[arg-type]
    assert found == [True, True, True, False]

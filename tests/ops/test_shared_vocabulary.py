"""The loss of a vocabulary that processes share: each has some rows of the weight, all come to the same losses.

Threads play the processes wherever a test needs many cases; four real ones talk over gloo in the rest.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from puna.ops import cross_entropy
from puna.ops.cross_entropy import linear_cross_entropy, token_losses
from puna.ops.reference import reference_token_losses, reference_z_losses

IGNORED = -1


def inputs(rows: int, width: int, vocabulary: int, seed: int, ignored: float) -> tuple[Tensor, Tensor, Tensor]:
    """x (N, D), weight (V, D) and targets (N,), of which some are left out."""
    generator = torch.Generator().manual_seed(seed)
    x_ND, weight_VD = (torch.randn(size, width, generator=generator) for size in (rows, vocabulary))
    targets_N = torch.randint(vocabulary, (rows,), generator=generator)
    return x_ND, weight_VD, targets_N.where(torch.rand(rows, generator=generator) >= ignored, IGNORED)


def oracle(x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, z_loss: float) -> tuple[Tensor, ...]:
    """Losses, their sum with the z-loss, and its gradients, in float64."""
    x_ND, weight_VD = (tensor.double().requires_grad_() for tensor in (x_ND, weight_VD))
    losses_N = reference_token_losses(x_ND, weight_VD, targets_N)
    total = losses_N.sum() + z_loss * reference_z_losses(x_ND, weight_VD, targets_N).sum()
    return losses_N.detach(), total.detach(), *torch.autograd.grad(total, (x_ND, weight_VD))


def close(actual: Tensor, expected: Tensor, tolerance: float = 3e-5) -> None:
    """To a share of the largest number of what is expected."""
    within = tolerance * max(1.0, expected.abs().max().item())
    torch.testing.assert_close(actual.double(), expected.double(), rtol=0, atol=within)


class Together:
    """What `torch.distributed` is to threads that share a vocabulary: each is a process with a rank of its own."""

    ReduceOp = dist.ReduceOp

    def __init__(self, size: int) -> None:
        self._size, self._own = size, threading.local()
        self._met = threading.Barrier(size, timeout=300)
        self._brought: dict[int, Tensor] = {}

    def run(self, work: Callable[[int], Any]) -> list[Any]:
        """What `work(rank)` gives on each thread."""

        def alone(rank: int) -> Any:
            self._own.rank = rank
            try:
                return work(rank)
            except BaseException:
                self._met.abort()
                raise

        with ThreadPoolExecutor(self._size) as threads:
            return list(threads.map(alone, range(self._size)))

    def get_rank(self, group: object) -> int:
        assert group is GROUP
        return self._own.rank

    def all_reduce(self, tensor: Tensor, op: Any, group: object) -> None:
        assert group is GROUP
        self._brought[self._own.rank] = tensor.clone()
        self._met.wait()
        parts = torch.stack([self._brought[rank] for rank in range(self._size)])
        self._met.wait()
        tensor.copy_({dist.ReduceOp.MAX: lambda: parts.amax(0), dist.ReduceOp.SUM: lambda: parts.sum(0)}[op]())


GROUP: Any = object()


@settings(max_examples=25)
@given(
    size=st.sampled_from([1, 2, 3]),
    rows=st.integers(1, 20),
    part=st.integers(1, 9),
    chunk=st.integers(1, 25),
    seed=st.integers(0, 1000),
    ignored=st.sampled_from([0.0, 0.3, 1.0]),
    z_loss=st.sampled_from([0.0, 0.1]),
    scale=st.sampled_from([1.0, 60.0]),
)
def test_threads_that_share_a_vocabulary_get_the_oracles_losses_and_gradients(
    size: int, rows: int, part: int, chunk: int, seed: int, ignored: float, z_loss: float, scale: float
) -> None:
    x_ND, weight_VD, targets_N = inputs(rows, 4, size * part, seed, ignored)
    x_ND *= scale
    together = Together(size)

    def work(rank: int) -> tuple[Tensor, ...]:
        own_ND, own_VD = (
            x.detach().clone().requires_grad_() for x in (x_ND, weight_VD[rank * part : (rank + 1) * part])
        )
        total, losses_N = linear_cross_entropy(own_ND, own_VD, targets_N, chunk, z_loss=z_loss, group=GROUP)
        measured_N = token_losses(own_ND.detach(), own_VD.detach(), targets_N, chunk, group=GROUP)
        return total, losses_N, measured_N, *torch.autograd.grad(total, (own_ND, own_VD))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cross_entropy, "dist", together)
        found = together.run(work)
    expected_N, expected, grad_x_ND, grad_weight_VD = oracle(x_ND, weight_VD, targets_N, z_loss)
    for total, losses_N, measured_N, _, _ in found:
        close(total, expected)
        close(losses_N, expected_N)
        assert torch.equal(measured_N, losses_N)
    close(sum(one[3] for one in found), grad_x_ND)
    close(torch.cat([one[4] for one in found]), grad_weight_VD)


@pytest.fixture(scope="module")
def shared_vocabulary(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]]:
    """Inputs, and what four processes that share the vocabulary make of them."""
    directory = tmp_path_factory.mktemp("vocabulary")
    x_ND, weight_VD, targets_N = inputs(30, 8, 64, seed=0, ignored=0.2)
    x_ND[3] *= 60  # its target's probability is not a float32 number
    given_inputs = {"x": x_ND, "weight": weight_VD, "targets": targets_N}
    save_file(given_inputs, directory / "inputs.safetensors")
    script = Path(__file__).with_name("vocabulary_parts.py")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen([sys.executable, script, str(rank), directory], env=environment, stderr=subprocess.PIPE)
        for rank in range(4)
    ]
    errors = [process.communicate(timeout=120)[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, "\n".join(errors)
    return given_inputs, [load_file(directory / f"{rank}.safetensors") for rank in range(4)]


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize(("case", "z_loss"), [("plain", 0.0), ("z", 0.03), ("bf16", 0.03)])
def test_processes_that_share_the_vocabulary_get_the_whole_ones_losses_and_their_parts_of_its_gradients(
    size: int, case: str, z_loss: float, shared_vocabulary: tuple[dict[str, Tensor], list[dict[str, Tensor]]]
) -> None:
    whole, parts = shared_vocabulary
    x_ND, weight_VD = (whole[name].clone().requires_grad_() for name in ("x", "weight"))
    in_dtype_ND = x_ND.bfloat16() if case == "bf16" else x_ND
    total, losses_N = linear_cross_entropy(in_dtype_ND, weight_VD, whole["targets"], 30, z_loss=z_loss)
    (total / 2).backward()
    for first in range(0, 4, size):
        group = [
            {name: part[f"{size}.{case}.{name}"] for name in ("total", "losses", "measured", "grad_x", "grad_weight")}
            for part in parts[first : first + size]
        ]
        for part in group:
            close(part["total"], total)
            close(part["losses"], losses_N)
            assert all(torch.equal(part[name], group[0][name]) for name in ("total", "losses", "measured"))
            assert torch.equal(part["measured"], part["losses"])
        grad_x_ND, grad_weight_VD = sum(part["grad_x"] for part in group), torch.cat([p["grad_weight"] for p in group])
        # The parts of x's gradient are rounded before they are summed.
        tolerance = 0.01 if case == "bf16" else 1e-5
        assert (grad_x_ND - x_ND.grad).norm() < tolerance * x_ND.grad.norm()
        assert (grad_weight_VD - weight_VD.grad).norm() < tolerance * weight_VD.grad.norm()


def test_a_shared_vocabulary_has_the_oracles_losses_and_gradients(
    shared_vocabulary: tuple[dict[str, Tensor], list[dict[str, Tensor]]],
) -> None:
    whole, parts = shared_vocabulary
    expected_N, expected, grad_x_ND, grad_weight_VD = oracle(whole["x"], whole["weight"], whole["targets"], 0.03)
    close(parts[0]["4.z.total"], expected)
    close(parts[0]["4.z.losses"], expected_N)
    close(2 * sum(part["4.z.grad_x"] for part in parts), grad_x_ND)
    close(2 * torch.cat([part["4.z.grad_weight"] for part in parts]), grad_weight_VD)

"""Memory that runs out ends in advice."""

import pytest
import torch

from puna.config.recipe import Recipe
from puna.core.errors import TrainError
from puna.plan.changes import advice
from puna.train.memory import explain_out_of_memory


def test_refused_memory_says_what_to_change(tiny: Recipe):
    with pytest.raises(TrainError, match="out of memory") as caught, explain_out_of_memory(tiny):
        torch.empty(1 << 60, dtype=torch.uint8)
    assert "train.micro_batch_tokens=64" in caught.value.hint
    assert "train.recompute=llama" in caught.value.hint
    # The list is the plan's own.
    assert caught.value.hint == f"try, in this order: {'; '.join(advice(tiny))}"


def test_gpu_that_is_full_says_the_same(tiny: Recipe):
    with pytest.raises(TrainError, match="CUDA out of memory"), explain_out_of_memory(tiny):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")


def test_other_errors_are_left_alone(tiny: Recipe):
    with pytest.raises(RuntimeError, match="shape"), explain_out_of_memory(tiny):
        raise RuntimeError("shape mismatch")

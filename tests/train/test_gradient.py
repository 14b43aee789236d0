"""The norm before clipping, and the gradient after it."""

import pytest
import torch

from puna.train.gradient import clip_gradient


@pytest.mark.parametrize(("limit", "scale"), [(1.0, 1 / 13), (100.0, 1.0)])
def test_gradient_is_scaled_down_to_the_limit(limit: float, scale: float):
    model = torch.nn.Linear(2, 1)
    model.weight.grad, model.bias.grad = torch.tensor([[3.0, 4.0]]), torch.tensor([12.0])
    assert clip_gradient(model, limit).item() == pytest.approx(13.0)
    assert model.weight.grad.tolist() == [[pytest.approx(3 * scale, rel=1e-5), pytest.approx(4 * scale, rel=1e-5)]]
    assert model.bias.grad.item() == pytest.approx(12 * scale, rel=1e-5)

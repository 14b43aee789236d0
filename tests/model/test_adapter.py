"""The arithmetic of adapters: a merged weight gives what the papers' formulas give."""

import torch

from puna.model.adapter import LowRank


def test_the_merged_weight_gives_the_product_with_the_update() -> None:
    torch.manual_seed(0)
    weight_OI, update = torch.randn(5, 7), LowRank(a_RI=torch.randn(2, 7), b_OR=torch.randn(5, 2), scale=0.5)
    x_I = torch.randn(7)
    expected = weight_OI @ x_I + 0.5 * (update.b_OR @ (update.a_RI @ x_I))
    torch.testing.assert_close(update.merged(weight_OI) @ x_I, expected)


def test_magnitudes_are_the_norms_of_the_merged_rows() -> None:
    torch.manual_seed(0)
    magnitude_O = torch.rand(5) + 1
    update = LowRank(a_RI=torch.randn(2, 7), b_OR=torch.randn(5, 2), scale=0.5, magnitude_O=magnitude_O)
    torch.testing.assert_close(torch.linalg.vector_norm(update.merged(torch.randn(5, 7)), dim=1), magnitude_O)

"""An update beside a layer is the layer of the updated weight, and parts of it make the whole."""

import torch
from torch import Tensor

from puna.ops.low_rank import LowRankProduct


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


WEIGHT = normal(12, 8, seed=0)
X = normal(5, 8, seed=1)
UPDATE = LowRankProduct(down_RI=normal(3, 8, seed=2), up_OR=normal(12, 3, seed=3), factors_O=normal(12, seed=4))


def updated(update: LowRankProduct) -> Tensor:
    """The weight that the update makes of `WEIGHT`."""
    weight = WEIGHT + update.up_OR @ update.down_RI
    return weight if update.factors_O is None else weight * update.factors_O[:, None]


def test_what_is_added_is_the_product_of_the_updated_weight() -> None:
    for factors_O in (UPDATE.factors_O, None):
        update = LowRankProduct(down_RI=UPDATE.down_RI, up_OR=UPDATE.up_OR, factors_O=factors_O)
        torch.testing.assert_close(update.added(X, X @ WEIGHT.T), X @ updated(update).T)


def test_parts_that_split_outputs_make_them_side_by_side() -> None:
    found = [
        UPDATE.part(0, rank, 2).added(X, X @ weight.T) for rank, weight in enumerate(WEIGHT.chunk(2))
    ]  # fmt: skip
    torch.testing.assert_close(torch.cat(found, dim=1), X @ updated(UPDATE).T)


def test_parts_that_split_inputs_add_up() -> None:
    pairs = zip(X.chunk(2, 1), WEIGHT.chunk(2, 1), strict=True)
    found = [UPDATE.part(1, rank, 2).added(x, x @ weight.T) for rank, (x, weight) in enumerate(pairs)]
    torch.testing.assert_close(found[0] + found[1], X @ updated(UPDATE).T)


def test_another_dtype_is_of_all_its_numbers() -> None:
    moved = UPDATE.to(torch.device("cpu"), torch.bfloat16)
    assert moved.factors_O is not None
    assert {moved.down_RI.dtype, moved.up_OR.dtype, moved.factors_O.dtype} == {torch.bfloat16}

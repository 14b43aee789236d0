"""The two orders of the rows of wq and wk, against the definition row by row."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from puna.formats.rotary import to_halves, to_neighbours


def by_rows(w: torch.Tensor, heads: int) -> torch.Tensor:
    """Row 2i of a head is its row i in halves, row 2i + 1 its row i + H/2."""
    width = len(w) // heads
    rows = []
    for head in range(heads):
        for row in range(width):
            rows.append(w[head * width + row // 2 + (row % 2) * (width // 2)])
    return torch.stack(rows)


@pytest.mark.parametrize(("heads", "width"), [(1, 2), (4, 20), (3, 6), (8, 64)])
@pytest.mark.parametrize("columns", [(), (5,)])
def test_neighbours_are_what_the_definition_says(heads: int, width: int, columns: tuple[int, ...]) -> None:
    w = torch.randn(heads * width, *columns)
    assert torch.equal(to_neighbours(w, heads), by_rows(w, heads))


@given(heads=st.integers(1, 9), half=st.integers(1, 12))
def test_one_undoes_the_other(heads: int, half: int) -> None:
    w = torch.randn(heads * 2 * half, 3)
    assert torch.equal(to_halves(to_neighbours(w, heads), heads), w)
    assert torch.equal(to_neighbours(to_halves(w, heads), heads), w)


def test_the_number_of_heads_matters() -> None:
    w = torch.randn(40, 3)
    assert not torch.equal(to_neighbours(w, 2), to_neighbours(w, 4))

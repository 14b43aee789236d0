import pytest
import torch

from puna.ops.bits import same_bits

DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.uint8, torch.bool]


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_copy_has_the_same_bits_and_one_that_differs_in_one_has_not(dtype: torch.dtype) -> None:
    a = torch.arange(24).reshape(4, 6).to(dtype)
    b = a.clone()
    assert same_bits(a, b)
    b[3, 5] = 0
    assert not same_bits(a, b)


def test_nan_is_itself_and_zero_is_not_minus_zero() -> None:
    a = torch.tensor([float("nan"), 0.0])
    assert same_bits(a, a.clone())
    assert not same_bits(a, torch.tensor([float("nan"), -0.0]))


def test_dtype_and_shape_count_and_how_a_tensor_lies_does_not() -> None:
    a = torch.zeros(2, 3)
    assert not same_bits(a, a.int())
    assert not same_bits(a, a.reshape(3, 2))
    b = torch.randn(2, 3)
    assert same_bits(b.t(), b.t().contiguous())
    assert same_bits(torch.tensor(1.5), torch.tensor(1.5))

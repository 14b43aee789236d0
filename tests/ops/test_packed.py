"""Products with packed matrices are those with the matrices that the integers stand for."""

import pytest
import torch

from puna.ops.bits import same_bits
from puna.ops.packed import pack, packed_linear, row_bytes, unpack
from puna.ops.quantized import WeightKind, dequantize, quantize


@pytest.mark.parametrize("kind", [WeightKind.INT8, WeightKind.INT4])
@pytest.mark.parametrize("inputs", [2, 33, 64, 95])
def test_unpacking_gives_what_the_integers_stand_for(kind: WeightKind, inputs: int) -> None:
    blocks = quantize(torch.randn(7, inputs, generator=torch.Generator().manual_seed(inputs)), kind)
    packed_OP = pack(blocks)
    assert packed_OP.shape == (7, row_bytes(inputs, kind))
    assert same_bits(unpack(packed_OP, blocks.scales_NG, inputs, torch.float32), dequantize(blocks))


@pytest.mark.parametrize("kind", [WeightKind.INT8, WeightKind.INT4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_product_and_its_gradient_are_those_of_the_matrix(kind: WeightKind, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(1)
    blocks = quantize(torch.randn(40, 70, generator=generator), kind)
    x_BTI = torch.randn(2, 5, 70, generator=generator).to(dtype).requires_grad_()
    grad_BTO = torch.randn(2, 5, 40, generator=generator).to(dtype)
    out_BTO = packed_linear(x_BTI, pack(blocks), blocks.scales_NG)
    out_BTO.backward(grad_BTO)
    assert x_BTI.grad is not None
    weight_OI = dequantize(blocks).to(dtype)
    assert same_bits(out_BTO.detach(), torch.nn.functional.linear(x_BTI.detach(), weight_OI))
    torch.testing.assert_close(x_BTI.grad, grad_BTO @ weight_OI)


def test_nothing_but_the_packed_matrix_is_kept_for_the_backward_pass() -> None:
    blocks = quantize(torch.randn(64, 64), WeightKind.INT4)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.nbytes) or tensor, lambda x: x):
        packed_linear(torch.randn(3, 64, requires_grad=True), pack(blocks), blocks.scales_NG)
    assert sum(kept) == 64 * 32 + 64 * 2 * 2

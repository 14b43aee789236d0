"""Blocks of 32 weights mean what GGUF's mean, are at least as close to the matrix, and lose no weights in silence."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from puna.core.errors import GenerateError
from puna.ops.quantized import GROUP, Blocks, WeightKind, dequantize, quantize

gguf = pytest.importorskip("gguf")

GGUF_TYPE = {WeightKind.INT8: "Q8_0", WeightKind.INT4: "Q4_0"}
KINDS = pytest.mark.parametrize("kind", list(GGUF_TYPE))


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)) * 0.02


def as_gguf(blocks: Blocks) -> np.ndarray:
    """The same blocks as the bytes of a GGUF file: a scale, then values; of Q4_0 the first half in the low bits."""
    values = blocks.values_NK.numpy().reshape(*blocks.scales_NG.shape, GROUP)
    if blocks.kind == WeightKind.INT4:
        unsigned = (values + 8).astype(np.uint8)
        values = unsigned[..., :16] | unsigned[..., 16:] << 4
    scales = blocks.scales_NG.numpy()[..., None].view(np.uint8)
    return np.concatenate((scales, values.view(np.uint8)), axis=2).reshape(len(values), -1)


def ggufs(kind: WeightKind) -> "gguf.GGMLQuantizationType":
    return gguf.GGMLQuantizationType[GGUF_TYPE[kind]]


@KINDS
def test_weights_are_those_that_gguf_gives_for_the_same_blocks(kind: WeightKind):
    blocks = quantize(normal(48, 96), kind)
    assert np.array_equal(dequantize(blocks).numpy(), gguf.quants.dequantize(as_gguf(blocks), ggufs(kind)))


@KINDS
def test_blocks_are_at_least_as_close_as_those_of_gguf(kind: WeightKind):
    weight = normal(64, 512)
    theirs = torch.from_numpy(gguf.quants.dequantize(gguf.quants.quantize(weight.numpy(), ggufs(kind)), ggufs(kind)))
    ours = dequantize(quantize(weight, kind))
    assert (ours - weight).norm() < (theirs - weight).norm()


def test_no_group_in_int4_is_further_off_than_with_the_scale_of_gguf():
    groups = normal(64, 512).view(-1, GROUP)
    ends = groups.gather(1, groups.abs().argmax(1, keepdim=True))
    scales = (ends / -8).half().float()
    theirs = (groups / scales).round().clamp(-8, 7) * scales
    ours = dequantize(quantize(groups, WeightKind.INT4))
    assert ((ours - groups).square().sum(1) <= (theirs - groups).square().sum(1) * 1.0001).all()


@given(
    rows=st.lists(st.lists(st.floats(-1e5, 1e5, width=32), min_size=5, max_size=5), min_size=1, max_size=4),
    exponent=st.integers(-40, 0),
    kind=st.sampled_from(list(GGUF_TYPE)),
)
def test_each_weight_is_within_half_a_step_or_one_step_where_it_is_cut(
    rows: list[list[float]], exponent: int, kind: WeightKind
):
    weight = torch.tensor(rows) * 2.0**exponent
    blocks = quantize(weight, kind)
    steps = blocks.scales_NG.double().abs()
    off = (dequantize(blocks).double() - weight.double()).abs()
    if kind == WeightKind.INT8:
        assert (off <= steps * 0.51).all()
        assert blocks.values_NK.abs().max() <= 127
    else:
        largest = weight.double().abs().amax(1, keepdim=True)
        assert (off <= steps * 0.51 + largest * 0.15).all()
        assert blocks.values_NK.min() >= -8
        assert blocks.values_NK.max() <= 7


@KINDS
def test_a_width_that_32_does_not_divide_has_a_shorter_last_group(kind: WeightKind):
    weight = normal(3, 100)
    blocks, padded = quantize(weight, kind), quantize(torch.nn.functional.pad(weight, (0, 28)), kind)
    assert blocks.scales_NG.shape == (3, 4)
    assert torch.equal(blocks.values_NK, padded.values_NK[:, :100])
    assert torch.equal(blocks.scales_NG, padded.scales_NG)
    assert torch.equal(dequantize(blocks), dequantize(padded)[:, :100])


@KINDS
def test_a_matrix_of_many_rows_is_quantized_row_by_row(kind: WeightKind, monkeypatch: pytest.MonkeyPatch):
    whole = quantize(normal(50, 64), kind)
    monkeypatch.setattr("puna.ops.quantized._SLAB_VALUES", 1)
    slabs = quantize(normal(50, 64), kind)
    assert torch.equal(whole.values_NK, slabs.values_NK)
    assert torch.equal(whole.scales_NG, slabs.scales_NG)


@KINDS
def test_weights_too_small_for_normal_scales_are_not_cut(kind: WeightKind):
    weight = torch.full((1, GROUP), 190 * 2.0**-24) if kind == WeightKind.INT8 else torch.full((1, GROUP), 2.0**-21.6)
    off = (dequantize(quantize(weight, kind)) - weight).abs()
    assert (off <= 2.0**-25).all()


@KINDS
def test_a_matrix_of_zeros_stays_one(kind: WeightKind):
    assert torch.equal(dequantize(quantize(torch.zeros(2, 64), kind)), torch.zeros(2, 64))


@KINDS
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_weight_that_is_not_finite_is_refused_by_name(kind: WeightKind, value: float):
    weight = normal(2, 64)
    weight[1, 40] = value
    with pytest.raises(GenerateError, match=r"output\.weight: holds a weight that is not a finite number"):
        quantize(weight, kind, name="output.weight")


@KINDS
def test_weights_too_large_for_a_scale_are_refused_by_name(kind: WeightKind):
    with pytest.raises(GenerateError, match=r"output\.weight: its weights are too large for float16 scales"):
        quantize(torch.full((1, GROUP), 1e7), kind, name="output.weight")


@KINDS
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_every_floating_dtype_is_quantized_as_its_float32(kind: WeightKind, dtype: torch.dtype):
    weight = normal(4, 64).to(dtype)
    assert torch.equal(quantize(weight, kind).values_NK, quantize(weight.float(), kind).values_NK)


def test_only_integers_with_scales_are_called_quantized():
    assert [kind.value for kind in WeightKind if kind.is_quantized] == ["int8", "int4"]

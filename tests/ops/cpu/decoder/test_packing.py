"""Packed weights are the given ones, in another order, for every kind, shape and dtype."""

import ctypes
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from puna.core.errors import GenerateError
from puna.ops.cpu.decoder import InstructionSet, open_kernels
from puna.ops.cpu.decoder.packing import Arena, Packed, pack
from puna.ops.quantized import WeightKind, dequantize, quantize

SHAPES = [(1, 1), (64, 32), (65, 33), (130, 100)]
KINDS = pytest.mark.parametrize("kind", list(WeightKind))


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 0.02


def unpacked(packed: Packed, library: ctypes.CDLL) -> Tensor:
    """Weights of all blocks in float32, (blocks x 64, groups x 32), by what layout.h says."""
    groups = -(-packed.inputs // 32)
    if packed.kind == WeightKind.FLOAT32:
        return packed.memory.view(torch.float32).view(packed.blocks, groups * 32, 64).transpose(1, 2).flatten(0, 1)
    if packed.kind == WeightKind.BFLOAT16:
        pairs = packed.memory.view(torch.bfloat16).view(packed.blocks, groups * 32, 2, 16, 2)
        return pairs.transpose(3, 4).reshape(packed.blocks, groups * 32, 64).transpose(1, 2).flatten(0, 1).float()
    groups_of_bytes = packed.memory.view(packed.blocks, groups, -1)
    scales = groups_of_bytes[..., -128:].contiguous().view(torch.float16).float()
    bytes_ = groups_of_bytes[..., :-128].reshape(packed.blocks, groups, -1, 64, 4)
    if packed.kind == WeightKind.INT4:
        values = torch.stack((bytes_ & 15, bytes_ >> 4), dim=3).int() - 8  # blocks, groups, 4, halves, 64, 4
        values = values.permute(0, 4, 1, 2, 3, 5)
    else:
        without_sign = library is open_kernels(InstructionSet.AVX512)
        values = (bytes_.int() - 128 if without_sign else bytes_.view(torch.int8).int()).permute(0, 3, 1, 2, 4)
    values = values.reshape(packed.blocks, 64, groups, 32)
    return (values * scales.transpose(1, 2)[..., None]).flatten(2).flatten(0, 1)


def expected(weight: Tensor, kind: WeightKind) -> Tensor:
    if kind == WeightKind.BFLOAT16:
        return weight.bfloat16().float()
    return dequantize(quantize(weight, kind)) if kind.is_quantized else weight.float()


@KINDS
@pytest.mark.parametrize("shape", SHAPES)
def test_a_matrix_is_the_one_that_pytorch_rounds_or_quantizes(
    library: ctypes.CDLL, kind: WeightKind, shape: tuple[int, int]
) -> None:
    weight = normal(*shape)
    weights = unpacked(pack(library, [weight], kind, Arena()), library)
    assert torch.equal(weights[: shape[0], : shape[1]], expected(weight, kind))
    weights[: shape[0], : shape[1]] = 0
    assert not weights.any()


@KINDS
def test_parts_follow_one_another(library: ctypes.CDLL, kind: WeightKind) -> None:
    parts = [normal(rows, 64, seed=rows) for rows in (50, 10, 70)]
    packed = pack(library, parts, kind, Arena())
    assert packed.outputs == 130
    assert torch.equal(unpacked(packed, library)[:130], expected(torch.cat(parts), kind))


@KINDS
def test_gates_and_values_share_blocks(library: ctypes.CDLL, kind: WeightKind) -> None:
    gates, values = normal(70, 64), normal(70, 64, seed=1)
    packed = pack(library, [gates, values], kind, Arena(), gated=True)
    assert (packed.outputs, packed.blocks) == (70, 3)
    halves = unpacked(packed, library).unflatten(0, (3, 2, 32))
    for half, part in enumerate((gates, values)):
        assert torch.equal(halves[:, half].flatten(0, 1)[:70], expected(part, kind))


@KINDS
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_what_is_stored_in_16_bits_is_read_without_loss(
    library: ctypes.CDLL, kind: WeightKind, dtype: torch.dtype
) -> None:
    weight = normal(64, 96).to(dtype)
    assert torch.equal(unpacked(pack(library, [weight], kind, Arena()), library), expected(weight.float(), kind))


@pytest.mark.parametrize("kind", [WeightKind.INT8, WeightKind.INT4])
def test_blocks_are_taken_without_loss_also_the_lowest_value(library: ctypes.CDLL, kind: WeightKind) -> None:
    blocks = quantize(normal(64, 40), kind)
    blocks.values_NK[3, 7] = -128 if kind == WeightKind.INT8 else -8
    packed = pack(library, [blocks], kind, Arena())
    assert torch.equal(unpacked(packed, library)[:, :40], dequantize(blocks))


def test_blocks_of_4_bits_are_blocks_of_8_bits_too(library: ctypes.CDLL) -> None:
    blocks = quantize(normal(64, 32), WeightKind.INT4)
    packed = pack(library, [blocks], WeightKind.INT8, Arena())
    assert torch.equal(unpacked(packed, library), dequantize(blocks))


@pytest.mark.parametrize("scale", [1e-3, 1e-7, 1e-9, 0.0, 1e4])
@pytest.mark.parametrize("kind", [WeightKind.INT8, WeightKind.INT4])
def test_small_and_large_weights_are_quantized_as_by_the_twin(
    library: ctypes.CDLL, kind: WeightKind, scale: float
) -> None:
    weight = torch.randn(64, 64, generator=torch.Generator().manual_seed(2)).sign() * normal(64, 64).exp() * scale
    assert torch.equal(unpacked(pack(library, [weight], kind, Arena()), library), dequantize(quantize(weight, kind)))


@pytest.mark.parametrize("kind", [WeightKind.INT8, WeightKind.INT4])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e9])
def test_a_weight_that_cannot_be_quantized_is_refused_by_the_matrix_name(
    library: ctypes.CDLL, kind: WeightKind, value: float
) -> None:
    weight = normal(100, 70)
    weight[99, 69] = value
    with pytest.raises(
        GenerateError, match=r"^layers\.0\.wq: holds a weight that is not a finite number, or too large"
    ):
        pack(library, [weight], kind, Arena(), name="layers.0.wq")


def test_a_scale_of_a_file_that_is_not_finite_is_refused(library: ctypes.CDLL) -> None:
    blocks = quantize(normal(64, 32), WeightKind.INT8)
    blocks.scales_NG[5, 0] = float("inf")
    with pytest.raises(GenerateError, match="not a finite number"):
        pack(library, [blocks], WeightKind.INT8, Arena())


def test_memory_of_an_arena_lies_side_by_side_on_huge_pages() -> None:
    arena = Arena()
    taken = [arena.take(n_bytes) for n_bytes in (1, 64, 100, 2**25, 2**26, 5)]
    assert [len(memory) for memory in taken] == [64, 64, 128, 2**25, 2**26, 64]
    assert taken[0].data_ptr() % 2**21 == 0
    assert taken[1].data_ptr() == taken[0].data_ptr() + 64
    assert taken[2].data_ptr() == taken[1].data_ptr() + 64
    spans = sorted((memory.data_ptr(), memory.data_ptr() + len(memory)) for memory in taken)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))

"""Updates of a layer equal the layer of the updated weight in float64, and rows keep their bits among others'."""

import ctypes
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from puna.model.llama import rope_table
from puna.ops.cpu.decoder.low_rank import PackedUpdate, pack_update
from puna.ops.cpu.decoder.packing import Arena, pack
from puna.ops.cpu.decoder.program import Program, StepRows
from puna.ops.low_rank import LowRankProduct
from puna.ops.quantized import WeightKind, dequantize, quantize

KINDS = pytest.mark.parametrize("kind", list(WeightKind))
INPUTS = 75
OUTPUTS = {"one": (130,), "three": (70, 41, 41), "gated": (75, 75)}
"""Of the matrices of a layer; where the second begins, a vector has outputs of two."""
ROWS = 30
X = torch.randn(ROWS, INPUTS, generator=torch.Generator().manual_seed(9))


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def update(outputs: int, rank: int, seed: int, *, factors: bool = False) -> LowRankProduct:
    return LowRankProduct(
        down_RI=normal(rank, INPUTS, seed=seed) * 0.1, up_OR=normal(outputs, rank, seed=seed + 1) * 0.2,
        factors_O=normal(outputs, seed=seed + 2) if factors else None,
    )  # fmt: skip


def adapters_of(outputs: Sequence[int]) -> list[list[LowRankProduct | None]]:
    """Adapters of different ranks; the second one has factors, the third leaves all matrices but the last alone, and
    the fourth leaves the layer alone."""
    return [
        [update(count, 5 + 7 * place, seed=place) for place, count in enumerate(outputs)],
        [update(count, 1, seed=40 + place, factors=True) for place, count in enumerate(outputs)],
        [None] * (len(outputs) - 1) + [update(outputs[-1], 33, seed=80, factors=True)],
        [None] * len(outputs),
    ]


class Layer:
    """A layer of some matrices, behind a norm whose gain is one or without it, with its adapters."""

    def __init__(self, library: ctypes.CDLL, which: str, kind: WeightKind, *, norm: bool, wanted: bool = False):
        outputs = OUTPUTS[which]
        self.weights = [normal(count, INPUTS, seed=100 + place) * 0.1 for place, count in enumerate(outputs)]
        self.adapters = adapters_of(outputs)
        self.gated, self.norm, self.kind = which == "gated", norm, kind
        layer = pack(library, self.weights, kind, Arena(), gated=self.gated)
        updates = [pack_update(parts, outputs, layer, Arena()) for parts in self.adapters]
        assert updates[-1] is None
        self.program = Program(library, page_size=16, pages=9, adapters=len(updates))
        self.x = self.program.buffer(INPUTS)
        self.out = self.program.result(layer.outputs) if wanted else self.program.buffer(layer.outputs)
        gain = (torch.ones(INPUTS), 1e-5) if norm else None
        self.program.linear(layer, self.x, self.out, norm=gain, wanted=wanted, updates=updates)

    def __call__(self, x: Tensor, adapters: Sequence[int] | None, wanted: Sequence[int] = ()) -> Tensor:
        cosines, sines = rope_table(torch.arange(len(x)), 2, 10_000.0)
        rows = StepRows(
            tokens_M=torch.zeros(len(x), dtype=torch.long), positions_M=torch.arange(len(x)),
            sequences_M=torch.zeros(len(x)), tables_SP=torch.arange(9)[None],
            wanted_W=torch.tensor(wanted, dtype=torch.long), cosines=cosines, sines=sines,
            adapters_M=None if adapters is None else torch.tensor(adapters),
        )  # fmt: skip
        if len(self.program.rows_of(self.x)) < len(x):
            self.program.run(rows)  # makes room
        self.program.rows_of(self.x)[: len(x), :INPUTS] = x
        result = self.program.run(rows)
        return result if wanted else self.program.rows_of(self.out)[: len(x), : self.out.width].clone()

    def expected(self, x: Tensor, adapter: int) -> Tensor:
        """In float64, by the weights that the adapter makes."""
        x = x.double()
        if self.norm:
            x = torch.nn.functional.rms_norm(x, (INPUTS,), eps=1e-5)
        found = []
        for weight, one in zip(self.weights, self.adapters[adapter], strict=True):
            kept = weight.bfloat16() if self.kind == WeightKind.BFLOAT16 else weight
            if self.kind.is_quantized:
                kept = dequantize(quantize(weight, self.kind))
            updated = kept.double()
            if one is not None:
                updated = updated + one.up_OR.double() @ one.down_RI.double()
                updated = updated if one.factors_O is None else updated * one.factors_O.double()[:, None]
            found.append(x @ updated.T)
        return torch.nn.functional.silu(found[0]) * found[1] if self.gated else torch.cat(found, dim=1)


@KINDS
@pytest.mark.parametrize("which", OUTPUTS)
@pytest.mark.parametrize("norm", [False, True])
def test_an_update_is_the_layer_of_the_updated_weight(
    library: ctypes.CDLL, kind: WeightKind, which: str, norm: bool
) -> None:
    layer = Layer(library, which, kind, norm=norm)
    for adapter in range(4):
        expected = layer.expected(X, adapter)
        found = layer(X, [adapter] * ROWS)
        # Activations of integers are rounded to 8 bits for the weights, and not for the update.
        limit = 0.02 if kind.is_quantized else 1e-5
        assert (found - expected).norm() <= limit * expected.norm()


@KINDS
@pytest.mark.parametrize("which", OUTPUTS)
def test_a_row_has_its_bits_whatever_adapters_the_others_have(
    library: ctypes.CDLL, kind: WeightKind, which: str
) -> None:
    layer = Layer(library, which, kind, norm=True)
    alone = [torch.cat([layer(X[m : m + 1], [adapter]) for m in range(ROWS)]) for adapter in range(4)]
    alone.append(torch.cat([layer(X[m : m + 1], None) for m in range(ROWS)]))
    assert torch.equal(alone[3], alone[4])  # an adapter that leaves the layer alone
    generator = torch.Generator().manual_seed(3)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 5, 13, ROWS):
            torch.set_num_threads(1 + count % 3)
            adapters = torch.randint(-1, 4, (count,), generator=generator).tolist()
            found = layer(X[:count], adapters)
            assert torch.equal(found, torch.stack([alone[adapter][m] for m, adapter in enumerate(adapters)]))
    finally:
        torch.set_num_threads(threads)


def test_wanted_rows_have_their_own_adapters(library: ctypes.CDLL) -> None:
    layer = Layer(library, "one", WeightKind.INT8, norm=True, wanted=True)
    adapters = [-1, 0, 1, 2, 3, 1]
    found = layer(X[:6], adapters, wanted=[0, 2, 3, 5])
    alone = [layer(X[m : m + 1], [adapters[m]], wanted=[0]) for m in (0, 2, 3, 5)]
    assert torch.equal(found, torch.cat(alone))


def test_an_adapter_that_does_not_exist_is_refused(library: ctypes.CDLL) -> None:
    layer = Layer(library, "one", WeightKind.FLOAT32, norm=False)
    for number in (-2, 4):
        with pytest.raises(ValueError, match="row, position, page or adapter that does not exist"):
            layer(X[:2], [0, number])


def test_a_layer_needs_an_update_or_none_of_each_adapter(library: ctypes.CDLL) -> None:
    program = Program(library, page_size=16, pages=1, adapters=2)
    layer = pack(library, [torch.ones(3, 4)], WeightKind.FLOAT32, Arena())
    with pytest.raises(ValueError, match="updates of 1 adapters, and the program has 2"):
        program.linear(layer, program.buffer(4), program.buffer(3), updates=[None])


def test_a_packed_update_has_the_ranks_of_each_sixteen_outputs_alone(library: ctypes.CDLL) -> None:
    layer = pack(library, [torch.ones(16, 4), torch.ones(16, 4)], WeightKind.FLOAT32, Arena())
    parts = [
        LowRankProduct(down_RI=torch.ones(3, 4), up_OR=torch.full((16, 3), value)) for value in (2.0, 5.0)
    ]  # fmt: skip
    packed = pack_update(parts, (16, 16), layer, Arena())
    assert isinstance(packed, PackedUpdate)
    assert packed.ranks == 16
    assert packed.spans[:2].tolist() == [[0, 3, 0], [3, 6, 48]]
    assert (packed.spans[2:, 0] == packed.spans[2:, 1]).all()  # outputs that were filled up have none
    assert packed.up.tolist() == [2.0] * 48 + [5.0] * 48
    assert packed.down.shape == (1, 32, 16)
    assert packed.down.sum() == 6 * 4

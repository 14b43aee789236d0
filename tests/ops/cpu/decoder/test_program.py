"""Every operator equals its formula in float64, in odd shapes, and a row has the same bits in any company."""

import ctypes
from collections.abc import Iterator, Sequence

import pytest
import torch
from instruction_sets import has
from torch import Tensor

from puna.model.llama import rope_table, rotate
from puna.ops.cpu.decoder import InstructionSet, open_kernels
from puna.ops.cpu.decoder.packing import Arena, pack
from puna.ops.cpu.decoder.program import Buffer, Cache, Program, StepRows
from puna.ops.quantized import Blocks, WeightKind, dequantize, quantize
from puna.ops.reference import reference_causal_attention

KINDS = pytest.mark.parametrize("kind", list(WeightKind))
ROWS = (1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 31, 47, 48, 49, 64)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def rows_of(
    positions: Sequence[int], owners: Sequence[int] | None = None, tables: Tensor | None = None, width: int = 2
) -> StepRows:
    """Rows of one sequence with pages in their order, if nothing else is said."""
    count = len(positions)
    cosines, sines = rope_table(torch.arange(max(positions) + 1), width, 10_000.0)
    return StepRows(
        tokens_M=torch.zeros(count, dtype=torch.long), positions_M=torch.tensor(positions, dtype=torch.int32),
        sequences_M=torch.tensor(owners or [0] * count, dtype=torch.int32),
        tables_SP=torch.arange(200, dtype=torch.int32)[None] if tables is None else tables,
        wanted_W=torch.empty(0, dtype=torch.long), cosines=cosines, sines=sines,
    )  # fmt: skip


class Layer:
    """A linear layer alone, called with a matrix of inputs."""

    def __init__(self, library: ctypes.CDLL, parts: Sequence[Tensor | Blocks], kind: WeightKind, **options: object):
        packed = pack(library, parts, kind, Arena(), gated=bool(options.pop("gated", False)))
        self.program = Program(library, page_size=16, pages=200)
        self.x, self.out = self.program.buffer(packed.inputs), self.program.buffer(packed.outputs)
        self.program.linear(packed, self.x, self.out, **options)  # type: ignore[arg-type]

    def __call__(self, x: Tensor, before: Tensor | None = None) -> Tensor:
        rows = rows_of(range(len(x)))
        if len(self.program.rows_of(self.x)) < len(x):
            self.program.run(rows)  # makes room
        fill(self.program, self.x, x)
        if before is not None:
            fill(self.program, self.out, before)
        self.program.run(rows)
        return self.program.rows_of(self.out)[: len(x), : self.out.width].clone()


def fill(program: Program, buffer: Buffer, x: Tensor) -> None:
    program.rows_of(buffer)[: len(x), : buffer.width] = x


def rounded_activations(x: Tensor) -> Tensor:
    """What INT8 and INT4 multiply with: integers in groups of 32 with a scale in float32."""
    groups = torch.nn.functional.pad(x.float(), (0, -x.shape[1] % 32)).unflatten(1, (-1, 32))
    tops = groups.abs().amax(2, keepdim=True)
    integers = (groups * torch.where(tops > 1e-36, 127 / tops, 0)).round()
    return (integers.double() * (tops / 127).double()).flatten(1)[:, : x.shape[1]]


def weights_in(kind: WeightKind, weight: Tensor) -> Tensor:
    if kind == WeightKind.BFLOAT16:
        return weight.bfloat16().double()
    return dequantize(quantize(weight, kind)).double() if kind.is_quantized else weight.double()


def product(kind: WeightKind, x: Tensor, weight: Tensor) -> Tensor:
    """The layer in float64."""
    return (rounded_activations(x) if kind.is_quantized else x.double()) @ weights_in(kind, weight).T


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    """Within a share of the largest output: an accumulator in float32 rounds at its own size."""
    assert found.shape == expected.shape
    assert (found.double() - expected).abs().max() <= tolerance * max(expected.abs().max().item(), 1e-9)


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@KINDS
@pytest.mark.parametrize("shape", [(1, 1), (64, 32), (65, 33), (200, 100), (130, 701)])
def test_a_product_is_that_of_float64_for_every_number_of_rows(
    library: ctypes.CDLL, kind: WeightKind, shape: tuple[int, int]
) -> None:
    weight = normal(*shape) * 0.05
    layer = Layer(library, [weight], kind)
    for count in ROWS:
        x = normal(count, shape[1], seed=count)
        close(layer(x), product(kind, x, weight))


@KINDS
def test_a_norm_goes_before_and_the_residual_is_added_after(library: ctypes.CDLL, kind: WeightKind) -> None:
    weight, gain = normal(70, 90) * 0.05, normal(90, seed=1)
    layer = Layer(library, [weight], kind, norm=(gain, 1e-5), adds=True)
    for count in (1, 9, 30):
        x, before = normal(count, 90, seed=2), normal(count, 70, seed=3)
        normed = torch.nn.functional.rms_norm(x.double(), (90,), gain.double(), 1e-5)
        # Integers may round to neighbours where the norm in float64 differs in its last place.
        tolerance = 2e-3 if kind.is_quantized else 1e-5
        close(layer(x, before), before.double() + product(kind, normed, weight), tolerance)


@KINDS
def test_gates_multiply_their_values(library: ctypes.CDLL, kind: WeightKind) -> None:
    gates, values = normal(75, 64) * 0.3, normal(75, 64, seed=1) * 0.3
    layer = Layer(library, [gates, values], kind, gated=True)
    for count in (1, 2, 13):
        x = normal(count, 64, seed=count)
        gate = product(kind, x, gates)
        close(layer(x), torch.nn.functional.silu(gate) * product(kind, x, values))


def test_extreme_gates_are_those_of_float64(library: ctypes.CDLL) -> None:
    layer = Layer(library, [torch.ones(1, 1), torch.ones(1, 1)], WeightKind.FLOAT32, gated=True)
    x = torch.tensor([[-1e4], [-100.0], [-88.5], [-1.0], [-0.0], [0.0], [1.0], [88.5], [1e4]])
    torch.testing.assert_close(
        layer(x).double(), torch.nn.functional.silu(x.double()) * x.double(), rtol=1e-6, atol=1e-30
    )


@KINDS
@pytest.mark.parametrize("gated", [False, True])
def test_a_row_has_the_same_bits_in_any_company_and_on_any_number_of_threads(
    library: ctypes.CDLL, kind: WeightKind, gated: bool, one_thread: None
) -> None:
    parts = [normal(333, 901) * 0.05] * (1 + gated)
    layer = Layer(library, parts, kind, gated=gated, norm=(normal(901, seed=1), 1e-6))
    x = normal(64, 901, seed=2)
    torch.set_num_threads(1)
    alone = torch.cat([layer(x[m : m + 1]) for m in range(64)])
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        assert torch.equal(layer(x[:1]), alone[:1])
        for count in ROWS:
            assert torch.equal(layer(x[:count]), alone[:count])
            assert torch.equal(layer(x[-count:]), alone[-count:])


@pytest.mark.skipif(not all(map(has, InstructionSet)), reason="this processor lacks an instruction set")
@KINDS
def test_both_instruction_sets_give_the_same_bits(kind: WeightKind) -> None:
    libraries = [open_kernels(instructions) for instructions in InstructionSet]
    parts = [normal(333, 901) * 0.05] * 2
    norm = normal(901, seed=1), 1e-6
    for count in (1, 13):
        a, b = (Layer(library, parts, kind, gated=True, norm=norm)(normal(count, 901)) for library in libraries)
        assert torch.equal(a, b)
    queries = normal(9, 8 * 50)
    a, b = (attend(library, queries, range(9), heads=4, key_heads=2, width=50)[0] for library in libraries)
    assert torch.equal(a, b)


@pytest.mark.parametrize("kind", [WeightKind.INT8, WeightKind.INT4])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_integers_do_not_hide_an_activation_that_is_not_finite(
    library: ctypes.CDLL, kind: WeightKind, value: float
) -> None:
    x = normal(3, 64)
    x[1, 40] = value
    finite = Layer(library, [normal(70, 64)], kind)(x).isfinite()
    assert finite[[0, 2]].all()
    assert not finite[1].any()


@pytest.mark.parametrize("kind", [WeightKind.INT8, WeightKind.INT4])
def test_the_largest_integers_do_not_saturate(library: ctypes.CDLL, kind: WeightKind) -> None:
    low, high = (-128, 127) if kind == WeightKind.INT8 else (-8, 7)
    values = torch.full((66, 320), low, dtype=torch.int8)
    values[1::2] = high
    blocks = Blocks(kind, values, torch.ones(66, 10, dtype=torch.float16))
    for sign in (1, -1):
        x = torch.full((2, 320), 127.0 * sign)
        assert torch.equal(Layer(library, [blocks], kind)(x).double(), x.double() @ dequantize(blocks).double().T)


def attend(
    library: ctypes.CDLL,
    qkv: Tensor,
    positions: Sequence[int],
    owners: Sequence[int] | None = None,
    *,
    heads: int,
    key_heads: int,
    width: int,
    tables: Tensor | None = None,
    cache: Cache | None = None,
    page_size: int = 16,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Cache]:
    """Attention's output and the cache that was written."""
    pages = 200 * 16 // page_size
    if cache is None:
        cache = Cache.of(pages=pages, heads=key_heads, width=width, page_size=page_size, dtype=dtype)
    program = Program(library, page_size=page_size, pages=pages)
    x, out = program.buffer(qkv.shape[1]), program.buffer(heads * width)
    rows = rows_of(positions, owners, torch.arange(pages, dtype=torch.int32)[None] if tables is None else tables, width)
    program.run(rows)  # makes room
    fill(program, x, qkv)
    program.attend(cache, x, out, heads=heads)
    program.run(rows)
    return program.rows_of(out)[: len(qkv), : heads * width].clone(), cache


def attention(qkv: Tensor, *, heads: int, key_heads: int, width: int) -> Tensor:
    """Causal attention of one sequence from its first position on, in float64 by the oracle."""
    cos, sin = rope_table(torch.arange(len(qkv)), width, 10_000.0)
    q, k, v = qkv.view(1, len(qkv), -1, width).split((heads, key_heads, key_heads), dim=2)
    q, k = rotate(q, cos, sin), rotate(k, cos, sin)
    q, k, v = (x.double().transpose(1, 2) for x in (q, k, v))
    return reference_causal_attention(q, k, v).transpose(1, 2).flatten(2)[0]


@pytest.mark.parametrize(
    ("heads", "key_heads", "width"),
    [(1, 1, 2), (4, 4, 64), (9, 3, 64), (8, 2, 100), (5, 1, 18), (2, 2, 128), (7, 7, 96)],
)
@pytest.mark.parametrize("page_size", [16, 48])
def test_attention_is_that_of_float64(
    library: ctypes.CDLL, heads: int, key_heads: int, width: int, page_size: int
) -> None:
    shape = {"heads": heads, "key_heads": key_heads, "width": width}
    for count in (1, 2, 7, 16, 17, 70, 130):
        qkv = normal(count, (heads + 2 * key_heads) * width, seed=count)
        expected = attention(qkv, **shape)
        close(attend(library, qkv, range(count), page_size=page_size, **shape)[0], expected)
        halves = attend(library, qkv, range(count), page_size=page_size, dtype=torch.float16, **shape)[0]
        close(halves, expected, 3e-3)


def test_attention_to_two_thousand_keys_is_that_of_float64(library: ctypes.CDLL) -> None:
    shape = {"heads": 4, "key_heads": 2, "width": 64}
    qkv = normal(2000, 8 * 64)
    close(attend(library, qkv, range(2000), **shape)[0], attention(qkv, **shape))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(("heads", "key_heads", "width"), [(4, 4, 64), (6, 2, 100)])
def test_attention_of_a_row_has_the_same_bits_alone_in_chunks_and_among_other_sequences(
    library: ctypes.CDLL, heads: int, key_heads: int, width: int, dtype: torch.dtype, one_thread: None
) -> None:
    torch.set_num_threads(1)
    shape = {"heads": heads, "key_heads": key_heads, "width": width, "dtype": dtype}
    qkv = normal(90, (heads + 2 * key_heads) * width)
    whole = attend(library, qkv, range(90), **shape)[0]
    cache = None
    for threads, chunk in ((1, 1), (2, 7), (3, 33)):
        torch.set_num_threads(threads)
        parts, cache = [], None
        for start in range(0, 90, chunk):
            part = range(start, min(90, start + chunk))
            found, cache = attend(library, qkv[start : part.stop], part, cache=cache, **shape)
            parts.append(found)
        assert torch.equal(torch.cat(parts), whole)
    # The last rows of this sequence among others, on pages in no order.
    assert cache is not None
    numbers = torch.randperm(200, generator=torch.Generator().manual_seed(1))[:18].view(3, 6).int()
    scattered = Cache(keys=torch.full_like(cache.keys, torch.nan), values=torch.full_like(cache.values, torch.nan))
    for page in range(6):
        scattered.keys[numbers[1, page]] = cache.keys[page]
        scattered.values[numbers[1, page]] = cache.values[page]
    other = normal(25, qkv.shape[1], seed=5)
    step = torch.cat((other[:20], qkv[83:], other[20:]))
    positions, owners = [*range(20), *range(83, 90), *range(5)], [0] * 20 + [1] * 7 + [2] * 5
    found = attend(library, step, positions, owners, tables=numbers, cache=scattered, **shape)[0]
    assert torch.equal(found[20:27], whole[83:])
    assert found.isfinite().all()


def test_what_is_written_in_a_step_is_read_in_it_by_another_sequence_with_the_same_page(library: ctypes.CDLL) -> None:
    shape = {"heads": 2, "key_heads": 2, "width": 16}
    qkv = normal(5, 6 * 16)
    whole = attend(library, qkv, range(5), **shape)[0]
    tables = torch.tensor([[3], [3]], dtype=torch.int32)
    found = attend(library, qkv[[4, 0, 1, 2, 3]], [4, 0, 1, 2, 3], [1, 0, 0, 0, 0], tables=tables, **shape)[0]
    assert torch.equal(found, whole[[4, 0, 1, 2, 3]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_rows_of_a_table_are_taken_as_they_are_stored(library: ctypes.CDLL, dtype: torch.dtype) -> None:
    table = normal(40, 33).to(dtype)
    assert torch.equal(embedded(library, table, [39, 0, 7]), table[[39, 0, 7]].float())


@pytest.mark.parametrize("kind", [WeightKind.INT8, WeightKind.INT4])
def test_rows_of_a_quantized_table_are_its_weights(library: ctypes.CDLL, kind: WeightKind) -> None:
    table = quantize(normal(40, 33), kind)
    assert torch.equal(embedded(library, table, [39, 0, 7]), dequantize(table)[[39, 0, 7]])


def embedded(library: ctypes.CDLL, table: Tensor | Blocks, tokens: list[int]) -> Tensor:
    program = Program(library, page_size=16, pages=1)
    out = program.buffer(33)
    program.embed(table, out)
    rows = rows_of(range(len(tokens)))
    rows.tokens_M[:] = torch.tensor(tokens)
    program.run(rows)
    memory = program.rows_of(out)
    assert not memory[:, 33:].any()
    return memory[:, :33]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tokens_M": [0, 40]}, "a token"),
        ({"tokens_M": [-1, 0]}, "a token"),
        ({"positions_M": [0, 5]}, "a row, position, page or adapter"),  # beyond the angles
        ({"positions_M": [-1, 0]}, "a row, position, page or adapter"),
        ({"positions_M": [1, 1]}, "a row, position, page or adapter"),
        ({"sequences_M": [0, 1]}, "a row, position, page or adapter"),
        ({"tables_SP": [[200]]}, "a row, position, page or adapter"),
        ({"tables_SP": [[-1]]}, "a row, position, page or adapter"),
        ({"wanted_W": [2]}, "a row, position, page or adapter"),
    ],
)
def test_a_step_that_names_what_does_not_exist_is_refused(
    library: ctypes.CDLL, change: dict[str, list[int]], says: str
) -> None:
    program = Program(library, page_size=16, pages=200)
    program.embed(torch.ones(40, 33), program.buffer(33))
    rows = rows_of(range(2))
    fields = {**vars(rows), **{name: torch.tensor(value) for name, value in change.items()}}
    with pytest.raises(ValueError, match=says):
        program.run(StepRows(**fields))


def test_a_step_that_wants_a_row_twice_is_refused(library: ctypes.CDLL) -> None:
    program = Program(library, page_size=16, pages=1)
    fields = {**vars(rows_of(range(2))), "wanted_W": torch.tensor([0, 1, 1])}
    with pytest.raises(ValueError, match="a step of 2 rows wants 3 of them"):
        program.run(StepRows(**fields))


def test_the_result_lives_as_long_as_who_asked_keeps_it(library: ctypes.CDLL) -> None:
    program = Program(library, page_size=16, pages=1)
    x, out = program.buffer(8), program.result(70)
    program.linear(
        pack(library, [normal(70, 8)], WeightKind.FLOAT32, Arena()), x, out, norm=(torch.ones(8), 1e-5), wanted=True
    )
    rows = StepRows(**{**vars(rows_of(range(3))), "wanted_W": torch.tensor([0, 2])})
    first, second = program.run(rows), program.run(rows)
    assert first.shape == second.shape == (2, 70)
    assert first.data_ptr() != second.data_ptr()
    assert program.rows_of(out).numel() == 0


def test_a_layer_between_buffers_of_other_widths_is_refused(library: ctypes.CDLL) -> None:
    program = Program(library, page_size=16, pages=1)
    narrow, wide = program.buffer(8), program.buffer(16)
    packed = pack(library, [normal(16, 8)], WeightKind.FLOAT32, Arena())
    for x, out in ((wide, wide), (narrow, narrow)):
        with pytest.raises(ValueError, match="different widths"):
            program.linear(packed, x, out)
    cache = Cache.of(pages=1, heads=1, width=8, page_size=16, dtype=torch.float32)
    with pytest.raises(ValueError, match="other widths than its heads"):
        program.attend(cache, wide, narrow, heads=1)

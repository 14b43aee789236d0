"""A step as a program: a list of operators that is filled once and worked off in one call of C++ for each step.

Axes: M rows   S sequences   P pages   W wanted rows   N outputs   V vocabulary   D width
"""

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from puna.ops.cpu.decoder.low_rank import PackedUpdate, UpdateFields
from puna.ops.cpu.decoder.packing import BLOCK, KINDS, Packed, rounded
from puna.ops.quantized import Blocks

_EMBED, _LINEAR, _ATTEND = range(3)
_TABLES: Final = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}
_GROUPS: Final = 3
_SKEW: Final = 16
"""Numbers between rows: a cache line, so that rows of 2^n numbers do not fall into one set of the cache."""


@dataclass(frozen=True)
class Buffer:
    """Rows of numbers that one operator writes and the next ones read; rows are as many as a step has."""

    number: int
    width: int
    """Numbers of a row, without the zeros behind it."""


@dataclass(frozen=True, kw_only=True)
class Cache:
    """Keys and values of one layer, in pages; float32 or float16."""

    keys: Tensor
    """(pages, key heads, page / 16, head width, 16): 16 keys side by side."""
    values: Tensor
    """(pages, key heads, page, head width rounded up to 16)."""

    @classmethod
    def of(cls, *, pages: int, heads: int, width: int, page_size: int, dtype: torch.dtype) -> "Cache":
        """An empty one. Its memory is touched, and so taken, when positions are written."""
        return cls(
            keys=_untouched(pages, heads, page_size // 16, width, 16, dtype=dtype),
            values=_untouched(pages, heads, page_size, rounded(width, 16), dtype=dtype),
        )


def _untouched(*shape: int, dtype: torch.dtype) -> Tensor:
    """Zeros that the system gives when they are touched; `torch.zeros` writes them all."""
    return torch.from_numpy(np.zeros(shape, {torch.float32: np.float32, torch.float16: np.float16}[dtype]))


@dataclass(frozen=True, kw_only=True)
class StepRows:
    """The rows of one step, as `puna.infer.runner.Rows` has them, and the angles of positions."""

    tokens_M: Tensor
    positions_M: Tensor
    sequences_M: Tensor
    tables_SP: Tensor
    wanted_W: Tensor
    cosines: Tensor
    """(positions, head width / 2), float32, for every position of the step."""
    sines: Tensor
    adapters_M: Tensor | None = None
    """The number of each row's adapter, -1 for none; None where all rows have none."""


class _Embed(ctypes.Structure):
    _fields_ = (
        ("table", ctypes.c_void_p), ("scales", ctypes.c_void_p), ("dtype", ctypes.c_int64),
        ("vocabulary", ctypes.c_int64), ("width", ctypes.c_int64), ("out", ctypes.c_int64),
    )  # fmt: skip


class _Linear(ctypes.Structure):
    _fields_ = (
        ("weights", ctypes.c_void_p), ("kind", ctypes.c_int64), ("blocks", ctypes.c_int64), ("inputs", ctypes.c_int64),
        ("gain", ctypes.c_void_p), ("epsilon", ctypes.c_float), ("adds", ctypes.c_int32), ("width", ctypes.c_int64),
        ("gated", ctypes.c_int64), ("wanted", ctypes.c_int64), ("in_", ctypes.c_int64), ("out", ctypes.c_int64),
        ("updates", ctypes.c_void_p), ("ranks", ctypes.c_int64),
    )  # fmt: skip


class _Attend(ctypes.Structure):
    _fields_ = (
        ("keys", ctypes.c_void_p), ("values", ctypes.c_void_p), ("half", ctypes.c_int64), ("heads", ctypes.c_int64),
        ("key_heads", ctypes.c_int64), ("width", ctypes.c_int64), ("in_", ctypes.c_int64), ("out", ctypes.c_int64),
    )  # fmt: skip


class _Either(ctypes.Union):
    _fields_ = (("embed", _Embed), ("linear", _Linear), ("attend", _Attend))


class _Operator(ctypes.Structure):
    _fields_ = (("code", ctypes.c_int64), ("either", _Either))


class _Buffer(ctypes.Structure):
    _fields_ = (("data", ctypes.c_void_p), ("step", ctypes.c_int64))


class _Step(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("rows", "sequences", "wanted_rows", "threads")),
        *((name, ctypes.c_void_p) for name in ("tokens", "positions", "owners", "tables")),
        ("table_step", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("wanted", "cosines", "sines")),
        *((name, ctypes.c_int64) for name in ("angles", "pages", "page_size")),
        ("buffers", ctypes.c_void_p), ("adapters", ctypes.c_void_p), ("adapter_count", ctypes.c_int64),
    )  # fmt: skip


class Program:
    """Operators in their order. It is for one thread at a time, since its buffers are shared by all steps.

    Args:
        library: From `puna.ops.cpu.decoder.open_kernels`.
        page_size: Positions of a page of all caches, a multiple of 16.
        pages: Pages of all caches.
        adapters: How many adapters rows may have.
    """

    def __init__(self, library: ctypes.CDLL, *, page_size: int, pages: int, adapters: int = 0) -> None:
        self._library, self._page_size, self._pages, self._adapters = library, page_size, pages, adapters
        self._operators: list[_Operator] = []
        self._made: ctypes.Array[_Operator] | None = None
        self._kept: list[object] = []
        self._caches: list[Cache] = []
        self._widths: list[int] = []
        self._memory: list[Tensor] = []
        self._result: int | None = None
        self._exchanges: list[tuple[int, int, Callable[[Tensor], None]]] = []

    def buffer(self, width: int) -> Buffer:
        """A new buffer for rows of this many numbers."""
        self._widths.append(width)
        self._memory.append(torch.zeros(0, rounded(width, BLOCK) + _SKEW))
        return Buffer(len(self._widths) - 1, width)

    def result(self, width: int) -> Buffer:
        """A buffer, one for a program, that is new in every step and has a row for each wanted one."""
        buffer = self.buffer(width)
        self._result = buffer.number
        return buffer

    def embed(self, table: Tensor | Blocks, out: Buffer) -> None:
        """Rows of a table by token; it is used where it lies: float32, bfloat16, float16 or blocks."""
        data = (table.values_NK if isinstance(table, Blocks) else table).contiguous()
        scales = table.scales_NG.contiguous() if isinstance(table, Blocks) else None
        dtype = _GROUPS if isinstance(table, Blocks) else _TABLES[data.dtype]
        embed = _Embed(data.data_ptr(), None if scales is None else scales.data_ptr(), dtype, *data.shape, out.number)
        self._add(_Operator(_EMBED, _Either(embed=embed)), data, scales)

    def linear(
        self,
        weights: Packed,
        x: Buffer,
        out: Buffer,
        *,
        norm: tuple[Tensor, float] | None = None,
        adds: bool = False,
        wanted: bool = False,
        updates: Sequence[PackedUpdate | None] = (),
    ) -> None:
        """The product of a matrix with every row.

        Args:
            weights: Gated ones write silu(gate) x value.
            x: The input.
            out: The output.
            norm: Gain and epsilon of an RMSNorm of x.
            adds: Adds to what `out` holds.
            wanted: Only the wanted rows, into the first rows of `out`; needs a norm.
            updates: Of each adapter of the program, what it adds to the product before all else; or nothing at all.
        """
        if updates and len(updates) != self._adapters:
            raise ValueError(f"a layer has updates of {len(updates)} adapters, and the program has {self._adapters}")
        if x.width != weights.inputs or out.width != weights.outputs or (wanted and norm is None):
            raise ValueError("a linear layer and its buffers have different widths, or wanted rows have no norm")
        gain, epsilon = norm or (None, 0.0)
        if gain is not None:
            padded = torch.zeros(rounded(x.width, BLOCK))
            padded[: x.width] = gain
            gain = padded
        kept = [update for update in updates if update is not None]
        ranks = max((update.ranks for update in kept), default=0)
        fields = (UpdateFields * len(updates))(*(UpdateFields() if one is None else one.fields for one in updates))
        linear = _Linear(
            weights.memory.data_ptr(), KINDS.index(weights.kind), weights.blocks, rounded(x.width, 32),
            None if gain is None else gain.data_ptr(), epsilon, int(adds), x.width, int(weights.gated), int(wanted),
            x.number, out.number, ctypes.addressof(fields) if kept else None, ranks,
        )  # fmt: skip
        self._add(_Operator(_LINEAR, _Either(linear=linear)), weights, gain, kept, fields)

    def attend(self, cache: Cache, qkv: Buffer, out: Buffer, *, heads: int) -> None:
        """Attention of each row to its own sequence's keys up to its position, which are written before.

        Args:
            cache: This layer's.
            qkv: Queries of all heads, keys, values; queries are turned where they lie.
            out: Heads one after the other.
            heads: Of queries, the same for all layers of a program.
        """
        _, key_heads, _, width, _ = cache.keys.shape
        if qkv.width != (heads + 2 * key_heads) * width or out.width != heads * width:
            raise ValueError("attention's buffers have other widths than its heads")
        attend = _Attend(
            cache.keys.data_ptr(), cache.values.data_ptr(), int(cache.keys.dtype == torch.float16), heads, key_heads,
            width, qkv.number, out.number,
        )  # fmt: skip
        self._add(_Operator(_ATTEND, _Either(attend=attend)))
        self._caches.append(cache)

    def copy_pages(self, copies_C2: Tensor) -> None:
        """Copy pages of all caches; every page is read before any is written.

        Args:
            copies_C2: Pages, each with the one that it is copied to, int64.

        Raises:
            ValueError: A page does not exist.
        """
        if not 0 <= int(copies_C2.min()) <= int(copies_C2.max()) < self._pages:
            raise ValueError("a copy names a page that does not exist")
        from_C, to_C = copies_C2.unbind(1)
        for cache in self._caches:
            for pages in (cache.keys, cache.values):
                pages[to_C] = pages[from_C]

    def exchange(self, buffer: Buffer, change: Callable[[Tensor], None]) -> None:
        """Let Python change a buffer between two operators, as where processes add up what each has computed.

        Args:
            buffer: Any but the result's.
            change: Is given the rows of a step, (M, width and zeros behind it), and changes them where they lie.
        """
        self._exchanges.append((len(self._operators), buffer.number, change))

    def _add(self, operator: _Operator, *kept: object) -> None:
        self._operators.append(operator)
        self._kept += kept
        self._made = None

    def rows_of(self, buffer: Buffer) -> Tensor:
        """The memory of a buffer, with the zeros behind each row; a step with more rows than before replaces it."""
        return self._memory[buffer.number]

    def run(self, rows: StepRows) -> Tensor:
        """Work off all operators.

        Returns:
            The rows of the result's buffer, (W, width) in new memory; (W, 0) for a program without one.

        Raises:
            ValueError: A row, token, position, page or adapter does not exist, or more rows are wanted than there are.
        """
        n_rows, n_wanted = len(rows.tokens_M), len(rows.wanted_W)
        if n_wanted > n_rows:
            raise ValueError(f"a step of {n_rows} rows wants {n_wanted} of them")
        for number, memory in enumerate(self._memory):
            if number == self._result:
                self._memory[number] = torch.empty(n_wanted, memory.shape[1])
            elif len(memory) < n_rows:
                self._memory[number] = torch.zeros(n_rows, memory.shape[1])
        if self._made is None:
            self._made = (_Operator * len(self._operators))(*self._operators)
        given = [
            rows.tokens_M.long().contiguous(), rows.positions_M.int().contiguous(), rows.sequences_M.int().contiguous(),
            rows.tables_SP.int().contiguous(), rows.wanted_W.long().contiguous(),
        ]  # fmt: skip
        tokens, positions, owners, tables, wanted = (x.data_ptr() for x in given)
        adapters_M = None if rows.adapters_M is None else rows.adapters_M.int().contiguous()
        buffers = (_Buffer * len(self._memory))(*((x.data_ptr(), x.shape[1]) for x in self._memory))
        step = _Step(
            n_rows, len(given[3]), n_wanted, torch.get_num_threads(), tokens, positions, owners, tables,
            given[3].shape[1], wanted, rows.cosines.data_ptr(), rows.sines.data_ptr(), len(rows.cosines), self._pages,
            self._page_size, ctypes.addressof(buffers), None if adapters_M is None else adapters_M.data_ptr(),
            self._adapters,
        )  # fmt: skip
        begin = 0
        for end, number, change in self._exchanges:
            self._run_part(begin, end, step)
            change(self._memory[number][:n_rows])
            begin = end
        self._run_part(begin, len(self._operators), step)
        if self._result is None:
            return torch.empty(n_wanted, 0)
        result = self._memory[self._result]
        self._memory[self._result] = result.new_empty(0, result.shape[1])  # whoever asked has it, and nobody else
        return result[:, : self._widths[self._result]]

    def _run_part(self, begin: int, end: int, step: _Step) -> None:
        """Work off the operators from one number up to another."""
        assert self._made is not None  # noqa: S101 - `run` makes it
        first = ctypes.addressof(self._made) + begin * ctypes.sizeof(_Operator)
        problem = self._library.puna_decoder_run(ctypes.c_void_p(first), end - begin, ctypes.byref(step))
        if problem:
            what = "token" if problem == 2 else "row, position, page or adapter"
            raise ValueError(f"a step names a {what} that does not exist")

"""A runner on PyTorch's operators: all that `Llama` computes, on any device and in any dtype, over a paged cache.

The arithmetic is the model's own. Only the core of each block's attention is exchanged, for one that writes the rows'
keys and values into pages and looks up by the tables what each row attends to; outside a step it is the old core.

PyTorch chooses among matrix kernels by the number of rows, and their sums differ in the last bits. So a row's bits
depend on its company here, unless each row is computed alone, which `one_by_one` does: the price of exactness without
kernels that are made for it.

Axes in names:
  M rows   S slots of the page tables   P pages of a sequence   B sequences of one row   T rows of a sequence
  L keys   N query heads   K key and value heads   H head width   W rows with logits   V vocabulary
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from puna.infer.adapters import Products
from puna.infer.runner import PAGE_SIZE, Rows, position_bytes
from puna.model.llama import CausalCore, Llama
from puna.ops.attention import Mask, causal_attention
from puna.ops.low_rank import LowRankProduct


@dataclass(slots=True)
class Step:
    """Where the rows of a step write and what they read; positions of the cache are numbered page after page."""

    write_M: Tensor
    """The place of each row's keys and values."""
    single_rows: Tensor
    """The rows whose sequence has no other, (B,)."""
    single_read_BL: Tensor
    """The places that they read, filled up with the first of them: others may hold what is not a number."""
    single_mask_B11L: Tensor | None
    """Which of these count; None if all do."""
    chunks: list[tuple[int, int, Tensor]]
    """Of each sequence with several rows: its first row, the row behind its last, and the places they read, (L,)."""


class _Shared:
    """What the cores and the linear layers of all blocks share: the step that runs."""

    def __init__(self) -> None:
        self.step: Step | None = None
        self.adapted: list[tuple[int, Tensor]] = []
        """Adapters by number, and the rows that have them, of what is computed now."""


class _PagedCore(CausalCore):
    """Attention over pages in a step, and otherwise what it replaces."""

    k_LKH: Tensor | None
    v_LKH: Tensor | None

    def __init__(self, core: nn.Module, shared: _Shared, places: int) -> None:
        super().__init__()
        self.core, self._shared, self._places = core, shared, places
        # Buffers, so that compiled code knows that they stay where they are.
        self.register_buffer("k_LKH", None, persistent=False)
        self.register_buffer("v_LKH", None, persistent=False)

    def forward(self, q_BNTH: Tensor, k_BKSH: Tensor, v_BKSH: Tensor, mask: Mask | None = None) -> Tensor:
        """Attention of each row to what its table says, (1, N, M, H); B is 1 and T is M."""
        step = self._shared.step
        if step is None:
            return self.core(q_BNTH, k_BKSH, v_BKSH, mask)
        if self.k_LKH is None or self.v_LKH is None:
            # Of the heads that this process has, in the dtype that the model computes.
            self.k_LKH, self.v_LKH = (
                x[0, :, :1].new_zeros(self._places, x.shape[1], x.shape[3]) for x in (k_BKSH, v_BKSH)
            )
        self.k_LKH[step.write_M] = k_BKSH[0].transpose(0, 1)
        self.v_LKH[step.write_M] = v_BKSH[0].transpose(0, 1)
        out_BNTH = torch.empty_like(q_BNTH)
        grouped = q_BNTH.shape[1] != k_BKSH.shape[1]
        if len(step.single_rows):
            keys, values = (x[step.single_read_BL].transpose(1, 2) for x in (self.k_LKH, self.v_LKH))
            queries = q_BNTH[0][:, step.single_rows].transpose(0, 1)[:, :, None]
            found = F.scaled_dot_product_attention(
                queries, keys, values, attn_mask=step.single_mask_B11L, enable_gqa=grouped
            )
            out_BNTH[0][:, step.single_rows] = found[:, :, 0].transpose(0, 1)
        for first, last, read_L in step.chunks:
            keys, values = (x[read_L].transpose(0, 1)[None] for x in (self.k_LKH, self.v_LKH))
            out_BNTH[:, :, first:last] = causal_attention(q_BNTH[:, :, first:last], keys, values)
        return out_BNTH


class OperatorRunner:
    """Implements `Runner` with the model's own modules.

    Args:
        model: On any device. Its attention cores are wrapped, which changes nothing of what it computes elsewhere.
        pages: Pages of the cache; its memory is taken at the first step.
        page_size: Positions of a page.
        one_by_one: Whether each row is computed alone, exact and slow.
        adapters: What adapters add to the model's layers, by the adapters' names.
    """

    def __init__(
        self, model: Llama, *, pages: int, page_size: int = PAGE_SIZE, one_by_one: bool = False,
        adapters: Mapping[str, Products] | None = None,
    ) -> None:  # fmt: skip
        self.config = model.config
        self.page_size, self.pages, self.exact = page_size, pages, one_by_one
        self.spare_place = pages * page_size
        """A place of the cache that no page has, for keys and values that nobody reads."""
        self._model, self._shared = model, _Shared()
        self._device = model.tok_embeddings.weight.device
        self.title = f"PyTorch's operators on {self._device}" + (", row by row" if one_by_one else "")
        matrices = {name: x for name, x in model.named_parameters(remove_duplicate=False) if x.ndim == 2}
        self.weight_bytes = sum(x.nbytes for name, x in matrices.items() if name != "tok_embeddings.weight")
        self.position_bytes = position_bytes(model.config, model.tok_embeddings.weight.itemsize)
        for block in model.blocks():
            core = block.attention.core
            inner = core.core if isinstance(core, _PagedCore) else core
            block.attention.core = _PagedCore(inner, self._shared, self.spare_place + 1)
        self.adapters = tuple(adapters or ())
        dtype = model.tok_embeddings.weight.dtype
        for number, products in enumerate((adapters or {}).values()):
            for layer, product in products.items():
                self._update(model.get_submodule(layer), number, product.to(self._device, dtype))

    @property
    def has_memory(self) -> bool:
        """Whether the cache's memory has been taken."""
        return all(block.attention.core.k_LKH is not None for block in self._model.blocks())

    def logits(self, rows: Rows) -> Tensor:
        """The logits of the wanted rows, (W, V) in float32; see `Runner`."""
        try:
            return self._logits(rows)
        finally:
            self._choose(rows.adapters_M[:0])

    def _logits(self, rows: Rows) -> Tensor:
        self.copy_pages(rows.copies_C2)
        if not self.exact:
            self._choose(rows.adapters_M)
            x_MD = self._hidden(rows.tokens_M, rows.positions_M, rows.sequences_M, rows.tables_SP)
            self._choose(rows.adapters_M[rows.wanted_W] if len(rows.adapters_M) else rows.adapters_M)
            return self.output(x_MD[rows.wanted_W.to(self._device)])
        wanted = set(rows.wanted_W.tolist())
        found = []
        for row in range(len(rows.tokens_M)):
            one = slice(row, row + 1)
            self._choose(rows.adapters_M[one])
            x_1D = self._hidden(rows.tokens_M[one], rows.positions_M[one], rows.sequences_M[one], rows.tables_SP)
            if row in wanted:
                found.append(self.output(x_1D))
        return torch.cat(found) if found else torch.empty(0, self.config.vocab_size)

    def _choose(self, adapters_M: Tensor) -> None:
        """Let the rows that are computed from now on have these adapters."""
        self._shared.adapted = [
            (number, (adapters_M == number).nonzero()[:, 0].to(self._device))
            for number in adapters_M.unique().tolist()
            if number >= 0
        ]

    def _update(self, module: nn.Module, number: int, product: LowRankProduct) -> None:
        """Let a linear layer compute the rows of an adapter with its update."""

        def updated(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            for adapter, rows in self._shared.adapted:
                if adapter == number:
                    x_MI, product_MO = inputs[0].flatten(0, -2), output.flatten(0, -2)
                    added_MO = product.added(x_MI[rows], product_MO[rows])
                    return product_MO.index_copy(0, rows, added_MO).view_as(output)
            return None

        # Before what adds up the parts of several processes, each of which has its part of the update.
        module.register_forward_hook(updated, prepend=True)

    def copy_pages(self, copies_C2: Tensor) -> None:
        """Copy pages of all layers, as `Rows.copies_C2` says."""
        if not len(copies_C2):
            return
        from_C, to_C = copies_C2.to(self._device).unbind(1)
        for block in self._model.blocks():
            core = block.attention.core
            if not isinstance(core, _PagedCore) or core.k_LKH is None or core.v_LKH is None:
                continue  # nothing has been computed, so there is nothing to copy
            for cache_LKH in (core.k_LKH, core.v_LKH):
                pages_PSKH = cache_LKH[: self.spare_place].unflatten(0, (self.pages, self.page_size))
                pages_PSKH[to_C] = pages_PSKH[from_C]

    def _hidden(self, tokens_M: Tensor, positions_M: Tensor, sequences_M: Tensor, tables_SP: Tensor) -> Tensor:
        step = self.step(positions_M.long(), sequences_M.long(), tables_SP)
        return self.run(step, tokens_M.to(self._device), positions_M.to(self._device))

    def run(self, step: Step, tokens_M: Tensor, positions_M: Tensor) -> Tensor:
        """The stream before the output layer, (M, D); all on the model's device."""
        self._shared.step = step
        try:
            with torch.no_grad():
                return self._model.hidden(tokens_M[None], positions_T=positions_M)[0]
        finally:
            self._shared.step = None

    def output(self, x_WD: Tensor) -> Tensor:
        """Logits, (W, V) in float32."""
        with torch.no_grad():
            return self._model.output(x_WD).float()

    def step(self, positions_M: Tensor, sequences_M: Tensor, tables_SP: Tensor) -> Step:
        """The places of a step, worked out once for all layers."""
        size = self.page_size
        last = int(positions_M.max()) // size + 1
        tables_SP = tables_SP[:, :last].long()
        places_SL = (tables_SP[:, :, None] * size + torch.arange(size)).flatten(1)
        write_M = places_SL[sequences_M, positions_M]
        slots, counts = torch.unique_consecutive(sequences_M, return_counts=True)
        ends = counts.cumsum(0)
        single = counts == 1
        single_rows = ends[single] - 1
        lengths_B = positions_M[single_rows] + 1
        longest = int(lengths_B.max()) if len(lengths_B) else 0
        mask_BL = torch.arange(longest) < lengths_B[:, None]
        read_BL = places_SL[slots[single], :longest]
        chunks = [
            (end - count, end, places_SL[slot, : int(positions_M[end - 1]) + 1].to(self._device))
            for slot, count, end in zip(slots.tolist(), counts.tolist(), ends.tolist(), strict=True)
            if count > 1
        ]
        return Step(
            write_M.to(self._device),
            single_rows.to(self._device),
            torch.where(mask_BL, read_BL, read_BL[:, :1]).to(self._device),
            None if bool(mask_BL.all()) else mask_BL[:, None, None].to(self._device),
            chunks,
        )

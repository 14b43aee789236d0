"""A runner for GPUs: the steps in which every sequence writes one token are compiled once for each size and replayed.

On a GPU a step of single rows takes as long as reading the weights, if the host does not have to start each of its
hundreds of kernels. So these steps have few shapes: rows and keys are filled up to powers of two, `torch.compile` makes
kernels of each shape, and a CUDA graph starts all of them at once (as gpt-fast does with a static cache). Rows of
prompts go the way of `OperatorRunner`, and so do all where no compiler is.

Axes as in puna.infer.operator_runner.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn.functional import pad

from puna.core.console import say
from puna.infer.adapters import Products
from puna.infer.operator_runner import OperatorRunner, Step
from puna.infer.runner import PAGE_SIZE, Rows
from puna.model.llama import Llama

_FEWEST_KEYS = 256
"""Keys of the smallest shape: below it the time of a step does not depend on them (gpt-fast's sizes are like it)."""
_COMPILED = ", compiled"
_MOST_ROWS = 64
"""More rows take kernels as long as the host needs to start them, so there is nothing to win by a graph."""
_MOST_SHAPES = 1000
"""More than two models have, of 7 numbers of rows and of keys up to millions. Behind PyTorch's own limit, which is 8,
a step would fail: it is made for functions that are compiled again and again by mistake."""


class GraphRunner(OperatorRunner):
    """Implements `Runner`; not exact, since PyTorch's kernels depend on the number of rows.

    Args:
        model: On a GPU.
        pages: Pages of the cache.
        page_size: Positions of a page.
        adapters: What adapters add to the model's layers, by the adapters' names.
        compiler: Compiles the function of a step; None is `torch.compile` with CUDA graphs.
    """

    def __init__(
        self, model: Llama, *, pages: int, page_size: int = PAGE_SIZE, adapters: Mapping[str, Products] | None = None,
        compiler: Callable[[Callable[..., Tensor]], Callable[..., Tensor]] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(model, pages=pages, page_size=page_size, adapters=adapters)
        self.title += _COMPILED
        self._replay: Callable[..., Tensor] | None
        if compiler is None:
            self._replay = torch.compile(self._single, mode="reduce-overhead", fullgraph=True, dynamic=False)
        else:
            self._replay = compiler(self._single)

    def logits(self, rows: Rows) -> Tensor:
        """The logits of the wanted rows, (W, V) in float32; see `Runner`."""
        n_rows = len(rows.tokens_M)
        alone = n_rows == 1 or bool((rows.sequences_M[1:] != rows.sequences_M[:-1]).all())
        if (
            self._replay is None
            or not alone
            or n_rows > _MOST_ROWS
            or len(rows.wanted_W) != n_rows
            or len(rows.adapters_M)
            or not self.has_memory
        ):
            return super().logits(rows)
        self.copy_pages(rows.copies_C2)
        step = self.step(rows.positions_M.long(), rows.sequences_M.long(), rows.tables_SP)
        more_rows = _power_of_two(n_rows) - n_rows
        more_keys = max(_FEWEST_KEYS, _power_of_two(step.single_read_BL.shape[1])) - step.single_read_BL.shape[1]
        read_BL = pad(step.single_read_BL, (0, more_keys, 0, more_rows))
        if step.single_mask_B11L is None:
            mask_BL = torch.ones_like(step.single_read_BL, dtype=torch.bool)
        else:
            mask_BL = step.single_mask_B11L[:, 0, 0]
        mask_BL = pad(mask_BL, (0, more_keys, 0, more_rows))
        read_BL = torch.where(mask_BL, read_BL, read_BL[:, :1])  # place 0 may hold what is not a number
        mask_BL[n_rows:, 0] = True  # nobody reads these rows; with a key they have numbers
        limits = {"recompile_limit": _MOST_SHAPES, "accumulated_recompile_limit": _MOST_SHAPES}
        try:
            with torch._dynamo.config.patch(limits):
                found_BV = self._replay(
                    pad(rows.tokens_M, (0, more_rows)).to(read_BL.device),
                    pad(rows.positions_M, (0, more_rows)).to(read_BL.device),
                    pad(step.write_M, (0, more_rows), value=self.spare_place), read_BL, mask_BL[:, None, None],
                )  # fmt: skip
        except torch._dynamo.exc.TorchDynamoException as error:
            why = str(getattr(error, "inner_exception", error)).strip().split("\n")[0]
            say(f"PyTorch could not compile a step for {self._device}, so all are slower: {why}")
            self._replay, self.title = None, self.title.removesuffix(_COMPILED)
            return super().logits(rows)
        return found_BV[:n_rows].clone()  # a graph writes its next result over this one

    def _single(
        self, tokens_B: Tensor, positions_B: Tensor, write_B: Tensor, read_BL: Tensor, mask_B11L: Tensor
    ) -> Tensor:
        step = Step(write_B, torch.arange(len(tokens_B), device=tokens_B.device), read_BL, mask_B11L, [])
        return self.output(self.run(step, tokens_B, positions_B))


def _power_of_two(number: int) -> int:
    """The smallest power of two that is not below it."""
    return 1 << (number - 1).bit_length()

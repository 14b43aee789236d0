"""What an engine asks of whatever computes a model: rows of one step in, logits of the rows that somebody wants out.

A row is one token at one position of one sequence. The rows of a step may be of any sequences: one each that write
text, hundreds of one that reads a prompt, or both together; a runner makes no difference between them. Keys and values
lie in pages of `page_size` positions, and a sequence's table says in which pages its own are.

Axes in names:
  M rows   S sequences   P pages of the longest sequence   W rows whose logits are wanted   V vocabulary
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from puna.config.recipe import ModelConfig

PAGE_SIZE = 16
"""Positions of a page: the keys of one vector of the kernels, and vLLM's block size (Kwon et al. 2023, section 7.2).
With larger ones, more memory lies unused behind each sequence's last position; smaller ones are slower to gather."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The queries of one step; a sequence's rows stand together, in the order of their positions. All on the CPU."""

    tokens_M: Tensor
    """Token ids, int64; there is at least one."""
    positions_M: Tensor
    """The position of each in its sequence, int32, from 0."""
    sequences_M: Tensor
    """The row of `tables_SP` that belongs to its sequence, int32."""
    tables_SP: Tensor
    """Page numbers, int32: position p of sequence s lies in page `tables_SP[s, p // page_size]`. Behind a sequence's
    last page stand zeros, which nobody reads. Sequences that begin alike may name the same pages."""
    wanted_W: Tensor
    """The rows of which logits are computed, int64, ascending; W may be 0."""
    adapters_M: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int32))
    """The number of each row's adapter in `Runner.adapters`, int32, -1 for none; empty where all rows have none. The
    rows of a sequence have one, and so had those that its pages were computed with."""
    copies_C2: Tensor = field(default_factory=lambda: torch.empty(0, 2, dtype=torch.int64))
    """Pages, each with the page that it is copied to before anything is computed, int64. All are read before any is
    written, since a page may be copied and at once become the copy of another."""


class Runner(Protocol):
    """Computes a model over paged keys and values."""

    config: ModelConfig
    page_size: int
    """Positions of a page."""
    pages: int
    """Pages that there are, numbered from 0."""
    exact: bool
    """Whether the bits of a row depend on its own sequence alone, and so are the same in any company and chunking."""
    title: str
    """For people: what computes, and on which device."""
    adapters: tuple[str, ...]
    """The names of the adapters that rows may have, in the order of their numbers."""
    weight_bytes: int
    """Of the matrices that every step reads; the embeddings, of which it reads rows, do not count."""
    position_bytes: int
    """Of keys and values of one position in all layers."""

    def logits(self, rows: Rows) -> Tensor:
        """The logits of the wanted rows, (W, V) in float32.

        In every layer the keys and values of all rows are written before any row reads: a row sees the pages of its
        table up to its own position, also where another sequence of the same step writes them.
        """
        ...


def position_bytes(config: ModelConfig, bytes_each: int) -> int:
    """Bytes of the keys and values of one position in all layers, of `bytes_each` for a number."""
    return 2 * config.n_layers * config.n_kv_heads * config.head_dim * bytes_each


@dataclass(slots=True)
class Piece:
    """Some positions of one sequence, to be computed."""

    slot: int
    """Its row of the page tables."""
    start: int
    """The first position."""
    tokens: list[int]
    """The token at each position."""
    wanted: range
    """Which of the tokens want logits, counted from the piece's first."""
    adapter: int = -1
    """The number of the sequence's adapter; -1 for none."""


def rows_of(pieces: Iterable[Piece], tables_SP: Tensor, copies: Sequence[tuple[int, int]] = ()) -> Rows:
    """The rows of a step.

    Args:
        pieces: At least one with a token, each of another sequence.
        tables_SP: The page tables, a row for each slot.
        copies: Pages, each with the one that it is copied to.
    """
    tokens: list[int] = []
    positions: list[int] = []
    sequences: list[int] = []
    wanted: list[int] = []
    adapters: list[int] = []
    for piece in pieces:
        first, count = len(tokens), len(piece.tokens)
        tokens += piece.tokens
        positions += range(piece.start, piece.start + count)
        sequences += [piece.slot] * count
        wanted += [first + row for row in piece.wanted]
        adapters += [piece.adapter] * count
    return Rows(
        tokens_M=torch.tensor(tokens),
        positions_M=torch.tensor(positions, dtype=torch.int32),
        sequences_M=torch.tensor(sequences, dtype=torch.int32),
        tables_SP=tables_SP,
        wanted_W=torch.tensor(wanted, dtype=torch.int64),
        adapters_M=torch.tensor(adapters if max(adapters) >= 0 else (), dtype=torch.int32),
        copies_C2=torch.tensor(copies, dtype=torch.int64).view(-1, 2),
    )

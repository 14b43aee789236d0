"""The runner on Puna's own kernels for CPUs: weights packed as floats or integers, one call of C++ for each step.

A row's bits depend on its own sequence alone: not on the other rows of the step, on how a prompt was cut into chunks,
on the number of threads, nor on whether the machine has AVX-512 or AVX2.

Axes as in puna.infer.runner.
"""

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from puna.config.recipe import ModelConfig
from puna.core.errors import GenerateError
from puna.infer.adapters import Products, linear_shapes
from puna.infer.part import PartSource
from puna.infer.runner import PAGE_SIZE, Rows
from puna.infer.source import Source
from puna.model.llama import rope_table
from puna.ops.cpu.builder import BuildError
from puna.ops.cpu.decoder import InstructionSet, instruction_set, open_kernels
from puna.ops.cpu.decoder.low_rank import PackedUpdate, pack_update
from puna.ops.cpu.decoder.packing import Arena, Packed, pack
from puna.ops.cpu.decoder.program import Buffer, Cache, Program, StepRows
from puna.ops.quantized import Blocks, WeightKind, dequantize

_FIRST_ANGLES = 2048
"""Positions whose angles are computed at first: LLaMA's context. Twice as many when one beyond is met."""


def obstacle(config: ModelConfig) -> str | None:
    """Why the kernels cannot compute a model, in a clause; None where they can."""
    if config.norm != "rms":
        return f'its norm = "{config.norm}" is a LayerNorm, and the kernels have RMSNorm alone'
    if config.qk_norm:
        return "it normalises queries and keys (qk_norm), which the kernels do not"
    if config.rotary != "position":
        return f'its rotary = "{config.rotary}" does not turn heads by positions'
    return None


class KernelRunner:
    """Computes a decoder from packed weights.

    Args:
        source: The weights, read one after the other.
        kind: How matrices are kept; None keeps them as they are stored: float32, bfloat16, or blocks of INT8 and INT4
            where the file has them; float16 becomes float32.
        cache_dtype: Of keys and values, torch.float32 or torch.float16; None is `default_cache`.
        pages: Pages of the cache of each layer.
        page_size: Positions of a page, a multiple of 16.
        instructions: None takes the machine's best.
        adapters: What adapters add to the model's layers, by the adapters' names.

    Raises:
        GenerateError: The kernels cannot compute this model, or a matrix cannot be quantized.
        BuildError: They cannot be compiled or run on this machine.
    """

    exact = True

    def __init__(
        self,
        source: Source,
        kind: WeightKind | None = None,
        cache_dtype: torch.dtype | None = None,
        *,
        pages: int,
        page_size: int = PAGE_SIZE,
        instructions: InstructionSet | None = None,
        adapters: Mapping[str, Products] | None = None,
    ) -> None:
        config = source.config
        if why := obstacle(config):
            raise GenerateError(f"the kernels cannot compute this model: {why}")
        if page_size % 16 or page_size < 16:
            raise ValueError(f"a page of the kernels has a multiple of 16 positions, not {page_size}")
        instructions = instructions or instruction_set()
        if instructions is None:
            raise BuildError("this processor has neither AVX2 nor AVX-512")
        self.config, self.page_size, self.pages = config, page_size, pages
        self.adapters = tuple(adapters or ())
        library = open_kernels(instructions)
        self._program = Program(library, page_size=page_size, pages=pages, adapters=len(self.adapters))
        packer = _Packer(source, kind, library, list((adapters or {}).values()))
        kept = cache_dtype or default_cache(source, kind)
        cache_bytes = _fill(self._program, packer, pages=pages, page_size=page_size, cache_dtype=kept)
        self.weight_bytes = packer.n_bytes
        self.position_bytes = cache_bytes // (pages * page_size)
        self.title = f"{' and '.join(sorted(packer.kinds))} kernels for {instructions}"
        self._cosines = self._sines = torch.empty(0)
        self._extend_angles(min(config.context, _FIRST_ANGLES))

    def logits(self, rows: Rows) -> Tensor:
        """The logits of the wanted rows, (W, V) in float32, in new memory.

        Raises:
            ValueError: A token, page or position does not exist.
        """
        last = int(rows.positions_M.max())
        if last >= len(self._cosines):
            self._extend_angles(2 ** last.bit_length())
        if len(rows.copies_C2):
            self._program.copy_pages(rows.copies_C2)
        step = StepRows(
            tokens_M=rows.tokens_M, positions_M=rows.positions_M, sequences_M=rows.sequences_M,
            tables_SP=rows.tables_SP, wanted_W=rows.wanted_W, cosines=self._cosines, sines=self._sines,
            adapters_M=rows.adapters_M if len(rows.adapters_M) else None,
        )  # fmt: skip
        return self._program.run(step)

    def _extend_angles(self, positions: int) -> None:
        config = self.config
        table = rope_table(torch.arange(positions), config.head_dim, config.rope_theta, config.rope_scaling)
        self._cosines, self._sines = (x.contiguous() for x in table)


class _Packer:
    """Reads matrices and packs them, in the order in which a step needs them, and so what adapters add."""

    def __init__(self, source: Source, kind: WeightKind | None, library: ctypes.CDLL, adapters: list[Products]) -> None:
        self.source, self.kind, self._library, self._adapters = source, kind, library, adapters
        self._arena, self._arenas = Arena(), [Arena() for _ in adapters]
        self._shapes = linear_shapes(source.config)
        self.kinds: set[WeightKind] = set()
        """Those that matrices were packed as."""
        self.n_bytes = 0
        """Bytes of all matrices that were packed."""

    def __call__(self, *names: str, gated: bool = False, last: bool = False) -> Packed:
        parts = [_stored(self.source, name) for name in names]
        kind = self.kind or _common(parts)
        self.kinds.add(kind)
        if last and kind == WeightKind.INT4:
            kind = output_kind(parts[0])
        if not kind.is_quantized:
            parts = [dequantize(part) if isinstance(part, Blocks) else part for part in parts]
        elif kind == WeightKind.INT4:
            # Blocks of 8 bits become floats, and then blocks of 4.
            parts = [
                dequantize(part) if isinstance(part, Blocks) and part.kind == WeightKind.INT8 else part
                for part in parts
            ]
        packed = pack(self._library, parts, kind, self._arena, gated=gated, name=names[0])
        self.n_bytes += packed.memory.nbytes
        return packed

    def updates(self, packed: Packed, *layers: str) -> list[PackedUpdate | None]:
        """What each adapter adds to a matrix that was packed of these layers'."""
        outputs = [self._shapes[layer][0] for layer in layers]
        return [
            pack_update([products.get(layer) for layer in layers], outputs, packed, arena)
            for products, arena in zip(self._adapters, self._arenas, strict=True)
        ]


def _stored(source: Source, name: str) -> Tensor | Blocks:
    """A matrix as its file has it."""
    blocks = source.blocks(name)
    return source.tensor(name) if blocks is None else blocks


def default_cache(source: Source, kind: WeightKind | None) -> torch.dtype:
    """What keys and values are kept in: float32 with weights in float32, else float16, as llama.cpp does by default.

    Args:
        source: The weights.
        kind: How matrices are kept; None keeps them as they are stored.
    """
    kind = kind or _common([_stored(source, "layers.0.attention.wq.weight")])
    return torch.float32 if kind == WeightKind.FLOAT32 else torch.float16


def output_kind(stored: Tensor | Blocks) -> WeightKind:
    """How the output layer of a model in INT4 is kept: INT8, unless the file has it in 4 bits already.

    Its errors are those of the logits themselves. With SmolLM2-135M they would be a third of the whole divergence
    (docs/guide/engine.md); llama.cpp's files of 4 bits keep it in 6 or 8, too.
    """
    return stored.kind if isinstance(stored, Blocks) else WeightKind.INT8


def _common(parts: Sequence[Tensor | Blocks]) -> WeightKind:
    """The smallest kind that holds all parts without loss."""
    kinds = set()
    for part in parts:
        if isinstance(part, Blocks):
            kinds.add(part.kind)
        else:
            kinds.add(WeightKind.BFLOAT16 if part.dtype == torch.bfloat16 else WeightKind.FLOAT32)
    if len(kinds) == 1:
        return kinds.pop()
    # Values of 4 bits are values of 8 bits too; a product of integer and scale is a float32.
    return WeightKind.INT8 if all(kind.is_quantized for kind in kinds) else WeightKind.FLOAT32


def _fill(program: Program, packer: _Packer, *, pages: int, page_size: int, cache_dtype: torch.dtype) -> int:
    """Write the decoder into a program, matrix by matrix, so that memory for one of the source's is enough.

    Returns:
        Bytes of the cache in all layers.
    """
    config, source = packer.source.config, packer.source
    heads, key_heads, width, eps = config.n_heads, config.n_kv_heads, config.head_dim, config.norm_eps
    hidden, attended = program.buffer(config.dim), program.buffer(heads * width)
    qkv, inner = program.buffer((heads + 2 * key_heads) * width), program.buffer(config.ffn_dim)
    logits = program.result(config.vocab_size)
    part = source if isinstance(source, PartSource) else None

    def linear(x: Buffer, out: Buffer, *layers: str, gated: bool = False, **how: Any) -> None:
        packed = packer(*(f"{layer}.weight" for layer in layers), gated=gated)
        program.linear(packed, x, out, updates=packer.updates(packed, *layers), **how)

    def add(layer: str, x: Buffer) -> None:
        # Of several processes, only the first adds what was there before: they all add up.
        linear(x, hidden, layer, adds=part is None or part.rank == 0)
        if part is not None:
            program.exchange(hidden, part.add_up)

    program.embed(_stored(source, "tok_embeddings.weight"), hidden)
    cache_bytes = 0
    for number in range(config.n_layers):
        name = f"layers.{number}."

        def norm(which: str, name: str = name) -> tuple[Tensor, float]:
            return source.tensor(f"{name}{which}.weight").float(), eps

        linear(hidden, qkv, *(f"{name}attention.w{which}" for which in "qkv"), norm=norm("attention_norm"))
        cache = Cache.of(pages=pages, heads=key_heads, width=width, page_size=page_size, dtype=cache_dtype)
        cache_bytes += cache.keys.nbytes + cache.values.nbytes
        program.attend(cache, qkv, attended, heads=heads)
        add(f"{name}attention.wo", attended)
        gates = (f"{name}feed_forward.w1", f"{name}feed_forward.w3")
        linear(hidden, inner, *gates, gated=True, norm=norm("ffn_norm"))
        add(f"{name}feed_forward.w2", inner)
    output = "tok_embeddings.weight" if config.tie_embeddings else "output.weight"
    final_norm = source.tensor("norm.weight").float(), eps
    packed = packer(output, last=True)
    updates = packer.updates(packed, "output")
    program.linear(packed, hidden, logits, norm=final_norm, wanted=True, updates=updates)
    return cache_bytes

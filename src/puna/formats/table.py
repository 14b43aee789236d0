"""Every parameter of the decoder: its shape, and its name in each format. All readers and writers follow this table.

Matrices are [out, in] here, and rows of wq and wk pair the halves of a head (rotary pair i is rows i and i + H/2), as
Hugging Face's do. Other differences: EasyLM transposes matrices; EasyLM, GGUF, llama2.c and Meta's original pair
neighbours (`puna.formats.rotary`); OpenLM joins wq, wk and wv, and w1 and w3.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from puna.config.recipe import ModelConfig

Column = Literal["ours", "hf", "easylm", "gguf", "openlm"]
"""The formats with names of their own for tensors; Meta's original has our names, llama2.c only an order."""


@dataclass(frozen=True)
class Weight:
    """One parameter of a decoder."""

    name: str
    """Our name, which is also Meta's: layers.3.attention.wq.weight."""
    shape: tuple[int, ...]
    """(out, in), (V, D) for the embedding, (width,) for gains."""
    rotary_heads: int
    """Heads whose rows turn: N for wq, K for wk, 0 for all others."""
    split: int | None
    """The axis that model-parallel files of the original divide; None where each file has the whole."""
    hf: str
    """Name in transformers' LlamaForCausalLM; empty if it has none."""
    easylm: str
    """Path in EasyLM, joined by slashes; empty if it has none."""
    gguf: str
    """Name in GGUF's architecture `llama`; empty if it has none."""
    openlm: str
    """open_lm's tensor, which may hold several of ours one below the other."""
    openlm_rows: tuple[int, int]
    """The rows of that tensor that are this parameter: the first, and the one after the last."""

    @property
    def numel(self) -> int:
        """Its number of values."""
        return math.prod(self.shape)

    @property
    def is_matrix(self) -> bool:
        """Whether it takes part in a matrix product, or is the embedding; gains are not."""
        return len(self.shape) == 2


@dataclass(frozen=True)
class _Row:
    ours: str
    shape: str
    """Letters: D width, V vocabulary, F feed-forward, Q all query heads, K all key heads."""
    split: int | None
    hf: str
    easylm: str
    gguf: str
    openlm: str
    before: str = ""
    """Letters of the rows that come before ours in OpenLM's tensor."""


_EMBEDDING = _Row(
    "tok_embeddings", "VD", 1, "model.embed_tokens", "transformer/wte/embedding", "token_embd", "tok_embeddings"
)
_BLOCK = (
    _Row("attention_norm", "D", None, "input_layernorm", "attention_norm/kernel", "attn_norm", "attention_norm"),
    _Row("attention.wq", "QD", 0, "self_attn.q_proj", "attention/wq/kernel", "attn_q", "attention.in_proj"),
    _Row("attention.wk", "KD", 0, "self_attn.k_proj", "attention/wk/kernel", "attn_k", "attention.in_proj", "Q"),
    _Row("attention.wv", "KD", 0, "self_attn.v_proj", "attention/wv/kernel", "attn_v", "attention.in_proj", "QK"),
    _Row("attention.wo", "DQ", 1, "self_attn.o_proj", "attention/wo/kernel", "attn_output", "attention.out_proj"),
    _Row("attention.q_norm", "Q", None, "", "", "", "attention.q_norm"),
    _Row("attention.k_norm", "K", None, "", "", "", "attention.k_norm"),
    _Row("ffn_norm", "D", None, "post_attention_layernorm", "ffn_norm/kernel", "ffn_norm", "ffn_norm"),
    _Row("feed_forward.w1", "FD", 0, "mlp.gate_proj", "feed_forward/w1/kernel", "ffn_gate", "feed_forward.w12"),
    _Row("feed_forward.w2", "DF", 1, "mlp.down_proj", "feed_forward/w2/kernel", "ffn_down", "feed_forward.w3"),
    _Row("feed_forward.w3", "FD", 0, "mlp.up_proj", "feed_forward/w3/kernel", "ffn_up", "feed_forward.w12", "F"),
)
_IN_BLOCK = re.compile(r"model\.layers\.(0|[1-9]\d{0,3})\.(.+)")
_IN_OUR_BLOCK = re.compile(r"layers\.(\d+)\.(.+)")
_NORM = _Row("norm", "D", None, "model.norm", "transformer/ln_f/kernel", "output_norm", "norm")
_OUTPUT = _Row("output", "VD", 0, "lm_head", "lm_head/kernel", "output", "output")


def weights(config: ModelConfig) -> tuple[Weight, ...]:
    """All stored parameters in the order of the decoder; a tied output layer is not stored."""
    sizes = {
        "D": config.dim, "V": config.vocab_size, "F": config.ffn_dim,
        "Q": config.n_heads * config.head_dim, "K": config.n_kv_heads * config.head_dim,
    }  # fmt: skip
    heads = {"attention.wq": config.n_heads, "attention.wk": config.n_kv_heads}

    def weight(row: _Row, layer: int | None = None) -> Weight:
        ours, hf, easylm, gguf = ("", "", "", "") if layer is None else _prefixes(layer)
        first = sum(sizes[letter] for letter in row.before)
        return Weight(
            name=f"{ours}{row.ours}.weight",
            shape=tuple(sizes[letter] for letter in row.shape),
            rotary_heads=heads.get(row.ours, 0),
            split=row.split,
            hf=row.hf and f"{hf}{row.hf}.weight",
            easylm=row.easylm and f"{easylm}{row.easylm}",
            gguf=row.gguf and f"{gguf}{row.gguf}.weight",
            openlm=f"{ours}{row.openlm}.weight",
            openlm_rows=(first, first + sizes[row.shape[0]]),
        )

    def both(row: _Row, layer: int | None = None) -> list[Weight]:
        gain = weight(row, layer)
        if config.norm != "layer-bias" or gain.is_matrix:
            return [gain]
        name, openlm = (said.removesuffix("weight") + "bias" for said in (gain.name, gain.openlm))
        return [gain, replace(gain, name=name, hf="", easylm="", gguf="", openlm=openlm)]

    block = [row for row in _BLOCK if config.qk_norm or row.hf]
    return (
        weight(_EMBEDDING),
        *(part for layer in range(config.n_layers) for row in block for part in both(row, layer)),
        *both(_NORM),
        *([] if config.tie_embeddings else [weight(_OUTPUT)]),
    )


def by_name(config: ModelConfig, column: Column) -> dict[str, Weight]:
    """Every parameter by the name that a format gives it; OpenLM's joined tensors stand for their last parameter.

    Parameters without a name in the format are left out.
    """
    attribute = "name" if column == "ours" else column
    return {name: weight for weight in weights(config) if (name := getattr(weight, attribute))}


def our_name(hf: str) -> str | None:
    """Our name of a parameter with this name in transformers' LlamaForCausalLM, of any layer; None if it has none."""
    layer, rows = _IN_BLOCK.fullmatch(hf), (_EMBEDDING, _NORM, _OUTPUT)
    if layer is not None:
        hf, rows = layer[2], _BLOCK
    found = next((row.ours for row in rows if row.hf and f"{row.hf}.weight" == hf), None)
    if found is None:
        return None
    return f"{'' if layer is None else f'layers.{layer[1]}.'}{found}.weight"


def their_name(ours: str) -> str:
    """The name in transformers' LlamaForCausalLM of a parameter of ours that it has; the inverse of `our_name`."""
    layer, rows = _IN_OUR_BLOCK.fullmatch(ours), (_EMBEDDING, _NORM, _OUTPUT)
    if layer is not None:
        ours, rows = layer[2], _BLOCK
    found = next(row.hf for row in rows if row.hf and f"{row.ours}.weight" == ours)
    return f"{'' if layer is None else f'model.layers.{layer[1]}.'}{found}.weight"


def count_layers(names: Iterable[str], prefix: str) -> int:
    """The number of layers in tensors' names: one more than the highest number after `prefix`."""
    pattern = re.compile(re.escape(prefix) + r"(\d{1,9})\D")  # Python refuses numbers with thousands of digits
    return 1 + max((int(match[1]) for name in names if (match := pattern.match(name))), default=-1)


def _prefixes(layer: int) -> tuple[str, str, str, str]:
    return f"layers.{layer}.", f"model.layers.{layer}.", f"transformer/h/{layer}/", f"blk.{layer}."

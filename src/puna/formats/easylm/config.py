"""The decoder of an EasyLM checkpoint, which says sizes only: what is read off them, assumed, or stated beside it.

EasyLM has the rest on its command line. Puna writes it into `llama_config.json`, under EasyLM's own names, beside the
weights, and reads it there again; without that file, presets of EasyLM's configurator are recognised by their sizes.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from puna.config.recipe import ModelConfig
from puna.core.errors import FormatError
from puna.formats.checkpoint import Hints, model_config
from puna.formats.containers.json_object import read_json_object

LLAMA_CONFIG = "llama_config.json"
"""File beside the weights; EasyLM uses the same names as `llama_config` in the metadata of a run."""

EASYLM_THETA = 10_000.0
"""Rotary base of EasyLM's attention: the setting `rope_theta` never reaches it (EasyLM/models/llama/llama_model.py)."""

_OURS = {
    "vocab_size": "vocab_size", "hidden_size": "dim", "intermediate_size": "ffn_dim", "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads", "num_key_value_heads": "n_kv_heads", "rms_norm_eps": "norm_eps",
    "max_position_embeddings": "context", "rope_theta": "rope_theta", "initializer_range": "init_std",
    "tied_embeddings": "tie_embeddings",
    "max_sequence_length": "context",
}  # fmt: skip
"""EasyLM's names and ours; of 2023 the last. The one before is Puna's own: EasyLM always has an output layer."""

_HARMLESS = frozenset({
    "base_model", "bos_token_id", "eos_token_id", "pad_token_id", "tie_word_embeddings", "use_cache",
    # Training.
    "resid_pdrop", "embd_pdrop", "attn_pdrop", "embedding_dropout", "feedforward_dropout", "attention_dropout",
    "residue_dropout", "fcm_min_ratio", "fcm_max_ratio",
    # How it is computed, not what.
    "remat_block", "remat_attention", "remat_mlp", "scan_attention", "scan_mlp", "scan_layers",
    "scan_query_chunk_size", "scan_key_chunk_size", "scan_mlp_chunk_size", "param_scan_axis", "mesh_dim",
    # transformers' own of every model.
    "transformers_version", "torch_dtype", "model_type", "architectures", "return_dict", "output_attentions",
    "output_hidden_states",
})  # fmt: skip
"""EasyLM's other settings (`LLaMAConfigurator` and `LLaMAConfig`, of 2023 and 2024), which change nothing here: whether
the embeddings are tied is seen in the arrays."""

_HINTED = ("n_heads", "n_kv_heads", "context", "norm_eps", "rope_theta")


@dataclass(frozen=True)
class Sizes:
    """Sizes of the decoder that follow from the shapes of the arrays."""

    vocab_size: int
    dim: int
    ffn_dim: int
    n_layers: int
    queries: int
    """Rows of wq: heads times their width."""
    keys: int
    """Rows of wk: key heads times their width."""


@dataclass(frozen=True)
class _Preset:
    name: str
    dim: int
    ffn_dim: int
    n_layers: int
    n_heads: int
    norm_eps: float = 1e-6
    context: int = 2048
    rope_theta: float = EASYLM_THETA
    vocab_size: int | None = None
    """None if the other sizes already identify the model."""
    twin: str = ""
    """A preset of the same sizes, and the values in which it differs."""


# EasyLM/models/llama/llama_model.py, LLaMAConfigurator.
_PRESETS = (
    _Preset("debug", 128, 256, 2, 4),
    _Preset("llama_1b", 2048, 5504, 22, 16),
    _Preset("llama_3b", 3200, 8640, 26, 32),
    _Preset("llama_7b", 4096, 11008, 32, 32, twin="llama2_7b has norm_eps = 1e-05 and context = 4096"),
    _Preset("llama_13b", 5120, 13824, 40, 40, twin="llama2_13b has norm_eps = 1e-05 and context = 4096"),
    _Preset("llama_30b", 6656, 17920, 60, 52),
    _Preset("llama_65b", 8192, 22016, 80, 64, 1e-5),
    _Preset("llama2_70b", 8192, 28672, 80, 64, 1e-5, 4096, vocab_size=32_000),
    _Preset("llama3_8b", 4096, 14336, 32, 32, 1e-5, 8192, 5e5, 128_256),
    _Preset("llama3_70b", 8192, 28672, 80, 64, 1e-5, 8192, 5e5, 128_256),
)
_DEFAULT = _Preset("", 0, 0, 0, 0)
"""EasyLM's defaults, where neither a preset nor the command line gives another value."""


def read_llama_config(path: Path) -> dict[str, Any]:
    """The values in `llama_config.json`, by our names; empty where there is no such file.

    Raises:
        FormatError: It is damaged.
    """
    if not os.path.lexists(path):
        return {}
    settings = read_json_object(path)
    found: dict[str, Any] = {}
    for theirs, value in settings.items():
        if value is None or theirs in _HARMLESS:
            continue
        if theirs not in _OURS:
            raise FormatError(
                f"{path}: has {theirs!r:.80} = {value!r:.80}, which EasyLM does not have, and which may change "
                "what the model computes",
                hint="if you know that it changes nothing, remove it from the file",
            )
        if found.setdefault(_OURS[theirs], value) != value:
            raise FormatError(f"{path}: says {_OURS[theirs]} twice, {found[_OURS[theirs]]!r:.80} and {value!r:.80}")
    return found


def llama_config(config: ModelConfig) -> dict[str, Any]:
    """The content of `llama_config.json` for this decoder."""
    return {theirs: getattr(config, ours) for theirs, ours in _OURS.items() if theirs != "max_sequence_length"}


def decoder_of(path: Path, sizes: Sizes, settings: Mapping[str, Any], hints: Hints) -> tuple[ModelConfig, list[str]]:
    """The decoder, and a sentence on each value that was assumed.

    Args:
        path: The checkpoint, for errors.
        sizes: What the arrays say.
        settings: What `llama_config.json` says, by our names.
        hints: What the user says.

    Raises:
        FormatError: They contradict each other, or the number of heads is not known.
    """
    for name in ("vocab_size", "dim", "ffn_dim", "n_layers"):
        if settings.get(name, getattr(sizes, name)) != getattr(sizes, name):
            raise FormatError(
                f"{path}: has {name} = {getattr(sizes, name)}, but {LLAMA_CONFIG} says {settings[name]!r}"
            )
    known: dict[str, Any] = {name: value for name in _HINTED if (value := getattr(hints, name)) is not None}
    known.update(settings)
    preset = _preset(sizes)
    notes: list[str] = []
    values = known | _heads(path, sizes, known, preset, notes)
    for name in ("norm_eps", "context", "rope_theta"):
        if name not in values:
            values[name] = getattr(preset or _DEFAULT, name)
            notes.append(f"{name} = {values[name]} is assumed: {_because(preset)}")
    if hints.rope_theta is None and values["rope_theta"] != EASYLM_THETA:
        notes.append(
            f"EasyLM's own code turns by {EASYLM_THETA} whatever its settings say: a model that was trained with it "
            f"needs rope_theta = {EASYLM_THETA}"
        )
    values |= {"vocab_size": sizes.vocab_size, "dim": sizes.dim, "ffn_dim": sizes.ffn_dim, "n_layers": sizes.n_layers}
    config = model_config(path, values)
    hints.refuse_other_values(path, config)
    return config, notes


def _heads(
    path: Path, sizes: Sizes, known: Mapping[str, Any], preset: _Preset | None, notes: list[str]
) -> dict[str, int]:
    """n_heads, n_kv_heads and head_dim: any one of them gives the others from the rows of wq and wk."""
    heads, kv_heads = known.get("n_heads"), known.get("n_kv_heads")
    for name, value in (("n_heads", heads), ("n_kv_heads", kv_heads)):
        if value is not None and (type(value) is not int or value < 1):
            raise FormatError(f"{path}: n_heads and n_kv_heads are whole numbers from 1, but {name} is {value!r}")
    if heads is None and kv_heads is None:
        if preset is None:
            raise FormatError(
                f"{path}: does not say how many heads it has, and the sizes (width {sizes.dim}, feed-forward "
                f"{sizes.ffn_dim}, {sizes.n_layers} layers) are none of EasyLM's presets",
                hint=f"give the number of query heads with --heads, such as {max(1, sizes.queries // 128)} for heads "
                "128 wide",
            )
        heads = preset.n_heads
        notes.append(f"n_heads = {heads} is assumed: {_because(preset)}")
    parts, rows = (heads, sizes.queries) if heads is not None else (kv_heads, sizes.keys)
    width, rest = divmod(rows, parts or 1)
    if rest or not width or sizes.queries % width or sizes.keys % width:
        raise FormatError(
            f"{path}: wq has {sizes.queries} rows and wk {sizes.keys}, which are not whole heads for "
            f"{'n_heads' if heads is not None else 'n_kv_heads'} = {parts}"
        )
    found = {"n_heads": sizes.queries // width, "n_kv_heads": sizes.keys // width, "head_dim": width}
    if kv_heads not in (None, found["n_kv_heads"]):
        raise FormatError(
            f"{path}: wk has {sizes.keys} rows, {found['n_kv_heads']} heads of {width}, but n_kv_heads = {kv_heads} "
            "was given"
        )
    return found


def _preset(sizes: Sizes) -> _Preset | None:
    """The preset of exactly these sizes, or None; a usual head width would be a guess."""
    for preset in _PRESETS:
        same = (preset.dim, preset.ffn_dim, preset.n_layers) == (sizes.dim, sizes.ffn_dim, sizes.n_layers)
        if same and preset.vocab_size in (None, sizes.vocab_size) and sizes.queries == sizes.dim:
            return preset
    return None


def _because(preset: _Preset | None) -> str:
    if preset is None:
        return "no EasyLM checkpoint says it, and EasyLM takes this by default"
    twin = f" ({preset.twin})" if preset.twin else ""
    return f"no EasyLM checkpoint says it, and EasyLM's preset of these sizes, {preset.name}, has it{twin}"

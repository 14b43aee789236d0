"""A decoder as Hugging Face's `config.json`, both ways.

It reads the fields of transformers 4 (`rope_theta`, `rope_scaling`) and 5 (`rope_parameters`); fields that early
versions did not write get transformers' defaults. It writes both, so that every reader finds its own.
"""

import math
from pathlib import Path
from typing import Any

from puna.config.model import ModelConfig, RopeScaling
from puna.core.errors import ExportError, FormatError
from puna.formats.checkpoint import Hints, model_config
from puna.formats.express import Feature, check_expressible
from puna.formats.hf.keys import check_keys

CONFIG = "config.json"

_MODEL_TYPES = {
    "llama": {"max_position_embeddings": 2048},
    "mistral": {"max_position_embeddings": 131_072, "num_key_value_heads": 8, "sliding_window": 4096},
}
"""The model types with LLaMA's decoder, and the defaults of transformers' classes for absent fields."""

_ARCHITECTURES = ("LlamaForCausalLM", "LLaMAForCausalLM", "MistralForCausalLM")
"""Names of the class; files from before transformers 4.28 have the second spelling."""

_SCALED = {
    "factor": "factor",
    "low_freq_factor": "low_freq_factor",
    "high_freq_factor": "high_freq_factor",
    "original_context": "original_max_position_embeddings",
}
"""Numbers of a rotary scaling: our name and Hugging Face's."""

_ROPE_KEYS = {"rope_type", "type", "rope_theta", "partial_rotary_factor", "attention_factor", *_SCALED.values()}
"""What a table of rotary parameters may say; those of YaRN and LongRoPE say more."""
_FACTORS_OF_ONE = ("partial_rotary_factor", "attention_factor")


def read_huggingface_config(path: Path, fields: dict[str, Any], hints: Hints) -> tuple[ModelConfig, list[str]]:
    """The decoder that a config.json describes, and a sentence on each value that was assumed.

    Args:
        path: The file, for errors.
        fields: Its content.
        hints: Values from the user, for what the file does not state. For a model with sliding attention, `context` may
            be less than the file's: up to the window, within which it is the same as a LLaMA decoder.

    Raises:
        FormatError: It is not the architecture of LLaMA, lacks a size, or contradicts itself or a hint.
    """
    defaults = _check_architecture(path, fields)
    notes: list[str] = []
    if "auto_map" in fields:
        notes.append(f"{CONFIG} names program code of its own for this model; it was not run")
    n_heads = _number(path, fields, "num_attention_heads")
    kv_heads = hints.n_kv_heads or defaults.get("num_key_value_heads", n_heads)
    context = _context(path, fields, hints, defaults, notes)
    values = {
        "dim": _number(path, fields, "hidden_size"),
        "n_layers": _number(path, fields, "num_hidden_layers"),
        "n_heads": n_heads,
        "n_kv_heads": _number(path, fields, "num_key_value_heads", kv_heads),
        "head_dim": _number(path, fields, "head_dim", 0),
        "ffn_dim": _number(path, fields, "intermediate_size"),
        "vocab_size": _number(path, fields, "vocab_size"),
        "context": context,
        "norm_eps": _assumed(path, fields, "rms_norm_eps", hints.norm_eps, 1e-6, notes),
        "rope_theta": _rope_theta(path, fields, hints, notes),
        "rope_scaling": _rope_scaling(path, fields, context),
        "tie_embeddings": fields.get("tie_word_embeddings") or False,
        "init_std": _number(path, fields, "initializer_range", 0.02) or 0.02,
    }
    config = model_config(path, values)
    hints.refuse_other_values(path, config)
    return config, notes


def _check_architecture(path: Path, fields: dict[str, Any]) -> dict[str, int]:
    """Refuse other architectures, naming the field; returns the defaults of this one."""
    architectures = fields.get("architectures") or []
    if not isinstance(architectures, list) or any(name not in _ARCHITECTURES for name in architectures):
        raise FormatError(
            f"{path}: architectures = {architectures!r:.200}, expected {' or '.join(_ARCHITECTURES[::2])}"
        )
    model_type = fields.get("model_type") or ("mistral" if "MistralForCausalLM" in architectures else "llama")
    if not isinstance(model_type, str) or model_type not in _MODEL_TYPES:
        raise FormatError(f"{path}: model_type = {model_type!r:.80}, expected one of {', '.join(_MODEL_TYPES)}")
    check_keys(path, fields)
    return _MODEL_TYPES[model_type]


def _context(
    path: Path, fields: dict[str, Any], hints: Hints, defaults: dict[str, int], notes: list[str]
) -> int | float:
    """The context of the model, not more than the window of sliding attention."""
    name = "max_position_embeddings"
    if fields.get(name) is None and fields.get("max_sequence_length") is not None:
        name = "max_sequence_length"  # its name in files from before transformers 4.28
    context = _assumed(path, fields, name, hints.context, defaults["max_position_embeddings"], notes)
    if "sliding_window" not in defaults:
        if fields.get("sliding_window") is not None:
            notes.append(f"sliding_window = {fields['sliding_window']!r:.80} is passed over, as LlamaForCausalLM does")
        return context
    window = fields.get("sliding_window", defaults["sliding_window"])
    if window is None:
        return context
    window = _number(path, {"sliding_window": window}, "sliding_window")
    if window >= context:
        notes.append(f"sliding_window = {window:g} is not less than the context, {context:g}, so it changes nothing")
        return context
    if hints.context is None or hints.context > window:
        raise FormatError(
            f"{path}: sliding_window = {window:g} is less than {name} = {context:g}, and a LLaMA decoder sees all of "
            "its context",
            hint=f"--context {window:g} takes the model up to there, where both are the same",
        )
    notes.append(f"the context is {hints.context}, as asked; {name} = {context:g}, sliding_window = {window:g}")
    return hints.context


def _assumed(
    path: Path, fields: dict[str, Any], name: str, hint: float | None, default: float, notes: list[str]
) -> int | float:
    """A field's number; if it is absent the hint, else transformers' default with a note."""
    if fields.get(name) is None and hint is None:
        notes.append(f"{CONFIG} has no {name}; {default:g} is assumed, as transformers does")
    return _number(path, fields, name, default if hint is None else hint)


def _rope_theta(path: Path, fields: dict[str, Any], hints: Hints, notes: list[str]) -> int | float:
    said = {
        f"{part}.rope_theta": table["rope_theta"]
        for part, table in _rope_tables(path, fields).items()
        if table.get("rope_theta") is not None
    }
    if fields.get("rope_theta") is not None:
        said["rope_theta"] = fields["rope_theta"]
    values = [_number(path, said, name) for name in said]
    for (name, _), value in zip(said.items(), values, strict=True):
        if value != values[0]:
            raise FormatError(f"{path}: {next(iter(said))} = {values[0]:g}, but {name} = {value:g}")
    return values[0] if values else _assumed(path, {}, "rope_theta", hints.rope_theta, 10_000.0, notes)


def _rope_scaling(path: Path, fields: dict[str, Any], context: float) -> dict[str, Any] | None:
    """The scaling of the rotary frequencies as `RopeScaling` has it, None where there is none."""
    said = {part: _one_scaling(path, part, table, context) for part, table in _rope_tables(path, fields).items()}
    original = fields.get("original_max_position_embeddings")
    for scaling in said.values():
        if original is not None and scaling is not None and scaling.get("original_context", original) != original:
            raise FormatError(
                f"{path}: original_max_position_embeddings = {original!r:.80}, but the rotary scaling has "
                f"{scaling['original_context']}"
            )
    if len(said) == 2 and said["rope_parameters"] != said["rope_scaling"]:
        raise FormatError(
            f"{path}: rope_parameters = {fields['rope_parameters']!r:.200} and rope_scaling = "
            f"{fields['rope_scaling']!r:.200} do not say the same"
        )
    return next(iter(said.values()), None)


def _rope_tables(path: Path, fields: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The tables of rotary parameters that the file has, transformers 5's and 4's."""
    tables = {}
    for part in ("rope_parameters", "rope_scaling"):
        table = fields.get(part)
        if not isinstance(table, dict | None) or any(isinstance(value, dict) for value in (table or {}).values()):
            raise FormatError(f"{path}: {part} = {table!r:.200}, expected one table for all layers")
        if table:
            tables[part] = table
    return tables


def _one_scaling(path: Path, part: str, table: dict[str, Any], context: float) -> dict[str, Any] | None:
    kinds = [table[key] for key in ("rope_type", "type") if table.get(key) is not None]
    if len(kinds) == 2 and kinds[0] != kinds[1]:
        raise FormatError(f"{path}: {part} has rope_type = {kinds[0]!r:.80}, but type = {kinds[1]!r:.80}")
    kind = kinds[0] if kinds else "default"
    if kind not in ("default", "linear", "llama3"):
        raise FormatError(f"{path}: {part}.rope_type = {kind!r:.80}, expected default, linear or llama3")
    for name in _FACTORS_OF_ONE if kind != "default" else (*_FACTORS_OF_ONE, "factor"):
        if table.get(name) not in (None, 1):
            raise FormatError(f"{path}: {part}.{name} = {table[name]!r:.80}, and a LLaMA decoder has 1 for {kind!r}")
    for name, value in table.items():
        if name not in _ROPE_KEYS and value is not None:
            raise FormatError(f"{path}: {part}.{name} = {value!r:.80}, which LLaMA's rotary scaling does not have")
    if kind == "default":
        return None
    names = _SCALED if kind == "llama3" else {"factor": "factor"}
    said = {"original_max_position_embeddings": context} | {k: v for k, v in table.items() if v is not None}
    scaling = {ours: _number(path, said, theirs, part=part) for ours, theirs in names.items()}
    return None if scaling["factor"] == 1 else {"kind": kind} | scaling


def _number(
    path: Path, fields: dict[str, Any], name: str, default: float | None = None, *, part: str = ""
) -> int | float:
    value = fields.get(name)
    where = f"{part}.{name}" if part else name
    if value is None and default is None:
        raise FormatError(f"{path}: has no {where}")
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FormatError(f"{path}: {where} = {value!r:.80}, expected a number")
    if isinstance(value, int) and abs(value) >= 2**63:
        raise FormatError(f"{path}: {where} = {value!r:.80}, expected a number of less than 64 bits")
    if not math.isfinite(value):
        raise FormatError(f"{path}: {where} = {value!r}, expected a finite number")
    return value


def check_huggingface(config: ModelConfig) -> None:
    """Refuse a decoder that transformers' LlamaForCausalLM does not compute.

    Raises:
        ExportError: It does not.
    """
    form = "Hugging Face's LlamaForCausalLM"
    can: set[Feature] = {"linear scaling", "llama3 scaling", "head_dim", "tie_embeddings", "n_kv_heads"}
    check_expressible(config, form, can)
    if config.dim % config.n_heads:
        raise ExportError(
            f"the model has dim = {config.dim}, which is not a multiple of n_heads = {config.n_heads}, and {form} "
            "refuses that even where head_dim is given"
        )


def huggingface_config(
    config: ModelConfig, dtype: str, bos_id: int | None, eos_id: int | list[int] | None
) -> dict[str, Any]:
    """The content of config.json, for transformers 5 (`rope_parameters`, `dtype`) and for older readers.

    Args:
        config: The decoder.
        dtype: The dtype in which transformers loads the weights: float32, bfloat16 or float16.
        bos_id: The tokenizer's beginning of sequence; None where there is no tokenizer.
        eos_id: Its end of sequence, or a list where it has several.
    """
    scaling = _scaling_fields(config.rope_scaling)
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocab_size,
        "hidden_size": config.dim,
        "intermediate_size": config.ffn_dim,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_kv_heads,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": config.context,
        "initializer_range": config.init_std,
        "rms_norm_eps": config.norm_eps,
        "rope_parameters": {"rope_theta": config.rope_theta, **(scaling or {"rope_type": "default"})},
        "rope_theta": config.rope_theta,
        "rope_scaling": scaling,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "mlp_bias": False,
        "tie_word_embeddings": config.tie_embeddings,
        "bos_token_id": bos_id,
        "eos_token_id": eos_id,
        "pad_token_id": None,
        "dtype": dtype,
        "torch_dtype": dtype,
        "use_cache": True,
    }


def _scaling_fields(scaling: RopeScaling | None) -> dict[str, Any] | None:
    if scaling is None:
        return None
    names = _SCALED if scaling.kind == "llama3" else {"factor": "factor"}
    return {"rope_type": scaling.kind} | {theirs: getattr(scaling, ours) for ours, theirs in names.items()}

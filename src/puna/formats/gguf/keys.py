"""The decoder in the metadata of a GGUF file: keys `llama.*`, and Llama 3.1's rotary scaling as a tensor of factors.

GGUF keeps floats as float32; they are read as the shortest decimal number of that float32, so 1e-6 comes back as 1e-6.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from puna.config.model import ModelConfig, RopeScaling
from puna.core.errors import FormatError
from puna.core.units import format_count
from puna.formats.checkpoint import Hints, model_config
from puna.formats.gguf.file_types import FILE_TYPES
from puna.model.llama import rope_frequencies
from puna.plan.count import parameters

ARCHITECTURE = "llama"
_PREFIX = f"{ARCHITECTURE}."
FREQUENCIES = "rope_freqs.weight"
"""The tensor of factors; llama.cpp divides the rotary frequencies of a head's pairs by them."""

CHAT_TEMPLATE, MARKED_TEMPLATE = "tokenizer.chat_template", "puna.chat_template"
"""The model's chat template, and the same with blocks that say what tuning learns, where it has them."""

_SCALING = "puna.rope_scaling"
"""Our key: the scaling behind the tensor of factors, as JSON; GGUF has no keys for it."""

_READ = frozenset({
    "vocab_size", "context_length", "embedding_length", "block_count", "feed_forward_length", "attention.head_count",
    "attention.head_count_kv", "attention.key_length", "attention.value_length", "attention.layer_norm_rms_epsilon",
    "rope.dimension_count", "rope.freq_base", "rope.scaling.type", "rope.scaling.factor", "rope.scale_linear",
})  # fmt: skip
"""What is read, after `llama.`."""

_HARMLESS = frozenset({
    "rope.scaling.original_context_length", "rope.scaling.finetuned", "tensor_data_layout",
    "attention.layer_norm_epsilon", "expert_used_count", "expert_feed_forward_length", "pooling_type",
})  # fmt: skip
"""What changes no logit: of YaRN's scaling, of experts that are not there, of the epsilon that LLaMA's norm does not
use, of how a text's embedding is made, and the layout that converters of 2023 noted and llama.cpp does not read."""

_AS_LLAMA: dict[str, float] = {
    "attention.causal": 1, "rope.scaling.attn_factor": 1, "expert_count": 0, "expert_shared_count": 0,
    "attention.scale": 0, "attention.clamp_kqv": 0, "attention.max_alibi_bias": 0,
    "use_parallel_residual": 0,
    "attn_logit_softcapping": 0, "final_logit_softcapping": 0, "leading_dense_block_count": 0,
    "nextn_predict_layers": 0,
}  # fmt: skip
"""Keys with LLaMA's values; llama.cpp takes a scale of 0 for none. `attn_factor` multiplies the angles' cosines and
sines, with every kind of scaling."""

_FACTORS = frozenset({"logit_scale", "residual_scale", "embedding_scale"})
"""Factors of a whole tensor: 1 changes nothing, and llama.cpp takes 0 for none."""
_WINDOW = "attention.sliding_window"
"""How many tokens each sees, itself included; 0 for all, and as many as the context is changes nothing."""

_CONTEXT = 2048
_THETA = 10_000.0


def metadata_of(config: ModelConfig, file_type: str, name: str | None) -> dict[str, Any]:
    """The keys that describe the decoder: integers are written as uint32, floats as float32."""
    values: dict[str, Any] = {
        "general.architecture": ARCHITECTURE,
        "general.type": "model",
        "general.size_label": format_count(parameters(config).total),
        "general.file_type": FILE_TYPES[file_type].number,
        "general.quantization_version": 2,
        f"{_PREFIX}vocab_size": config.vocab_size,
        f"{_PREFIX}context_length": config.context,
        f"{_PREFIX}embedding_length": config.dim,
        f"{_PREFIX}block_count": config.n_layers,
        f"{_PREFIX}feed_forward_length": config.ffn_dim,
        f"{_PREFIX}attention.head_count": config.n_heads,
        f"{_PREFIX}attention.head_count_kv": config.n_kv_heads,
        f"{_PREFIX}attention.key_length": config.head_dim,
        f"{_PREFIX}attention.value_length": config.head_dim,
        f"{_PREFIX}attention.layer_norm_rms_epsilon": config.norm_eps,
        f"{_PREFIX}rope.dimension_count": config.head_dim,
        f"{_PREFIX}rope.freq_base": config.rope_theta,
    }
    if name is not None:
        values["general.name"] = name
    if (scaling := config.rope_scaling) is not None:
        if scaling.kind == "linear":
            values |= {f"{_PREFIX}rope.scaling.type": "linear", f"{_PREFIX}rope.scaling.factor": scaling.factor}
        else:
            values[_SCALING] = scaling.model_dump_json()
    return values


def frequency_factors(config: ModelConfig) -> Tensor | None:
    """How many times slower each pair of a head turns because of scaling, (H/2) in float32; None without scaling."""
    if config.rope_scaling is None or config.rope_scaling.kind == "linear":
        return None
    plain = rope_frequencies(config.head_dim, config.rope_theta)
    return plain / rope_frequencies(config.head_dim, config.rope_theta, config.rope_scaling)


class Keys:
    """The keys `llama.*`, read one by one with the type that is expected.

    Args:
        path: The file.
        metadata: All its keys.
    """

    def __init__(self, path: Path, metadata: dict[str, Any]) -> None:
        self.path = path
        self._metadata = metadata

    def get(self, key: str, kinds: tuple[type, ...], expected: str) -> Any:
        """A value, or None where there is none.

        Raises:
            FormatError: It is of another type; `expected` names the right one.
        """
        value = self._metadata.get(_PREFIX + key)
        if value is not None and (not isinstance(value, kinds) or isinstance(value, bool)):
            raise self.error(key, f"is {value!s:.80}, expected {expected}")
        return value

    def count(self, key: str) -> int | None:
        """A number that is the same for all layers, or None; files may give one for each layer.

        Raises:
            FormatError: It is not a number, or differs from layer to layer.
        """
        value = self.get(key, (int, list), "a whole number")
        if not isinstance(value, list):
            return value
        if len(set(map(repr, value))) != 1 or type(value[0]) is not int:
            raise self.error(key, "differs between layers, which a LLaMA decoder cannot express")
        return value[0]

    def needed(self, key: str) -> int:
        """A number that must be there.

        Raises:
            FormatError: It is missing.
        """
        value = self.count(key)
        if value is None:
            raise self.error(key, "is missing")
        return value

    def number(self, key: str) -> float | None:
        """A float as the shortest decimal number that gives it, or None.

        Raises:
            FormatError: It is not a number, or not finite.
        """
        value = self.get(key, (int, float), "a number")
        if value is None:
            return None
        with np.errstate(over="ignore"):
            number = float(str(np.float32(value)))
        if not math.isfinite(number):
            raise self.error(key, f"is {value}, expected a number")
        return number

    def check_known(self) -> None:
        """Refuse keys that may make another decoder than LLaMA of the file.

        A list of forbidden keys never has the next one, so what is in none of the lists above is refused.

        Raises:
            FormatError: There is such a key, or the file is an adapter or something else that is not a whole model.
        """
        if (kind := self._metadata.get("general.type", "model")) != "model":
            raise FormatError(f"{self.path}: general.type is {kind!r:.80}, and Puna reads a 'model'")
        for full in self._metadata:
            key = full.removeprefix(_PREFIX)
            if key == full or key in _READ or key in _HARMLESS:
                continue
            if key not in _AS_LLAMA and key not in _FACTORS and key != _WINDOW:
                raise FormatError(
                    f"{self.path}: has the key {full!r:.80}, which Puna does not know, and which may change what the "
                    "model computes",
                    hint="if you know that it changes nothing, the package gguf takes it out: gguf-new-metadata "
                    f"--remove-metadata {full:.80} {self.path} OUT.gguf",
                )
            value = self._metadata[full]
            if not isinstance(value, int | float) or not self._as_llama(key, value):
                raise self.error(key, f"is {value!r:.80}, which a LLaMA decoder does not have")

    def _as_llama(self, key: str, value: float) -> bool:
        """Whether a LLaMA decoder has this value."""
        if key == _WINDOW:
            return value == 0 or value >= (self.count("context_length") or _CONTEXT)
        return value in (0, 1) if key in _FACTORS else value == _AS_LLAMA[key]

    def error(self, key: str, what: str, hint: str = "") -> FormatError:
        """An error that says what is wrong with a key."""
        return FormatError(f"{self.path}: {_PREFIX}{key} {what}", hint=hint)


def config_of(
    path: Path, metadata: dict[str, Any], *, vocab_size: int, tied: bool, factors: Tensor | None, hints: Hints
) -> tuple[ModelConfig, list[str]]:
    """The decoder that a file's metadata describe, and a note for each value that was assumed.

    Args:
        path: The file.
        metadata: All its keys.
        vocab_size: Rows of the embedding.
        tied: Whether the file has no output layer.
        factors: The tensor of frequency factors, if there is one.
        hints: Values from the user, for what the file does not state.

    Raises:
        FormatError: A key is missing, not a number, or of a decoder that is not a LLaMA.
    """
    keys, notes = Keys(path, metadata), list[str]()
    keys.check_known()

    def assumed(key: str, found: float | None, hint: float | None, default: float) -> Any:
        if found is None and hint is None:
            notes.append(f"{path.name} does not say {_PREFIX}{key}; {default:g} is assumed")
        return next(value for value in (found, hint, default) if value is not None)

    n_heads, n_kv_heads = keys.needed("attention.head_count"), keys.count("attention.head_count_kv")
    eps = keys.number("attention.layer_norm_rms_epsilon")
    if eps is None and hints.norm_eps is None:
        raise keys.error("attention.layer_norm_rms_epsilon", "is missing", hint="pass --norm-eps")
    values = {
        "dim": keys.needed("embedding_length"),
        "n_layers": keys.needed("block_count"),
        "n_heads": n_heads,
        "n_kv_heads": n_heads if n_kv_heads is None else n_kv_heads,
        "head_dim": keys.count("attention.key_length") or 0,
        "ffn_dim": keys.needed("feed_forward_length"),
        "vocab_size": vocab_size,
        "rope_theta": assumed("rope.freq_base", keys.number("rope.freq_base"), hints.rope_theta, _THETA),
        "context": assumed("context_length", keys.count("context_length"), hints.context, _CONTEXT),
        "norm_eps": hints.norm_eps if eps is None else eps,
        "tie_embeddings": tied,
        "rope_scaling": _linear(keys),
    }
    config = model_config(path, values)
    for key in ("attention.value_length", "rope.dimension_count"):
        if (other := keys.count(key)) not in (None, config.head_dim):
            raise keys.error(key, f"is {other}, but the heads are {config.head_dim} wide")
    if factors is not None:
        scaling = _llama3(path, metadata.get(_SCALING), config, factors.float())
        config = model_config(path, values | {"rope_scaling": scaling})
    hints.refuse_other_values(path, config)
    return config, notes


def _linear(keys: Keys) -> dict[str, Any] | None:
    """The linear scaling in the keys, if any."""
    kind = keys.get("rope.scaling.type", (str,), "a string")
    factor = keys.number("rope.scaling.factor") or keys.number("rope.scale_linear")
    if kind not in (None, "none", "linear"):
        raise keys.error("rope.scaling.type", f"is {kind!r:.80}, expected 'none' or 'linear'")
    return None if kind == "none" or factor in (None, 1.0) else {"kind": "linear", "factor": factor}


def _llama3(path: Path, said: Any, config: ModelConfig, factors: Tensor) -> dict[str, Any] | None:
    """The scaling of Llama 3.1's kind that makes these factors; `said` is the value of our key, if there is one.

    Raises:
        FormatError: No known scaling makes them: neither that of our key nor one with the released models' constants.
    """
    if factors.shape != (config.head_dim // 2,):
        raise FormatError(
            f"{path}: {FREQUENCIES} is {list(factors.shape)}, but a head has {config.head_dim // 2} pairs"
        )
    if said is None and torch.equal(factors, torch.ones_like(factors)):
        return None
    refused = FormatError(f"{path}: the factors of {FREQUENCIES} are not those of a rotary scaling of Llama 3.1's kind")
    try:
        if said is None:
            scaling = RopeScaling(kind="llama3", factor=float(str(np.float32(factors.max().item()))))
        else:
            scaling = RopeScaling.model_validate_json(said)
    except ValidationError:
        raise refused from None
    expected = frequency_factors(config.model_copy(update={"rope_scaling": scaling}))
    if config.rope_scaling is not None or expected is None or not torch.allclose(expected, factors, rtol=1e-5, atol=0):
        raise refused
    return scaling.model_dump()

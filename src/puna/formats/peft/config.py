"""`adapter_config.json`: what it says of the scales, and what Puna cannot compute, refused by name.

The tensors themselves say which layers have an update. A key that is neither read here nor known to
change nothing may change what the adapter computes, and is refused, unless it is empty or false.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from puna.core.errors import FormatError
from puna.formats.containers.json_object import read_json_object

CONFIG = "adapter_config.json"

_HARMLESS = frozenset({
    "task_type", "auto_mapping", "peft_version", "revision", "inference_mode", "target_modules", "exclude_modules",
    "lora_dropout", "modules_to_save", "layers_to_transform", "layers_pattern", "megatron_core", "qalora_group_size",
    "runtime_config", "eva_config", "corda_config", "lora_ga_config", "monteclora_config",
    "ensure_weight_tying",
})  # fmt: skip
"""Keys about training and about where the tensors lie, which the tensors themselves say."""
_READ = frozenset({
    "peft_type", "base_model_name_or_path", "r", "rank_pattern", "lora_alpha", "alpha_pattern", "use_rslora",
    "use_dora", "bias", "init_lora_weights",
})  # fmt: skip
_CHANGES_THE_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Ways to draw the first A and B that take something off the base's weights, so that the adapter alone is not enough.
PEFT converts such an adapter when it is saved with `path_initial_model_for_weight_conversion`."""
_LITERAL = re.compile(r"\^?[A-Za-z0-9_.]+\$?")
"""A key of a pattern that names a layer, or the end of its name where no ^ is before it."""
_LARGEST = 1e30
"""Of alpha: nothing of use is near it, and float32 ends at 3e38."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the file says."""

    base: str
    """The model that the adapter was trained on; empty where it is not said."""
    rank: int | None
    """Of all layers; None where it is not said, or some have another."""
    alpha: float
    alphas: Mapping[str, float]
    """Other values of alpha, by the end of a layer's name in transformers, or by ^ and all of it."""
    rank_stabilised: bool
    dora: bool

    def scale(self, module: str, rank: int) -> float:
        """What the product of B and A of a layer is multiplied by."""
        ends = (end for end in self.alphas if module == end.removeprefix("^") or module.endswith(f".{end}"))
        alpha = self.alphas[end] if (end := next(ends, None)) is not None else self.alpha
        return alpha / (math.sqrt(rank) if self.rank_stabilised else rank)


def read_settings(directory: Path) -> Settings:
    """The settings of an adapter.

    Raises:
        FormatError: The file cannot be read, is damaged, or says something that Puna does not compute.
    """
    file = directory / CONFIG
    found = read_json_object(file)
    if (kind := found.get("peft_type")) != "LORA":
        raise FormatError(f"{file}: peft_type is {kind!r:.40}, and Puna knows adapters of LORA only")
    if found.get("bias", "none") != "none":
        raise FormatError(f"{file}: bias = {found['bias']!r:.40}, but LLaMA's layers have no biases to train")
    initial = found.get("init_lora_weights", True)
    if isinstance(initial, str) and initial.lower().startswith(_CHANGES_THE_BASE):
        raise FormatError(
            f"{file}: init_lora_weights = {initial!r:.40} took a part off the base's weights, which this adapter "
            "does not hold",
            hint="save it with PEFT's path_initial_model_for_weight_conversion, which makes a plain one of it",
        )
    for key in sorted(found.keys() - _HARMLESS - _READ):
        if found[key]:
            raise FormatError(f"{file}: {key} = {found[key]!r:.80}, which Puna's adapters do not have")
    base = found.get("base_model_name_or_path")
    return Settings(
        base=base if isinstance(base, str) else "",
        rank=None if found.get("rank_pattern") else _rank(file, found.get("r")),
        alpha=_number(file, "lora_alpha", found.get("lora_alpha", 8)),
        alphas=_pattern(file, found.get("alpha_pattern") or {}),
        rank_stabilised=_flag(file, found, "use_rslora"),
        dora=_flag(file, found, "use_dora"),
    )


def _flag(file: Path, found: Mapping[str, Any], key: str) -> bool:
    value = found.get(key) or False
    if not isinstance(value, bool):
        raise FormatError(f"{file}: {key} is {value!r:.40}, expected true or false")
    return value


def _rank(file: Path, value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise FormatError(f"{file}: r is {value!r:.40}, expected a whole number from 1 on")
    return value


def _number(file: Path, key: str, value: Any) -> float:
    # What is not a number is not below any either.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LARGEST:
        raise FormatError(f"{file}: {key} is {value!r:.40}, expected a number")
    return float(value)


def _pattern(file: Path, pattern: Any) -> dict[str, float]:
    """The values by the ends of layers' names; PEFT takes regular expressions, of which these are the plain ones."""
    if not isinstance(pattern, dict):
        raise FormatError(f"{file}: alpha_pattern is not a table")
    values = {}
    for key, value in pattern.items():
        plain = key.replace("\\.", ".")
        if not _LITERAL.fullmatch(plain):
            raise FormatError(
                f"{file}: alpha_pattern has {key!r:.80}, a regular expression; Puna reads names of layers"
            )
        values[plain.removesuffix("$")] = _number(file, f"alpha_pattern.{key:.80}", value)
    return values

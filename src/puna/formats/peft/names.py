"""The tensors' names in `adapter_model.safetensors`, and the parts of an adapter that they are of.

PEFT writes `base_model.model.` before a name of transformers' LlamaForCausalLM, and behind that of a linear layer which
tensor of its update this is: `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight`.
"""

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from puna.formats.table import our_name, their_name

PREFIX = "base_model.model."

Role: TypeAlias = Literal["a", "b", "magnitude", "whole"]
"""What a tensor is: A, B or the magnitudes of a layer's update, or a parameter in place of the model's."""

_ENDINGS: dict[str, Role] = {
    ".lora_A.weight": "a", ".lora_B.weight": "b", ".lora_magnitude_vector": "magnitude",
    ".lora_magnitude_vector.weight": "magnitude",
}  # fmt: skip
"""The last one is of PEFT before 0.12."""
_LINEAR = re.compile(r"layers\.\d+\.(attention\.w[qkvo]|feed_forward\.w[123])")


@dataclass(frozen=True)
class Place:
    """Where a tensor belongs in an adapter."""

    role: Role
    name: str
    """Our name of the linear layer; of the parameter where it is whole."""


def place_of(key: str) -> Place | None:
    """Where the tensor of this name belongs; None where an adapter of Puna has no such part."""
    if not key.startswith(PREFIX):
        return None
    name = key.removeprefix(PREFIX)
    for ending, role in _ENDINGS.items():
        if name.endswith(ending):
            weight = our_name(name.removesuffix(ending) + ".weight")
            layer = None if weight is None else weight.removesuffix(".weight")
            return Place(role, layer) if layer is not None and _LINEAR.fullmatch(layer) else None
    whole = our_name(name)
    return None if whole is None else Place("whole", whole)


def key_of(place: Place) -> str:
    """The name of a tensor in PEFT's files; the inverse of `place_of`."""
    if place.role == "whole":
        return PREFIX + their_name(place.name)
    ending = next(ending for ending, role in _ENDINGS.items() if role == place.role)
    return PREFIX + module_of(place.name) + ending


def module_of(layer: str) -> str:
    """Transformers' name of a linear layer: `model.layers.0.self_attn.q_proj` of `layers.0.attention.wq`."""
    return their_name(f"{layer}.weight").removesuffix(".weight")

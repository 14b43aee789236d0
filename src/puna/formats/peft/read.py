"""Reads an adapter that PEFT, or Puna, has written."""

import contextlib
import os
from collections import defaultdict
from pathlib import Path

import torch
from torch import Tensor

from puna.core.errors import FormatError
from puna.core.files import sha256_file
from puna.core.records import read_record
from puna.formats.containers.safetensors import ShardedSafetensors
from puna.formats.peft.config import CONFIG, Settings, read_settings
from puna.formats.peft.names import Role, module_of, place_of
from puna.model.adapter import Adapter, LowRank

WEIGHTS, RECORD = "adapter_model.safetensors", "record.json"


def is_adapter(path: Path) -> bool:
    """Whether `path` is the directory of an adapter; cheap, never raises."""
    with contextlib.suppress(OSError):
        return (path / CONFIG).is_file()
    return False


def read_adapter(path: Path) -> Adapter:
    """The adapter in a directory of PEFT's; tensors keep their dtypes.

    Whether it fits a decoder, `Adapter.check` says.

    Raises:
        FormatError: The files are missing or damaged, do not belong together, or hold something that Puna does not
            compute: another method, LoRA of embeddings or of the output layer, biases, what is not a number.
    """
    if not is_adapter(path):
        raise FormatError(f"{path}: is not an adapter, it has no {CONFIG}")
    settings = read_settings(path)
    if not (path / WEIGHTS).is_file():
        old = (
            "; adapter_model.bin is a pickle, which may run any code" if (path / "adapter_model.bin").is_file() else ""
        )
        raise FormatError(f"{path}: has no {WEIGHTS}{old}", hint="save it again with PEFT, which writes safetensors")
    parts: dict[str, dict[Role, Tensor]] = defaultdict(dict)
    whole: dict[str, Tensor] = {}
    file = ShardedSafetensors(path / WEIGHTS)
    for key in file.names:
        place = place_of(key)
        if place is None:
            raise FormatError(f"{path / WEIGHTS}: has {key}, which an adapter of Puna has no place for")
        tensor = file.tensor(key)
        if not torch.isfinite(tensor).all():
            raise FormatError(f"{path / WEIGHTS}: {key} has numbers that are not finite")
        if place.role == "whole":
            whole[place.name] = tensor
        elif place.role in parts[place.name]:
            raise FormatError(f"{path / WEIGHTS}: has {key} under another name, too")
        else:
            parts[place.name][place.role] = tensor
    if not parts and not whole:
        raise FormatError(f"{path / WEIGHTS}: holds no tensor")
    updates = {layer: _update(path / WEIGHTS, layer, found, settings) for layer, found in parts.items()}
    return Adapter(updates=updates, whole=whole, base=_seen_from_here(path, settings.base), base_sha256=_recorded(path))


def _update(file: Path, layer: str, parts: dict[Role, Tensor], settings: Settings) -> LowRank:
    """The update of a layer, whose tensors must fit each other."""
    module = module_of(layer)
    if not {"a", "b"} <= parts.keys():
        raise FormatError(f"{file}: {module} has only one of lora_A and lora_B")
    a_RI, b_OR, magnitude_O = parts["a"], parts["b"], parts.get("magnitude")
    if settings.dora != (magnitude_O is not None):
        has = "has no" if settings.dora else "has a"
        raise FormatError(f"{file}: {module} {has} lora_magnitude_vector, but use_dora is {str(settings.dora).lower()}")
    shapes = [list(tensor.shape) for tensor in parts.values()]
    fits = a_RI.ndim == b_OR.ndim == 2 and a_RI.shape[0] == b_OR.shape[1] > 0
    if not fits or (magnitude_O is not None and magnitude_O.shape != b_OR.shape[:1]):
        raise FormatError(f"{file}: the tensors of {module} do not fit each other: {shapes!r:.120}")
    if settings.rank not in (None, a_RI.shape[0]):
        raise FormatError(
            f"{file}: {module} has rank {a_RI.shape[0]}, but {CONFIG} says r = {settings.rank}",
            hint="the two files are not of one adapter",
        )
    return LowRank(a_RI=a_RI, b_OR=b_OR, scale=settings.scale(module, a_RI.shape[0]), magnitude_O=magnitude_O)


def _seen_from_here(path: Path, base: str) -> str:
    """The path of the base where it is relative to the adapter, as Puna writes it; all else as it is."""
    place = os.path.normpath(os.path.join(path, base))
    there = base.startswith(("./", "../")) and (os.path.exists(place) or os.path.exists(place.rpartition("@")[0]))
    return place if there else base


def _recorded(path: Path) -> str:
    """The hash of the base's weights in Puna's own record of an adapter, whose files are checked against it."""
    record = read_record(path / RECORD)
    if record is None or record["stage"] != "adapter":
        return ""
    for name in (CONFIG, WEIGHTS):
        if record["outputs"].get(name) != sha256_file(path / name):
            raise FormatError(f"{path / name}: is damaged, its SHA-256 is not the one written with it")
    base = record["inputs"].get("base", "")
    return base if isinstance(base, str) else ""

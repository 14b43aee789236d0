"""Writes an adapter as PEFT does, so that `PeftModel.from_pretrained` loads it upon the base in transformers' form."""

import dataclasses
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import Tensor

from puna.core.files import atomic_directory, sha256_file, write_json
from puna.core.records import Record
from puna.formats.peft.config import CONFIG
from puna.formats.peft.names import Place, key_of, module_of
from puna.formats.peft.read import RECORD, WEIGHTS
from puna.model.adapter import Adapter
from puna.model.safetensors import write_safetensors

_EMBEDDING, _OUTPUT = "tok_embeddings.weight", "output.weight"


def write_adapter(
    adapter: Adapter, directory: Path, *, layers: int | None = None, dropout: float = 0.0, tied: bool = False,
    replace: bool = False,
) -> dict[str, str]:  # fmt: skip
    """Write the adapter's two files, and a record with the hash of its base.

    Args:
        adapter: All its updates have magnitudes, or none has.
        directory: What to make; its content appears when it is complete.
        layers: Blocks of the base, where it is known: layers are then named by the ends of their names if all blocks
            have the same, as most files of PEFT do.
        dropout: `lora_dropout`, which PEFT takes up where training goes on.
        tied: Whether the base's output layer is its embedding. Where that was trained whole, both are written: PEFT
            leaves the output layer as it was.
        replace: Whether a directory that is there is replaced.

    Returns:
        SHA-256 of the files by name.

    Raises:
        StorageError: `directory` is there and `replace` is false, or the disk is full.
    """
    if tied and _EMBEDDING in adapter.whole:
        adapter = dataclasses.replace(adapter, whole={_OUTPUT: adapter.whole[_EMBEDDING]} | adapter.whole)
    record = Record("adapter", config=_settings(adapter, layers, dropout), inputs={"base": adapter.base_sha256})
    tensors = _tensors(adapter)
    with atomic_directory(directory, replace=replace) as temporary:
        write_json(temporary / CONFIG, record.config)
        write_safetensors(temporary / WEIGHTS, tensors, lambda key: tensors[key])
        record.outputs = {name: sha256_file(temporary / name) for name in (CONFIG, WEIGHTS)}
        record.write(temporary / RECORD)
    return record.outputs


def _tensors(adapter: Adapter) -> dict[str, Tensor]:
    """The adapter's tensors by PEFT's names."""
    found: dict[str, Tensor] = {}
    for layer, update in adapter.updates.items():
        found[key_of(Place("a", layer))] = update.a_RI
        found[key_of(Place("b", layer))] = update.b_OR
        if update.magnitude_O is not None:
            found[key_of(Place("magnitude", layer))] = update.magnitude_O
    return found | {key_of(Place("whole", name)): tensor for name, tensor in adapter.whole.items()}


def _settings(adapter: Adapter, layers: int | None, dropout: float) -> dict[str, Any]:
    """The keys of adapter_config.json. Rank-stabilised scales are written as plain ones, which they are numbers of."""
    modules = {module_of(layer): update for layer, update in adapter.updates.items()}
    ranks = {module: update.rank for module, update in modules.items()}
    alphas = {module: update.scale * update.rank for module, update in modules.items()}
    rank, alpha = _commonest(ranks, 8), _commonest(alphas, 8.0)
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": adapter.base or None,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": int(alpha) if float(alpha).is_integer() else alpha,
        "lora_dropout": dropout,
        "target_modules": _targets(modules, layers),
        "modules_to_save": sorted({module_of(name.removesuffix(".weight")) for name in adapter.whole}) or None,
        "rank_pattern": {_exactly(module): value for module, value in ranks.items() if value != rank},
        "alpha_pattern": {_exactly(module): value for module, value in alphas.items() if value != alpha},
        "use_dora": any(update.magnitude_O is not None for update in modules.values()),
        "use_rslora": False,
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
    }


def _commonest(values: dict[str, Any], default: Any) -> Any:
    return Counter(values.values()).most_common(1)[0][0] if values else default


def _targets(modules: Iterable[str], layers: int | None) -> list[str]:
    """The ends of the layers' names where all blocks have the same ones; their whole names otherwise."""
    blocks: dict[str, set[str]] = {}
    for module in modules:
        blocks.setdefault(module.split(".")[2], set()).add(module.rpartition(".")[2])
    if len(blocks) == layers and len({frozenset(ends) for ends in blocks.values()}) == 1:
        return sorted(next(iter(blocks.values())))
    return sorted(modules)


def _exactly(module: str) -> str:
    """A regular expression that is this layer's name and no other's."""
    return module.replace(".", r"\.")

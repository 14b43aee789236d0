"""Adapters by the paths that users name, and the models that they are for."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from puna.core.errors import FormatError
from puna.core.files import sha256_file, sha256_json
from puna.core.layout import RunDir
from puna.core.user_path import user_path

if TYPE_CHECKING:
    from puna.api.recipes import PathLike
    from puna.model.adapter import Adapter

    Adapters: TypeAlias = "PathLike | Mapping[str, PathLike] | None"
    """One for all that a model answers, or some by their names."""

ALWAYS = "adapter"
"""The name of an adapter that was given without one."""
_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


@dataclass(frozen=True)
class OpenedAdapter:
    """An adapter, and what lies with it."""

    directory: Path
    adapter: "Adapter"
    template: str | None
    """The chat template that it was trained with; None where it has none of its own."""

    @cached_property
    def sha256(self) -> str:
        """One hash of its files."""
        return sha256_json({name: sha256_file(self.directory / name) for name in (_CONFIG, _WEIGHTS)})


def open_adapters(given: "Adapters") -> dict[str, OpenedAdapter]:
    """Read adapters in PEFT's format.

    Args:
        given: Their directories, or the runs that left them; by name, or one alone, which is called `ALWAYS`.

    Raises:
        FormatError: One is not there or damaged, or Puna does not compute what it says.
    """
    from puna.formats.hf.chat_template import read_huggingface_chat_template
    from puna.formats.peft.read import read_adapter

    named = given if isinstance(given, Mapping) else {} if given is None else {ALWAYS: given}
    opened = {}
    for name, path in named.items():
        directory = directory_of_adapter(path)
        opened[name] = OpenedAdapter(
            directory, read_adapter(directory), read_huggingface_chat_template(directory)
        )  # fmt: skip
    return opened


def directory_of_adapter(path: "PathLike") -> Path:
    """Where an adapter lies: the directory itself, or that in the run that left it."""
    place = user_path(path)
    run = RunDir(place)
    return run.adapter if _is_adapter(run.adapter) and not _is_adapter(place) else place


def model_of_adapter(path: "PathLike") -> "tuple[PathLike, str | None] | None":
    """The model that an adapter was trained on, and how its weights were kept then (`weights` of `load`).

    None where the path is a model itself: all but the directory of an adapter, and a run that has only an adapter,
    since its base was quantized.

    Raises:
        FormatError: The adapter is damaged, or does not name its model.
    """
    directory = directory_of_adapter(path)
    if not _is_adapter(directory) or (directory != Path(path) and RunDir(directory.parent).has_model):
        return None
    from puna.formats.peft.read import read_adapter

    base = read_adapter(directory).base
    if not base:
        raise FormatError(
            f"{directory}: does not say which model it was trained on",
            hint="name both: MODEL --adapter PATH",
        )
    return base, _kept_as(RunDir(directory.parent))


def _kept_as(run: RunDir) -> str | None:
    """How a run of tuning kept the weights below its adapter; None is as they are stored."""
    if not run.config.is_file():
        return None
    from puna.api.recipes import load

    finetune = load(str(run.config)).recipe.finetune
    return None if finetune is None or finetune.base == "as-it-is" else finetune.base


def _is_adapter(place: Path) -> bool:
    return (place / _CONFIG).is_file()

"""A starter recipe for a folder of text: looks, asks nothing, writes one file."""

import os
import re
import shutil
import subprocess
import tomllib
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from puna.core.errors import ConfigError, DataError
from puna.core.files import write_text
from puna.core.user_path import user_path

if TYPE_CHECKING:
    from puna.api.recipes import PathLike
    from puna.data.survey.folder import Survey
    from puna.plan.starter import Starter

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_CPU_PASS, _GPU_PASS = 4096, 16_384
"""Tokens of a pass: the demo's order of size, and the default of `train.micro_batch_tokens`."""


@dataclass(frozen=True, kw_only=True)
class StarterRecipe:
    """The recipe that was written, and what it is made from; it is a path itself, of its file."""

    path: Path
    survey: "Survey"
    start: "Starter"
    machine: str
    """The machine that the run is meant for, in words."""

    def __fspath__(self) -> str:
        return str(self.path)


def init(
    path: "PathLike", out: "PathLike | None" = None, *, name: str | None = None, force: bool = False
) -> StarterRecipe:
    """Look at a folder of text and write a recipe for a first model of it.

    The recipe has a source for each kind of file, and a shape and length that suit the amount of text and this machine.

    Args:
        path: The folder, or one file.
        out: The recipe's file; None is the name with `.toml`, in the working directory.
        name: What data build and run are called; None takes the folder's name.
        force: Replace the file that is there.

    Returns:
        The recipe's file, with what was found.

    Raises:
        DataError: The folder is missing, cannot be read or has no text; or the file is there and `force` is false.
        ConfigError: The name cannot be one.
        StorageError: The file cannot be written.
    """
    from puna.api.starter_text import recipe_text
    from puna.config.recipe import Recipe
    from puna.data.survey.folder import look_at
    from puna.plan.starter import starter

    place = user_path(path)
    if not place.exists():
        raise DataError(f"{place}: is not there", hint="name a folder that holds text, such as `puna init my-texts`")
    called = _name_of(place, out) if name is None else name
    if not _NAME.fullmatch(called):
        raise ConfigError([f"--name {called!r}: expected small letters, digits, '.', '_' and '-', such as my-texts"])
    target = Path(f"{called}.toml") if out is None else user_path(out)
    if target.suffix != ".toml":
        raise ConfigError([f"--out {target}: a recipe's file ends in .toml"])
    if target.exists() and not force:
        raise DataError(f"{target}: is there already", hint="--force replaces it, --out or --name gives another file")
    if place.is_symlink() and not place.is_dir():
        place = place.resolve()  # a source reads no links
    if os.fspath(place) != os.fspath(place).encode(errors="ignore").decode():
        raise DataError(f"{os.fspath(place)!r}: is not UTF-8, as paths in a recipe are", hint="rename it")
    folder = place if place.is_dir() else place.parent
    survey = look_at(folder, "" if place.is_dir() else place.name, _own(folder, called, target))
    machine, flops, precision, micro = _machine()
    start = starter(sum(found.training_bytes for found in survey.sources), flops, micro_batch_tokens=micro)
    text = recipe_text(called, str(target), _path_in(place, target), survey, start, precision)
    Recipe.model_validate(tomllib.loads(text))
    write_text(target, text)
    return StarterRecipe(path=target, survey=survey, start=start, machine=machine)


def _name_of(place: Path, out: "PathLike | None") -> str:
    """A name from the recipe's file, or else from the folder."""
    if out is not None:
        stem = Path(out).stem
    else:
        stem = Path(os.path.abspath(place)).name
        stem = stem if place.is_dir() else stem.partition(".")[0]
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^a-z0-9._-]+", "-", plain.lower()).strip("-._")
    return plain or "first"


def _own(folder: Path, name: str, target: Path) -> list[str]:
    """What Puna will write below the folder, where that is the working directory or holds it."""
    root, written = Path(os.path.abspath(folder)), (Path("data") / name, Path("runs") / name, target)
    places = [Path(os.path.abspath(path)) for path in written]
    return [path.relative_to(root).as_posix() for path in places if path.is_relative_to(root)]


def _path_in(place: Path, target: Path) -> str:
    """The folder as the recipe names it: relative to its file, unless an absolute path was given."""
    folder = place if place.is_dir() else place.parent
    return str(folder) if folder.is_absolute() else os.path.relpath(folder, target.parent)


def _machine() -> tuple[str, float, str, int]:
    """This machine in words, its peak rate in FLOP/s, the precision that it trains in, and tokens of a pass."""
    from puna.core.records import cores
    from puna.plan.hardware import find_gpu
    from puna.plan.target import sgemm_rate

    for name in _gpus():
        if (gpu := find_gpu(name)) is not None:
            precision = "bf16" if gpu.bf16_flops else "fp32"
            return name, gpu.flops(precision) or gpu.fp32_flops, precision, _GPU_PASS
    count = cores()
    return f"{count} CPU {'core' if count == 1 else 'cores'}", sgemm_rate(), "fp32", _CPU_PASS


def _gpus() -> list[str]:
    """The names of this machine's NVIDIA GPUs by their driver; torch, which takes seconds, is not asked."""
    if (command := shutil.which("nvidia-smi")) is None:
        return []
    query = [command, "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines()] if done.returncode == 0 else []

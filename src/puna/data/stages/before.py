"""What can be known before hours of reading is said before them."""

import re
import shutil
from collections import defaultdict
from importlib.util import find_spec

from puna.config.data import Source
from puna.config.recipe import Recipe
from puna.core.console import warn
from puna.core.errors import DataError
from puna.core.layout import DataDir
from puna.core.packages import missing_package
from puna.core.units import format_bytes
from puna.data.input_file import InputFile
from puna.data.tasks.executors import Executor
from puna.data.tasks.file_tally import is_packed
from puna.shards.mixture import Mixture
from puna.shards.split import HELDOUT, TRAIN, is_heldout

Files = dict[str, list[InputFile]]
"""The input files of each source."""


def check_packages(recipe: Recipe, executor: Executor) -> None:
    """Refuse a build whose later steps need a package that is not installed.

    Raises:
        DataError: One is missing.
    """
    library = "sentencepiece" if recipe.tokenizer.kind == "sentencepiece" else "tokenizers"
    trained = [] if recipe.tokenizer.taken_from else [library]
    for name in [*trained, "numba", "jinja2", *(["ray"] if executor == "ray" else [])]:
        if find_spec(name) is None:
            error = ModuleNotFoundError(f"No module named {name!r}", name=name)
            raise missing_package(error) or DataError(f"the package {name} is missing", hint=f"`pip install {name}`")


def check_input(recipe: Recipe, out: DataDir, files: Files) -> None:
    """Refuse what cannot give a build, from the names and sizes of the input files alone, and warn of what may not.

    Raises:
        DataError: A split of a source can have no document.
    """
    for name, source in recipe.data.sources.items():
        _refuse_splits(name, source, files[name])
        _warn_of_names(name, source, files[name])
    _warn_of_shared(files)
    _warn_of_room(out, files)
    try:
        context = recipe.model.context
        Mixture(recipe.mixture, recipe.seed, [(stage.from_tokens // context, stage.mixture) for stage in recipe.stages])
    except DataError as error:
        warn(f"no run with this mixture can start: {error.message}")


def _refuse_splits(name: str, source: Source, files: list[InputFile]) -> None:
    """Refuse rules that hold out none or all of the documents, where each file is one, so that all ids are known."""
    if source.format != "text" or any(is_packed(file.name) for file in files):
        return
    heldout = sum(is_heldout(source, name, file.name) for file in files)
    if 0 < heldout < len(files):
        return
    field = "heldout_pattern" if source.heldout_pattern else "heldout_fraction"
    split, most = (TRAIN, "all") if heldout else (HELDOUT, "none")
    raise DataError(
        f"source {name!r}: no document is left for the {split} split: {field} = {getattr(source, field)!r} holds out "
        f"{most} of its {len(files):,} files, each of which is a document",
        hint=f"correct data.sources.{name}.{field}",
    )


def _warn_of_names(name: str, source: Source, files: list[InputFile]) -> None:
    """Warn of files that the recipe names one by one and that are not there."""
    named = [pattern for pattern in source.include if not re.search(r"[*?[]", pattern)]
    found = {file.name for file in files}
    for pattern in named:
        if pattern not in found and not source.sites:
            warn(f"source {name!r}: include names {pattern!r}, which is not there")


def _warn_of_shared(files: Files) -> None:
    """Warn of files that two sources read, whose text counts for both of their shares."""
    readers: dict[str, list[str]] = defaultdict(list)
    for name, of_source in files.items():
        for file in of_source:
            readers[file.url].append(name)
    shared: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for url, names in readers.items():
        if len(names) > 1:
            shared[tuple(names)].append(url)
    for names, urls in shared.items():
        many = f" and {len(urls) - 1:,} more" if len(urls) > 1 else ""
        warn(f"the sources {' and '.join(names)} read the same: {urls[0]}{many}")


def _warn_of_room(out: DataDir, files: Files) -> None:
    """Warn where the disk has less room than the input: documents and intermediate results take about as much."""
    size = sum(file.size for of_source in files.values() for file in of_source)
    root = next(path for path in (out.root, *out.root.absolute().parents) if path.exists())
    if (free := shutil.disk_usage(root).free) < size:
        warn(
            f"{out.root}: {format_bytes(free)} are free, the input has {format_bytes(size)}; a build of text that is "
            "kept takes about as much as its input, and one of web pages a part of it"
        )

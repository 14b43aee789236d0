"""The paths of a recipe: relative to the file that holds them, wherever a command is called.

A recipe in memory has its paths relative to the working directory. A shipped recipe has no place of its own: its paths
are relative to the recipe that extends it, else to the working directory, as those of overrides are. What is absolute,
a URL or begins with `~` stays as it is, and so does the name of a benchmark, of a shipped chat template, or on the hub
of a model to begin with.

A file that a stage writes (`config.toml`, a record, the state of a checkpoint) has them relative to the directory of
the build or run. So it says the same from everywhere, and names no directory of the builder's that the recipe does not
name.
"""

import copy
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from puna.config.finetune import TEMPLATES
from puna.core.hub_name import hub_name

Table: TypeAlias = dict[str, Any]

PATHS = (
    "data.sources.*.path",
    "data.rules.language.model",
    "data.rules.perplexity.model",
    "data.rules.wikipedia_like.model",
    "data.rules.c4.bad_words",
    "data.rules.decontaminate.sets.*",
    "tokenizer.from",
    "train.init_from",
    "finetune.template",
    "chat_recipe",
)
"""The keys whose values are paths; `*` is any name."""
BENCHMARK = "benchmark:"
"""Before the name of a benchmark, where an evaluation set is named and not its files."""
_MODEL = "train.init_from"
"""The one of them that may also be the name of a model on the hub."""
_TEMPLATE = "finetune.template"
"""The one of them that may also be one of the names of `puna.config.finetune.TEMPLATES`."""
_RECIPE = "chat_recipe"
"""The one of them that may also be the name of a shipped recipe."""


def here(table: Table, folder: Path) -> Table:
    """A table of a recipe's file in `folder`, with its paths relative to the working directory."""
    return _changed(table, lambda path: _from_here(os.path.join(folder, path)), "", folder)


def _from_here(path: str) -> str:
    """A path without `..` in its middle; it may go through a link to a directory, where `..` leads elsewhere."""
    plain = os.path.relpath(path)
    if os.path.exists(path) and not os.path.exists(plain):
        return os.path.relpath(os.path.realpath(path))
    return plain


def beside(table: Table, folder: Path, section: str = "") -> Table:
    """A table in memory as a file in `folder` has it.

    Args:
        table: A recipe, or a section of it.
        folder: The directory of the build or run.
        section: The section's key, such as `data`; empty for a whole recipe.
    """
    return _changed(table, lambda path: os.path.relpath(path, folder), section, Path())


def with_known_places(recorded: Table, now: Table, folder: Path, section: str = "") -> Table:
    """What a file in `folder` has, with the paths of `now` where both mean the same place.

    A build or run may have been copied, to another machine too. So two paths of the same last name are taken for the
    same place, unless both are there and are not.

    Args:
        recorded: A recipe or section as `beside` made it.
        now: The one in memory that it is compared with.
        folder: The directory of the build or run.
        section: The section's key.
    """
    wanted = {key: parent[key[-1]] for key, parent in _paths(now, section)}
    found = copy.deepcopy(recorded)
    for key, parent in _paths(found, section):
        new = wanted.get(key)
        if new is not None and _same_place(os.path.join(folder, parent[key[-1]]), new):
            parent[key[-1]] = new
    return found


def _same_place(old: str, new: str) -> bool:
    old, new = os.path.abspath(old), os.path.abspath(new)
    if old == new:
        return True
    if Path(old).name != Path(new).name:
        return False
    return not (os.path.exists(old) and os.path.exists(new)) or os.path.samefile(old, new)


def _changed(table: Table, change: Callable[[str], str], section: str, folder: Path) -> Table:
    """A copy in which paths that are relative to `folder` are changed."""
    table = copy.deepcopy(table)
    for key, parent in _paths(table, section):
        path = parent[key[-1]]
        if ".".join(key) == _MODEL and hub_name(path, folder) and hub_name(path):
            continue
        if ".".join(key) == _TEMPLATE and path in TEMPLATES:
            continue
        if ".".join(key) == _RECIPE and not path.endswith(".toml"):
            continue
        if key[-2:-1] == ("sets",) and path.startswith(BENCHMARK):
            continue
        if path and "://" not in path and not path.startswith("~") and not os.path.isabs(path):
            parent[key[-1]] = change(path)
    return table


def _paths(table: Table, section: str) -> Iterator[tuple[tuple[str, ...], Table]]:
    """The keys of all paths of a table, and the tables that hold them; what is not text is left to validation."""
    for pattern in PATHS:
        if pattern.startswith(f"{section}.") or not section:
            yield from _matches(table, tuple(pattern.removeprefix(f"{section}.").split(".")), ())


def _matches(table: Any, pattern: tuple[str, ...], before: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Table]]:
    if not isinstance(table, dict):
        return
    first, *rest = pattern
    for key in list(table) if first == "*" else [first]:
        if rest:
            yield from _matches(table.get(key), tuple(rest), (*before, key))
        elif isinstance(table.get(key), str):
            yield (*before, key), table

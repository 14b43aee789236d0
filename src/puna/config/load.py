"""Read a recipe: TOML, `extends`, `key=value` overrides; every value remembers where it came from.

The order of precedence, later over earlier: the field's default, the recipe named by `extends` (before it the one that
that recipe extends), the recipe itself, the overrides of the command line or of Python. Tables merge key by key, any
other value replaces the older one; so a recipe can add and change sources of the recipe that it extends.
`data.sources.prose = false` leaves one out, with its share.

The problems of all values are reported at once, each with its source, its key, what was expected, what was found and
the nearest name. Whether values fit together is checked once each is valid on its own.
"""

import os
import re
import shlex
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from puna.config.model import DERIVED
from puna.config.paths import beside, here
from puna.config.problems import DEFAULT, describe, nearest
from puna.config.recipe import FOR_DATA, Recipe
from puna.config.toml import flatten, read_toml
from puna.config.typed import Typed
from puna.core.errors import ConfigError
from puna.core.files import write_text
from puna.core.reference import find_moment

__all__ = ["DEFAULT", "Loaded", "load_recipe", "parse_override", "save_recipe", "shipped_recipes"]

_COMMAND_LINE, _PYTHON = "command line", "overrides"
_LISTED = 12
"""Runs that an error names at most."""
_LONGEST_CHAIN = 8
"""Recipes of which each extends the next, at most."""
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


@dataclass(frozen=True)
class Loaded:
    """A recipe and the origin of each of its values."""

    recipe: Recipe
    origins: dict[str, str]
    """Dotted key to `command line`, `overrides` (Python's), the name of a recipe's file, or what the value is derived
    from; other keys are defaults."""


def shipped_recipes() -> dict[str, Path]:
    """The recipes in the package, by name."""
    folder = Path(str(resources.files("puna.config") / "recipes"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load_recipe(
    name: str,
    overrides: Sequence[str] | Mapping[str, Any] | None = None,
    *,
    tokens_of: Callable[[str], int] | None = None,
    for_data: bool = False,
) -> Loaded:
    """The shipped recipe called `name`, or the recipe at that path, with the overrides applied.

    Args:
        name: The name of a shipped recipe (`demo`), a path that ends in `.toml`, or the directory of a run or a data
            build, whose recipe is meant.
        overrides: `key=value` strings, or keys and values of Python; keys are dotted as in TOML, and a string's value
            is TOML or a bare word.
        tokens_of: Gives the number of tokens of the tokenizer at a place. It is called for `tokenizer.from` where
            nothing gives `model.vocab_size`; None leaves that at its default.
        for_data: Whether only data are built with it, so that schedule, batches and layout may be wrong.

    Raises:
        ConfigError: There is no such recipe, it is not valid TOML, or values have problems: all are listed.
    """
    path = _find(name)
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    problems: list[str] = []
    try:
        for origin, table in _lineage(path):
            problems += _leave_out(values, table, origins, origin)
            _merge(values, table, origins, origin)
        in_python = isinstance(overrides, Mapping)
        for override in overrides.items() if isinstance(overrides, Mapping) else overrides or []:
            try:
                key, value = parse_override(override) if isinstance(override, str) else _python_override(*override)
                table, origin = _nested(key, value), _PYTHON if in_python else _COMMAND_LINE
                problems += _leave_out(values, table, origins, origin)
                _merge(values, table, origins, origin)
            except ConfigError as error:
                problems += error.problems
        if tokens_of is not None:
            _take_vocabulary(values, origins, tokens_of)
        recipe = Recipe.model_validate(values, context={FOR_DATA: for_data})
        origins |= _derived(values)
    except ValidationError as error:
        raise ConfigError(problems + describe(error, origins, source=path.name)) from None
    except RecursionError:
        raise ConfigError([f"{name}: tables or lists are nested too deeply for a recipe"]) from None
    if problems:
        raise ConfigError(problems)
    return Loaded(recipe.named(Typed.of(name, overrides)), origins)


def parse_override(text: str) -> tuple[str, Any]:
    """Key and value of one `key=value`; a value that is not TOML is taken as a string.

    Raises:
        ConfigError: There is no `=`, the key is not a dotted TOML key, or the text is not UTF-8.
    """
    if not _is_utf8(text):
        raise ConfigError([f"{_COMMAND_LINE}: {text!r} is not UTF-8 text"])
    key, equals, raw = text.partition("=")
    key = key.strip()
    if not equals or not _BARE_KEY.fullmatch(key):
        raise ConfigError([f"{_COMMAND_LINE}: {text!r} is not an override; write key=value, such as optim.lr=2e-4"])
    table = _toml(raw)
    return key, raw.strip() if table is None else table["value"]


def is_toml(text: str) -> bool:
    """Whether the text of an override's value is TOML; it is a word otherwise."""
    return _toml(text) is not None


def _toml(text: str) -> dict[str, Any] | None:
    """A table with a `value`, or None for what is not one TOML value."""
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):  # ValueError: not TOML, or an integer of thousands of digits
        return None
    return table if len(table) == 1 else None


def _python_override(key: str, value: Any) -> tuple[str, Any]:
    """Key and value as TOML has them.

    Raises:
        ConfigError: The key is not a dotted TOML key, or TOML has no such value.
    """
    if not (isinstance(key, str) and _BARE_KEY.fullmatch(key)):
        raise ConfigError([f"{_PYTHON}: {key!r} is not a key; write it dotted, such as optim.lr"])
    return key, _toml_value(key, value)


def _toml_value(key: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_python_override(name, 0)[0]: _toml_value(f"{key}.{name}", entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_toml_value(key, entry) for entry in value]
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, int | float) or (isinstance(value, str) and _is_utf8(value)):
        return value
    found = f"{value!r:.60}"
    raise ConfigError([f"{_PYTHON}: {key!r} expects text, a number, True or False, a list or a dict, got {found}"])


def save_recipe(recipe: Recipe, path: Path) -> None:
    """Write the resolved recipe, its paths relative to the file; loading it gives an equal one."""
    write_text(path, tomli_w.dumps(beside(recipe.model_dump(exclude_none=True), path.parent)))


def _find(name: str) -> Path:
    if name.endswith(".toml"):
        return Path(name)
    shipped = shipped_recipes()
    if name in shipped:
        return shipped[name]
    if (config := Path(name) / "config.toml").is_file():
        return config
    _refuse_path(name)
    raise ConfigError(
        [f"no recipe is called {name!r}{nearest(name, shipped)}"],
        hint="`puna recipes` lists those that ship; a path must end in .toml",
    )


def _refuse_path(name: str) -> None:
    """Say what is amiss with a name that is meant as a path of this machine, if it is.

    Raises:
        ConfigError: It is a directory without a recipe, a file without its ending, a moment of a run, or a path at
            which nothing is.
    """
    if name and Path(name).is_dir():
        raise ConfigError(
            [f"{name}: is a directory without a config.toml, so neither a run nor a data build"],
            hint="name a recipe: a shipped one (`puna recipes` lists them), or a path that ends in .toml",
        )
    if name and Path(f"{name}.toml").is_file():
        raise ConfigError(
            [f"no recipe is called {name!r}"],
            hint=f"a file is named with its ending: {shlex.quote(f'{name}.toml')}",
        )
    if name and (moment := find_moment(name)) is not None:
        raise ConfigError(
            [f"{name}: is a moment of a run, and its recipe is that of the run"],
            hint=f"`{shlex.quote(str(moment.run))}` is the run; `puna train --branch-from {shlex.quote(name)}` begins "
            "a new one at that moment",
        )
    if os.sep in name:
        runs = sorted(str(path.parent) for path in Path(name).parent.glob("*/config.toml"))
        raise ConfigError(
            [f"{name}: no run is there, and a path to a recipe ends in .toml{nearest(name, runs[:_LISTED])}"]
        )


def _lineage(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Names and tables of the recipe and of all that it extends, the recipe itself last.

    The paths of a shipped recipe are relative to the nearest file of the user's that extends it.

    Raises:
        ConfigError: A recipe is missing or not valid TOML, `extends` is not a name, or they go round in a circle or on
            for too long; the sentence begins with the file that says `extends`.
    """
    shipped = shipped_recipes().values()
    table, folder = read_toml(path), None if path in shipped else path.parent
    chain, tables = [path], []
    while True:
        base = table.pop("extends", None)
        tables.append((path.name, table if folder is None else here(table, folder)))
        if base is None:
            return tables[::-1]
        if not isinstance(base, str):
            raise ConfigError([f"{path.name}: 'extends' expects the name of a recipe, got {base!r:.60}"])
        try:
            extended = path.parent / base if base.endswith(".toml") else _find(base)
            table = read_toml(extended)
        except ConfigError as error:
            raise ConfigError([f"{path.name}: extends {base!r}: {error.message}"], hint=error.hint) from None
        if any(extended.samefile(older) for older in chain):
            way = " -> ".join(file.name for file in (*chain, extended))
            raise ConfigError([f"{path.name}: extends {base!r}, which goes round in a circle: {way}"])
        if len(chain) == _LONGEST_CHAIN:
            raise ConfigError([f"{path.name}: extends {base!r}: more than {_LONGEST_CHAIN} recipes extend each other"])
        path = extended
        folder = folder if path in shipped else path.parent
        chain.append(path)


def _leave_out(values: dict[str, Any], table: dict[str, Any], origins: dict[str, str], origin: str) -> list[str]:
    """Take out of `values` the sources that are `false` in the table that comes next, with their shares and caps.

    Returns:
        A sentence for each that is not there.
    """
    sources, there = _table(table, "data", "sources"), _table(values, "data", "sources")
    problems = []
    for name in [name for name, value in sources.items() if value is False]:
        del sources[name]
        if name not in there:
            known = f"; there are {', '.join(there)}" if there else "; there are none"
            problems.append(f"{origin}: 'data.sources.{name}' = false leaves out a source that is not there{known}")
        _forget(values, name)
        for place in ("data.sources", "mixture", "max_epochs", "finetune.task_cap"):
            _table(values, *place.split(".")).pop(name, None)
            for key in [key for key in origins if f"{key}.".startswith(f"{place}.{name}.")]:
                del origins[key]
    return problems


def _forget(values: dict[str, Any], name: str) -> None:
    """Take the name of a source out of the lists and later mixtures that name it."""
    for step in ("near", "contained"):
        compared = _table(values, "data", "dedup", step)
        if isinstance(names := compared.get("sources"), list):
            compared["sources"] = [other for other in names if other != name]
    stages = values.get("stages")
    for stage in stages if isinstance(stages, list) else []:
        if isinstance(stage, dict):
            _table(stage, "mixture").pop(name, None)


def _table(values: dict[str, Any], *keys: str) -> dict[str, Any]:
    """The table at a place; an empty one where there is none."""
    for key in keys:
        values = values.get(key, {})
        if not isinstance(values, dict):
            return {}
    return values


def _derived(values: dict[str, Any]) -> dict[str, str]:
    """The origins of values that follow from others, because no recipe gives them or gives 0."""
    given = dict(flatten(values))
    formats = {f"data.sources.{name}.format": "include" for name in _table(values, "data", "sources")}
    return {key: f"derived from {how}" for key, how in (DERIVED | formats).items() if not given.get(key)}


def _take_vocabulary(values: dict[str, Any], origins: dict[str, str], tokens_of: Callable[[str], int]) -> None:
    """Set `model.vocab_size` to the number of tokens of an existing tokenizer, unless a value is given."""
    tokenizer, model = values.get("tokenizer"), values.get("model", {})
    place = tokenizer.get("from") if isinstance(tokenizer, dict) else None
    if isinstance(place, str) and place and isinstance(model, dict) and "vocab_size" not in model:
        values["model"] = model | {"vocab_size": tokens_of(place)}
        origins["model.vocab_size"] = "derived from tokenizer.from"


def _is_utf8(text: str) -> bool:
    """Whether `text` can be written to a file; bytes of the command line that are not UTF-8 arrive as surrogates."""
    return text == text.encode(errors="ignore").decode()


def _nested(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def _merge(
    target: dict[str, Any], table: dict[str, Any], origins: dict[str, str], origin: str, prefix: str = ""
) -> None:
    """Put `table` over `target`; the origins of what it replaces go with it."""
    for key, value in table.items():
        path = f"{prefix}{key}"
        older = target.get(key)
        if not (isinstance(value, dict) and isinstance(older, dict)):
            for replaced in [k for k in origins if k == path or k.startswith(f"{path}.")]:
                del origins[replaced]
        if isinstance(value, dict) and value:
            if not isinstance(older, dict):
                target[key] = {}
            origins.pop(path, None)
            _merge(target[key], value, origins, origin, prefix=f"{path}.")
        elif not (value == {} and isinstance(older, dict)):
            target[key] = value
            origins[path] = origin

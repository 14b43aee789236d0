"""Read a recipe: TOML, one `extends`, `key=value` overrides; every value remembers where it came from.

The order of precedence, later over earlier: the field's default, the recipe named by `extends`, the recipe itself,
the overrides of the command line. All problems are reported at once, each with its source, its key, what was
expected, what was found and the nearest name.
"""

import difflib
import re
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, get_args, get_origin

import tomli_w
from pydantic import ValidationError

from puna.config.recipe import Recipe
from puna.core.errors import ConfigError
from puna.core.files import write_text

DEFAULT = "default"
"""The origin of a value that nobody set."""

_COMMAND_LINE = "command line"
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


@dataclass(frozen=True)
class Loaded:
    """A recipe and the origin of each of its values."""

    recipe: Recipe
    origins: dict[str, str]
    """Dotted key to `command line`, a file's name or a shipped recipe's; keys that are not here are defaults."""


def shipped_recipes() -> dict[str, Path]:
    """The recipes in the package, by name."""
    folder = Path(str(resources.files("puna.config") / "recipes"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load_recipe(name: str, overrides: list[str] | None = None) -> Loaded:
    """The recipe that is shipped as `name` or lies at that path, with its overrides applied.

    Args:
        name: The name of a shipped recipe (`demo`) or a path that ends in `.toml`.
        overrides: `key=value` strings; keys are dotted as in TOML, values are TOML or a bare word.

    Raises:
        ConfigError: No such recipe, no valid TOML, or problems in the values: all of them.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for path in _lineage(_find(name)):
        table = _read_toml(path)
        table.pop("extends", None)
        _merge(values, table, origins, origin=path.name)
    problems = []
    for override in overrides or []:
        try:
            key, value = parse_override(override)
            nested: Any = value
            for part in reversed(key.split(".")):
                nested = {part: nested}
            _merge(values, nested, origins, origin=_COMMAND_LINE)
        except ConfigError as error:
            problems += error.problems
    try:
        loaded = Loaded(Recipe.model_validate(values), origins)
    except ValidationError as error:
        problems += [_describe(problem, origins) for problem in error.errors(include_url=False)]
        raise ConfigError(problems) from None
    if problems:
        raise ConfigError(problems)
    return loaded


def parse_override(text: str) -> tuple[str, Any]:
    """Key and value of one `key=value`; a value that is no TOML is taken as a string.

    Raises:
        ConfigError: There is no `=`, or the key is no dotted TOML key.
    """
    key, equals, raw = text.partition("=")
    key = key.strip()
    if not equals or not _BARE_KEY.fullmatch(key):
        raise ConfigError([f"{_COMMAND_LINE}: {text!r} is no override; write key=value, such as optim.lr=2e-4"])
    try:
        return key, tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        return key, raw.strip()


def save_recipe(recipe: Recipe, path: Path) -> None:
    """Write the resolved recipe; loading that file gives an equal one."""
    write_text(path, tomli_w.dumps(recipe.model_dump(exclude_none=True)))


def _find(name: str) -> Path:
    shipped = shipped_recipes()
    if name in shipped:
        return shipped[name]
    path = Path(name)
    if path.suffix == ".toml":
        if path.is_file():
            return path
        raise ConfigError([f"{path}: no such recipe file"])
    raise ConfigError(
        [f"no recipe is called {name!r}{_nearest(name, shipped)}"],
        hint="`puna recipes` lists those that ship; a path must end in .toml",
    )


def _lineage(path: Path) -> list[Path]:
    """The file and, before it, the one that it extends; a recipe that is extended extends nothing itself."""
    base = _read_toml(path).get("extends")
    if base is None:
        return [path]
    if not isinstance(base, str):
        raise ConfigError([f"{path.name}: extends: expected the name of a recipe, got {base!r}"])
    beside = path.parent / base
    base_path = beside if beside.suffix == ".toml" and beside.is_file() else _find(base)
    if "extends" in _read_toml(base_path):
        raise ConfigError([f"{path.name}: extends {base!r}, which itself extends another; one step is all there is"])
    return [base_path, path]


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: is no valid TOML: {error}"]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: is no UTF-8 text: {error.reason} at byte {error.start}"]) from None
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None


def _merge(
    target: dict[str, Any], table: dict[str, Any], origins: dict[str, str], origin: str, prefix: str = ""
) -> None:
    for key, value in table.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and isinstance(target.get(key, {}), dict):
            _merge(target.setdefault(key, {}), value, origins, origin, prefix=f"{path}.")
        else:
            target[key] = value
            origins[path] = origin


def _describe(problem: Any, origins: dict[str, str]) -> str:
    location = [str(part) for part in problem["loc"]]
    key = ".".join(location)
    where = origins.get(key) or next((o for k, o in origins.items() if k.startswith(f"{key}.") or not key), "recipe")
    kind, found, context = problem["type"], problem["input"], problem.get("ctx", {})
    if kind == "extra_forbidden":
        return f"{where}: unknown key {key!r}{_nearest(location[-1], _fields_at(location[:-1]), prefix=location[:-1])}"
    if kind == "missing":
        parent = ".".join(location[:-1])
        where = next((o for k, o in origins.items() if k.startswith(f"{parent}.")), where)
        return f"{where}: {key!r} is missing"
    if kind == "value_error":
        label = f"{key}: " if key else ""
        return f"{where}: {label}{context.get('error', problem['msg'])}"
    return f"{where}: {key!r} expects {_expectation(problem)}, got {found!r}"


def _expectation(problem: Any) -> str:
    context = problem.get("ctx", {})
    names = {
        "int_type": "a whole number", "int_from_float": "a whole number", "int_parsing": "a whole number",
        "float_type": "a number", "float_parsing": "a number", "string_type": "a string", "bool_type": "true or false",
        "list_type": "a list", "dict_type": "a table", "model_type": "a table", "finite_number": "a finite number",
        "greater_than": f"more than {context.get('gt')}", "greater_than_equal": f"at least {context.get('ge')}",
        "less_than": f"less than {context.get('lt')}", "less_than_equal": f"at most {context.get('le')}",
        "literal_error": f"{context.get('expected')}", "too_short": f"at least {context.get('min_length')} entries",
        "string_pattern_mismatch": f"a name that matches {context.get('pattern')}",
    }  # fmt: skip
    return names.get(problem["type"], problem["msg"])


def _fields_at(location: list[str]) -> list[str]:
    """The keys that a recipe knows at a dotted place; none where users choose the keys."""
    kind: Any = Recipe
    for part in location:
        if get_origin(kind) is dict:
            kind = get_args(kind)[1]
        elif hasattr(kind, "model_fields") and part in kind.model_fields:
            kind = kind.model_fields[part].annotation
        else:
            return []
    return list(kind.model_fields) if hasattr(kind, "model_fields") else []


def _nearest(name: str, known: Any, prefix: list[str] | None = None) -> str:
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    if close:
        return f"; did you mean {'.'.join([*(prefix or []), close[0]])!r}?"
    return f"; known here: {', '.join(known)}" if known else ""

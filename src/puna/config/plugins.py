"""Rules and readers that other packages bring: found by their entry points, imported when a recipe names them.

A package declares the entry points `puna.rules` and `puna.readers`; each leads to a record of `puna.data.spec`. A
recipe names them as it names Puna's own, and says after it was resolved which distribution and version each came from:

```toml
[data.plugins.rules]
no-shouting = "shouting 1.0"
```

A resolved recipe is read without its plug-ins too, so that data which are built can be trained on where they are not
installed. Building compares what is installed with what the recipe says (`puna.data.table`).
"""

import inspect
import sys
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from pydantic import Field, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError, core_schema

from puna.config.rules import Rules
from puna.config.section import Section
from puna.core.errors import UserError
from puna.core.files import sha256_file
from puna.core.plugins import HINT, Plugin, installed

Kind: TypeAlias = Literal["rules", "readers"]
"""The entry points of a kind are the group `puna.<kind>`."""

_ERROR_TYPES = frozenset(get_args(core_schema.ErrorType))
_KINDS: tuple[Kind, ...] = get_args(Kind)


class Plugins(Section):
    """Which distribution and version each rule and reader came from that is not Puna's own."""

    rules: dict[str, str] = Field(default={})
    """By the rule's name: the distribution and its version. Puna fills it in."""
    readers: dict[str, str] = Field(default={})
    """By the format's name: the distribution and its version. Puna fills it in."""


_added: dict[tuple[Kind, str], Any] = {}


def add(kind: Kind, name: str, record: Any) -> None:
    """Make a rule or reader known in this process alone, and in the workers that it starts on this machine."""
    _added[kind, name] = record


def brought(kind: Kind) -> list[Plugin]:
    """The rules or readers of all installed packages, and those of this process."""
    added = [(name, record) for (of, name), record in _added.items() if of == kind]
    return installed(f"puna.{kind}") + [_of_script(kind, name, record) for name, record in added]


def find(kind: Kind, name: str) -> Plugin | None:
    """The one of this name, if there is any.

    Raises:
        UserError: Two packages have one.
    """
    found = [plugin for plugin in brought(kind) if plugin.name == name]
    if len({plugin.origin for plugin in found}) > 1:
        raise UserError(f"{found[0]} has the name of another one, of {found[1].brought_by}", hint=HINT)
    return found[0] if found else None


def rule_keys() -> list[str]:
    """The keys of the tables of all installed plug-in rules."""
    return [rule_key(plugin.name) for plugin in brought("rules")]


def settings_of(key: str) -> type[Section] | None:
    """The settings of the plug-in rule whose table is `[data.rules.<key>]`, if it is installed.

    Raises:
        UserError: It cannot be imported, or its record has no settings.
    """
    plugin = find("rules", _name(key))
    return None if plugin is None else _settings(plugin)


def resolve(
    values: dict[str, Any], rules: Collection[str], formats: Collection[str]
) -> tuple[dict[str, Any], list[InitErrorDetails]]:
    """The data's section of a recipe with what plug-ins decide: where each came from, and all of its settings.

    Args:
        values: The section; nothing in it has been checked.
        rules: Names of Puna's own rules.
        formats: Names of the formats that Puna's own readers read.

    Returns:
        The section, and what is wrong with names and settings of plug-ins.

    Raises:
        UserError: A plug-in cannot be imported.
    """
    problems: list[InitErrorDetails] = []
    pins: dict[Kind, dict[str, Any]] = {}
    for kind in _KINDS:
        table = _value(_value(values, "plugins"), kind)
        pins[kind] = dict(table) if isinstance(table, dict) else {}
    pinned = {rule_key(name) for name in pins["rules"]}
    own: dict[Kind, Collection[str]] = {"rules": rules, "readers": formats}
    for kind, name, place in _uses(values):
        if name in own[kind] or name in pins[kind]:
            continue
        if plugin := find(kind, name):
            pins[kind][name] = plugin.origin
        else:
            known = _any_of([*own[kind], *(plugin.name for plugin in brought(kind))])
            problems.append({"type": "literal_error", "loc": place, "input": name, "ctx": {"expected": known}})
    tables = _value(values, "rules")
    if not isinstance(tables, dict | Rules):
        return values, problems
    wanted = {rule_key(name) for name in pins["rules"]}
    extra = {key: table for key, table in dict(tables).items() if key not in Rules.model_fields}
    if not wanted and not extra:
        return values, problems
    resolved: dict[str, Any] = {}
    for key in sorted(wanted | extra.keys()):
        table = extra.get(key, {})
        settings = _settings_if_needed(key, pinned=key in pinned)
        if settings is not None:
            try:
                resolved[key] = settings.model_validate(table).model_dump(mode="json")
            except ValidationError as error:
                problems += relocated(error, ("rules", key))
        elif key in wanted:
            resolved[key] = table
        else:
            problems.append({"type": "extra_forbidden", "loc": ("rules", key), "input": table})
    own_tables = {key: table for key, table in dict(tables).items() if key in Rules.model_fields}
    resolved_values = values | {"rules": own_tables | resolved}
    return resolved_values | ({"plugins": pins} if _is_pins(values.get("plugins", {})) else {}), problems


def relocated(error: ValidationError, place: tuple[str | int, ...] = ()) -> list[InitErrorDetails]:
    """What validation has found, below another place."""
    found: list[InitErrorDetails] = []
    for problem in error.errors(include_url=False):
        kind: Any = problem["type"]
        if kind not in _ERROR_TYPES:
            kind = PydanticCustomError(kind, "{message}", {"message": problem["msg"]})
        details = {"type": kind, "loc": (*place, *problem["loc"]), "input": problem["input"]}
        found.append(InitErrorDetails(**details, ctx=problem.get("ctx", {})))
    return found


def _settings_if_needed(key: str, *, pinned: bool) -> type[Section] | None:
    """The settings of a rule; those of a resolved recipe are all there, so what cannot be imported is not needed.

    Raises:
        UserError: It cannot be imported, or its record has no settings.
    """
    try:
        return settings_of(key)
    except UserError:
        if pinned:
            return None
        raise


def _settings(plugin: Plugin) -> type[Section]:
    settings = getattr(plugin.load(), "settings", None)
    if not (isinstance(settings, type) and issubclass(settings, Section)):
        raise UserError(
            f"{plugin} is not valid: its `settings` should be a class made from puna.config.section.Section",
            hint="its entry point should lead to a puna.data.spec.RuleSpec",
        )
    return settings


def _uses(values: dict[str, Any]) -> Iterator[tuple[Kind, str, tuple[str | int, ...]]]:
    """The rules and formats that sources name, and where they do."""
    sources = _value(values, "sources")
    for source, table in sources.items() if isinstance(sources, dict) else ():
        form, clean = _value(table, "format"), _value(table, "clean")
        if isinstance(form, str) and form:
            yield "readers", form, ("sources", source, "format")
        for number, rule in enumerate(clean if isinstance(clean, list) else ()):
            if isinstance(rule, str):
                yield "rules", rule, ("sources", source, "clean", number)


def _is_pins(table: Any) -> bool:
    """Whether validation will find nothing wrong with the kinds of a table of plug-ins; what is wrong is left there."""
    return isinstance(table, Plugins) or (
        isinstance(table, dict) and all(isinstance(table.get(kind, {}), dict) for kind in _KINDS)
    )


def _value(table: Any, key: str) -> Any:
    """The value of a table or section; an empty table where it has none."""
    value = table.get(key) if isinstance(table, dict) else getattr(table, key, None)
    return {} if value is None else value


def rule_key(name: str) -> str:
    """The key of a rule's table in `[data.rules]`."""
    return name.replace("-", "_")


def _name(key: str) -> str:
    return key.replace("_", "-")


def _any_of(names: list[str]) -> str:
    *first, last = [repr(name) for name in dict.fromkeys(names)]
    return f"{', '.join(first)} or {last}"


def _of_script(kind: Kind, name: str, record: Any) -> Plugin:
    """A record of this process; the hash of the file where it was made stands for a version."""
    module = sys.modules.get(getattr(getattr(record, "make", None), "__module__", ""))
    brought_by = origin = "an interactive session"
    with suppress(TypeError, OSError):
        path = Path(inspect.getfile(module) if module else "")
        origin = f"{path.name} sha256:{sha256_file(path)[:16]}"
        brought_by = f"the script {path.name}"
    return Plugin(group=f"puna.{kind}", name=name, brought_by=brought_by, origin=origin, read=lambda: record)

"""The table of all rules and readers: Puna's own, and those of plug-ins. Each is imported when somebody needs it.

Some bring libraries that take a second to load, so the table holds where a record stands, as entry points do.
"""

import re
from collections.abc import Collection, Mapping
from importlib import import_module
from typing import Any, TypeVar

from pydantic import ValidationError

from puna.config import plugins
from puna.config.data import DataConfig
from puna.config.section import Section
from puna.core.errors import DataError, UserError
from puna.data.spec import ReaderSpec, RuleSpec

LINES, DECONTAMINATE = "lines", "decontaminate"
"""Rules of which the build knows more than their records say: one is a stage of its own, one needs a table."""

RULES = {
    "lines": "puna.data.rules.lines:RULE",
    "mojibake": "puna.data.rules.mojibake:RULE",
    "language": "puna.data.rules.language:RULE",
    "perplexity": "puna.data.rules.perplexity:RULE",
    "wikipedia-like": "puna.data.rules.wikipedia_like:RULE",
    "gopher-quality": "puna.data.rules.gopher_quality:RULE",
    "gopher-repetition": "puna.data.rules.gopher_repetition:RULE",
    "c4": "puna.data.rules.c4:RULE",
    "code": "puna.data.rules.code:RULE",
    "pii": "puna.data.rules.pii:RULE",
    "decontaminate": "puna.data.rules.decontaminate:RULE",
}
"""The rules that Puna comes with, by name."""

READERS = {
    "text": "puna.data.readers.text:READER",
    "jsonl": "puna.data.readers.rows:JSONL",
    "parquet": "puna.data.readers.rows:PARQUET",
    "arrow": "puna.data.readers.rows:ARROW",
    "warc": "puna.data.readers.warc:READER",
    "wet": "puna.data.readers.wet:READER",
    "code": "puna.data.readers.code:READER",
    "wikipedia": "puna.data.readers.wikipedia:READER",
    "gutenberg": "puna.data.readers.gutenberg:READER",
    "arxiv": "puna.data.readers.arxiv:READER",
    "stackexchange": "puna.data.readers.stackexchange:READER",
    "conversations": "puna.data.readers.conversations:READER",
    "preferences": "puna.data.readers.preferences:READER",
    "tasks": "puna.data.readers.tasks:READER",
}
"""Puna's own readers."""

_NAME = re.compile("[a-z][a-z0-9]*(-[a-z0-9]+)*")
"""A name whose `-` can become `_` in a table's key, and back."""

Spec = TypeVar("Spec", RuleSpec, ReaderSpec)


def find_rule(name: str) -> RuleSpec:
    """The record of a rule.

    Raises:
        UserError: There is none of this name, or that of a plug-in is not valid.
    """
    return _find("rules", name, RULES, RuleSpec)


def find_reader(name: str) -> ReaderSpec:
    """The record of a reader.

    Raises:
        UserError: There is none of this name, or that of a plug-in is not valid.
    """
    return _find("readers", name, READERS, ReaderSpec)


def add_rule(spec: RuleSpec) -> None:
    """Make a rule known to this process and to the workers that it starts on this machine.

    Call it where a module is imported and not under `if __name__ == "__main__"`, because workers import the script
    again. What runs on a cluster needs a package with an entry point.

    Raises:
        DataError: The name is taken, or the record is not valid.
    """
    _check("this rule", getattr(spec, "name", ""), spec, RULES, RuleSpec)
    plugins.add("rules", spec.name, spec)


def add_reader(spec: ReaderSpec) -> None:
    """Make a reader known, as `add_rule` does for a rule.

    Raises:
        DataError: The name is taken, or the record is not valid.
    """
    _check("this reader", getattr(spec, "name", ""), spec, READERS, ReaderSpec)
    plugins.add("readers", spec.name, spec)


def rule_settings(data: DataConfig, name: str) -> Section:
    """The settings of a rule, as the recipe has them.

    Raises:
        UserError: There is no such rule, or its settings are not valid.
    """
    key = plugins.rule_key(name)
    settings = getattr(data.rules, key, {})
    if isinstance(settings, Section):
        return settings
    try:
        return find_rule(name).settings.model_validate(settings)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        field = ".".join(map(str, ("data.rules", key, *problem["loc"])))
        raise DataError(f"{field}: is not valid for {plugins.find('rules', name)}: {problem['msg']}") from None


def make(spec: RuleSpec | ReaderSpec, *arguments: Any) -> Any:
    """The rule or reader of a record; what goes wrong in a plug-in's own code is said in one sentence.

    Raises:
        UserError: It cannot be made.
    """
    if spec.name in (RULES if isinstance(spec, RuleSpec) else READERS):
        return spec.make(*arguments)
    try:
        return spec.make(*arguments)
    except (UserError, MemoryError):
        raise
    except Exception as error:
        raise DataError(f"{describe(spec)} cannot be made: {type(error).__name__}: {error}") from error


def describe(spec: RuleSpec | ReaderSpec) -> str:
    """A rule or reader as a sentence names it, with the distribution that brings it."""
    kind = "rules" if isinstance(spec, RuleSpec) else "readers"
    return str(plugins.find(kind, spec.name) or f"the {kind[:-1]} {spec.name!r}")


def used_plugins(data: DataConfig, sources: Collection[str]) -> dict[str, str]:
    """Where the rules and readers of some sources came from that are not Puna's own: by `rules.<name>`."""
    chosen = [data.sources[name] for name in sources]
    rules = {name for source in chosen for name in source.clean}
    readers = {source.format for source in chosen}
    found = {f"rules.{name}": origin for name, origin in data.plugins.rules.items() if name in rules}
    return found | {f"readers.{name}": origin for name, origin in data.plugins.readers.items() if name in readers}


def check_plugins(data: DataConfig) -> None:
    """Nothing, if the plug-ins that a recipe uses are installed as it says, and none takes a name of Puna's own.

    Raises:
        UserError: One is missing, of another version, not valid, or repeats a name.
    """
    for source in data.sources.values():
        for name in source.clean:
            _check_origin("rules", name, RULES, data.plugins.rules)
            find_rule(name)
        _check_origin("readers", source.format, READERS, data.plugins.readers)
        find_reader(source.format)


def _check_origin(kind: plugins.Kind, name: str, own: Mapping[str, str], pins: Mapping[str, str]) -> None:
    plugin = plugins.find(kind, name)
    if plugin is None:
        return
    if name in own:
        raise DataError(
            f"{plugin} has the name of one of Puna's own", hint="give it another name there, or uninstall it"
        )
    if plugin.origin != pins.get(name, plugin.origin):
        raise DataError(
            f"data.plugins.{kind}.{name}: the recipe was resolved with {pins[name]}, here is {plugin.origin}",
            hint="install that version, or remove the line from the recipe",
        )


def _find(kind: plugins.Kind, name: str, own: Mapping[str, str], form: type[Spec]) -> Spec:
    if name in own:
        module, _, attribute = own[name].partition(":")
        return getattr(import_module(module), attribute)
    plugin = plugins.find(kind, name)
    if plugin is None:
        raise DataError(
            f"data.sources: names {name!r}, which is not installed here", hint=f"it is an entry point of puna.{kind}"
        )
    record = plugin.load()
    _check(str(plugin), name, record, own, form)
    return record


def _check(what: str, name: str, record: Any, own: Mapping[str, str], form: type[Spec]) -> None:
    """Nothing, if a plug-in's record is valid.

    Raises:
        DataError: It is not.
    """
    problem = ""
    if not isinstance(record, form):
        problem = f"it should be a {form.__name__}, not a {type(record).__name__}"
    elif record.name != name:
        problem = f"it is called {record.name!r} itself"
    elif not _NAME.fullmatch(name):
        problem = "its name should be of small letters and digits, with '-' between words"
    elif name in own:
        problem = f"{name!r} is the name of one of Puna's own"
    elif wrong := [reason for reason in record.reasons if not reason.startswith(f"{name}.")]:
        problem = f"its reason {wrong[0]!r} should begin with '{name}.'"
    if problem:
        raise DataError(f"{what} is not valid: {problem}")

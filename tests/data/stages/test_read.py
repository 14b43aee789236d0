"""What decides a task's name: a setting that is missing there would give one recipe the results of another."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from puna.config.data import DataConfig, Source
from puna.config.rules import RULES
from puna.data.input_file import InputFile
from puna.data.stages.dedup import duplicate_stages
from puna.data.stages.finish import Finish
from puna.data.stages.lines import Clean, Lines
from puna.data.stages.read import Read, read_tasks
from puna.data.stages.rule_inputs import Table

FILES_ONLY = {"sources.a.include", "sources.a.exclude", "task_bytes"}
"""Decide which files a task reads, by which it is known."""
LATER = {"shard_tokens"}
"""Decides token shards, no documents."""
OF_OTHERS = {"plugins.rules", "plugins.readers"}
"""Name rules and readers of which this source has none; test_plugins.py has them."""
NOT_READING = FILES_ONLY | LATER | OF_OTHERS | {"sources.a.licence"}
"""Nothing is read again for these, nor for deduplication."""


def settings(section: BaseModel, path: str = "") -> Iterator[str]:
    """The dotted names of all settings of a section."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from settings(value, f"{path}{name}.")
        elif name == "sources" and not path:
            yield from settings(value["a"], "sources.a.")
        else:
            yield path + name


def other(value: Any, name: str) -> Any:
    """Some other value of the same type."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return value + "x"
        case list():
            return value[1:] if value and name in ("clean", "kinds", "sources") else [*value, "x"]
        case dict():
            return value | ({"x": "0"} if name == "sets" else {"x": 0.5})
    raise AssertionError(name)


def changed(section: Any, path: list[str]) -> Any:
    """A section with one other value; nothing is validated."""
    if isinstance(section, dict):
        return section | {path[0]: changed(section[path[0]], path[1:])}
    value = getattr(section, path[0])
    new = changed(value, path[1:]) if path[1:] else other(value, path[0])
    return section.model_copy(update={path[0]: new})


@pytest.fixture
def data() -> DataConfig:
    """One source that passes through every rule, and is compared in every way."""
    source = Source.model_construct(
        **Source(path="/a", include=["*"], heldout_fraction=0.5).model_dump() | {"clean": list(RULES)}
    )
    config = DataConfig().model_copy(update={"sources": {"a": source}})
    for kind in ("near", "contained"):
        compared = getattr(config.dedup, kind).model_copy(update={"sources": ["a"]})
        config = config.model_copy(update={"dedup": config.dedup.model_copy(update={kind: compared})})
    return config


def plan(data: DataConfig, work: Path = Path("work")) -> tuple[Read, Finish]:
    """The first and the last task of the source."""
    [read] = read_tasks(
        work, data, "a", [(0, InputFile("/a/b", "b", 1, "1"))], "/a", {}, Table(work=work, data=data, sets=())
    )
    cleaned: Read | Clean = read
    if "lines" in data.sources["a"].clean:
        cleaned = Clean(
            work=work,
            read=read,
            lines=tuple(Lines(work=work, reads=(read,), partition=part) for part in range(data.partitions)),
        )
    _, found = duplicate_stages(work, data, [cleaned])
    return read, Finish(work=work, cleaned=cleaned, found=tuple(found), names=(("a", ("b",)),))


ALL = list(settings(DataConfig(sources={"a": Source(path="/a", include=["*"], heldout_fraction=0.5)})))


def test_all_settings_are_looked_at():
    assert len(ALL) > 60
    assert {"sources.a.format", "rules.pii.kinds", "dedup.near.rows", "partitions", *NOT_READING} <= set(ALL)


@pytest.mark.parametrize("setting", ALL)
def test_a_setting_that_decides_documents_names_the_tasks_that_it_decides(setting: str, data: DataConfig):
    (read, finish), (read_then, finish_then) = plan(data), plan(changed(data, setting.split(".")))
    assert (read.fingerprint == read_then.fingerprint) == (setting in NOT_READING or setting.startswith("dedup."))
    assert (finish.fingerprint == finish_then.fingerprint) == (setting in FILES_ONLY | LATER | OF_OTHERS)


def test_thresholds_of_rules_that_a_source_does_not_name_read_nothing_again(data: DataConfig):
    for rule in RULES:
        without = data.model_copy(
            update={"sources": {"a": data.sources["a"].model_copy(update={"clean": [r for r in RULES if r != rule]})}}
        )
        section = f"rules.{rule.replace('-', '_')}."
        mine = [setting for setting in ALL if setting.startswith(section)]
        assert mine
        for setting in mine:
            assert plan(without)[1].fingerprint == plan(changed(without, setting.split(".")))[1].fingerprint


def test_another_number_of_partitions_reads_a_source_again_only_where_its_lines_are_compared(data: DataConfig):
    source = data.sources["a"].model_copy(update={"clean": ["pii"]})
    plain = data.model_copy(update={"sources": {"a": source}})
    assert plan(plain)[0].fingerprint == plan(changed(plain, ["partitions"]))[0].fingerprint

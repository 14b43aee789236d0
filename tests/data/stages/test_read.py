"""What decides a task's name: a setting that is missing there would give one recipe the results of another. And what a
task says of input files that are damaged, or change while it reads them."""

import gzip
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from puna.config.data import DataConfig, Source
from puna.config.recipe import Recipe
from puna.config.rules import RULES
from puna.config.tasks import TaskTemplates
from puna.core.errors import DataError
from puna.core.layout import DataDir
from puna.core.records import read_record
from puna.data.input_file import InputFile
from puna.data.stages import read as module
from puna.data.stages.dedup import duplicate_stages
from puna.data.stages.finish import Finish
from puna.data.stages.lines import Clean, Lines
from puna.data.stages.plan import build_documents
from puna.data.stages.read import Read, read_tasks
from puna.data.stages.rule_inputs import Table

FILES_ONLY = {"sources.a.include", "sources.a.exclude", "task_bytes"}
"""Decide which files a task reads, by which it is known."""
LATER = {"shard_tokens", "most_lost"}
"""Decide token shards and what is warned of, no documents."""
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
            return value | {"x": {"sets": "0", "columns": "0", "tasks": TaskTemplates.model_construct()}.get(name, 0.5)}
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


DAMAGED = {
    "good.jsonl": b'{"text": "A text."}\n{"text": "Another text."}\n' * 4,
    "empty.jsonl": b"",
    "page.jsonl.gz": b"<!DOCTYPE html><title>404 Not Found</title>\n<p>The page was not found.</p>\n",
    "cut.jsonl.gz": gzip.compress(b'{"text": "Cut."}\n' * 5000, mtime=0)[:-20],
    "cut-at-once.jsonl.gz": gzip.compress(b'{"text": "Cut."}\n', mtime=0)[:12],
    "other.jsonl": b"PAR1 and so on",
    "garbage.jsonl.zst": b"\x28\xb5\x2f\xfd" + bytes(range(100)),
}
"""Files of one source; all but the first have something wrong."""


def test_files_that_gave_nothing_or_broke_off_are_named_in_the_record(
    recipe: Recipe, out: DataDir, shelf: Path, changed
):
    for name, content in DAMAGED.items():
        (shelf / "code" / name).write_bytes(content)
    dumps = {"sources__code__include": ["*.jsonl*"], "sources__code__format": "jsonl", "dedup__exact": "none"}
    build_documents(changed(recipe, **dumps), out)
    record = read_record(out.documents / "record.json")
    assert record is not None
    files = record["results"]["code"]["files"]
    assert (files["read"], files["bytes"]) == (len(DAMAGED), sum(map(len, DAMAGED.values())))
    assert files["nothing"] == {
        "reasons": {"no_record": 1, "rows.broken": 2, "unreadable": 2},
        "named": {
            "cut-at-once.jsonl.gz": {"unreadable": 1},
            "empty.jsonl": {"no_record": 1},
            "garbage.jsonl.zst": {"unreadable": 1},
            "other.jsonl": {"rows.broken": 1},
            "page.jsonl.gz": {"rows.broken": 2},
        },
    }
    assert files["broken"] == {"reasons": {"unreadable": 1}, "named": {"cut.jsonl.gz": {"unreadable": 1}}}
    assert record["results"]["poems"]["files"]["nothing"] == {"reasons": {}, "named": {}}


def test_an_input_file_that_changes_while_it_is_read_ends_the_build_and_the_next_one_reads_it_again(
    recipe: Recipe, out: DataDir, shelf: Path, changed, monkeypatch: pytest.MonkeyPatch, lines
):
    (shelf / "code" / "rows.jsonl").write_text("".join(f'{{"text": "Row {n}."}}\n' for n in range(20_000)))
    dumps = {"sources__code__include": ["*.jsonl"], "sources__code__format": "jsonl", "chunk_bytes": 1000}
    small = changed(recipe, **dumps)
    original = module.read_one

    def read_one(reader, raw, source, counts):
        if raw.id == "rows.jsonl#100":
            os.truncate(shelf / "code" / "rows.jsonl", 100_000)
        return original(reader, raw, source, counts)

    monkeypatch.setattr(module, "read_one", read_one)
    sentence = "rows.jsonl: is no longer what was listed when the build began: it had .* bytes .* and has 100,000 now"
    with pytest.raises(DataError, match=sentence):
        build_documents(small, out)
    (begun,) = {path.parent for path in out.work.glob("read/*/error.json")}
    assert not list(begun.glob("chunk-*.json"))
    monkeypatch.undo()
    build_documents(small, out)
    kept = [*lines("code", "train"), *lines("code", "heldout")]
    assert len(kept) == (shelf / "code" / "rows.jsonl").read_bytes().count(b"\n")


def test_where_the_input_and_the_build_lie_is_in_no_document_and_changes_no_byte(
    recipe: Recipe, out: DataDir, shelf: Path, tmp_path: Path, changed, hashes, lines
):
    shutil.copytree(shelf, elsewhere := tmp_path / "else" / "where")
    sources = {f"sources__{name}__path": str(elsewhere / name) for name in ("poems", "code")}
    other = DataDir(tmp_path / "other" / "build")
    build_documents(recipe, out)
    build_documents(changed(recipe, **sources), other)
    assert hashes(other.documents) == hashes(out.documents)
    written = [line for name in recipe.data.sources for kind in ("train", "heldout") for line in lines(name, kind)]
    assert len(written) == 24
    assert str(tmp_path) not in str(written)
    record = read_record(out.documents / "record.json")
    assert record is not None
    assert record["inputs"]["poems"] == "local files"

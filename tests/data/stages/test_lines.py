"""CCNet's repeated lines through the whole build, against the definition over all documents at once."""

from collections import Counter
from pathlib import Path

import pytest

from puna.config.recipe import Recipe
from puna.core.layout import DataDir
from puna.data.document_files import read_lines
from puna.data.documents import documents_files
from puna.data.rules.lines import line_hashes
from puna.data.stages.lines import Lines
from puna.data.stages.plan import build_documents, plan_documents

MENU = "Home | About us | Contact"


@pytest.fixture
def pages(shelf: Path) -> Path:
    """Pages with a menu and a footer that all have, and lines of their own; one is nothing but what others have."""
    for number, path in enumerate(sorted((shelf / "poems").rglob("*.txt"))):
        name = chr(ord("a") + number)
        own = [f"Page {name} speaks of {word} alone." for word in ("lambs", "tygers", "roses", "worms")]
        own += ["On 3 May 1794 it rained."] * (number in (4, 5)) + ["on 4 may 1795 it rained."] * (number == 6)
        own += [f"Twice in page {name}."] * 2 * (number == 7)
        path.write_text("\n".join([MENU, *own, "(c) 1794"]))
    (shelf / "poems" / "read" / "stub.txt").write_text(f"{MENU}\n(c) 1794\n{MENU}")
    return shelf


@pytest.mark.parametrize(("partitions", "chunk_bytes"), [(1, 10**6), (5, 300)])
def test_lines_that_stand_in_two_documents_go_from_both(
    recipe: Recipe, out: DataDir, pages: Path, lines, changed, partitions: int, chunk_bytes: int
):
    recipe = changed(
        recipe, sources__poems__clean=["lines"], rules__lines__min_chars=20, partitions=partitions,
        chunk_bytes=chunk_bytes, keep_dropped=True,
    )  # fmt: skip
    build_documents(recipe, out)
    texts = {
        path.relative_to(pages / "poems").as_posix(): path.read_text() for path in (pages / "poems").rglob("*.txt")
    }
    seen = Counter(value for text in texts.values() for value in set(line_hashes(text).tolist()))
    expected = {}
    for name, text in texts.items():
        own = dict(
            zip(reversed(line_hashes(text).tolist()), reversed(text.split("\n")), strict=True)
        )  # the first of each
        left = [line for value, line in reversed(own.items()) if seen[value] < 2]
        expected[name] = "\n".join(left)
    kept = {line["id"]: line["text"] for split in ("train", "heldout") for line in lines("poems", split)}
    assert {name: text.strip() for name, text in kept.items()} == {
        name: text.strip() for name, text in expected.items() if len(text.strip()) >= 20
    }
    everything = "\n".join(kept.values())
    assert "it rained" not in everything  # digits and case count for nothing
    assert everything.count("Twice in page h.") == 1  # in one document alone: the first stays
    assert everything.count("lambs alone") == 12
    dropped = {line["id"]: line["reason"] for line in lines("poems", "dropped")}
    assert dropped["read/stub.txt"].startswith("lines.")


def dumps(shelf: Path, *pages: tuple[str, str]) -> None:
    """Write pages as WET files of one record each: names of files, and the pages' own words."""
    for number, (name, own) in enumerate(pages):
        text = "\n".join(f"Line {word} is about {own} and nothing else." for word in ("one", "two", "three"))
        record = f"WARC/1.0\r\nWARC-Type: conversion\r\nWARC-Record-ID: <urn:{number}>\r\n"
        path = shelf / "crawl" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", newline="") as file:
            file.write(f"{record}Content-Length: {len(text.encode())}\r\n\r\n{text}\r\n\r\n")


CRAWL = {
    "include": ["**/*.wet"], "format": "wet", "clean": ["lines"], "heldout_pattern": "b.wet", "licence": "none",
}  # fmt: skip
DUMPS = ("CC-MAIN-2019-30", "CC-MAIN-2020-05", "CC-MAIN-2021-04")
WORDS = [f"{first}{second}" for first in "bcdfg" for second in "aeio"]


def crawled(recipe: Recipe, shelf: Path, changed, **settings) -> Recipe:
    sources = {"crawl": CRAWL | {"path": str(shelf / "crawl")}}
    settings = {"partitions": 1, "rules__lines": {"min_chars": 20} | settings.pop("lines", {})} | settings
    table = changed(recipe, **settings).model_dump() | {"mixture": {"crawl": 1.0}}
    return Recipe.model_validate(table | {"data": table["data"] | {"sources": sources}})


@pytest.mark.parametrize("count", [2, 3])
def test_a_page_of_several_dumps_stays_once_and_one_that_stands_twice_in_a_dump_goes(
    recipe: Recipe, out: DataDir, shelf: Path, lines, changed, count: int
):
    """As in cc_net: lines are counted for each dump alone, then one of equal texts stays."""
    both = [(f"{dump}/{file}.wet", own) for dump in DUMPS[:count] for file, own in zip("ab" * 10, WORDS, strict=True)]
    twice = [(f"{DUMPS[0]}/{file}.wet", "twins") for file in "ab"]
    dumps(shelf, *both, *twice, (f"{DUMPS[1]}/b.wet", "twins"))
    build_documents(crawled(recipe, shelf, changed), out)
    kept = [line for split in ("train", "heldout") for line in lines("crawl", split)]
    assert sorted(line["text"].split()[4] for line in kept) == sorted([*WORDS, "twins"])
    assert [line["id"] for line in kept if "twins" in line["text"]] == [f"{DUMPS[1]}/b.wet#urn:{20 * count + 2}"]
    reasons = Counter(line["reason"] for line in lines("crawl", "dropped"))
    assert reasons == {"duplicate": 20 * (count - 1), "lines.too_short": 2}


def test_how_files_are_cut_into_tasks_changes_nothing_but_groups_do(
    recipe: Recipe, tmp_path: Path, shelf: Path, changed
):
    own = [(f"{dump}/{file}.wet", f"{file}{word}") for word, dump in zip("xyz", DUMPS, strict=True) for file in "ab"]
    shared = [(f"{dump}/a.wet", "shared") for dump in DUMPS]
    dumps(shelf, *own, *shared, *[(f"{DUMPS[0]}/{file}.wet", "twice") for file in "ab"])

    def found(name: str, **settings) -> set[str]:
        out = DataDir(tmp_path / name)
        build_documents(crawled(recipe, shelf, changed, **settings), out)
        files = [*documents_files(out, "crawl", "train"), *documents_files(out, "crawl", "heldout")]
        return {line["text"].split()[4] for file in files for line in read_lines(out.documents / file.path)}

    alone = {word for _, word in own}
    assert found("one") == alone | {"shared"}
    assert found("tasks", task_bytes=1, partitions=3, chunk_bytes=200) == alone | {"shared"}
    assert found("files", lines={"max_files": 1}) == alone | {"shared", "twice"}
    assert found("pattern", lines={"dump": "(M)"}) == alone


def test_a_task_counts_the_lines_of_its_group_alone(recipe: Recipe, out: DataDir, shelf: Path, changed):
    """So memory is bounded by the largest group, however many dumps a source has."""
    dumps(shelf, *[(f"{dump}/{file}.wet", "x") for dump in DUMPS for file in "abc"])
    plan = plan_documents(crawled(recipe, shelf, changed, partitions=2, lines={"max_files": 2}), out)
    counted = [task for stage in plan.stages for task in stage if isinstance(task, Lines)]
    assert [[file.name for read in task.reads for _, file in read.files_in] for task in counted[::2]] == [
        [f"{dump}/{file}.wet" for file in files] for dump in sorted(DUMPS) for files in ("ab", "c")
    ]
    assert [task.partition for task in counted] == [0, 1] * 6

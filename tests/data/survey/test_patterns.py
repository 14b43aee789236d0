"""Patterns find exactly the files of their source, whatever files are called and however they lie mixed."""

import re
from random import Random

from puna.data.input.sources import _regex
from puna.data.survey.patterns import ending, escape, patterns

NAMES = ["a.txt", "b.txt", "[1].txt", "*.txt", "x?.md", "README", "a.jsonl", "b.jsonl.gz", "c\udce9.txt", "d"]


def matched(paths: dict[str, str | None], key: str) -> set[str]:
    """What a build would list: matched by `include` and not by `exclude`."""
    include, exclude = ([_regex(key, pattern) for pattern in given] for given in patterns(paths)[key])
    return {p for p in paths if any(r.fullmatch(p) for r in include) and not any(r.fullmatch(p) for r in exclude)}


def test_every_source_gets_its_own_files_in_random_trees() -> None:
    random = Random(1)
    for _ in range(300):
        directories = ["", "a/", "a/b/", "[x]/", "c d/"]
        names = [*NAMES, *(f"n{number}.e{number}" for number in range(random.choice([0, 60])))]
        of_directory = {directory: random.choice(["one", "two", None]) for directory in directories}
        paths: dict[str, str | None] = {}
        for name in names:
            directory = random.choice(directories)
            paths[f"{directory}{name}"] = random.choice([of_directory[directory], "one", "two", "three", None])
        for key in {key for key in paths.values() if key is not None}:
            assert matched(paths, key) == {path for path, of in paths.items() if of == key}


def test_one_source_has_one_pattern_for_each_ending_and_one_for_very_many() -> None:
    assert patterns({"a.txt": "one", "b/c.txt": "one", "README": "one"}) == {"one": (["**/*.txt", "**/README"], [])}
    assert patterns({f"news/{number}": "one" for number in range(10_000)}) == {"one": (["**/*"], [])}


def test_directories_of_one_kind_are_named_whole() -> None:
    paths = {f"a/{n}.jsonl": "one" for n in range(900)} | {f"b/x/{n}.jsonl": "two" for n in range(500)}
    assert patterns(paths) == {"one": (["**/*.jsonl"], ["b/**/*.jsonl"]), "two": (["b/**/*.jsonl"], [])}


def test_what_is_of_no_source_is_left_out_where_a_pattern_would_find_it() -> None:
    assert patterns({"a.json": "one", "b.json": None, "c.html": None}) == {"one": (["**/*.json"], ["b.json"])}


def test_endings_and_names_as_patterns() -> None:
    assert [ending(name) for name in ("a/b.jsonl.gz", "a.TXT", "README", "a.gz", "x.tar.zst", "v1. Introduction")] == [
        ".jsonl.gz", ".TXT", "README", "a.gz", ".tar.zst", "v1. Introduction",
    ]  # fmt: skip
    assert escape("a[1]*?.txt") == "a[[]1][*][?].txt"
    assert re.fullmatch(_regex("x", escape("caf\udce9.txt")), "caf\udce9.txt")

"""Which files of a source have their lines counted together: those of one dump, as in cc_net."""

import gzip
from pathlib import Path

import pytest
from pydantic import ValidationError

from puna.config.data import Source
from puna.config.rules import LineRules
from puna.data.input_file import InputFile
from puna.data.stages.line_groups import dump_of, line_groups

SEGMENT = "crawl-data/CC-MAIN-2019-30/segments/1563195523840.34/wet/CC-MAIN-20190715175205-20190715200159-00000"


def source(kind: str = "wet", clean: tuple[str, ...] = ("lines",)) -> Source:
    return Source(path="x", include=["*"], heldout_fraction=0.1, format=kind, clean=[*clean])


def file(name: str, url: str = "/nowhere") -> InputFile:
    return InputFile(url, name, 1, "")


@pytest.mark.parametrize(
    ("name", "dump"),
    [
        (f"{SEGMENT}.warc.wet.gz", "2019-30"),
        ("CC-MAIN-2020-05/a.warc.wet.gz", "2020-05"),
        ("cc-main-2020-05-00000.warc.wet.gz", "2020-05"),
        ("2019-30/a.warc.wet.gz", "2019-30"),  # as cc_net names a dump's directory
        ("wet/2019-30.warc.wet.gz", "2019-30"),
        ("2019-30_0000.warc.wet.gz", "2019-30"),
        ("CC-MAIN-2009-2010/a.wet", "2009-2010"),
        ("CC-MAIN-2012/a.wet", "2012"),
        ("CC-MAIN-20190715175205-20190715200159-00000.warc.wet.gz", ""),
        ("2019-07-15/a.warc.gz", ""),
        ("12019-30/a.warc.gz", ""),
        ("a.warc.gz", ""),
    ],
)
def test_the_path_of_a_file_tells_its_dump(name: str, dump: str):
    assert dump_of(source(), LineRules(), file(name)) == dump


def warcinfo(fields: str) -> bytes:
    return f"WARC/1.0\r\nWARC-Type: warcinfo\r\nContent-Length: {len(fields)}\r\n\r\n{fields}\r\n\r\n".encode()


PAGE = b"WARC/1.0\r\nWARC-Type: conversion\r\nContent-Length: 22\r\n\r\nisPartOf: CC-MAIN-1999\r\n\r\n\r\n"


@pytest.mark.parametrize(
    ("content", "dump"),
    [
        (warcinfo("robots: checked\r\nisPartOf: CC-MAIN-2019-13\r\noperator: X\r\n"), "2019-13"),
        (warcinfo("ispartof:  WIDE-2011 \n"), "WIDE-2011"),
        (warcinfo("robots: checked\r\n") + PAGE, ""),
        (PAGE.replace(b"isPartOf", b"isXartOf"), ""),
        (b"isPartOf: CC-MAIN-2019-13\r\n", ""),
        (b"", ""),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_file_whose_path_does_not_tell_is_asked_itself(tmp_path: Path, content: bytes, dump: str, packed: bool):
    path = tmp_path / "a.wet"
    path.write_bytes(gzip.compress(content) if packed else content)
    assert dump_of(source(), LineRules(), file("a.wet", str(path))) == dump
    assert dump_of(source("jsonl"), LineRules(), file("a.wet", str(path))) == ""


def test_a_real_file_of_common_crawl_says_its_dump(real):
    path = real("common_crawl/ccnet_sample.wet.txt")
    assert dump_of(source(), LineRules(), file("flat.txt", str(path))) == "2019-13"


def test_a_pattern_of_the_recipe_decides_alone():
    rules = LineRules(dump=r"^(?:part-)?([a-z]+)/")
    names = ["part-red/CC-MAIN-2019-30.wet", "red/a.wet", "blue/a.wet", "9/a.wet"]
    assert [dump_of(source(), rules, file(name)) for name in names] == ["red", "red", "blue", ""]
    assert dump_of(source(), LineRules(dump="(a)?b"), file("b")) == ""


def test_rows_from_common_crawl_are_told_apart_by_its_name_alone():
    names = ["CC-MAIN-2019-30/a.parquet", "2019-30/a.parquet"]
    assert [dump_of(source("parquet"), LineRules(), file(name)) for name in names] == ["2019-30", ""]


def test_groups_are_dumps_or_parts_of_them_in_the_order_of_the_files():
    names = ["2019-30/a", "2020-05/a", "2019-30/b", "2019-30/c", "2020-05/b", "plain"]
    files = [(index, file(name)) for index, name in enumerate(names)]

    def groups(most: int) -> list[list[int]]:
        return [[index for index, _ in group] for group in line_groups(source(), LineRules(max_files=most), files)]

    assert groups(0) == groups(3) == [[0, 2, 3], [1, 4], [5]]
    assert groups(2) == [[0, 2], [1, 4], [3], [5]]
    assert groups(1) == [[number] for number in range(6)]
    assert line_groups(source(clean=()), LineRules(max_files=1), files) == [files]


@pytest.mark.parametrize(
    ("pattern", "sentence"), [("CC-MAIN", "has 0 groups"), ("(a)(b)", "has 2 groups"), ("(", "is not a regular")]
)
def test_a_pattern_that_names_no_dump_is_refused(pattern: str, sentence: str):
    with pytest.raises(ValidationError, match=sentence):
        LineRules(dump=pattern)

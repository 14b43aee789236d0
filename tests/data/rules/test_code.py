import pickle
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.config.load import load_recipe
from puna.config.rules import CodeRules
from puna.data.document import EMPTY, Document, Dropped, Raw
from puna.data.readers.code import CodeReader
from puna.data.rules.code import (
    FEW_ALPHANUMERIC,
    LICENCE,
    LONG_LINE,
    LONG_LINES,
    REASONS,
    Code,
    alphanumeric_share,
    line_lengths,
)

CODE = "def add(a, b):\n    return a + b"
DOCUMENT = Document("code", "add.py", CODE, "add.py", licence="MIT", language="python")


def verdict(text: str, **settings: object) -> Document | Dropped:
    return Code(CodeRules.model_validate(settings))(replace(DOCUMENT, text=text))


def reason(text: str, **settings: object) -> tuple[str, str]:
    found = verdict(text, **settings)
    assert isinstance(found, Dropped)
    assert found.text == text
    return found.reason, found.detail


def test_good_code_stays_the_very_same_document() -> None:
    assert verdict(CODE) == DOCUMENT


def test_each_threshold_is_kept_at_its_value_and_not_beyond() -> None:
    assert isinstance(verdict("a" * 1000 + "\nb" * 30), Document)
    assert reason("a" * 1001 + "\nb" * 30) == (LONG_LINE, "1001 characters, at most 1000")
    assert isinstance(verdict("a" * 100), Document)
    assert reason("a" * 101 + "\n" + "b" * 100) == (LONG_LINES, "100.5 characters, at most 100")
    assert isinstance(verdict("a---"), Document)
    assert reason("a----") == (FEW_ALPHANUMERIC, "0.200, at least 0.25")


@pytest.mark.parametrize(("licence", "kept"), [("MIT", True), ("BSD-2-Clause", True), ("GPL-3.0", False), ("", False)])
def test_only_permitted_licences_stay(licence: str, kept: bool) -> None:
    found = Code(CodeRules())(replace(DOCUMENT, licence=licence))
    assert isinstance(found, Document) is kept
    assert kept or (isinstance(found, Dropped) and (found.reason, found.detail) == (LICENCE, licence or "unknown"))


def test_the_detail_says_what_the_notice_says() -> None:
    found = Code(CodeRules())(replace(DOCUMENT, licence="GPL-3.0", licence_from='"Licensed under the GPLv3."'))
    assert isinstance(found, Dropped)
    assert found.detail == 'GPL-3.0: "Licensed under the GPLv3."'


def test_a_notice_that_nobody_has_read_is_read_before_it_is_removed() -> None:
    found = verdict("# Copyright Frob. Licensed under the GPLv3.\n" + CODE)
    assert isinstance(found, Dropped)
    assert (found.reason, found.detail) == (LICENCE, 'GPL-3.0: "Licensed under the GPLv3."')
    stays = verdict("# Copyright Frob. Licensed under the BSD license.\n" + CODE)
    assert isinstance(stays, Document)
    assert (stays.text, stays.licence) == (CODE, "BSD")
    assert stays.licence_from == '"Licensed under the BSD license."'


def test_an_empty_list_keeps_every_licence() -> None:
    assert isinstance(Code(CodeRules(licences=[]))(replace(DOCUMENT, licence="")), Document)


# The reference hashes files for deduplication before it strips their headers: equal code under other names stays twice.


def test_files_that_differ_in_their_headers_only_become_equal() -> None:
    texts = {
        getattr(verdict(header + CODE), "text", None)
        for header in ("", "# Copyright 2019 A\n\n", "# Copyright 2020 B\n# All rights reserved.\n", "\n# © C\n")
    }
    assert texts == {CODE}


def test_headers_stay_where_the_recipe_says_so() -> None:
    text = "# Copyright A\n" + CODE
    assert verdict(text, strip_header=False) == replace(DOCUMENT, text=text)


def test_nothing_but_a_header_is_empty() -> None:
    assert reason("# Copyright A\n# MIT License")[0] == EMPTY


def test_every_reason_is_explained_and_the_rule_travels() -> None:
    assert set(REASONS) == {LICENCE, LONG_LINE, LONG_LINES, FEW_ALPHANUMERIC}
    assert pickle.loads(pickle.dumps(Code(CodeRules())))(DOCUMENT) == DOCUMENT


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_figures_are_those_of_a_plain_count(text: str) -> None:
    longest = current = total = 0
    lines, alphanumeric = 1, 0
    for character in text:
        if character == "\n":
            lines += 1
            current = 0
        else:
            current += 1
            total += 1
            longest = max(longest, current)
        alphanumeric += character.isalnum()
    assert line_lengths(text) == (longest, total / lines)
    assert alphanumeric_share(text) == (alphanumeric / len(text) if text else 0.0)


@given(
    st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"), min_size=1
    )
)
def test_figures_are_red_pajamas_where_lines_end_in_newlines(text: str) -> None:
    lines = text.splitlines()
    if lines and not text.endswith("\n"):
        lengths = [len(line) for line in lines]
        assert line_lengths(text) == (max(lengths), sum(lengths) / len(lengths))
    assert alphanumeric_share(text) == sum(int(character.isalnum()) for character in text) / len(text)


@pytest.mark.parametrize(("licence", "kept"), [("", False), ("GPL-3.0", False), ("MIT", True)])
@pytest.mark.parametrize("recipe", ["llama", "redpajama-v1"])
def test_the_profiles_drop_code_whose_licence_nobody_has_stated(recipe: str, licence: str, kept: bool) -> None:
    data = load_recipe(recipe).recipe.data
    fields = {"language": "python"} | ({"licence": licence} if licence else {})
    document = CodeReader("github", data.sources["github"], 10**6).document(Raw("add.py", CODE.encode(), fields))
    assert isinstance(document, Document)
    found = Code(data.rules.code)(document)
    assert isinstance(found, Document) is kept
    assert kept or (isinstance(found, Dropped) and found.reason == LICENCE)

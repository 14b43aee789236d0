import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.data.text.code_languages import COMMENTS
from puna.data.text.licence_expressions import is_permitted
from puna.data.text.licence_notices import Notice, notice, prose_notice

SET = Path(__file__).with_name("licence_notices.toml")


def names(expression: str) -> frozenset[str]:
    return frozenset(re.split(r"[()\s]+(?:AND|OR|WITH)[()\s]+", expression.strip("()")))


def test_the_licences_that_people_state_are_found_and_others_are_not() -> None:
    wrong = []
    for file in tomllib.loads(SET.read_text("utf-8"))["file"]:
        found = notice(file["text"].lstrip("\n"), file["language"]).licence
        decided = [is_permitted(expression or "MIT", ["mit", "bsd", "apache"]) for expression in (found, file["says"])]
        if names(found) != names(file["says"]) or decided[0] != decided[1]:
            wrong.append((file["text"], file["says"], found))
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "licence", "words"),
    [
        ("# Copyright J. Roe. Licensed under the\n# GPLv3. See COPYING.\n", "GPL-3.0", "Licensed under the GPLv3."),
        ("# SPDX-License-Identifier: MIT OR\n#   GPL-2.0-only\n", "MIT OR GPL-2.0-only", None),
        ("# Jane <jane@example.org>, license: GPL\n", "GPL", "Jane <email>, license: GPL"),
        ("x = 1\n", "", ""),
    ],
)
def test_a_notice_keeps_its_own_words(text: str, licence: str, words: str | None) -> None:
    found = notice(text, "python")
    assert found.licence == licence
    assert words is None or found.words == words


def test_a_notice_is_found_wherever_it_stands() -> None:
    late = "A long description. " * 500
    assert notice(f'"""{late}\n\nLicense: GPL\n"""\nimport os\n', "python").licence == "GPL"
    assert notice("int a;\n" * 2000 + "/* Licensed under the GPL, version 2. */\n", "c").licence == "GPL-2.0"
    assert notice("int a;\n" * 2000 + "// (c) J. Roe, GPL\nint b;\n", "c").licence == "GPL"


@pytest.mark.parametrize("language", sorted(COMMENTS))
def test_a_notice_is_found_in_every_language(language: str) -> None:
    comments = COMMENTS[language]
    texts = [f"{mark} Licensed under\n{mark} the GPL v3\n\ncode\n" for mark in comments.line]
    texts += [f"{opening}\n Licensed under\n the GPL v3\n{closing}\ncode\n" for opening, closing in comments.block]
    assert {notice(text, language).licence for text in texts} == {"GPL-3.0"}


def test_what_a_tag_names_is_not_said_twice() -> None:
    text = "// SPDX-License-Identifier: GPL-2.0-only OR MIT\n// Licensed under the GPL version 2 or the MIT license.\n"
    assert notice(text, "c").licence == "GPL-2.0-only OR MIT"
    assert notice(text + "// Parts are under the AGPL v3.\n", "c").licence == "(GPL-2.0-only OR MIT) AND AGPL-3.0"
    elsewhere = "int a;\n/* This function is taken from frob, under the GPL version 2. */\nint b;\n"
    assert notice(text + elsewhere, "c").licence == "(GPL-2.0-only OR MIT) AND GPL-2.0"


def test_the_same_words_in_a_text_for_people() -> None:
    assert prose_notice("This project is dual-licensed under MIT and Apache 2.0.") == Notice(
        "MIT OR Apache-2.0", "This project is dual-licensed under MIT and Apache 2.0."
    )


@given(st.text(alphabet="/*#-\"'`<>; \nlicensedGPL:(c)=\\MITor", max_size=300), st.sampled_from(["", *COMMENTS]))
def test_any_text_gives_a_notice(text: str, language: str) -> None:
    assert isinstance(notice(text, language), Notice)

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.data.text.code_header import without_copyright
from puna.data.text.code_languages import COMMENTS


@pytest.mark.parametrize("language", sorted(COMMENTS))
def test_a_notice_is_removed_in_every_language(language: str) -> None:
    comments = COMMENTS[language]
    for marker in comments.line:
        assert (
            without_copyright(f"{marker} Copyright 2020 A. Writer\n{marker} All rights.\n\ncode\n", language)
            == "code\n"
        )
    for opening, closing in comments.block:
        assert without_copyright(f"{opening}\n Copyright 2020\n{closing}\ncode\n", language) == "code\n"


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("python", "#!/usr/bin/env python\n# -*- coding: utf-8 -*-\n# Copyright X\n\nimport a\n",
         "#!/usr/bin/env python\n# -*- coding: utf-8 -*-\nimport a\n"),
        ("python", "# (c) 2020 X\n\n# Licensed under the Apache License.\n\n# What it does.\nimport a\n",
         "# What it does.\nimport a\n"),
        ("php", "<?php\n/*\n * Copyright X\n */\necho 1;\n", "<?php\necho 1;\n"),
        ("go", "// Copyright X\n//go:build linux\n\npackage a\n", "//go:build linux\n\npackage a\n"),
        ("rust", "// Copyright X\n//! What it does.\nfn a() {}\n", "//! What it does.\nfn a() {}\n"),
        ("c", "//////////\n// Copyright X\n//////////\nint a;\n", "int a;\n"),
        ("fortran", "C Copyright X\nC\nC More.\nCALL A\n", "CALL A\n"),
        ("c", "/* Copyright X */ int a;\n", " int a;\n"),
        ("c++", "/* -*- mode: C++ -*- */\n/* Copyright X */\nint a;\n", "/* -*- mode: C++ -*- */\nint a;\n"),
        ("html", "<!DOCTYPE html>\n<!-- Copyright X -->\n<p>\n", "<!DOCTYPE html>\n<p>\n"),
        ("", "\n// SPDX-License-Identifier: MIT\ncode\n", "code\n"),
    ],
)  # fmt: skip
def test_what_the_machine_reads_stays(language: str, text: str, expected: str) -> None:
    assert without_copyright(text, language) == expected


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("python", '"""Copyright is what this module is about."""\nimport a\n'),
        ("python", "# What it does.\n\n# Copyright X\nimport a\n"),
        ("python", "import a  # Copyright X\n"),
        ("c", "/* Copyright X never ends\nint a;\n"),
        ("c", "#include <a.h>\n// Copyright X\n"),
        ("c", "int a;\n"),
        ("c", ""),
    ],
)
def test_anything_else_stays(language: str, text: str) -> None:
    assert without_copyright(text, language) == text


@given(st.text(alphabet="/*#-<!>; \nCopyright", max_size=200), st.sampled_from(["", *COMMENTS]))
def test_only_something_at_the_beginning_is_ever_removed(text: str, language: str) -> None:
    rest = without_copyright(text, language)
    kept = 0
    while kept < len(rest) and rest[kept] == text[kept]:
        kept += 1
    assert text.endswith(rest[kept:])

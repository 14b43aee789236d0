import pytest

from puna.data.text.licences import detect_licence, is_licence_file, is_permitted, noticed_licence, stated_licence

MIT = """The MIT License (MIT)

Copyright (c) 2020 A. Writer

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software ("the Software"), to deal in it without restriction.

The above copyright notice and this permission notice shall be included.
"""
BSD = """Copyright (c) 2020. All rights reserved.

Redistribution and use in source and binary forms, with or without
modification, are permitted provided that the following conditions are met:
{}
THIS SOFTWARE IS PROVIDED AS IS.
"""


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        (MIT, "MIT"),
        (MIT.replace("\n", "\n * "), "MIT"),
        (MIT.split("The above")[0], "MIT-0"),
        ("                 Apache License\n           Version 2.0, January 2004\n", "Apache-2.0"),
        ('Copyright X\n\nLicensed under the Apache License, Version 2.0 (the "License");', "Apache-2.0"),
        (BSD.format(""), "BSD-2-Clause"),
        (BSD.format("Neither the name of X nor the names of its contributors may be\nused to endorse"), "BSD-3-Clause"),
        (BSD.format("All advertising materials mentioning features must"), "BSD-4-Clause"),
        ("  GNU GENERAL PUBLIC LICENSE\n    Version 3, 29 June 2007\n", "GPL-3.0"),
        ("  GNU GENERAL PUBLIC LICENSE\n    Version 2, June 1991\n", "GPL-2.0"),
        ("GNU LESSER GENERAL PUBLIC LICENSE\n Version 2.1, February 1999", "LGPL-2.1"),
        ("GNU LESSER GENERAL PUBLIC LICENSE\n Version 3, 29 June 2007", "LGPL-3.0"),
        ("GNU AFFERO GENERAL PUBLIC LICENSE\n Version 3, 19 November 2007", "AGPL-3.0"),
        ("Mozilla Public License Version 2.0\n====", "MPL-2.0"),
        ("This is free and unencumbered software released into the public domain.", "Unlicense"),
        ("Boost Software License - Version 1.0 - August 17th, 2003", "BSL-1.0"),
        ("CC0 1.0 Universal", "CC0-1.0"),
        ("SPDX-License-Identifier: BSD-3-Clause\n", "BSD-3-Clause"),
        ("All rights reserved. You may not copy this.", ""),
        ("Text of our own. " * 400 + MIT, ""),
        ("", ""),
    ],
)
def test_licences_are_known_by_their_own_sentences(text: str, licence: str) -> None:
    assert detect_licence(text) == licence


def test_the_project_itself_is_recognised() -> None:
    from pathlib import Path

    assert detect_licence((Path(__file__).parents[3] / "LICENSE").read_text()) == "Apache-2.0"


def test_a_file_states_its_licence_near_its_beginning() -> None:
    assert stated_licence("// SPDX-License-Identifier: MIT OR Apache-2.0\nint a;") == "MIT OR Apache-2.0"
    assert stated_licence("/* SPDX-License-Identifier: (GPL-2.0 WITH X) */") == "(GPL-2.0 WITH X)"
    assert stated_licence("<!-- SPDX-License-Identifier: BSD-3-Clause -->") == "BSD-3-Clause"
    assert stated_licence("x" * 5000 + "SPDX-License-Identifier: MIT") == ""


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("/*\n * Redistribute it under the terms of the\n * GNU General Public License as published by the\n"
         " * Free Software Foundation; either version 2 of the License,", "GPL-2.0"),
        ("# licensed under the GNU Lesser General\n# Public License, version 2.1", "LGPL-2.1"),
        ("// Under the GNU Affero General Public License.", "AGPL"), ("# Licensed under the MIT License", ""),
        ("x" * 5000 + "under the GNU General Public License", ""), ("under" + " " * 2990, ""),
    ],
)  # fmt: skip
def test_a_files_own_notice_names_a_gnu_licence(text: str, licence: str) -> None:
    assert noticed_licence(text) == licence


@pytest.mark.parametrize(
    ("path", "verdict"),
    [
        ("LICENSE", True), ("a/LICENSE.txt", True), ("License.md", True), ("LICENCE", True), ("COPYING.LESSER", True),
        ("LICENSE-APACHE", True), ("UNLICENSE", True), ("x.zip!LICENSE", True), ("MIT-LICENSE.txt", True),
        ("license.py", False), ("licensing.txt", False), ("a/license/b.txt", False), ("copying_machine.c", False),
        ("", False),
    ],
)  # fmt: skip
def test_licence_files_are_known_by_their_names(path: str, verdict: bool) -> None:
    assert is_licence_file(path) is verdict


@pytest.mark.parametrize(
    ("expression", "permitted"),
    [
        ("MIT", True), ("mit", True), ("Apache-2.0", True), ("BSD-3-Clause", True), ("GPL-3.0", False), ("", False),
        ("GPL-2.0 OR MIT", True), ("GPL-2.0 AND MIT", False), ("(MIT OR Apache-2.0)", True),
        ("MIT AND Apache-2.0", True), ("(MIT OR Apache-2.0) AND GPL-2.0", False), ("GPL-2.0 AND (MIT OR BSD)", False),
        ("(MIT OR GPL-2.0) AND BSD-3-Clause", True), ("GPL-3.0 AND LGPL-3.0 OR MIT", True), ("MIT AND", False),
        ("((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause)", True), ("(MIT", False), ("MIT)", False), ("OR", False),
        ("(GPL-2.0)AND(MIT)", False), ("MIT (GPL-2.0)", False), ("apache license 2.0", True), ("()", False),
        ("Apache-2.0 WITH LLVM-exception", True), ("0BSD", False), ("unknown", False),
    ],
)  # fmt: skip
def test_an_expression_is_permitted_if_it_can_be_fulfilled(expression: str, permitted: bool) -> None:
    assert is_permitted(expression, ["apache", "bsd", "mit"]) is permitted

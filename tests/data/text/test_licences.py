import pytest

from puna.data.text.licences import (
    UNKNOWN,
    DirectoryLicence,
    detect_licence,
    directory_licence,
    is_licence_file,
    nearest_licence,
)

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
        ("Business Source License 1.1\n\nLicensor: X", "BUSL-1.1"),
        ("Elastic License 2.0\n\nURL: https://example.org", "Elastic-2.0"),
        ("Server Side Public License\nVERSION 1, OCTOBER 16, 2018\n", "SSPL-1.0"),
        ("Eclipse Public License - v 2.0\n", "EPL-2.0"),
        ("COMMON DEVELOPMENT AND DISTRIBUTION LICENSE (CDDL) Version 1.0\n", "CDDL-1.0"),
        ("EUROPEAN UNION PUBLIC LICENCE v. 1.2\n", "EUPL-1.2"),
        (
            "Attribution-NonCommercial 4.0 International\n\nCreative Commons Attribution-NonCommercial 4.0\n",
            "CC-BY-NC-4.0",
        ),
        ("Creative Commons Attribution-ShareAlike 4.0 International", "CC-BY-SA-4.0"),
        (
            '"Commons Clause" License Condition v1.0\n\nLicense: Apache 2.0\n',
            "Apache-2.0 AND LicenseRef-Commons-Clause",
        ),
        ("This project is licensed under the GPLv3, see COPYING.", "GPL-3.0"),
        ("Frob is licensed under MIT or Apache-2.0, at your option.", "MIT OR Apache-2.0"),
        ("Copyright X. Proprietary and confidential.", "LicenseRef-Proprietary"),
        ("All rights reserved. You may not copy this.", ""),
        (MIT + "IN NO EVENT ... OTHER DEALINGS IN THE SOFTWARE.\n\nFrob's parts are licensed under the GPL.", "MIT"),
        ("Text of our own. " * 400 + MIT, ""),
        ("", ""),
    ],
)
def test_licences_are_known_by_their_own_sentences(text: str, licence: str) -> None:
    assert detect_licence(text) == licence


def test_the_project_itself_is_recognised() -> None:
    from pathlib import Path

    assert detect_licence((Path(__file__).parents[3] / "LICENSE").read_text()) == "Apache-2.0"


@pytest.mark.parametrize(
    ("path", "verdict"),
    [
        ("LICENSE", True), ("a/LICENSE.txt", True), ("License.md", True), ("LICENCE", True), ("COPYING.LESSER", True),
        ("LICENSE-APACHE", True), ("UNLICENSE", True), ("x.zip!LICENSE", True), ("MIT-LICENSE.txt", True),
        ("COPYING3", True), ("GPL-LICENSE.txt", True),
        ("LICENSE-THIRD-PARTY.tx"
         "t", True), ("ThirdPartyNotices.tx"
                      "t", True), ("LICENSE.jquery", True), ("license.py", False), ("licensing.txt", False),
                      ("a/license/b.txt", False), ("copying_machine.c", False),
        ("", False),
    ],
)  # fmt: skip
def test_licence_files_are_known_by_their_names(path: str, verdict: bool) -> None:
    assert is_licence_file(path) is verdict


APACHE = "Apache License\nVersion 2.0, January 2004\n"
GPL = "GNU GENERAL PUBLIC LICENSE\nVersion 3, 29 June 2007\n"
LGPL = "GNU LESSER GENERAL PUBLIC LICENSE\nVersion 3, 29 June 2007\n"


@pytest.mark.parametrize(
    ("texts", "licence"),
    [
        ({"LICENSE": MIT}, "MIT"), ({"LICENSE": MIT, "COPYING": MIT}, "MIT"),
        ({"LICENSE-MIT": MIT, "LICENSE-APACHE": APACHE}, "Apache-2.0 OR MIT"),
        ({"LICENSE.MIT": MIT, "LICENSE.Apache-2.0.txt": APACHE}, "Apache-2.0 OR MIT"),
        ({"MIT-LICENSE.txt": MIT, "GPL-LICENSE.txt": GPL}, "GPL-3.0 OR MIT"),
        ({"LICENSE-MIT": MIT, "UNLICENSE": "This is free and unencumbered software released into the public domain."},
         "MIT OR Unlicense"),
        ({"LICENSE": GPL, "LICENSE-THIRD-PARTY.txt": MIT}, "GPL-3.0"),
        ({"LICENSE": MIT, "LICENSE-3rdparty": GPL}, "MIT"),
        ({"LICENSE": GPL, "ThirdPartyLicenses.txt": MIT}, "GPL-3.0"),
        ({"LICENSE": MIT, "COPYING": GPL}, "GPL-3.0 AND MIT"),
        ({"LICENSE": GPL, "LICENSE-MIT": MIT}, "GPL-3.0 AND MIT"), ({"LICENSE-MIT": MIT}, "MIT"),
        ({"COPYING": GPL, "COPYING.LESSER": LGPL}, "GPL-3.0 AND LGPL-3.0"),
        ({"COPYING.BSD": BSD.format(""), "COPYING.GPLv3": GPL}, "BSD-2-Clause AND GPL-3.0"),
        ({"LICENSE_1_0.txt": MIT}, "MIT"), ({"LICENSE-2.0.txt": APACHE, "LICENSE.docs": GPL}, "Apache-2.0"),
        ({"LICENSE.zh-CN.md": MIT}, "MIT"), ({"LICENSE": "Of our own."}, UNKNOWN),
        ({"LICENSE": MIT, "LICENSE.md": "Of our own."}, "LicenseRef-Unknown AND MIT"),
        ({"LICENSE": "Under LICENSE-MIT and LICENSE-APACHE, as you choose.", "LICENSE-MIT": MIT,
         "LICENSE-APACHE": APACHE},
         "Apache-2.0 OR MIT"),
        ({"LICENSE-THIRD-PARTY": MIT}, ""), ({"LICENSE.jquery": MIT}, ""), ({}, ""),
    ],
)  # fmt: skip
def test_files_are_alternatives_only_where_their_names_say_so(texts: dict[str, str], licence: str) -> None:
    assert directory_licence(texts).licence == licence


def test_a_licence_of_something_that_is_named_holds_as_well() -> None:
    found = directory_licence({"LICENSE": MIT, "LICENSE.frob": GPL})
    assert found == DirectoryLicence("MIT", ("GPL-3.0",), ("LICENSE", "LICENSE.frob"))
    assert nearest_licence([found]) == "MIT AND GPL-3.0"
    assert nearest_licence([directory_licence({"LICENSE.frob": GPL}), DirectoryLicence("MIT")]) == "MIT AND GPL-3.0"
    assert nearest_licence([directory_licence({"LICENSE.frob": MIT})]) == "LicenseRef-Unknown AND MIT"
    assert directory_licence({"LICENSE.frob": GPL}, "frob-1.0").licence == "GPL-3.0"
    assert nearest_licence([]) == ""

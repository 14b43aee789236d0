import pytest

from puna.data.text.licence_names import mentions


@pytest.mark.parametrize(
    ("text", "licences"),
    [
        ("gnu general public license as published by the fsf; either version 2 of the license, or (at your option) any"
         " later version", ["GPL-2.0-or-later"]),
        ("version 2 of the gnu general public license", ["GPL-2.0"]), ("gplv2+", ["GPL-2.0-or-later"]),
        ("gpl (>= 3)", ["GPL-3.0-or-later"]), ("gpl-2.0-only", ["GPL-2.0"]), ("gnu lesser gpl 2.1", ["LGPL-2.1"]),
        ("gnu affero general public license v3.0", ["AGPL-3.0"]), ("lgpl/gpl", ["LGPL", "GPL"]),
        ("mit or apache-2.0", ["MIT", "Apache-2.0"]), ("bsd 3-clause license", ["BSD-3-Clause"]),
        ("2-clause bsd license", ["BSD-2-Clause"]), ("simplified bsd", ["BSD-2-Clause"]), ("bsd", ["BSD"]),
        ("cc by-nc-sa 4.0", ["CC-BY-NC-SA-4.0"]), ("creativecommons.org/licenses/by-sa/3.0/", ["CC-BY-SA-3.0"]),
        ("creative commons attribution-noncommercial-noderivatives 4.0", ["CC-BY-NC-ND-4.0"]), ("cc0 1.0", ["CC0-1.0"]),
        ("bsl-1.0", ["BSL-1.0"]), ("bsl 1.1", ["BUSL-1.1"]), ("business source license 1.1", ["BUSL-1.1"]),
        ("eclipse public license v. 2.0", ["EPL-2.0"]), ("epl", ["EPL"]), ("cddl-1.1", ["CDDL-1.1"]),
        ("eclipse distribution license", ["BSD-3-Clause"]), ("sspl v1", ["SSPL-1.0"]), ("elv2", ["Elastic-2.0"]),
        ("export_symbol_gpl", []), ("mitre", []), ("apache software foundation", ["Apache"]), ("replay", []), ("", []),
        ("same terms as perl itself", ["Artistic-1.0-Perl OR GPL-1.0-or-later"]),
    ],
)  # fmt: skip
def test_names_become_identifiers(text: str, licences: list[str]) -> None:
    assert [mention.licence for mention in mentions(text)] == licences


def test_words_with_other_meanings_are_marked() -> None:
    assert [mention.bare for mention in mentions("mit, mit license, gpl, apache 2.0, apache")] == [
        True, False, False, False, True,
    ]  # fmt: skip

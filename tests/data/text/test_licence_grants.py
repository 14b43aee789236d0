import pytest

from puna.data.text.licence_grants import is_granted, written_out
from puna.data.text.licence_names import mentions


def granted(text: str, *, notable: bool = True) -> list[str]:
    found, before, was = [], None, False
    for mention in mentions(text):
        was = is_granted(text, mention, sentence=0, before=before, was=was, notable=notable)
        before = mention
        found += [mention.licence] if was else []
    return found


@pytest.mark.parametrize(
    ("text", "licences"),
    [
        ("licensed under the gpl", ["GPL"]), ("license: gpl", ["GPL"]), ("gpl", ["GPL"]), ("@license gpl", ["GPL"]),
        ("frob | gpl | 2020", ["GPL"]), ("(c) 2020 j. roe, gpl", ["GPL"]), ("this is gpl licensed", ["GPL"]),
        ("no longer under the gpl", []), ("not gpl", []), ("non-gpl", []), ("gpl-compatible", []), ("gpl-free", []),
        ("compatible with the gpl", []), ("unlike the gpl", []), ("under the mit license, not the gpl", ["MIT"]),
        ("formerly under the gpl, now under the mit license", ["MIT"]), ("instead of the gpl, the mit license", []),
        ("was under the gpl, and is now under the mit license", ["MIT"]), ("the gpl does not apply", []),
        ("you may not use this file except in compliance with the mpl", ["MPL"]),
        ("checks whether it is under the gpl", []), ("under the gpl or mit", ["GPL", "MIT"]), ("built at mit", []),
        ("a tool that detects faces, licensed under the gpl", ["GPL"]), ("runs on bsd and apache", []),
        ("without any warranty; under the gpl", ["GPL"]), ("gpl headers are added", []), ("licenses known:\ngpl", []),
    ],
)  # fmt: skip
def test_a_grant_is_told_from_a_denial_and_from_talk(text: str, licences: list[str]) -> None:
    assert granted(text) == licences


def test_amid_code_a_comment_must_speak_of_that_code() -> None:
    assert granted("the gpl", notable=False) == []
    assert granted("readline is under the gpl", notable=False) == []
    assert granted("this function is under the gpl", notable=False) == ["GPL"]
    assert granted("taken from frob (gpl)", notable=False) == ["GPL"]


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("permission is hereby granted, free of charge, to any person obtaining a copy", "MIT-0"),
        ("permission to use, copy, modify, and distribute this software for any purpose", "ISC"),
        ("altered source versions must be plainly marked", "Zlib"),
        ("unauthorized copying of this file is strictly prohibited", "LicenseRef-Proprietary"),
        ("may not be reproduced without the prior written consent of frob", "LicenseRef-Proprietary"),
        ("may not be copied, modified, or distributed except according to those terms", None),
        ("may not be used to endorse or promote products without specific prior written permission", None),
        ("this is not proprietary software", None), ("for non-commercial use only", "LicenseRef-NonCommercial"),
        ("all rights reserved", None),
    ],
)  # fmt: skip
def test_licences_and_refusals_in_their_own_words(text: str, licence: str | None) -> None:
    assert [mention.licence for mention in written_out(text, notable=True)] == ([licence] if licence else [])


def test_a_refusal_amid_code_does_not_count() -> None:
    assert list(written_out("must not be used without permission of the lock's owner", notable=False)) == []

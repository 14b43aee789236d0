"""Mojibake: what is read again, what stays, and in what time."""

# ruff: noqa: RUF001

import tomllib
from pathlib import Path

import pytest
from growth import assert_in_proportion
from hypothesis import given, settings
from hypothesis import strategies as st

from puna.data.text.invisible import visible_text
from puna.data.text.mojibake import repaired

TEXTS = tomllib.loads(Path(__file__).with_name("mojibake_texts.toml").read_text("utf-8"))
MISREAD = {"iso8859_2"}
"""It is taken for windows-1250, from which it differs in a few letters."""
LOST = {"cp1250", "cp1251", "cp1253", "cp1257", "cp1251 cp1251"} | MISREAD
"""Soft hyphens and no-break spaces of these do not come through a reader, so what had them is not whole again."""


def spoilt(text: str, encodings: str) -> str:
    for name in encodings.split():
        text = "".join(bytes([byte]).decode(name, "ignore") or chr(byte) for byte in text.encode())
    return text


def again(text: str) -> str:
    found = repaired(text)
    return visible_text(found.text) if found else text


@pytest.mark.parametrize(("text", "encodings"), TEXTS["spoilt"])
def test_what_was_read_in_another_encoding_is_read_again(text: str, encodings: str):
    broken = spoilt(text, encodings)
    assert (again(broken) == text) == (encodings not in MISREAD)
    through_a_reader = visible_text(broken)
    assert repaired(through_a_reader) is not None
    assert again(through_a_reader) == text or encodings in LOST


@pytest.mark.parametrize("text", TEXTS["whole"] + [text for text, _ in TEXTS["spoilt"]])
def test_what_people_write_stays_as_it_is(text: str):
    assert repaired(text) is None


def test_lines_without_any_stay_where_others_are_repaired():
    whole = "\n".join(TEXTS["whole"][:12])
    text = f"{whole}\nFrom a comment: {spoilt('naïve café', 'cp1252')}\n{whole}"
    assert again(text) == f"{whole}\nFrom a comment: naïve café\n{whole}"


def test_words_and_encodings_are_told():
    found = repaired(spoilt("Très bien, dit-elle: c’était “naïf”.", "cp1252 mac_roman"))
    assert found is not None
    assert (found.words, found.encodings) == (3, ("mac_roman", "cp1252"))


def test_text_that_is_broken_in_another_way_stays():
    text = "Усе людзі нараджаюцца свабоднымі і роўнымі ў сваёй годнасці і правах. Яны надзелены розумам і сумленнем."
    assert repaired(f"{text} У гэты час.".encode("cp1251").decode("iso8859_5")) is None


_marks = st.text("ÃÂâÐÑРСВГ€™©¶ \x81\x9d\xad¡\n«»“”’é├┬ŸŒœaZ")


@settings(deadline=None, max_examples=200)
@given(st.one_of(_marks, st.text()))
def test_any_text_can_be_judged(text: str):
    again(text).encode()


@pytest.mark.parametrize("unit", ["Ã", "Ã©", "â€", "Ã© ", "é", "Р", "aÃ", "é\n", "├"])
def test_the_time_grows_with_the_length_and_not_its_square(unit: str):
    assert_in_proportion(lambda size: repaired((unit * size)[:size]), 20_000)

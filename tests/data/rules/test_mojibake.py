"""Mojibake: what is read again, what stays, and in what time."""

# ruff: noqa: RUF001

import pickle
import tomllib
from pathlib import Path

import pytest
from growth import assert_in_proportion
from hypothesis import given, settings
from hypothesis import strategies as st

from puna.config.rules import MojibakeRules
from puna.data.document import Document, Dropped
from puna.data.rules.mojibake import MOJIBAKE, Mojibake
from puna.data.text.invisible import visible_text

TEXTS = tomllib.loads(Path(__file__).with_name("mojibake_texts.toml").read_text("utf-8"))
MISREAD = {"iso8859_2"}
"""The wrong one of two encodings that differ in a few letters is taken for it."""
LOST = {"cp1250", "cp1251", "cp1253", "cp1257", "cp1251 cp1251", "cp1252 cp1252"} | MISREAD
"""Soft hyphens and no-break spaces of these do not come through a reader, so what had them is not whole again."""


def spoilt(text: str, encodings: str) -> str:
    for name in encodings.split():
        text = "".join(bytes([byte]).decode(name, "ignore") or chr(byte) for byte in text.encode())
    return text


def repaired(text: str) -> str:
    found = Mojibake(MojibakeRules())(Document("web", "1", text, ""))
    assert isinstance(found, Document)
    return found.text


@pytest.mark.parametrize(("text", "encodings"), TEXTS["spoilt"])
def test_what_was_read_in_another_encoding_is_read_again(text: str, encodings: str):
    broken = spoilt(text, encodings)
    assert (repaired(broken) == text) == (encodings not in MISREAD)
    through_a_reader = visible_text(broken)
    assert repaired(through_a_reader) != through_a_reader
    assert repaired(through_a_reader) == text or encodings in LOST
    assert isinstance(Mojibake(MojibakeRules(action="drop"))(Document("web", "1", broken, "")), Dropped)


@pytest.mark.parametrize("text", TEXTS["whole"] + [text for text, _ in TEXTS["spoilt"]])
def test_what_people_write_stays_as_it_is(text: str):
    document = Document("web", "1", text, "")
    assert Mojibake(MojibakeRules())(document) is document
    assert Mojibake(MojibakeRules(action="drop"))(document) is document


def test_lines_without_any_stay_where_others_are_repaired():
    whole = "\n".join(TEXTS["whole"][:12])
    text = f"{whole}\nFrom a comment: {spoilt('naïve café', 'cp1252')}\n{whole}"
    assert repaired(text) == f"{whole}\nFrom a comment: naïve café\n{whole}"


def test_repairs_are_counted_and_reported_and_drops_have_their_reason():
    text = spoilt("Très bien, dit-elle: c’était “naïf”.", "cp1252 cp1252")
    rule = pickle.loads(pickle.dumps(Mojibake(MojibakeRules())))
    found = rule(Document("web", "1", text, "", scores={"language": 0.9}))
    assert found.text == "Très bien, dit-elle: c’était “naïf”."
    assert found.scores == {"language": 0.9, "mojibake": 3.0}
    row = {"rule": "mojibake", "source": "web", "id": "1", "found": "3 words, read as cp1252, then cp1252"}
    assert (rule.report(), rule.report()) == ([row], [])
    dropped = Mojibake(MojibakeRules(action="drop"))(Document("web", "1", text, ""))
    assert dropped == Dropped("web", "1", MOJIBAKE, "3 words, read as cp1252, then cp1252", text)


def test_what_appears_by_the_repair_and_is_not_visible_goes():
    assert repaired("ï»¿Le cafÃ©Â\xadde\xa0lâ€™Ã©tÃ©") == "Le caféde l’été"


_marks = st.text("ÃÂâÐÑРСВГ€™©¶ \x81\x9d\xad¡\n«»“”’é├┬ŸŒœaZ")


@settings(deadline=None, max_examples=200)
@given(st.one_of(_marks, st.text()))
def test_any_text_can_be_judged(text: str):
    repaired(text).encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("unit", ["Ã", "Ã©", "â€", "Ã© ", "é", "Р", "aÃ", "é\n", "├"])
def test_the_time_grows_with_the_length_and_not_its_square(unit: str):
    assert_in_proportion(lambda size: repaired((unit * size)[:size]), 40_000)

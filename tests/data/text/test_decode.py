"""Text from bytes, and what a document may hold of it."""

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.data.text.decode import clean_text, decode_text, marked_encoding, nearly_utf8, western

MARKS = {
    "utf-8-sig": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}


@pytest.mark.parametrize("encoding", MARKS)
def test_a_byte_order_mark_tells_the_encoding(encoding: str):
    content = MARKS[encoding] + "naïve 🦙".encode(encoding.removesuffix("-sig"))
    assert decode_text(content) == "naïve 🦙"
    assert marked_encoding(content)


def test_without_a_mark_it_is_utf8_or_nothing():
    assert decode_text("naïve".encode()) == "naïve"
    assert marked_encoding(b"abc") == ""
    with pytest.raises(UnicodeDecodeError):
        decode_text("naïve".encode("latin-1"))


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("a\r\nb\rc\n\rd", "a\nb\nc\n\nd"),
        ("a\0b", "ab"),
        ("a\ud800b", "ab"),
        ("\ud83e\udd99", "🦙"),
        ("\n \n  if x:\n    y \n\n\t ", "  if x:\n    y"),
        (" \n\t\n", ""),
        ("a\u2028b", "a\nb"),
    ],
)
def test_text_is_cleaned(text: str, clean: str):
    assert clean_text(text) == clean


@given(st.text(st.characters(exclude_categories=[]), max_size=60))
def test_clean_text_is_encodable_and_stays_as_it_is(text: str):
    clean = clean_text(text)
    clean.encode()
    assert "\r" not in clean
    assert "\0" not in clean
    assert clean == clean.rstrip()
    assert clean_text(clean) == clean
    if not any(character in "\x1b\ufffa" or "\x80" <= character <= "\x9f" for character in text):
        words = [character for character in text if character.isalnum() and character not in "\u115f\u1160\u3164\uffa0"]
        assert [character for character in clean if character.isalnum()] == words


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Größe, Köln".encode() + b" M\xfcnchen", "Größe, Köln München"),
        ("Москва".encode() + b" \x96 x", "Москва \u2013 x"),
        ("é".encode() + b"\xe9", "éé"),
        ("é".encode() + b"\xe9\xe9", ""),
        ("語".encode() + b"\xe9", ""),
        ("Größe, Köln".encode() + b"\x81", ""),
        (b"\xe9t\xe9", ""),
        ("Привет, мир".encode("cp1251"), ""),
        ("这是一个注释用于测试编码".encode("gbk"), ""),
    ],
)
def test_nearly_utf8_is_mostly_valid(content: bytes, text: str):
    assert nearly_utf8(content) == text


def test_western_bytes_always_decode():
    assert western(b"\x80\xe9") == "€é"
    assert western(b"\x81\xe9") == "\x81é"

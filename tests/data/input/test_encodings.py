import bz2
import gzip
import io
from pathlib import Path

import pytest

from puna.data.input.compression import BrokenStreamError
from puna.data.input.encodings import json_lines_as_utf8, xml_as_utf8
from puna.data.input.streams import open_stream
from puna.data.input_file import InputFile

XML = '<?xml version="1.0" encoding="{}"?>\n<a b="ÿ">Größe, Кот, 😀</a>\n'


def buffered(content: bytes) -> io.BufferedReader:
    return io.BufferedReader(io.BytesIO(content))


@pytest.mark.parametrize(
    "coding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "utf-8-sig"]
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
def test_xml_tells_its_encoding_by_a_mark_or_by_the_width_of_its_first_character(tmp_path: Path, coding, pack):
    content = pack(XML.format(coding).encode(coding))
    (tmp_path / "f").write_bytes(content)
    with open_stream(InputFile(str(tmp_path / "f"), "f", len(content), "")) as stream:
        assert xml_as_utf8(stream).read().decode("utf-8-sig") == XML.format(coding)


@pytest.mark.parametrize(
    ("label", "text"),
    [("ISO-8859-1", "é"), ("windows-1251", "Кот"), ("koi8-r", "Кот"), ("Shift_JIS", "猫"), ("iso-8859-2", "ř"),
     ("GB18030", "猫😀"), ("us-ascii", "cat")],
)  # fmt: skip
def test_xml_is_in_the_encoding_that_it_declares(label, text):
    for quote in "\"'":
        xml = f"<?xml version='1.0' encoding={quote}{label}{quote} standalone='yes'?><a>{text * 9000}</a>"
        assert xml_as_utf8(buffered(xml.encode(label))).read().decode() == xml


def test_xml_that_is_utf_8_is_not_touched():
    for label in ("UTF-8", "utf8", "UTF-16", "US-ASCII"):  # UTF-16 in single bytes: what .NET writes from strings
        stream = buffered(XML.format(label).encode())
        assert xml_as_utf8(stream) is stream
    for content in (b"", b"<", b"no xml", b"<mediawiki>", b"\0\0"):
        stream = buffered(content)
        assert xml_as_utf8(stream) is stream


@pytest.mark.parametrize("label", ["x-unknown", "rot13", "base64", "utf-7x"])
def test_an_unknown_encoding_is_named(label):
    with pytest.raises(BrokenStreamError, match=f"its encoding {label} is not known"):
        xml_as_utf8(buffered(XML.format(label).encode()))


def test_a_7z_archive_is_named():
    with pytest.raises(BrokenStreamError, match="7z archive, which is not read: unpack it first"):
        xml_as_utf8(buffered(b"7z\xbc\xaf\x27\x1c\0\4"))


def test_what_does_not_decode_stays_invalid_and_costs_no_more():
    broken = "<a>ж</a><b>".encode("utf-16") + b"\x00\xd8" + "<c>я</c>".encode("utf-16-le") + b"\x00"
    content = xml_as_utf8(buffered(broken)).read()
    assert content == "<a>ж</a><b>".encode() + b"\xff" + "<c>я</c>".encode() + b"\xff"
    declared = b"<?xml version='1.0' encoding='windows-1251'?>\x98\xff"
    assert xml_as_utf8(buffered(declared)).read().endswith(b"?>\xff" + "я".encode())


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be", "utf-8"])
def test_json_lines_are_read_by_line_in_any_width(coding):
    lines = ['{"text": "Größe"}\n', '{"text": "😀"}\r\n', '{"text": "z"}']
    stream = json_lines_as_utf8(buffered("".join(lines).encode(coding)))
    assert [line.decode() for line in stream] == lines


def test_json_lines_of_utf_8_are_not_touched():
    for content in (b"", b'{"a": 1}', b"\xef\xbb\xbf{}", b"\xff{}"):
        stream = buffered(content)
        assert json_lines_as_utf8(stream) is stream

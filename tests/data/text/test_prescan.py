"""The encoding that a page declares, compared with the standard's own words."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from puna.data.text.prescan import declared_encoding, xml_encoding

SPACE = b"\t\n\f\r "
LABELS = {
    "utf-8": "UTF-8",
    "utf8": "UTF-8",
    "latin1": "windows-1252",
    "koi8-r": "KOI8-R",
    "utf-16": "utf-16le",
    "sjis": "SJIS",
}


def known(label: str) -> str:
    return LABELS.get(label.strip("\t\n\f\r ").lower(), "")


class _EndError(Exception):
    """The bytes ended: the prescan is aborted."""


class _Scan:
    """The prescan as section 13.2.3.2 tells it, byte by byte."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.position = 0

    @property
    def byte(self) -> bytes:
        if self.position >= len(self.content):
            raise _EndError
        return self.content[self.position : self.position + 1]

    def run(self) -> str:
        try:
            while True:
                if encoding := self.step():
                    return encoding
        except _EndError:
            return ""

    def step(self) -> str:
        rest = self.content[self.position :]
        if rest.startswith(b"<!--"):
            self.position += 4
            while not (self.byte == b">" and self.content[self.position - 2 : self.position] == b"--"):
                self.position += 1
        elif rest[:5].lower() == b"<meta" and rest[5:6] in (b"\t", b"\n", b"\f", b"\r", b" ", b"/"):
            self.position += 5
            if encoding := self.meta():
                return encoding
            return ""
        elif rest[:1] == b"<" and (rest[2:3] if rest[1:2] == b"/" else rest[1:2]).isalpha():
            self.position += 2
            while self.byte not in (b"\t", b"\n", b"\f", b"\r", b" ", b">"):
                self.position += 1
            while self.attribute():
                pass
            return ""
        elif rest[:2] in (b"<!", b"</", b"<?"):
            self.position += 2
            while self.byte != b">":
                self.position += 1
        assert self.byte
        self.position += 1
        return ""

    def meta(self) -> str:
        names: set[bytes] = set()
        got_pragma = False
        need_pragma: bool | None = None
        charset: str | None = None
        while attribute := self.attribute():
            name, value = attribute
            if name in names:
                continue
            names.add(name)
            if name == b"http-equiv" and value == b"content-type":
                got_pragma = True
            elif name == b"content":
                encoding = extracted(value)
                if encoding and charset is None:
                    charset, need_pragma = encoding, True
            elif name == b"charset":
                charset, need_pragma = known(value.decode("latin-1")), False
        if need_pragma is None or (need_pragma and not got_pragma) or not charset:
            return ""
        return "utf-8" if charset.startswith("utf-16") else charset

    def attribute(self) -> tuple[bytes, bytes] | None:
        while self.byte in (b"\t", b"\n", b"\f", b"\r", b" ", b"/"):
            self.position += 1
        if self.byte == b">":
            self.position += 1
            return None
        name = value = b""
        while True:
            if self.byte == b"=" and name:
                self.position += 1
                break
            if self.byte in (b"\t", b"\n", b"\f", b"\r", b" "):
                while self.byte in (b"\t", b"\n", b"\f", b"\r", b" "):
                    self.position += 1
                if self.byte != b"=":
                    return name, b""
                self.position += 1
                break
            if self.byte in (b"/", b">"):
                return name, b""
            name += self.byte.lower()
            self.position += 1
        while self.byte in (b"\t", b"\n", b"\f", b"\r", b" "):
            self.position += 1
        if self.byte in (b'"', b"'"):
            quote = self.byte
            self.position += 1
            while self.byte != quote:
                value += self.byte.lower()
                self.position += 1
            self.position += 1
            return name, value
        while self.byte not in (b"\t", b"\n", b"\f", b"\r", b" ", b">"):
            value += self.byte.lower()
            self.position += 1
        return name, value


def extracted(value: bytes) -> str:
    """Section 2.4.4, step by step."""
    at = 0
    while True:
        at = value.find(b"charset", at)
        if at < 0:
            return ""
        at += 7
        while value[at : at + 1] and value[at : at + 1] in SPACE:
            at += 1
        if value[at : at + 1] == b"=":
            break
    at += 1
    while value[at : at + 1] and value[at : at + 1] in SPACE:
        at += 1
    quote = value[at : at + 1]
    if quote and quote in b"\"'":
        end = value.find(quote, at + 1)
        return known(value[at + 1 : end].decode("latin-1")) if end >= 0 else ""
    end = at
    while value[end : end + 1] and value[end : end + 1] not in (b";", *(SPACE[i : i + 1] for i in range(5))):
        end += 1
    return known(value[at:end].decode("latin-1"))


def prescanned(content: bytes) -> str:
    """The twin: the prescan of what is short enough for it, then the XML declaration."""
    return _Scan(content[:1024]).run() or xml_encoding(content, known)


_pieces = [
    b"<meta",
    b"<META ",
    b"<metal ",
    b" charset=",
    b" charset",
    b"=",
    b"utf-8",
    b"'latin1'",
    b'"koi8-r"',
    b"sjis",
    b'"',
]
_pieces += [
    b"'",
    b">",
    b"/",
    b" ",
    b"\n",
    b"<!--",
    b"-->",
    b"<!-->",
    b"<p ",
    b"</p>",
    b"</",
    b"<?",
    b"<!",
    b"x",
    b"utf-16",
]
_pieces += [
    b" http-equiv=content-type",
    b" http-equiv='Content-Type'",
    b' content="text/html; charset=koi8-r"',
    b"<x y=z",
]
_pieces += [
    b" content='charset latin1; charset = latin1'",
    b" content=charset='utf-8",
    b";",
    b"<?xml encoding='utf8'?>",
    b"<",
]


@given(st.lists(st.sampled_from(_pieces), max_size=14))
@example([b"<!-->", b"<meta", b" charset=", b"utf-8", b">"])
@example([b"<meta", b" charset=", b"x", b" content=charset=utf-8", b" http-equiv=content-type", b">"])
@example([b"<meta", b" charset", b" ", b"=", b" ", b"sjis", b">"])
@example([b"<meta", b" =", b"charset=", b"sjis", b">"])
@example([b"<meta", b" charset=", b"/", b"utf-8", b">"])
def test_the_prescan_finds_what_the_standard_finds(pieces: list[bytes]):
    content = b"".join(pieces)
    # The tags of the rest of a page are looked at too, which only a tag that the prescan's end cuts off can tell apart.
    assert declared_encoding(content, known) == prescanned(content)


@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        (b'<meta charset="koi8-r">', "KOI8-R"),
        (b"<META CHARSET=KOI8-R>", "KOI8-R"),
        (b"<meta charset=' koi8-r '>", "KOI8-R"),
        (b'<meta http-equiv="Content-Type" content="text/html; charset=koi8-r">', "KOI8-R"),
        (b'<meta content="text/html; charset=koi8-r" http-equiv="Content-Type">', "KOI8-R"),
        (b"<meta content='text/html;charset=\"koi8-r\"' http-equiv=content-type>", "KOI8-R"),
        (b'<meta name="description" content="old pages: charset=koi8-r was usual">', ""),
        (b'<meta http-equiv="refresh" content="0; url=/?charset=koi8-r">', ""),
        (b'<meta property="x" data-charset="koi8-r">', ""),
        (b'<meta name="x" accept-charset="koi8-r">', ""),
        (b"<meta name=x content='<meta charset=koi8-r>'>", ""),
        (b"<!-- <meta charset=koi8-r> -->", ""),
        (b"<!-- a > b <meta charset=koi8-r> --><meta charset=latin1>", "windows-1252"),
        (b"<!--><meta charset=koi8-r>", "KOI8-R"),
        (b"<a title='<meta charset=koi8-r>'><meta charset=latin1>", "windows-1252"),
        (b"<metadata charset=koi8-r>", ""),
        (b"<meta charset=nonsense><meta charset=koi8-r>", "KOI8-R"),
        (b"<meta charset=utf-16>", "utf-8"),
        (b"<meta charset=koi8-r charset=latin1>", "KOI8-R"),
        (b"<?xml version='1.0' encoding='koi8-r'?><html>", "KOI8-R"),
        (b"<?xml version='1.0' encoding='koi8-r'?><meta charset=latin1>", "windows-1252"),
        (b" <?xml version='1.0' encoding='koi8-r'?>", ""),
        (b"<?xml version='1.0' encoding='utf-16'?>", "utf-8"),
        (b"<p>charset=koi8-r</p>", ""),
        (b"<link charset=koi8-r href=x><script charset=latin1></script>", ""),
        (b"<!doctype html>" + b" " * 2000 + b"<meta charset=koi8-r>", "KOI8-R"),
        (b"<script>'<meta charset=latin1>'</script>" + b" " * 2000 + b"<meta charset=koi8-r>", "windows-1252"),
        (b" " * 2000 + b"<script>'<meta charset=latin1>'</script><meta charset=koi8-r>", "KOI8-R"),
        (
            b" " * 2000 + b"<title><meta charset=latin1></TITLE ><!-- <meta charset=latin1> --><meta charset=koi8-r>",
            "KOI8-R",
        ),
        (b" " * 1020 + b"<meta charset=koi8-r>", "KOI8-R"),
    ],
)
def test_a_declaration_is_one_where_the_standard_says_so(head: bytes, encoding: str):
    assert declared_encoding(head, known) == encoding


@pytest.mark.parametrize("piece", [b"<meta ", b"<!--", b"<", b"<a b='", b"<script>", b"</", b"<meta content=charset "])
def test_a_long_page_is_looked_at_once(piece: bytes):
    assert declared_encoding(piece * 100_000, known) == ""

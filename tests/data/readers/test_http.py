"""HTTP responses as crawlers store them."""

import gzip
import zlib

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from puna.data.document import TOO_LARGE
from puna.data.input.compression import BrokenStreamError
from puna.data.readers.http import Response, content_type, dechunk, decode_body, header_fields, parse_response

BODY = b"<p>Some text that is there.</p>" * 40


def test_a_response_has_a_status_headers_and_a_body():
    message = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nX-Long: a\r\n  b\r\nX-Long: c\r\nbad line\r\n\r\nbody\r\n\r\n"
    )
    headers = {"content-type": "text/html", "x-long": "a b"}
    assert parse_response(message) == Response(200, headers, b"body\r\n\r\n")


def test_line_feeds_alone_do_too():
    assert parse_response(b"HTTP/2 404\nA: b\n\nbody") == Response(404, {"a": "b"}, b"body")


@pytest.mark.parametrize("message", [b"", b"<html>", b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 OK\r\n\r\n"])
def test_anything_else_is_not_a_response(message: bytes):
    assert parse_response(message) is None


def test_of_equal_headers_the_first_counts():
    assert header_fields([b"A: 1", b" more", b"a: 2", b" not more", b"B:3"]) == {"a": "1 more", "b": "3"}


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("text/html", ("text/html", "")),
        ('Text/HTML; charset="UTF-8"', ("text/html", "UTF-8")),
        ("text/html;charset=utf-8;x=y", ("text/html", "utf-8")),
        ("text/html, text/html; charset=x", ("text/html", "x")),
        ("", ("", "")),
    ],
)
def test_content_types(header: str, found: tuple[str, str]):
    assert content_type(header) == found


CHUNKED = {"transfer-encoding": "chunked"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"5\r\nHello\r\n6;x=y\r\n world\r\n0\r\n\r\n", b"Hello world"),
        (b"5\nHello\n0\n\n", b"Hello"),
        (b"5\r\nHello\r\nff\r\ncut off", b"Hellocut off"),
        (b"5\r\nHello\r\nzz\r\n", b"Hello"),
        (b"<html>not chunked</html>", b"<html>not chunked</html>"),
    ],
)
def test_chunks_are_put_together_where_there_are_any(body: bytes, expected: bytes):
    assert dechunk(Response(200, CHUNKED, body)) == expected
    assert dechunk(Response(200, {}, body)) == body


def _raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


CODINGS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "Deflate": _raw_deflate,
    "br": brotli.compress,
    "zstd": zstandard.compress,
    "identity": bytes,
    "": bytes,
}


@pytest.mark.parametrize("coding", CODINGS)
def test_content_codings_are_undone(coding: str):
    packed = CODINGS[coding](BODY)
    headers = {"content-encoding": coding} | CHUNKED
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(packed), packed)
    assert decode_body(Response(200, headers, chunked), 10_000) == (BODY, "")


@pytest.mark.parametrize("coding", CODINGS)
def test_a_coding_that_the_body_does_not_have_is_passed_over(coding: str):
    assert decode_body(Response(200, {"content-encoding": coding}, BODY), 10_000) == (BODY, "")


def test_two_codings_are_undone_in_turn():
    packed = gzip.compress(brotli.compress(BODY))
    assert decode_body(Response(200, {"content-encoding": "br, gzip"}, packed), 10_000) == (BODY, "")


@pytest.mark.parametrize("coding", ["gzip", "deflate", "Deflate", "br", "zstd"])
def test_a_bomb_is_too_large(coding: str):
    packed = CODINGS[coding](bytes(5_000_000))
    with pytest.raises(BrokenStreamError) as error:
        decode_body(Response(200, {"content-encoding": coding}, packed), 100_000)
    assert error.value.reason == TOO_LARGE


@pytest.mark.parametrize("coding", ["gzip", "deflate", "Deflate", "br"])
def test_of_a_body_that_was_cut_off_stays_what_came(coding: str):
    text = "".join(f"<p>Paragraph {number} of a page.</p>" for number in range(2000)).encode()
    packed = CODINGS[coding](text)
    found, cut = decode_body(Response(200, {"content-encoding": coding}, packed[: len(packed) // 2]), 100_000)
    assert text.startswith(found)
    assert len(found) > 10_000
    assert cut


@pytest.mark.parametrize("coding", ["gzip", "deflate", "Deflate", "br", "zstd"])
def test_bytes_behind_the_end_of_a_body_are_ignored(coding: str):
    packed = CODINGS[coding](BODY * 9)
    found, cut = decode_body(Response(200, {"content-encoding": coding}, packed + b"\r\n<!-- \xff -->"), 100_000)
    assert found == BODY * 9
    assert cut == "" or coding == "br"


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_a_body_of_which_nothing_came_is_an_error(coding: str):
    with pytest.raises(BrokenStreamError):
        decode_body(Response(200, {"content-encoding": coding}, CODINGS[coding](b"\xff" * 99)[:5]), 100_000)


def test_a_body_shorter_than_its_length_was_cut_off():
    assert decode_body(Response(200, {"content-length": "9999"}, BODY), 100_000) == (BODY, f"{len(BODY)} of 9999 bytes")
    assert decode_body(Response(200, {"content-length": "1"}, BODY), 100_000) == (BODY, "")


@given(st.binary(max_size=300), st.sampled_from(sorted(CODINGS)), st.booleans())
def test_any_body_is_decoded_or_an_error(body: bytes, coding: str, chunked: bool):
    headers = {"content-encoding": coding} | (CHUNKED if chunked else {})
    try:
        assert len(decode_body(Response(200, headers, body), 1000)[0]) <= 1000
    except BrokenStreamError:
        assert coding not in ("", "identity")


@given(st.binary(max_size=300))
def test_any_message_is_a_response_or_none(message: bytes):
    assert isinstance(parse_response(message), Response | None)
    found = parse_response(b"HTTP/1.1 200\r\n" + message)
    assert isinstance(found, Response)
    assert found.status == 200

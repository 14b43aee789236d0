"""Pages of WARC files."""

import base64
import gzip
import hashlib
import pickle
import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import brotli
import pytest
from growth import assert_in_proportion
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from puna.config.data import Source
from puna.data.document import BINARY, EMPTY, TOO_LARGE, UNREADABLE, Document, Dropped, Lost, Raw
from puna.data.input_file import InputFile
from puna.data.readers.warc import CUT, DIGEST, HTTP_STATUS, NOT_HTML, REASONS, TANGLED, WarcReader
from puna.data.readers.wet import WetReader

SOURCE = Source(path="x", include=["*"], heldout_fraction=0.1, format="warc")
READER = WarcReader("web", SOURCE, 10**7)
EXAMPLE = (
    "Example Domain\n\nThis domain is established to be used for illustrative examples in documents. You may use this "
    "domain in examples without prior coordination or asking for permission.\n\nMore information..."
)
PAGE = b"<html><body><h1>Title</h1><p>A paragraph with a few words.</p></body></html>"
TEXT = "Title\n\nA paragraph with a few words."


def response(body: bytes, headers: str = "Content-Type: text/html", status: int = 200, **fields: str) -> Raw:
    message = f"HTTP/1.1 {status} OK\r\n{headers}\r\n\r\n".encode() + body
    return Raw("f#i", message, {"warc-type": "response", **fields})


def read(path: Path, reader: WarcReader = READER) -> list[Document | Dropped]:
    records = reader.records(InputFile(str(path), path.name, path.stat().st_size, ""))
    return [reader.document(record) if isinstance(record, Raw) else record for record in records]


@pytest.mark.parametrize(
    ("name", "kept", "dropped"),
    [
        ("example.warc", [EXAMPLE], []),
        ("example.warc.gz", [EXAMPLE], []),
        ("example-bad-non-chunked.warc.gz", [EXAMPLE], []),
        ("example-bad.warc.gz.bad", [EXAMPLE], [HTTP_STATUS]),
        ("example-digest.warc", [], []),
        ("example-resource.warc.gz", [EXAMPLE], []),
        ("example-space-in-target-uri.warc.gz", [], []),
        ("example-trunc.warc", [EXAMPLE], []),  # two bytes are missing in its length, none in its content
        ("example-wget-bad-target-uri.warc.gz", [EXAMPLE], []),
        ("example-wrong-chunks.warc.gz", [EXAMPLE], []),
        ("post-test.warc.gz", [], [NOT_HTML] * 3),
    ],
)
def test_real_files_good_and_broken(real: Callable[[str], Path], name: str, kept: list[str], dropped: list[str]):
    found = read(real(f"common_crawl/warcio/{name}"))
    assert [document.text for document in found if isinstance(document, Document)] == kept
    assert [document.reason for document in found if isinstance(document, Dropped)] == dropped
    for document in found:
        if isinstance(document, Document):
            assert document.url.startswith("http://example.com")
            assert document.id.startswith(f"{name}#urn:uuid:")


def test_a_real_chunked_page_is_its_text(real: Callable[[str], Path]):
    (document,) = read(real("common_crawl/warcio/example-iana.org-chunked.warc"))
    assert isinstance(document, Document)
    assert (document.url, document.date) == ("http://www.iana.org/", "2017-03-06T16:54:09Z")
    assert document.text.startswith("Internet Assigned Numbers Authority\n\nThe global coordination of the DNS Root")
    assert "<" not in document.text


def _words(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+", text))


def test_the_main_text_of_a_real_page_is_in_common_crawls_own_text_without_the_furniture(real: Callable[[str], Path]):
    (ours,) = read(real("common_crawl/whirlwind.warc.gz"))
    path = real("common_crawl/whirlwind.warc.wet.gz")
    reader = WetReader("web", SOURCE, 10**7)
    (raw,) = reader.records(InputFile(str(path), "wet", 1, ""))
    theirs = reader.document(raw)  # type: ignore[arg-type]
    assert isinstance(ours, Document)
    assert ours.url == theirs.url == "https://an.wikipedia.org/wiki/Escopete"  # type: ignore[union-attr]
    assert ours.date == "2024-05-18T01:58:10Z"
    inside = (_words(ours.text) & _words(theirs.text)).total() / _words(ours.text).total()
    assert inside > 0.99
    for furniture in ("Menú principal", "Bahasa Melayu", "Politica de privacidat", "Editar"):
        assert furniture in theirs.text
        assert furniture not in ours.text
    for line in theirs.text.splitlines():  # the sentences of the article, with dashes and lists
        if len(line) > 100 and "texto ye disponible" not in line and "Puez aduyar" not in line:
            assert line in ours.text
    assert "1979–1983" in ours.text  # noqa: RUF001
    assert "• Ilesia parroquial de l'Asunción" in ours.text


@pytest.mark.parametrize(
    ("headers", "status", "reason", "detail"),
    [
        ("Content-Type: application/pdf", 200, NOT_HTML, "application/pdf"),
        ("Content-Type: application/json", 200, NOT_HTML, "application/json"),
        ("Content-Type: text/xml", 200, NOT_HTML, "text/xml"),
        ("Content-Type: text/html", 404, HTTP_STATUS, "404"),
        ("Content-Type: text/html\r\nContent-Encoding: gzip", 200, "", ""),
    ],
)
def test_other_answers_are_dropped_with_their_reason(headers: str, status: int, reason: str, detail: str):
    found = READER.document(response(PAGE, headers, status))
    assert (getattr(found, "reason", ""), getattr(found, "detail", "")) == (reason, detail)


@pytest.mark.parametrize(
    ("headers", "fields", "lost"),
    [
        ("Content-Length: 9999", {}, 1),
        ("Content-Length: 9", {}, 0),
        ("X: y", {"warc-truncated": "length"}, 1),
        ("X: y", {}, 0),
    ],
)
def test_a_page_that_was_cut_off_is_read_as_far_as_it_goes_and_counted(headers: str, fields: dict[str, str], lost: int):
    found = READER.document(response(PAGE[:-14], f"Content-Type: text/html\r\n{headers}", **fields))
    assert isinstance(found, Document)
    assert (found.text, found.lost) == (TEXT, (Lost(CUT),) * lost)


@pytest.mark.parametrize(
    "said", ["", "application/octet-stream", "unknown/unknown", "*/*", "html", "charset=utf-8", "text/", "none"]
)
@pytest.mark.parametrize(
    ("identified", "body", "verdict"),
    [
        ("text/html", b"<section>" + PAGE, TEXT),
        ("text/html; charset=x", PAGE, TEXT),
        ("application/xhtml+xml", PAGE, TEXT),
        ("application/pdf", PAGE, NOT_HTML),
        ("", PAGE, TEXT),
        ("application/octet-stream", b"\xef\xbb\xbf \n<!DOCTYPE HTML >" + PAGE, TEXT),
        ("", b"<!-- x -->" + PAGE, TEXT),
        ("", b"words and <p>words", NOT_HTML),
        ("", b"<htmlx>", NOT_HTML),
        ("", b"<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'>" + PAGE[6:], TEXT),
        ("", b"<?xml version='1.0'?><rss></rss>", NOT_HTML),
        ("text/plain", b"words and <p>words", "words and <p>words"),
    ],
)
def test_where_the_server_says_nothing_the_crawler_or_the_first_tag_does(
    said: str, identified: str, body: bytes, verdict: str
):
    headers = f"Content-Type: {said}" if said else "Server: x"
    found = READER.document(response(body, headers, **{"warc-identified-payload-type": identified}))
    assert (found.text if isinstance(found, Document) else found.reason) == verdict


def test_the_crawler_does_not_overrule_a_server():
    fields = {"warc-identified-payload-type": "text/html"}
    assert READER.document(response(PAGE, "Content-Type: application/pdf", **fields)).reason == NOT_HTML  # type: ignore


@pytest.mark.parametrize(
    ("media", "text"),
    [("application/xhtml+xml", TEXT), ("application/xml", TEXT), ("text/xml; charset=utf-8", TEXT), ("text/html", "")],
)
def test_xhtml_is_xml_where_the_server_says_so(media: str, text: str):
    page = PAGE.replace(b"<html>", b'<html xmlns="http://www.w3.org/1999/xhtml"><head><script src="a.js"/></head>')
    found = READER.document(response(page, f"Content-Type: {media}"))
    assert getattr(found, "text", "") == text


@pytest.mark.parametrize("coding", ["gzip", "br"])
@pytest.mark.parametrize("media", ["text/html", "application/xhtml+xml; charset=utf-8"])
def test_pages_are_unpacked(coding: str, media: str):
    packed = {"gzip": gzip.compress, "br": brotli.compress}[coding](PAGE)
    headers = f"Content-Type: {media}\r\nContent-Encoding: {coding}\r\nTransfer-Encoding: chunked"
    body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(packed), packed)
    found = READER.document(response(body, headers, **{"warc-target-uri": "<http://x>", "warc-date": "2020"}))
    assert found == Document("web", "f#i", TEXT, "f#i", url="http://x", date="2020")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "cp1251", "koi8-r"])
def test_encodings_are_found(encoding: str):
    page = "<html><body><p>Образование: то, что открывает мудрым обширные границы их знаний.</p></body></html>"
    found = READER.document(response(page.encode(encoding)))
    assert found.text == "Образование: то, что открывает мудрым обширные границы их знаний."


def test_plain_text_is_taken_as_it_is():
    found = READER.document(response(b"  a <b>\r\nb \r\n", "Content-Type: text/plain"))
    assert found.text == "  a <b>\nb"


SHA1 = hashlib.sha1(PAGE).digest()


@pytest.mark.parametrize(
    "digest",
    [
        f"sha1:{base64.b32encode(SHA1).decode()}",
        f"SHA-1:{base64.b32encode(SHA1).decode().lower()}",
        f"sha1:{SHA1.hex()}",
        f"sha1:{base64.b64encode(SHA1).decode()}",
        f"sha1:{base64.urlsafe_b64encode(SHA1).decode()}",
        f"sha256:{hashlib.sha256(PAGE).hexdigest()}",
        f"md5:{hashlib.md5(PAGE).hexdigest()}",
        "crc32:0000",
        "sha1:nonsense",
        "sha1",
        "",
    ],
)
def test_a_sum_that_is_right_or_unknown_keeps_the_page(digest: str):
    assert READER.document(response(PAGE, **{"warc-payload-digest": digest})).text == TEXT
    if len(digest) > 20:
        found = READER.document(response(PAGE + b"x", **{"warc-payload-digest": digest}))
        assert isinstance(found, Dropped)
        assert found.reason == DIGEST
        assert "the record says" in found.detail


def test_the_sum_may_be_of_the_chunks_or_of_what_is_in_them():
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(PAGE), PAGE)
    headers = "Content-Type: text/html\r\nTransfer-Encoding: chunked"
    for payload in (PAGE, chunked):
        digest = {"warc-payload-digest": f"sha256:{hashlib.sha256(payload).hexdigest()}"}
        assert READER.document(response(chunked, headers, **digest)).text == TEXT


@pytest.mark.parametrize(
    ("body", "headers", "reason"),
    [
        (b"", "Content-Type: text/html", EMPTY),
        (b"<html><script>x</script></html>", "Content-Type: text/html", EMPTY),
        (bytes(1000), "Content-Type: text/html", BINARY),
        (random.Random(0).randbytes(1000), "Content-Type: text/plain", BINARY),
        (gzip.compress(PAGE)[:10], "Content-Type: text/html\r\nContent-Encoding: gzip", UNREADABLE),
        (gzip.compress(bytes(20_000_000)), "Content-Type: text/html\r\nContent-Encoding: gzip", TOO_LARGE),
        (b"<div>" * 20_000 + b"x", "Content-Type: text/html", TANGLED),
        ("".join(f"<b id={n}><p>" for n in range(2000)).encode(), "Content-Type: text/html", TOO_LARGE),
        (b"<p>x" * 200_000, "Content-Type: text/html", TOO_LARGE),
    ],
)
def test_what_cannot_become_text_is_dropped_with_its_reason(body: bytes, headers: str, reason: str):
    found = READER.document(response(body, headers))
    assert isinstance(found, Dropped)
    assert found.reason == reason


@pytest.mark.parametrize("unit", ["<div>", "<b id={0}><p>", "<p>x"])
def test_a_page_is_dropped_after_work_in_proportion_to_its_size(unit: str):
    def work(size: int) -> None:
        body = "".join(unit.format(number) for number in range(size)).encode()
        assert isinstance(READER.document(response(body, "Content-Type: text/html")), Dropped)

    assert_in_proportion(work, 2_000_000)


def test_a_message_that_is_not_a_response_is_unreadable():
    assert READER.document(Raw("f#i", b"<html>", {})) == Dropped("web", "f#i", UNREADABLE, "no HTTP status line")


def _record(kind: str, content: bytes, **headers: str) -> bytes:
    lines = {"WARC-Type": kind, "Content-Length": str(len(content))} | headers
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"WARC/1.0\r\n{head}\r\n".encode() + content + b"\r\n\r\n"


def test_only_responses_and_resources_of_the_web_are_documents(tmp_path: Path):
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + PAGE
    http, html = {"Content-Type": "application/http; msgtype=response"}, {"Content-Type": "text/html"}
    (tmp_path / "f").write_bytes(
        _record("warcinfo", b"x") + _record("request", page, **http) + _record("revisit", page, **http)
        + _record("metadata", PAGE, **html) + _record("response", b"x", **{"Content-Type": "text/dns"})
        + _record("resource", b"log", **{"Content-Type": "text/plain", "WARC-Target-URI": "metadata://wget.log"})
        + _record("resource", PAGE, **html, **{"WARC-Target-URI": "https://x/y"}) + _record("response", page, **http)
    )  # fmt: skip
    assert [document.text for document in read(tmp_path / "f")] == [TEXT, TEXT]


def test_a_wrong_length_is_forgiven_only_where_a_sum_proves_the_content(tmp_path: Path):
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + PAGE
    http = {"Content-Type": "application/http", "Content-Length": str(len(page) - 3)}
    proof = {"WARC-Payload-Digest": f"sha1:{SHA1.hex()}"}
    (tmp_path / "f").write_bytes(_record("response", page, **http) + _record("response", page, **http, **proof))
    first, second = read(tmp_path / "f")
    assert (first.reason, first.detail) == (UNREADABLE, "its Content-Length is wrong")  # type: ignore[union-attr]
    assert second.text == TEXT


@pytest.mark.parametrize("name", ["whirlwind.warc.gz", "warcio/example.warc", "warcio/example-bad-non-chunked.warc.gz"])
def test_a_real_file_that_was_cut_off_gives_the_first_of_its_documents(
    real: Callable[[str], Path], name: str, tmp_path: Path
):
    path = real(f"common_crawl/{name}")
    content, whole = path.read_bytes(), [document.text for document in read(path)]
    draw = random.Random(0)
    for size in [draw.randrange(len(content)) for _ in range(60)]:
        (tmp_path / path.name).write_bytes(content[:size])
        found = [document.text for document in read(tmp_path / path.name) if isinstance(document, Document)]
        assert found == whole[: len(found)]


def test_every_reason_is_explained():
    assert set(REASONS) == {CUT, NOT_HTML, HTTP_STATUS, DIGEST, TANGLED}


def test_the_reader_can_be_sent_to_another_process():
    assert pickle.loads(pickle.dumps(READER)).document(response(PAGE)).text == TEXT


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=60)
@given(content=st.binary(max_size=300), packed=st.booleans())
def test_random_files_never_raise(tmp_path: Path, content: bytes, packed: bool):
    (tmp_path / "f").write_bytes(gzip.compress(content) if packed else content)
    assert not any(isinstance(document, Document) for document in read(tmp_path / "f"))


_bytes = [b"<p>", b"<ul><li>", b"</ul>", b"<b>", b"</b>", b"<div>", b"\xff", b"\0", b"text ", "ü—".encode(), b"<!--"]
_bytes += [b"<table>", b"\xed\xa0\x80", b"&#xD800;", b"&#0;", b"<script>"]
_headers = st.sampled_from(
    ["text/html", "text/plain; charset=utf-16", "text/html\r\nContent-Encoding: br", "text/html; charset=utf-7"]
)


@given(pieces=st.lists(st.sampled_from(_bytes), max_size=30), tail=st.binary(max_size=100), headers=_headers)
def test_any_body_is_a_document_or_dropped(pieces: list[bytes], tail: bytes, headers: str):
    found = READER.document(response(b"".join(pieces) + tail, f"Content-Type: {headers}"))
    found.text.encode()
    assert "\0" not in found.text
    assert "\r" not in found.text
    if isinstance(found, Document):
        assert found.text
        assert found.text == found.text.rstrip()

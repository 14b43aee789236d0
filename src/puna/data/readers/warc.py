"""WARC files of web pages, as Common Crawl publishes them: the main text of each HTML page and plain text as it is."""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator

from puna.config.data import Source
from puna.data.document import BINARY, EMPTY, TOO_LARGE, UNREADABLE, Document, Dropped, Lost, Raw
from puna.data.input.compression import BrokenStreamError
from puna.data.input_file import InputFile
from puna.data.readers.http import Response, content_type, dechunk, decode_body, parse_response
from puna.data.readers.warc_records import NoRecord, warc_records
from puna.data.spec import ReaderSpec
from puna.data.text.charset import Kind, decode_page
from puna.data.text.decode import clean_text
from puna.data.text.html import main_text
from puna.data.text.html_cost import html_cost
from puna.data.text.xhtml import is_xhtml, xhtml_as_html

NOT_HTML, HTTP_STATUS, DIGEST, TANGLED = "warc.not_html", "warc.http_status", "warc.digest", "warc.tangled"
CUT = "warc.cut"

REASONS = {
    NOT_HTML: "Neither the server nor, where it is silent, the crawler or the first tag calls it HTML or plain text.",
    HTTP_STATUS: "The server did not answer with 200, so this is an error page or none.",
    DIGEST: "Its bytes are not those that the crawler stored: they do not have the sum that stands in the record.",
    CUT: "The page was cut off on its way to the crawler or by it; what came is read, as browsers do.",
    TANGLED: "Its elements are nested so deep that parsing it takes minutes; nobody writes such pages.",
}
"""A sentence for each reason of this module."""

_XHTML = ("application/xhtml+xml", "application/vnd.wap.xhtml+xml")
_XML = ("application/xml", "text/xml")
_UNSAID = (
    "*/*", "unknown/unknown", "application/unknown", "application/x-unknown-content-type", "application/octet-stream",
    "binary/octet-stream",
)  # fmt: skip
"""Types that say nothing: those of the MIME Sniffing standard, section 7, and what stands for any file."""
_TYPE = re.compile(r"[\w!#$%&'*+.^`|~-]+/[\w!#$%&'*+.^`|~-]+")
"""A type and a subtype (MIME Sniffing standard, section 4.4); what is not that says nothing either."""
_BEGINS_XML = re.compile(rb"(?:\xef\xbb\xbf)?[\t\n\f\r ]*<\?xml")
_BEGINS_HTML = re.compile(
    rb"(?:\xef\xbb\xbf)?[\t\n\f\r ]*<"
    rb"(?:!--|(?:!doctype[ ]html|html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p)[ >])",
    re.I,
)
"""What HTML begins with (MIME Sniffing standard, section 7.1)."""
_SIZES = {"md5": 16, "sha1": 20, "sha256": 32, "sha512": 64}
_NODE_SHARE = 40
"""A page may have one node per this many bytes of the limit; a node takes some 400, so a tree takes ten limits at
most."""
_STEPS, _STEPS_PER_BYTE = 50_000_000, 10
"""Steps of some 40 ns that any page may take, and those that each of its bytes may."""
_SAMPLE = 4096
_STRANGE = re.compile("[\0-\x08\x0e-\x1a\x1c-\x1f\ufffd]")
_KINDS: dict[str, Kind] = {"text/html": "html", "text/plain": "text"}
_IDENTIFIED = "warc-identified-payload-type"
_FIELDS = (
    "warc-type",
    "warc-target-uri",
    "warc-date",
    "warc-payload-digest",
    "content-type",
    "warc-truncated",
    _IDENTIFIED,
)


class WarcReader:
    """Responses with status 200 that are HTML or plain text, and such resources; all other records are not documents.

    Args:
        name: The source's name.
        source: Its settings.
        limit: Most bytes of a record, and of a page without its compression.
    """

    def __init__(self, name: str, source: Source, limit: int) -> None:
        self._source = name
        self._limit = limit

    def records(self, file: InputFile) -> Iterator[Raw | Dropped]:
        """The responses of a file with their HTTP headers, and its resources."""
        for record in warc_records(file, self._limit, _wanted):
            if isinstance(record, NoRecord):
                yield Dropped(self._source, record.id, record.reason, record.detail)
            elif record.resized and "warc-payload-digest" not in record.headers:
                yield Dropped(self._source, record.id, UNREADABLE, "its Content-Length is wrong")
            else:
                fields = {name: record.headers[name] for name in _FIELDS if name in record.headers}
                yield Raw(record.id, record.content, fields)

    def document(self, raw: Raw) -> Document | Dropped:
        """The text of a page."""
        try:
            verdict, cut = self._text(raw)
        except BrokenStreamError as error:
            verdict, cut = ((TOO_LARGE if error.reason == TOO_LARGE else UNREADABLE), str(error)), False
        if isinstance(verdict, tuple):
            return Dropped(self._source, raw.id, *verdict)
        if not verdict:
            return Dropped(self._source, raw.id, EMPTY)
        url, date = raw.fields.get("warc-target-uri", "").strip("<> "), raw.fields.get("warc-date", "")
        return Document(self._source, raw.id, verdict, raw.id, url=url, date=date, lost=(Lost(CUT),) if cut else ())

    def _text(self, raw: Raw) -> tuple[str | tuple[str, str], bool]:
        """The text, or the reason why there is none; and whether the page was cut off.

        Raises:
            BrokenStreamError: The body is damaged or too long.
        """
        response = _response(raw)
        if response is None:
            return (UNREADABLE, "no HTTP status line"), False
        if response.status != 200:
            return (HTTP_STATUS, str(response.status)), False
        if problem := _wrong_digest(response, raw.fields.get("warc-payload-digest", "")):
            return (DIGEST, problem), False
        said, charset = content_type(response.headers.get("content-type", ""))
        body, cut = decode_body(response, self._limit)
        media = said if _says(said) else _identified(raw.fields.get(_IDENTIFIED, ""), body)
        if media not in ("text/html", "text/plain", *_XHTML, *_XML):
            return (NOT_HTML, media or said or "no Content-Type"), False
        return self._of_kind(media, decode_page(body, charset, _KINDS.get(media, "xml"))), bool(
            cut or raw.fields.get("warc-truncated")
        )

    def _of_kind(self, media: str, text: str) -> str | tuple[str, str]:
        if _is_binary(text):
            return BINARY, media
        if media == "text/plain":
            return clean_text(text)
        if media in _XML and not is_xhtml(text):
            return NOT_HTML, media
        return self._main_text(text if media == "text/html" else xhtml_as_html(text))

    def _main_text(self, html: str) -> str | tuple[str, str]:
        html = html.encode("utf-8", "ignore").decode()  # without lone surrogates, which parsers refuse
        nodes, steps = html_cost(html.encode())
        if nodes > self._limit // _NODE_SHARE + 1000:
            return TOO_LARGE, f"about {nodes} nodes of HTML, at most {self._limit // _NODE_SHARE + 1000}"
        if steps > _STEPS + _STEPS_PER_BYTE * len(html):
            return TANGLED, f"about {steps} steps, at most {_STEPS + _STEPS_PER_BYTE * len(html)}"
        try:
            return clean_text(main_text(html))
        except ValueError as error:
            return UNREADABLE, str(error)


def _says(media: str) -> bool:
    """Whether a type says what a file is."""
    return media not in _UNSAID and _TYPE.fullmatch(media) is not None


def _identified(field: str, body: bytes) -> str:
    """The type of what the server gave no type: the crawler's, or that of its first tag; empty if nobody knows."""
    media, _ = content_type(field)
    if _says(media):
        return media
    return "text/html" if _BEGINS_HTML.match(body) else "text/xml" if _BEGINS_XML.match(body) else ""


def _wanted(headers: dict[str, str]) -> bool:
    """Responses, and resources from the web: wget stores its own log and settings as resources too."""
    kind = headers.get("warc-type", "").lower()
    if kind == "resource":
        return headers.get("warc-target-uri", "").strip("<> ").lower().startswith(("http:", "https:"))
    return kind == "response" and headers.get("content-type", "").lower().startswith("application/http")


def _response(raw: Raw) -> Response | None:
    if raw.fields.get("warc-type", "").lower() == "resource":
        return Response(200, {"content-type": raw.fields.get("content-type", "")}, raw.content)
    return parse_response(raw.content)


def _wrong_digest(response: Response, digest: str) -> str:
    """What is wrong with the checksum of a body; empty if nothing, or if the checksum cannot be understood.

    Crawlers do not agree whether the chunks of the transfer belong to it (ISO 28500, section 5.9).
    """
    algorithm, _, value = digest.partition(":")
    algorithm = algorithm.strip().lower().replace("-", "")
    expected = _digest_bytes(value.strip(), _SIZES.get(algorithm, 0))
    if not expected:
        return ""
    for body in (response.body, dechunk(response)):
        found = hashlib.new(algorithm, body, usedforsecurity=False)
        if found.digest() == expected:
            return ""
    return f"{algorithm} is {found.hexdigest()}, the record says {expected.hex()}"


def _digest_bytes(value: str, size: int) -> bytes:
    """The bytes of a checksum in base 16, 32 or 64; empty if it is not one."""
    decoders = (
        bytes.fromhex,
        lambda text: base64.b32decode(text.upper() + "=" * (-len(text) % 8)),
        lambda text: base64.urlsafe_b64decode(text.replace("+", "-").replace("/", "_")),
    )
    for decode in decoders:
        try:
            found = decode(value)
        except (ValueError, binascii.Error):
            continue
        if size and len(found) == size:
            return found
    return b""


def _is_binary(text: str) -> bool:
    """Whether the beginning of a text is control characters or bytes that do not decode, by more than a tenth."""
    sample = text[:_SAMPLE]
    return len(_STRANGE.findall(sample)) * 10 > len(sample)


READER = ReaderSpec(
    name="warc",
    make=WarcReader,
    reads="web pages as they were fetched; the main text is taken out of the HTML",
    reasons=REASONS,
    damage=(DIGEST, TANGLED),
)

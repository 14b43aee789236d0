"""An HTTP response as a crawler stored it: status, headers and the decoded body."""

import io
import re
from dataclasses import dataclass
from typing import Any

from fastwarc.stream_io import BrotliReader

from puna.data.document import TOO_LARGE
from puna.data.input.compression import CUT, TAIL, BrokenStreamError, Budget, Decompressed

_STATUS = re.compile(rb"HTTP/[0-9](?:\.[0-9]+)?[ \t]+([0-9]{3})\b")
_END = re.compile(rb"\r?\n[ \t]*\r?\n")
_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\n]*)?\r?\n")
_PIECE = 1 << 12
_MAGIC = {"gz": b"\x1f\x8b", "zst": b"\x28\xb5\x2f\xfd"}


@dataclass(frozen=True, slots=True)
class Response:
    """A response; names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes
    """The body as it was sent."""


def parse_response(message: bytes) -> Response | None:
    """The response, or None if the bytes are not one."""
    status = _STATUS.match(message)
    if status is None:
        return None
    end = _END.search(message)
    head, body = (message[: end.start()], message[end.end() :]) if end else (message, b"")
    return Response(int(status[1]), header_fields(head.split(b"\n")[1:]), body)


def header_fields(lines: list[bytes]) -> dict[str, str]:
    """The headers by name in lower case; of equal names the first counts."""
    fields: dict[str, str] = {}
    last = ""
    for line in lines:
        text = line.decode("utf-8", "replace").rstrip()
        if text[:1] in (" ", "\t") and last:
            fields[last] += " " + text.strip()
            continue
        name, colon, value = text.partition(":")
        last = name.strip().lower() if colon else ""
        if last in fields:
            last = ""
        elif last:
            fields[last] = value.strip()
    return fields


def content_type(header: str) -> tuple[str, str]:
    """The media type in lower case and its charset, empty where none is named."""
    media, _, parameters = header.partition(";")
    found = re.search(r"charset\s*=\s*[\"']?([^\s\"';,]+)", parameters, re.I)
    return media.partition(",")[0].strip().lower(), found[1] if found else ""


def dechunk(response: Response) -> bytes:
    """The body without the chunks of its transfer; a body without chunks stays as it is, even if headers announce them.

    An incomplete last chunk is kept as far as it goes: crawlers cut long bodies off.
    """
    body = response.body
    if "chunked" not in response.headers.get("transfer-encoding", "").lower() or not _SIZE.match(body):
        return body
    chunks: list[bytes] = []
    at = 0
    while (size := _SIZE.match(body, at)) and (length := int(size[1], 16)):
        chunks.append(body[size.end() : size.end() + length])
        at = size.end() + length
        at += len(body[at : at + 2]) - len(body[at : at + 2].lstrip(b"\r\n"))
    return b"".join(chunks)


def decode_body(response: Response, limit: int) -> tuple[bytes, str]:
    """The body without chunks and content codings (gzip, deflate, Brotli, Zstandard), and what cut it off, if anything.

    A coding in the headers that the body does not have is ignored: crawlers decode bodies and keep headers. Of a body
    that ends too early stays what came, and bytes behind its end are ignored, as browsers do both.

    Raises:
        BrokenStreamError: It is damaged, nothing of it came, or it is longer than `limit`.
    """
    body = dechunk(response)
    length = response.headers.get("content-length", "")
    codings = [coding.strip() for coding in response.headers.get("content-encoding", "").lower().split(",")][:3]
    cut = ""
    if codings == [""] and length.isascii() and length.isdecimal() and body is response.body and len(length) < 16:
        cut = f"{len(body)} of {int(length)} bytes" if len(body) < int(length) else ""
    for coding in reversed(codings):
        body, problem = _decode(body, coding, limit)
        cut = problem if problem and not problem.endswith(TAIL) else cut
    return body, cut


def _decode(body: bytes, coding: str, limit: int) -> tuple[bytes, str]:
    kind = {"gzip": "gz", "x-gzip": "gz", "zstd": "zst", "deflate": "deflate", "br": "br"}.get(coding, "")
    if not kind or not body or not body.startswith(_MAGIC.get(kind, b"")):
        return body, ""
    if kind == "br":
        try:
            return _or_text(body, *_bounded(BrotliReader(io.BytesIO(body)), limit))
        except BrokenStreamError:
            raise
        except (OSError, ValueError) as error:
            return _else(body, f"br: {error}"), ""
    if kind == "deflate" and body[0] & 15 == 8 and int.from_bytes(body[:2], "big") % 31 == 0:
        kind = "zlib"  # the standard's deflate (RFC 9110, section 8.4.1.2); some servers send it without this header
    try:
        found, problem = _bounded(Decompressed(io.BytesIO(body), kind, Budget(len(body))), limit)
        return (found, problem) if kind in _MAGIC else _or_text(body, found, problem)
    except BrokenStreamError as error:
        if kind in _MAGIC or error.reason == TOO_LARGE:
            raise
        return _else(body, str(error)), ""


def _or_text(body: bytes, found: bytes, problem: str) -> tuple[bytes, str]:
    """What was decoded; or the body as it is, where decoding met a problem and the body is text."""
    try:
        return (body, "") if problem and body.decode() else (found, problem)
    except UnicodeDecodeError:
        return found, problem


def _else(body: bytes, problem: str) -> bytes:
    """The body as it is, if that is text, since these codings have no magic bytes."""
    try:
        body.decode()
    except UnicodeDecodeError:
        raise BrokenStreamError(problem) from None
    return body


def _bounded(stream: Any, limit: int) -> tuple[bytes, str]:
    pieces = io.BytesIO()
    try:
        while piece := stream.read(min(_PIECE, limit + 1)):
            if pieces.tell() + len(piece) > limit:
                raise BrokenStreamError(f"more than {limit} bytes without its content coding", TOO_LARGE)
            pieces.write(piece)
    except BrokenStreamError as error:
        if not pieces.tell() or not str(error).endswith((CUT, TAIL)):
            raise
        return pieces.getvalue(), str(error)
    except (OSError, ValueError) as error:  # Brotli's decoder does not tell a cut from other damage
        if not pieces.tell():
            raise
        return pieces.getvalue(), f"br: {error}"
    return pieces.getvalue(), ""

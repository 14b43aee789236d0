"""What kind of file a file is: by its content first, by its name where content does not tell."""

import io
import re
from itertools import islice
from typing import Any

import orjson

from puna.data.input.archives import is_tar
from puna.data.input.compression import BUFFER
from puna.data.input.encodings import json_lines_as_utf8
from puna.data.input.streams import Member, members, open_stream
from puna.data.input_file import InputFile
from puna.data.readers.text import is_binary
from puna.data.text.code_languages import language_of
from puna.data.text.decode import marked_encoding

EMPTY = "empty"
BINARY = "not text"
BROKEN = "cannot be read"
NOT_UTF8 = "text in another encoding than UTF-8: `iconv -f ISO-8859-1 -t UTF-8` converts the commonest"
JSON = "JSON documents; JSON lines are read: `jq -c '.[]' FILE > FILE.jsonl` makes them of an array"
TABLE = "tables of comma or tab separated values; save them as JSON lines or Parquet"
HTML = "HTML files; web pages are read from WARC files"
OTHER_WARC = "WARC files with neither pages nor their text"
OTHER_XML = "XML of no known kind"

_MEMBERS = 20
"""Files of an archive that are looked at."""
_MEMBER_BYTES = 1 << 20
_GUTENBERG = re.compile(
    rb"(?i)\*\*\*? ?START OF (?:TH(?:E|IS) )?PROJECT GUTENBERG|\bProject Gutenberg(?:'s)? E-?(?:text|book)"
)
_WARC_TYPES = re.compile(rb"(?im)^WARC-Type:\s*(\w+)")
_PROSE = ("markdown", "restructuredtext")


def kind_of(file: InputFile) -> str:
    """The format in a recipe, one of `puna.config.data.FORMATS`; or else a few words on why the file is not read."""
    if not file.size:
        return EMPTY
    try:
        with open_stream(file) as stream:
            head = stream.peek(BUFFER) if isinstance(stream, io.BufferedReader) else stream.read(BUFFER)
            if kind := _of_magic(head, file.name):
                return kind
            if is_tar(head[:512]) or head[:4] == b"PK\3\4":
                return _of_archive(file)
            return _of_text(head, file.name, stream)
    except OSError:
        return BROKEN


def _of_magic(head: bytes, name: str) -> str:
    """The kind of a file with an unmistakable beginning; empty if there is none."""
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"ARROW1") or (head.startswith(b"\xff\xff\xff\xff") and name.endswith(".arrow")):
        return "arrow"
    if head.startswith(b"WARC/"):
        kinds = {found.lower() for found in _WARC_TYPES.findall(head)}
        if b"conversion" in kinds:
            return "wet"
        return OTHER_WARC if kinds and kinds <= {b"metadata", b"warcinfo", b"request"} else "warc"
    return ""


def _of_archive(file: InputFile) -> str:
    """The kind of most of the first files in an archive."""
    found = []
    for member in islice(members(file, _MEMBER_BYTES), _MEMBERS):
        name = member.name.rpartition("!")[2]
        if not isinstance(member, Member):
            continue
        if name.endswith((".tex", ".ltx")):
            return "arxiv"
        found.append("code" if _is_code(name) else BINARY if is_binary(member.content) else "text")
    return max(sorted(set(found)), key=found.count) if found else BROKEN


def _of_text(head: bytes, name: str, stream: Any) -> str:
    if marked_encoding(head) in ("utf-16", "utf-32"):
        return "text"
    if is_binary(head):
        return BINARY
    if not _is_utf8(head):
        return NOT_UTF8
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    low = start[:2048].lower()
    if low.startswith(b"<?xml") or low.startswith(b"<mediawiki"):
        return "wikipedia" if b"<mediawiki" in low else "stackexchange" if b"<posts" in low else OTHER_XML
    if _is_code(name) and not name.endswith((".html", ".htm")):
        return "code"
    if low.startswith((b"<!doctype html", b"<html")) or name.endswith((".html", ".htm")):
        return HTML
    if start[:1] == b"{" and is_rows(stream):
        return "jsonl"
    if start[:1] in (b"{", b"[") and ".json" in name.lower():
        return JSON
    if re.search(r"\.(csv|tsv)(\.\w+)?$", name.lower()):
        return TABLE
    return "gutenberg" if _GUTENBERG.search(head) else "text"


def is_rows(stream: Any) -> bool:
    """Whether the first line of a stream is a JSON object."""
    try:
        line = json_lines_as_utf8(stream).readline(1 << 26).removeprefix(b"\xef\xbb\xbf").strip()
        return isinstance(orjson.loads(line), dict)
    except ValueError:
        return False


def _is_code(name: str) -> bool:
    return language_of(name) not in ("", *_PROSE)


def _is_utf8(head: bytes) -> bool:
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return len(head) >= BUFFER and len(head) - error.start < 4  # a character that the block has cut
    return True

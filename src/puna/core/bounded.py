"""Files from anywhere, read without harm: regular ones only, up to a size; their JSON up to a depth and a count.

A name may be a link to a device that never ends, a pipe that nobody writes to, or a sparse file of gigabytes. A hundred
megabytes of `[],` are valid JSON and take gigabytes as objects; brackets that are nested deeply end the parser's stack.
All of these are found before anything is read or parsed, in time that grows with the bytes that are there.
"""

import json
import os
import re
import stat
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

from puna.core.errors import UserError
from puna.core.files import decode_text

DEEPEST = 64
"""Levels of JSON that are accepted. The files of models have fewer than ten; Python's parser ends at about 1,000."""

_MOST_TABLES = 1 << 21
"""Lists and objects in one text: about 0.5 GB. The largest known tokenizer.json, of 514,906 merges as pairs, has a
quarter of them."""
_MOST_DIGITS = 400
"""Digits of a whole number: float64 ends at 309. Python's own bound, 4,300, can be switched off."""
_LFS = b"version https://git-lfs.github.com/spec/"
_KINDS = {
    stat.S_IFDIR: "a directory", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
}  # fmt: skip
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""An escape that is half of a surrogate pair; the other half may follow (RFC 8259, section 8.2)."""
_BRACKETS = bytes(set(range(256)) - set(b'"[]{}'))
_STEPS = bytes.maketrans(b"[{]}", b"\2\2\0\0")


def open_regular(path: Path, error: type[UserError]) -> BinaryIO:
    """The file, opened to be read; never waits.

    Args:
        path: The file, or a link to one.
        error: The class that the caller's users expect.

    Raises:
        UserError: It cannot be opened, is a directory, a pipe, a socket or a device, or what Git LFS leaves in place of
            a file.
    """
    try:
        # Before it is opened, too: opening alone sets some devices in motion.
        _check_regular(path, os.stat(path).st_mode, error)
        # A file that becomes a pipe just now does not block, and is found below.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as failure:
        raise error(f"{path}: cannot be read: {failure.strerror}") from None
    try:
        _check_regular(path, os.fstat(descriptor).st_mode, error)
        if os.pread(descriptor, len(_LFS), 0) == _LFS:
            what = "is not the file itself, but what Git LFS leaves in its place"
            raise error(f"{path}: {what}", hint="run: git lfs pull")
    except OSError as failure:
        os.close(descriptor)
        raise error(f"{path}: cannot be read: {failure.strerror}") from None
    except UserError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def read_bounded(path: Path, most_bytes: int, error: type[UserError]) -> bytes:
    """The content of a regular file that is not larger than it should be.

    Args:
        path: The file, or a link to one.
        most_bytes: How many it may have.
        error: The class that the caller's users expect.

    Raises:
        UserError: It cannot be read, is not a regular file, is larger, or is what Git LFS leaves in place of a file.
    """
    with open_regular(path, error) as file:
        try:
            size = os.fstat(file.fileno()).st_size
            content = file.read(most_bytes + 1) if size <= most_bytes else b""
        except OSError as failure:
            raise error(f"{path}: cannot be read: {failure.strerror}") from None
    if (size := max(size, len(content))) > most_bytes:
        raise error(f"{path}: has {size:,} bytes, more than the {most_bytes:,} that such a file may have")
    return content


def parse_json(content: bytes, where: str | Path, error: type[UserError], *, deepest: int = DEEPEST) -> Any:
    """The value of a JSON text.

    Args:
        content: UTF-8 text.
        where: What to call it in errors.
        error: The class that the caller's users expect.
        deepest: Levels that lists and objects may be nested.

    Raises:
        UserError: It is not JSON, names something twice in one object, has half of a surrogate pair in a text, or has
            more levels, lists, objects or digits than any file should.
    """
    _check_encoding(content, where, error)
    _check_size(content, where, error, deepest)
    text = decode_text(content, where, error)

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) < len(pairs):
            seen: set[str] = set()
            twice = next(name for name, _ in pairs if name in seen or seen.add(name))
            raise error(f"{where}: names {twice!r:.80} twice")
        return fields

    def whole(digits: str) -> int:
        if len(digits) > _MOST_DIGITS:
            raise error(f"{where}: has a number of {len(digits):,} digits")
        return int(digits)

    try:
        value = json.loads(text, object_pairs_hook=once, parse_int=whole)
    except json.JSONDecodeError as failure:
        raise error(f"{where}: is not JSON: {_what(text, failure)}") from None
    if _HALF.search(text):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as failure:
            half = failure.object[failure.start]
            raise error(f"{where}: has half of a surrogate pair, {half!a}, which is not a character") from None
    return value


def _check_regular(path: Path, mode: int, error: type[UserError]) -> None:
    if not stat.S_ISREG(mode):
        raise error(f"{path}: is {_KINDS.get(stat.S_IFMT(mode), 'something else')}, not a regular file")


def _check_encoding(content: bytes, where: str | Path, error: type[UserError]) -> None:
    """Name the marks and encodings that JSON's standard (RFC 8259, section 8.1) does not allow in files."""
    start = content[:4]
    if start.startswith(b"\xef\xbb\xbf"):
        raise error(
            f"{where}: begins with a byte order mark, which JSON does not have",
            hint="save it as UTF-8 without a byte order mark",
        )
    # JSON begins with an ASCII character, so a NUL beside it shows the other encodings (RFC 4627, section 3).
    if start[:2] in (b"\xff\xfe", b"\xfe\xff") or (start.strip(b"\0") and b"\0" in start):
        raise error(f"{where}: is text in UTF-16 or UTF-32, and JSON is UTF-8", hint="save it as UTF-8")


def _check_size(content: bytes, where: str | Path, error: type[UserError], deepest: int) -> None:
    n_open = content.count(b"[") + content.count(b"{")
    if n_open <= deepest:
        return
    # Escapes first, since one may hold a quotation mark; then strings, in which brackets are text.
    plain = re.sub(rb"\\.", b"", content, flags=re.DOTALL).translate(None, _BRACKETS)
    brackets = re.sub(rb'"[^"]*"?', b"", plain)
    n_open = brackets.count(b"[") + brackets.count(b"{")
    if n_open > _MOST_TABLES:
        raise error(f"{where}: has {n_open:,} lists and objects, more than such a file may have")
    depth = max(accumulate(step - 1 for step in brackets.translate(_STEPS)), default=0)
    if depth > deepest:
        raise error(f"{where}: is nested {depth:,} levels deep, more than the {deepest} that such a file may have")


def _what(text: str, failure: json.JSONDecodeError) -> str:
    """What is wrong, naming what editors and other languages allow and JSON does not."""
    if not text.strip():
        return "it is empty"
    rest, line = text[failure.pos : failure.pos + 1000].lstrip(), failure.lineno
    before = text[max(0, failure.pos - 1000) : failure.pos].rstrip()
    if rest.startswith(("//", "/*", "#")):
        return f"line {line} has a comment"
    if (before.endswith(",") and rest[:1] in tuple("}]")) or re.match(r",\s*[}\]]", rest):
        return f"line {line} has a comma with nothing after it"
    return str(failure)

"""Files that may hold anything: what never ends, is too large, too deep, or not JSON is refused in one sentence."""

import json
import os
import socket
from pathlib import Path

import pytest

from puna.core import bounded
from puna.core.bounded import DEEPEST, open_regular, parse_json, read_bounded
from puna.core.errors import FormatError, TokenizerError


def test_a_regular_file_and_a_link_to_one_are_read(tmp_path: Path) -> None:
    """The bytes are the file's, up to the bound itself."""
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert read_bounded(tmp_path / "file", 5, FormatError) == b"12345"
    assert read_bounded(tmp_path / "link", 5, FormatError) == b"12345"
    with open_regular(tmp_path / "file", FormatError) as file:
        assert file.read(2) == b"12"


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("pipe", "is a named pipe, not a regular file"),
        ("directory", "is a directory, not a regular file"),
        ("socket", "is a socket, not a regular file"),
        ("zero", "is a device, not a regular file"),
        ("sparse", "has 3,221,225,472 bytes, more than the 100 that such a file may have"),
        ("grows", "has 101 bytes, more than the 100 that such a file may have"),
        ("absent", "cannot be read: No such file or directory"),
        ("loop", "cannot be read: Too many levels of symbolic links"),
        ("lfs", "is not the file itself, but what Git LFS leaves in its place"),
    ],
)
def test_what_is_not_a_file_of_that_size_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, sentence: str
) -> None:
    """Nothing is waited for, and no more is read than the bound and one byte."""
    path = tmp_path / kind
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "directory":
            path.mkdir()
        case "socket":
            monkeypatch.chdir(tmp_path)  # the name of a socket has at most 108 bytes
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(kind)
        case "zero":
            path.symlink_to("/dev/zero")
        case "sparse":
            path.touch()
            os.truncate(path, 3 << 30)
        case "grows":  # as a file of /proc, whose size is 0
            path.write_bytes(b"x" * 1000)
            monkeypatch.setattr(bounded.os, "fstat", lambda _: os.stat_result((0o100644, 0, 0, 1, 0, 0, 0, 0, 0, 0)))
        case "loop":
            path.symlink_to(path)
        case "lfs":
            path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(TokenizerError) as caught:
        read_bounded(path, 100, TokenizerError)
    assert caught.value.message == f"{path}: {sentence}"
    if kind == "lfs":
        with pytest.raises(TokenizerError, match=sentence):
            open_regular(path, TokenizerError)


def test_json_is_read_as_pythons_own_parser_reads_it() -> None:
    """Brackets and quotes in strings count for nothing, and deep is deep only where something is open."""
    values = [
        {
            "a": ["[" * 500, '\\"' + "{" * 500, '"', "\\"],
            "b": -12,
            "c": 1.5e3,
            "d": None,
            "e": "\u00e9\u2581\U0001f600",
        },
        [[0]] * 300,
        10**399,
        "",
    ]
    for value in values:
        for ascii_only in (True, False):
            assert parse_json(json.dumps(value, ensure_ascii=ascii_only).encode(), "x", FormatError) == value
    deepest = b"[" * DEEPEST + b"]" * DEEPEST
    assert parse_json(b"[%s,%s]" % (deepest[1:-1], deepest[1:-1]), "x", FormatError)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'\xef\xbb\xbf{"a": 1}', "begins with a byte order mark, which JSON does not have"),
        ('{"a": 1}'.encode("utf-16"), "is text in UTF-16 or UTF-32, and JSON is UTF-8"),
        ('{"a": 1}'.encode("utf-16-be"), "is text in UTF-16 or UTF-32, and JSON is UTF-8"),
        ('{"a": 1}'.encode("utf-32-le"), "is text in UTF-16 or UTF-32, and JSON is UTF-8"),
        ('{"a": "é"}'.encode("latin-1"), "is not UTF-8 text: invalid continuation byte at byte 7"),
        (b'{\n"a": 1,\n}', "is not JSON: line 3 has a comma with nothing after it"),
        (b'{"a": [1, 2, ]}', "is not JSON: line 1 has a comma with nothing after it"),
        (b'{\n// why\n"a": 1}', "is not JSON: line 2 has a comment"),
        (b'{"a": 1, # why\n"b": 2}', "is not JSON: line 1 has a comment"),
        (b'{"a": /* why */ 1}', "is not JSON: line 1 has a comment"),
        (b'{"a": 1}\n// why', "is not JSON: line 2 has a comment"),
        (b" \n", "is not JSON: it is empty"),
        (b"\0" * 1000, "is not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b'{"a": 1', "is not JSON: Expecting ',' delimiter: line 1 column 8 (char 7)"),
        (b'{"a": {"\x1b[2J": 1, "\\u001b[2J": 1}}', "is not JSON: Invalid control character at"),
        (b'{"a": {"\\u001b[2J": 1, "\\u001b[2J": 1}}', r"names '\x1b[2J' twice"),
        (
            b'{"a": ["\\ud83d\\ude00", {"\\uDC00": 1}]}',
            r"has half of a surrogate pair, '\udc00', which is not a character",
        ),
        (b'{"a": 1, "b": 2, "a": 1}', "names 'a' twice"),
        (b'{"a": ' + b"9" * 300_000 + b"}", "has a number of 300,000 digits"),
        (b"[" * 65 + b"]" * 65, "is nested 65 levels deep, more than the 64 that such a file may have"),
        (b'{"":' * 100_000, "is nested 100,000 levels deep, more than the 64 that such a file may have"),
        (b'{"a": "' + b"[" * 99 + b'"}' + b"[{" * 99, "is nested 198 levels deep, more than the 64"),
        (b"[" + b"[]," * (1 << 21) + b"0]", "has 2,097,153 lists and objects, more than such a file may have"),
    ],
)
def test_what_is_not_json_or_too_much_of_it_is_named(content: bytes, sentence: str) -> None:
    """One short sentence says what is wrong and where; no object is made of what is too much."""
    with pytest.raises(FormatError) as caught:
        parse_json(content, "config.json", FormatError)
    assert caught.value.message.startswith(f"config.json: {sentence}")
    assert len(caught.value.message) < 200

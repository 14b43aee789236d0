"""Records of WARC files, good and damaged."""

import gzip
import io
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from fastwarc.warc import ArchiveIterator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from puna.data.input_file import InputFile
from puna.data.readers import warc_records as module
from puna.data.readers.warc_records import NoRecord, WarcRecord, warc_records

GOOD = [
    "whirlwind.warc.gz", "whirlwind.warc.wet.gz", "warcio/example.warc", "warcio/example.warc.gz",
    "warcio/example-iana.org-chunked.warc", "warcio/example-resource.warc.gz", "warcio/example-digest.warc",
    "warcio/example-bad-non-chunked.warc.gz", "warcio/example-wget-bad-target-uri.warc.gz", "warcio/post-test.warc.gz",
    "warcio/example-bad.warc.gz.bad", "warcio/example-space-in-target-uri.warc.gz",
    "warcio/example-wrong-chunks.warc.gz",
]  # fmt: skip


def record(content: bytes, identity: str = "i", length: int | None = None, kind: str = "response") -> bytes:
    header = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Record-ID: <urn:{identity}>\r\nContent-Length: "
    return header.encode() + b"%d\r\n\r\n" % (len(content) if length is None else length) + content + b"\r\n\r\n"


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., list[WarcRecord | NoRecord]]:
    def run(content: bytes, limit: int = 10**6, kind: str = "") -> list[WarcRecord | NoRecord]:
        (tmp_path / "f").write_bytes(content)
        file = InputFile(str(tmp_path / "f"), "f", len(content), "")
        return list(warc_records(file, limit, lambda headers: kind in headers.get("warc-type", "")))

    return run


def contents(found: list[WarcRecord | NoRecord]) -> list[bytes | str]:
    return [one.content if isinstance(one, WarcRecord) else one.detail for one in found]


@pytest.mark.parametrize("name", GOOD)
def test_the_records_of_real_files_are_those_that_fastwarc_finds(
    real: Callable[[str], Path], read: Callable[..., list[WarcRecord | NoRecord]], name: str
):
    content = real(f"common_crawl/{name}").read_bytes()
    peers = []
    for peer in ArchiveIterator(io.BytesIO(content), parse_http=False):
        peers.append((peer.record_id, peer.headers["WARC-Type"], peer.reader.read()))
    found = read(content)
    assert all(isinstance(one, WarcRecord) and not one.resized for one in found)
    ours = [(one.headers.get("warc-record-id"), one.headers["warc-type"], one.content) for one in found]  # type: ignore[union-attr]
    assert ours == peers


def test_ids_are_the_records_own_and_no_two_are_equal(read: Callable[..., list[WarcRecord | NoRecord]]):
    found = read(record(b"a") + record(b"b", "j") + record(b"c") + b"WARC/1.1\r\nContent-Length: 1\r\n\r\nd\r\n\r\n")
    assert [one.id for one in found] == ["f#urn:i", "f#urn:j", "f#urn:i@3", "f#4"]


def test_only_what_is_wanted_comes(read: Callable[..., list[WarcRecord | NoRecord]]):
    packed = record(b"a", kind="request") + record(b"b") + record(b"x" * 2_000_000, kind="request") + record(b"c")
    assert contents(read(packed, kind="response")) == [b"b", b"c"]


def test_a_large_record_is_passed_over_without_being_held(read: Callable[..., list[WarcRecord | NoRecord]]):
    found = read(record(b"a") + record(b"x" * 1001, "j") + record(b"c", "k"), limit=1000)
    assert contents(found) == [b"a", "1001 bytes, at most 1000", b"c"]
    assert (found[1].id, found[1].reason) == ("f#urn:j", "too_large")  # type: ignore[union-attr]


def test_a_record_whose_length_is_wrong_reaches_to_the_next(read: Callable[..., list[WarcRecord | NoRecord]]):
    for length in (0, 3, 6, 20, 100):
        packed = record(b"first") + record(b"second\r\nline", "j", length) + record(b"third", "k") + record(b"4", "l")
        found = read(packed)
        assert contents(found) == [b"first", b"second\r\nline", b"third", b"4"], length
        assert [one.resized for one in found] == [False, True, False, False]  # type: ignore[union-attr]


def test_line_feeds_alone_separate_too(read: Callable[..., list[WarcRecord | NoRecord]]):
    found = read((record(b"first") + record(b"second")).replace(b"\r\n", b"\n"))
    assert contents(found) == [b"first", b"second"]


def test_bytes_between_records_are_reported_once(read: Callable[..., list[WarcRecord | NoRecord]]):
    garbage = random.Random(0).randbytes(5000).replace(b"WARC", b"")
    packed = garbage + record(b"first") + record(b"second")
    assert contents(read(packed)) == ["no record begins here", b"first", b"second"]


@pytest.mark.parametrize("length", ["", "x", "-1", "1" * 30, "²"])
def test_a_length_that_is_not_a_number_is_reported(read: Callable[..., list[WarcRecord | NoRecord]], length: str):
    packed = f"WARC/1.0\r\nContent-Length: {length}\r\n\r\nx\r\n\r\n".encode()
    found = read(record(b"a") + packed + record(b"b", "j"))
    assert found[0].id == "f#urn:i"
    assert "Content-Length is" in found[1].detail  # type: ignore[union-attr]
    assert contents(found)[-1] == b"b"


def test_reading_goes_on_behind_a_damaged_gzip_member(read: Callable[..., list[WarcRecord | NoRecord]]):
    parts = [bytearray(gzip.compress(record(random.Random(n).randbytes(500), str(n)))) for n in range(6)]
    for at in range(100, 130):
        parts[2][at] ^= 0xFF
    found = read(b"".join(parts))
    kept = [one.id for one in found if isinstance(one, WarcRecord)]
    assert kept == ["f#urn:0", "f#urn:1", "f#urn:3", "f#urn:4", "f#urn:5"]
    assert len(found) == 6


def test_a_first_member_that_is_damaged_does_not_hide_the_others(read: Callable[..., list[WarcRecord | NoRecord]]):
    parts = [bytearray(gzip.compress(record(b"x" * 500, str(n)))) for n in range(3)]
    parts[0][12] ^= 0xFF
    assert [one.id for one in read(b"".join(parts)) if isinstance(one, WarcRecord)] == ["f#urn:1", "f#urn:2"]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_a_truncated_file_is_reported_and_what_is_whole_is_there(
    read: Callable[..., list[WarcRecord | NoRecord]], pack: Callable[[bytes], bytes]
):
    packed = pack(record(random.Random(1).randbytes(3000), "a")) + pack(record(random.Random(2).randbytes(3000), "b"))
    *good, last = read(packed[:-300])
    assert [one.id for one in good][:1] == ["f#urn:a"]
    assert isinstance(last, NoRecord)
    assert last.reason == "unreadable"


def test_damage_without_end_is_given_up(
    read: Callable[..., list[WarcRecord | NoRecord]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "_MOST_DAMAGES", 5)
    found = read(b"WARC/1.0\r\n\r\nx\r\n" * 1000)
    assert len(found) == 6
    assert "the rest is passed over" in found[-1].detail  # type: ignore[union-attr]


def test_a_header_without_end_is_not_held(read: Callable[..., list[WarcRecord | NoRecord]]):
    found = read(b"WARC/1.0\r\n" + b"X: y\r\n" * 50_000 + b"\r\n" + record(b"a"))
    assert contents(found)[-1] == b"a"
    assert len(found) == 2


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=150)
@given(
    pieces=st.lists(
        st.sampled_from([record(b"text"), record(b"x" * 300, length=5), record(b"y", length=400), b"WARC/1.0\r\n",
                         b"Content-Length: 7\r\n", b"\r\n", b"\r\n\r\n", b"garbage", b"\0"]), max_size=12),
    packed=st.booleans(), limit=st.integers(0, 500),
)  # fmt: skip
def test_anything_is_read_to_its_end(
    read: Callable[..., list[WarcRecord | NoRecord]], pieces: list[bytes], packed: bool, limit: int
):
    found = read(b"".join(map(gzip.compress, pieces)) if packed else b"".join(pieces), limit)
    assert len({one.id for one in found}) == len(found)
    assert all(len(one.content) <= limit + 600 for one in found if isinstance(one, WarcRecord))

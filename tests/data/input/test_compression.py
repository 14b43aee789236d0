"""Compressed streams, good and bad."""

import bz2
import gzip
import io
import lzma
import zlib

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from puna.data.input import compression
from puna.data.input.compression import BOMB, BrokenStreamError, Budget, Decompressed, Reading

TEXT = b"".join(b"line %d of a text that goes on\n" % number for number in range(20_000))
PACK = {
    "gz": lambda data: gzip.compress(data, mtime=0),
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstandard.ZstdCompressor(write_checksum=True).compress,
}
KINDS = sorted(PACK)


def _open(data: bytes, kind: str, *, parts: bool = True, size: int = 10**9) -> io.BufferedReader:
    return io.BufferedReader(Decompressed(io.BytesIO(data), kind, Budget(size), parts=parts), 1 << 16)


def _until_error(stream: io.BufferedReader) -> tuple[bytes, BrokenStreamError | None]:
    """What can be read, and what then is wrong."""
    found = b""
    try:
        while piece := stream.read1(1 << 16):
            found += piece
    except BrokenStreamError as error:
        return found, error
    return found, None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("between", [b"", bytes(8)])
def test_all_parts_are_read(kind: str, between: bytes):
    packed = PACK[kind](TEXT) + between + PACK[kind](b"") + PACK[kind](b"second") + between
    assert compression.compression(packed[:16]) == kind
    assert _open(packed, kind).read() == TEXT + b"second"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tail", [b"\nnot compressed", b"x"])
def test_what_follows_and_is_not_a_part_is_an_error_after_the_content(kind: str, tail: bytes):
    found, error = _until_error(_open(PACK[kind](TEXT) + tail, kind))
    assert found == TEXT
    assert "other bytes after its end" in str(error)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_cut_off_is_an_error_after_what_is_there(kind: str):
    packed = PACK[kind](TEXT)
    for size in (1, 10, len(packed) // 2, len(packed) - 1):
        found, error = _until_error(_open(packed[:size], kind))
        assert TEXT.startswith(found)
        assert error is not None


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_byte_is_an_error(kind: str):
    packed = bytearray(PACK[kind](TEXT))
    packed[len(packed) * 2 // 3] ^= 0x55
    stream = _open(bytes(packed), kind)
    with pytest.raises(BrokenStreamError):
        stream.read()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40)
@given(data=st.data())
def test_damaged_bytes_raise_one_error_only(kind: str, data: st.DataObject):
    packed = bytearray(PACK[kind](TEXT[:3000]))
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    _, error = _until_error(_open(bytes(packed), kind))
    assert error is None or error.reason == "unreadable"


def test_deflate_and_zlib_are_read_without_parts():
    compressor = zlib.compressobj(wbits=-15)
    raw = compressor.compress(TEXT) + compressor.flush()
    assert _open(raw, "deflate", parts=False).read() == TEXT
    assert _open(zlib.compress(TEXT), "zlib", parts=False).read() == TEXT


@pytest.mark.parametrize("kind", KINDS)
def test_a_bomb_is_an_error_before_it_is_large(kind: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(compression, "FLOOR", 1 << 20)
    monkeypatch.setattr(compression, "RATIO", 100)
    packed = PACK[kind](bytes(1 << 23))
    found, error = _until_error(_open(packed, kind, size=len(packed)))
    assert error is not None
    assert error.reason == BOMB
    assert "more than 100 times" in str(error)
    assert len(found) <= max(1 << 20, 100 * len(packed)) + (1 << 20)


def test_a_window_that_asks_for_too_much_memory_is_an_error():
    long = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(window_log=28, strategy=zstandard.STRATEGY_FAST)
    ).compressobj()
    packed = long.compress(TEXT) + long.flush()
    with pytest.raises(BrokenStreamError):
        _open(packed, "zst").read()
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 29}]
    with pytest.raises(BrokenStreamError, match="Memory usage limit"):
        _open(lzma.compress(b"x", filters=filters), "xz").read()


def test_reading_goes_on_behind_damaged_gzip_parts():
    parts = [PACK["gz"](b"part %d;" % number) for number in range(5)]
    parts[1] = parts[1][:12] + b"\xff\xff\xff" + parts[1][15:]
    raw = Decompressed(io.BytesIO(b"".join(parts)), "gz", Budget(10**6))
    stream, found = io.BufferedReader(raw), b""
    while True:
        try:
            piece = stream.read1(100)
        except BrokenStreamError:
            if not raw.recover():
                break
            continue
        if not piece:
            break
        found += piece
    assert found.startswith(b"part 0;")
    assert found.endswith(b"part 2;part 3;part 4;")


def test_nothing_is_recovered_from_other_kinds_or_behind_the_end():
    for kind in KINDS:
        raw = Decompressed(io.BytesIO(PACK[kind](TEXT)[:100]), kind, Budget(10**6))
        stream = io.BufferedReader(raw)
        with pytest.raises(BrokenStreamError):
            stream.read()
        assert not raw.recover()


def test_whatever_a_source_raises_is_an_os_error():
    class Store:
        def read(self, size: int) -> bytes:
            raise RuntimeError("no connection")

    with pytest.raises(BrokenStreamError, match="RuntimeError: no connection"):
        Reading(Store()).read(1)


@pytest.mark.parametrize("head", [b"", b"B", b"BZh9 is a text", b"\x1f\x8b", b"PK\3\4", b"text", b"\x28\xb5\x2f"])
def test_other_beginnings_are_not_compression(head: bytes):
    assert compression.compression(head) == ""

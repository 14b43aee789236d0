"""The walker against msgpack's own packer, and against files that lie."""

from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from puna.core.errors import FormatError
from puna.formats.containers.flax_msgpack import Array, Key, scan


def pack(value: Any) -> bytes:
    content = msgpack.packb(value)
    assert content is not None
    return content


def packed(x: np.ndarray, code: int = 1) -> msgpack.ExtType:
    """An array as flax packs it."""
    return msgpack.ExtType(code, pack((x.shape, x.dtype.name, x.tobytes())))


def stream(leaves: dict[Key, Any]) -> bytes:
    """Leaves as EasyLM streams them."""
    return b"".join(pack((key, pack(leaf))) for key, leaf in leaves.items())


def chunked(x: np.ndarray, step: int) -> dict[str, Any]:
    """An array cut as flax cuts large ones."""
    pieces = [x.reshape(-1)[i : i + step] for i in range(0, x.size, step)]
    return {
        "__msgpack_chunked_array__": True,
        "shape": {str(i): size for i, size in enumerate(x.shape)},
        "chunks": {str(i): packed(piece) for i, piece in enumerate(pieces)},
    }


def walk(content: bytes) -> tuple[dict[Key, Array | None], list[Key]]:
    return scan(content, "file", lambda key: key[0] != "opt_state")


def values(content: bytes, array: Array | None) -> np.ndarray:
    assert array is not None
    joined = b"".join(content[start : start + length] for start, length in array.pieces)
    return np.frombuffer(joined, array.dtype).reshape(array.shape)


def test_a_stream_tells_where_each_array_lies() -> None:
    arrays = {("a",): np.arange(6.0, dtype=np.float32).reshape(2, 3), ("b", "c"): np.array(7, np.int32)}
    content = stream({key: packed(x) for key, x in arrays.items()})
    found, passed = walk(content)
    assert list(found) == list(arrays)
    assert passed == []
    for key, x in arrays.items():
        np.testing.assert_array_equal(values(content, found[key]), x)
        assert (found[key].shape, found[key].dtype) == (x.shape, x.dtype.name)


def test_a_map_tells_where_each_array_lies() -> None:
    x, y = np.arange(300, dtype=np.float16), np.zeros((2, 0), np.float32)
    content = pack({"a": {"b": {"0": packed(x)}}, "c": packed(y)})
    found, _ = walk(content)
    assert list(found) == [("a", "b", "0"), ("c",)]
    np.testing.assert_array_equal(values(content, found["a", "b", "0"]), x)
    assert found["c",].shape == (2, 0)


def test_what_is_not_wanted_is_not_looked_at() -> None:
    content = pack((("opt_state", "0"), b"\xc1 no msgpack")) + stream({("a",): packed(np.ones(1))})
    found, passed = walk(content)
    assert list(found) == [("a",)]
    assert passed == [("opt_state", "0")]


@pytest.mark.parametrize("step", [1, 5, 24, 100])
def test_an_array_that_was_cut_is_joined_in_the_order_of_its_pieces(step: int) -> None:
    x = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    leaf = chunked(x, step)
    leaf["chunks"] = dict(sorted(leaf["chunks"].items()))
    for content in (stream({("a",): leaf}), pack({"a": leaf})):
        np.testing.assert_array_equal(values(content, walk(content)[0]["a",]), x)


@pytest.mark.parametrize("leaf", [3, -70000, None, True, 1.5, "text", [1, {"a": 2}], packed(np.ones(()), 3)])
def test_leaves_that_are_not_arrays_are_named_and_have_no_place(leaf: Any) -> None:
    for content in (
        stream({("a",): leaf, ("b",): packed(np.ones(2))}),
        pack({"a": leaf, "b": packed(np.ones(2))}),
    ):
        found, _ = walk(content)
        assert found["a",] is None
        assert found["b",].shape == (2,)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(max_size=70)
    | st.builds(msgpack.ExtType, st.just(1), st.just(pack(((1,), "int8", b"a")))),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=40), inner, max_size=20),
    max_leaves=60,
)


@given(value=anything)
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_stands_before_an_array_is_stepped_over_exactly(value: Any) -> None:
    marker = np.arange(5, dtype=np.uint8)
    content = pack({"list": [value, value], "value": packed(marker)})
    np.testing.assert_array_equal(values(content, walk(content)[0]["value",]), marker)


@pytest.mark.parametrize("length", [0, 31, 32, 255, 256, 65535, 65536])
def test_contents_of_every_length_are_stepped_over(length: int) -> None:
    marker = np.arange(3, dtype=np.uint8)
    for value in (b"x" * length, "x" * length, [0] * length, packed(np.zeros(length, np.uint8))):
        content = pack({"a": [value], "b": packed(marker)})
        np.testing.assert_array_equal(values(content, walk(content)[0]["b",]), marker)


ONE = pack(packed(np.ones((2, 2), np.float32)))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\x80" * 2, "ends at byte 1"),
        (b"\xc1", "no msgpack object"),
        (b"\x01", "expected a pair"),
        (pack([["a"], b"\xc0", 1]), "expected a pair"),
        (pack(["a", b"\xc0"]), "expected a path"),
        (pack([[], b"\xc0"]), "expected a path"),
        (pack([["a"] * 33, b"\xc0"]), "expected a path"),
        (pack([[1], b"\xc0"]), "expected a name"),
        (pack([[b"a"], b"\xc0"]), "expected a name"),
        (pack([["a" * 5000], b"\xc0"]), "at most 256"),
        (pack([["a"], "text"]), "expected the bytes of a"),
        (pack([["a"], ONE + b"\xc0"]), "a ends at"),
        (pack([["a"], ONE]) * 2, "holds a twice"),
        (pack([["a"], ONE])[:-1], "truncated"),
        (b"\x92\x91\xa2\xff\xfe\xc4\x01\xc0", "not UTF-8"),
        (b"\x82\xa1a\xc0\xa1a\xc0", "a map has a twice"),
        (b"\x81\x01\xc0", "expected a name"),
        (b"\x81\xa1a" * 100 + b"\xc0", "nested"),
        (b"\x81\xa1a" * 100_000 + b"\xc0", "nested"),
        (b"\x81\xa1a" + b"\x91" * 100_000, "do not fit|announced"),
        (b"\x81\xa1a\xdd" + b"\x00\x20\x00\x00" + b"\xc0" * 2**21, "more than 1048576 objects"),
        (b"\xdf\xff\xff\xff\xff", "do not fit"),
        (b"\x81\xa1a\xdd\xff\xff\xff\xff", "do not fit"),
        (b"\x81\xa1a\xc6\xff\xff\xff\xff", "4294967295 bytes are announced"),
        (b"\x81\xa1a\xc9\xff\xff\xff\xff\x01", "4294967295 bytes are announced"),
        (b"\x81\xa1a\xc9\x00", "4 bytes are announced"),
        (pack({"a": msgpack.ExtType(77, b"")}), "extension type 77"),
        (pack({"a": msgpack.ExtType(1, b"\x93")}), "3 members that the array announces do not fit"),
        (pack({"a": msgpack.ExtType(1, pack([[2], "int8"]))}), "expected an array's"),
        (pack({"a": msgpack.ExtType(1, pack([2, "int8", b"aa"]))}), "expected an array's"),
        (pack({"a": msgpack.ExtType(1, pack([["2"], "int8", b"aa"]))}), "expected an array's"),
        (pack({"a": msgpack.ExtType(1, pack([[-2], "int8", b"aa"]))}), "expected an array's"),
        (pack({"a": msgpack.ExtType(1, pack([[2], "int8", "aa"]))}), "expected an array's"),
        (pack({"a": msgpack.ExtType(1, pack([[1] * 9, "int8", b"a"]))}), "expected an array's"),
        (pack({"a": msgpack.ExtType(1, pack([[2], "int8", b"aa"]) + b"\0")}), "an array ends"),
        (pack({"a": msgpack.ExtType(1, pack([[2], "object", b"aa"]))}), "'object' is not a dtype"),
        (pack({"a": msgpack.ExtType(1, pack([[2], "int8", b"a"]))}), "1 bytes do not make an array of int8"),
        (pack({"a": msgpack.ExtType(1, pack([[2**63, 2**63], "int8", b"a"]))}), "1 bytes do not make"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_file_that_lies_is_refused_in_one_sentence(content: bytes, says: str) -> None:
    with pytest.raises(FormatError, match=says) as error:
        walk(content)
    assert str(error.value).startswith("file: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("change", [
    {"shape": {"0": 2, "1": 3, "2": 5}}, {"shape": {"0": 2, "2": 12}}, {"shape": {"0": "24"}}, {"shape": 24},
    {"shape": {"0": -24}}, {"shape": {str(i): 1 for i in range(9)}}, {"chunks": {}}, {"chunks": {"1": 0}},
    {"chunks": 0}, {"chunks": {"0": packed(np.zeros(12, np.int16)), "1": packed(np.zeros(6, np.int32))}},
])  # fmt: skip
def test_pieces_that_do_not_make_the_array_are_refused(change: dict[str, Any]) -> None:
    whole = chunked(np.arange(24, dtype=np.int16).reshape(2, 3, 4), 10)
    walk(pack({"a": whole}))
    with pytest.raises(FormatError, match="damaged"):
        walk(pack({"a": whole | change}))


SMALL = (
    stream({("a", "b"): packed(np.arange(4, dtype=np.float32)), ("c",): chunked(np.arange(9, dtype=np.int8), 4)}),
    pack({"a": {"b": packed(np.arange(4, dtype=np.float32))}, "c": chunked(np.arange(9, dtype=np.int8), 4)}),
)


@pytest.mark.parametrize("content", SMALL, ids=["stream", "map"])
def test_every_truncation_is_refused_but_between_two_messages(content: bytes) -> None:
    boundaries = []
    for length in range(1, len(content)):
        try:
            found, _ = walk(content[:length])
        except FormatError:
            continue
        boundaries.append(length)
        assert list(found) == [("a", "b")]
    assert len(boundaries) == (content is SMALL[0])


@given(data=st.data())
@settings(max_examples=500)
def test_flipped_bits_are_refused_or_point_into_the_file(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(SMALL)))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found, _ = walk(bytes(content))
    except FormatError:
        return
    for array in found.values():
        for start, length in array.pieces if array else ():
            assert 0 <= start <= start + length <= len(content)

"""Hostile pickles end in one error: nothing hangs, recurses, takes memory, or runs."""

import pickle
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from puna.formats.containers import pickled
from puna.formats.containers.pickled import DamagedError, ForeignError, Record, Reference, unpickle


def record_of(reference: Reference) -> Record:
    return Record(0, 16, reference.dtype)


def run(content: bytes) -> Any:
    return unpickle(content, 0, record_of)[0]


def opcodes(*parts: bytes) -> bytes:
    return b"\x80\x02" + b"".join(parts) + b"."


def key(*parts: bytes) -> bytes:
    """A dictionary with one key that these instructions make."""
    return opcodes(b"}", *parts, b"K\1s")


SIZE = b"ctorch\nSize\n"
ORDERED = b"ccollections\nOrderedDict\n"
HOSTILE = {
    # A tuple of a tuple twice, sixty times: its hash takes 2^60 steps, and so does its text.
    "key of nested tuples": (key(b")", b"q\0h\0\x86" * 60), "a key that is tuple"),
    "key of a deep tuple": (key(b")" + b"\x85" * 300_000), "a key that is tuple"),
    "key that is a frozenset": (key(b"(K\1\x91"), "has the instruction FROZENSET"),
    "key that is a list": (key(b"]"), "a key that is list"),
    "key that is none": (key(b"N"), "a key that is NoneType"),
    "key that is a fraction": (key(b"G" + bytes(8)), "a key that is float"),
    "key that is a truth": (key(b"\x88"), "a key that is bool"),
    "key that is bytes": (key(b"C\1a"), "a key that is bytes"),
    "key that is a tensor's type": (key(b"ctorch\nfloat16\n"), "a key that is dtype"),
    "whole number of a megabyte": (key(b"\x8b" + (1 << 20).to_bytes(4, "little") + bytes(1 << 20)), "whole number of"),
    "whole number in digits": (key(b"L" + b"9" * 300_000 + b"L\n"), "has the instruction LONG"),
    "pairs of three": (opcodes(ORDERED, b"]](K\1K\1K\1ea\x85R"), "something else than pairs"),
    "size of a long list": (opcodes(SIZE, b"](" + b"K\1" * 100 + b"e\x85R"), "a size is not one"),
    "call with much": (opcodes(ORDERED, b"(" + b"K\1" * 20 + b"tR"), "or with too much"),
    "call of a number": (opcodes(b"K\1)R"), "calls what is not a function"),
    "call without a tuple": (opcodes(ORDERED, b"]R"), "calls what is not a function"),
    "name that is a deep tuple": (opcodes(b")", b"q\0h\0\x86" * 60, b"X\1\0\0\0a\x93"), "a name that is none"),
    "name without an end": (opcodes(b"c" + b"a" * 1000), "a name without an end"),
    "set": (opcodes(b"\x8f"), "has the instruction EMPTY_SET"),
    "object of a class": (opcodes(ORDERED, b")\x81"), "has the instruction NEWOBJ"),
    "old instruction that makes objects": (opcodes(b"(i__builtin__\neval\n"), "has the instruction INST"),
    "extension": (opcodes(b"\x82\1"), "has the instruction EXT1"),
    "duplicate": (opcodes(b"]2"), "has the instruction DUP"),
    "no instruction": (opcodes(b"\xff"), "has the instruction 0xff"),
    "later protocol": (b"\x80\x06.", "is of protocol 6"),
    "append to a number": (opcodes(b"K\1K\1a"), "appends to int"),
    "item of a list": (opcodes(b"]K\1K\1s"), "sets an item of list"),
    "key without a value": (opcodes(b"}(K\1u"), "sets an item of dict"),
    "tuple of nothing": (opcodes(b"\x87"), "a tuple of what is not there"),
    "object that was not put away": (opcodes(b"h\1"), "has not put away"),
    "end of nothing": (b"\x80\x02.", "ends too soon"),
    "mark that was not set": (opcodes(b"t"), "ends too soon"),
    "nothing": (b"", "ends too soon"),
    "text that is not UTF-8": (opcodes(b"X\1\0\0\0\xff"), "ends too soon, or makes no sense"),
    "attributes of a number": (opcodes(b"K\1}b"), "gives attributes to int"),
}  # fmt: skip


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize(("content", "sentence"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_pickles_are_one_error(content: bytes, sentence: str) -> None:
    with pytest.raises(DamagedError, match=sentence):
        run(content)


def test_what_is_deep_or_refers_to_itself_is_only_an_object() -> None:
    """It is never walked through, so its depth does no harm, not even when it is thrown away."""
    assert type(run(opcodes(b"]" * 100_000 + b"a" * 99_999))) is list
    itself = run(opcodes(b"]q\0h\0a"))
    assert itself[0] is itself


def test_instructions_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickled, "_MOST_STEPS", 100)
    assert run(opcodes(b"(" + b"N" * 90 + b"t")) == (None,) * 90
    with pytest.raises(DamagedError, match="more than 100 instructions"):
        run(opcodes(b"(" + b"N" * 100 + b"t"))


def test_a_list_that_is_handed_over_again_and_again_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call would read all of it: a list of 700,000 pairs in a file of 4 MB takes hours."""
    pair = b"X\1\0\0\0aK\1\x86q\0"
    content = opcodes(pair, b"](" + b"h\0" * 50 + b"e\x85q\1", ORDERED, b"q\2", b"h\2h\1R" * 20)
    assert run(content) == {"a": 1}
    monkeypatch.setattr(pickled, "_MOST_STEPS", 900)
    with pytest.raises(DamagedError, match="hands more than 900 parts to functions"):
        run(content)


def test_a_signal_ends_the_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every instruction is run by Python, which looks for signals; here one comes in the middle."""

    class Ended(BaseException):
        pass

    def interrupt(*_: Any) -> Record:
        raise Ended

    with pytest.raises(Ended):
        unpickle(opcodes(b"(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0aNK\4tQ"), 0, interrupt)


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), 1 << 63) | st.floats(allow_nan=False) | st.text(max_size=3)
    | st.binary(max_size=3).map(str) | st.sampled_from([torch.float16, torch.int8]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2) | st.integers(0, 9), inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
    ),
    max_leaves=8,
)  # fmt: skip


@given(value=VALUE, protocol=st.integers(2, 5))
def test_plain_values_are_what_python_reads(value: Any, protocol: int) -> None:
    content = pickle.dumps(value, protocol)
    found, end = unpickle(b"xx" + content + b"yy", 2, record_of)
    assert (found, end) == (value, 2 + len(content))


@given(
    content=st.binary(max_size=60)
    | st.lists(st.sampled_from([bytes([c]) for c in pickled._INSTRUCTIONS])).map(b"".join)
)
def test_any_bytes_are_an_object_or_an_error(content: bytes) -> None:
    try:
        run(b"\x80\x02" + content + b".")
    except (DamagedError, ForeignError) as error:
        assert str(error)  # noqa: PT017

"""What the kernel does at the edges of its input."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from puna.data.text.kernel_constants import STOP_WORDS
from puna.data.text.statistics_kernel import count_lines, scan_text, stop_bit
from puna.data.text.words import tables


@given(st.binary())
@example(b"\xf0\x9f")
@example(b"a\n\xff\xff\xff\n")
def test_bytes_that_are_not_utf8_are_not_an_error_and_nothing_beyond_the_end_is_read(data: bytes):
    padded = np.frombuffer(b"\x81" * 8 + data + b"\x81" * 8, dtype=np.uint8)
    totals, bits, lines = scan_text(padded[8 : 8 + len(data)], *tables())
    again = scan_text(np.frombuffer(data, dtype=np.uint8), *tables())
    assert (totals, bits, lines.tolist()) == (again[0], again[1], again[2].tolist())


@pytest.mark.parametrize("text", [b"", b"\n\n\n", b"a", b"a\n", b"a\nb\nc", b"\na\n\nb"])
def test_there_is_room_for_every_line(text: bytes):
    assert count_lines(np.frombuffer(text, dtype=np.uint8)) >= len([line for line in text.split(b"\n") if line])


def test_each_stop_word_has_a_bit_of_its_own():
    bits = [stop_bit(int.from_bytes(word.encode())) for word in STOP_WORDS]
    assert bits == [1 << number for number in range(8)]
    assert stop_bit(int.from_bytes(b"they")) == 0

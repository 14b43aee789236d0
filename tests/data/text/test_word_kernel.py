"""The parts of the kernel: bytes to code points, code points to hashes."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from puna.data.text.word_kernel import OFFSET, absorb, decode, finish
from puna.data.text.words import word_hash, word_hashes


def raw(data: bytes) -> np.ndarray:
    return np.frombuffer(data, dtype=np.uint8)


@given(st.characters(min_codepoint=0x80, exclude_categories=["Cs"]))
@example("\x80")
@example("\u07ff")
@example("\u0800")
@example("\uffff")
@example("\U00010000")
@example("\U0010ffff")
def test_a_character_is_decoded_from_its_bytes_and_absorbed_as_them(character: str):
    data = character.encode()
    assert decode(raw(data), 0) == (ord(character), len(data))
    assert finish(np.uint64(absorb(OFFSET, ord(character)))) == word_hash(character)


@given(st.binary())
@example(b"\xf0\x9f")
@example(b"\xf4\xbf\xbf\xbf a")
@example(b"\xc3")
def test_bytes_that_are_not_utf8_are_not_an_error_and_nothing_beyond_the_end_is_read(data: bytes):
    padded = raw(b"\x81" * 8 + data + b"\x81" * 8)
    assert word_hashes(padded[8 : 8 + len(data)]).tolist() == word_hashes(raw(data)).tolist()


def test_the_hashes_of_a_million_words_differ():
    text = " ".join(map(str, range(1_000_000)))
    assert len(np.unique(word_hashes(raw(text.encode())))) == 1_000_000

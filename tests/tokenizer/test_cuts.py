import itertools
import json

import numpy as np
import pytest
import sentencepiece
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from puna.tokenizer.byte_level import (
    DIGITS_THEN_GPT2,
    GPT2_PATTERN,
    LLAMA3_PATTERN,
    LLAMA_CPP_DEFAULT,
    SPLITS,
    pre_tokenizer,
)
from puna.tokenizer.cuts import ALWAYS, BEFORE_LETTER, Cuts, cuts_between, cuts_of

PATTERNS = [(GPT2_PATTERN,), (LLAMA3_PATTERN,), DIGITS_THEN_GPT2.patterns, LLAMA_CPP_DEFAULT.patterns]
KINDS = "as'1(. \n\t\x1fé\u00a0\u3000²🙂"
"""One or more of each kind of character that a pattern knows."""


def splitter(patterns: tuple[str, ...]) -> tokenizers.pre_tokenizers.PreTokenizer:
    data = {"model": {"type": "BPE", "vocab": {}, "merges": []}, "pre_tokenizer": pre_tokenizer(patterns)}
    return tokenizers.Tokenizer.from_str(json.dumps(data)).pre_tokenizer


def is_cut(cuts: Cuts, left: str, right: str) -> bool:
    """Whether `right` is cut off what is before it."""
    kind = cuts[left.encode()[-1], right.encode()[0]]
    return kind == ALWAYS or (kind == BEFORE_LETTER and right[1:2].isascii() and right[1:2].isalpha())


def test_no_cut_lies_inside_a_piece_or_a_character() -> None:
    cuts = cuts_between([b" the", b"ab", "é!".encode(), b"x"])
    assert not is_cut(cuts, " ", "t")
    assert not is_cut(cuts, "a", "b")
    assert not is_cut(cuts, "é", "!")
    assert not cuts[0xE2, 0x96]
    assert is_cut(cuts, "b", "a")
    assert is_cut(cuts, "e", " ")
    assert is_cut(cuts, "x", "é")


def test_pieces_with_spaces_inside_leave_no_cut_before_those_spaces() -> None:
    assert is_cut(cuts_between([b" of", b" the"]), "f", " ")
    assert not is_cut(cuts_between([b" of", b" the", b" of the"]), "f", " ")


@given(st.data())
def test_merges_never_reach_across_a_cut(data: st.DataObject) -> None:
    """By SentencePiece itself, on vocabularies made up at random: characters, byte pieces, and any pieces beside."""
    pieces = data.draw(st.lists(st.text("ab é", min_size=2, max_size=4), max_size=12, unique=True))
    text = data.draw(st.text("ab é\n", min_size=1, max_size=40))
    model = sentencepiece.SentencePieceProcessor()
    model.LoadFromSerializedProto(sentencepiece_model([*"ab é", *pieces]))
    cuts = cuts_between([piece.encode() for piece in pieces])
    ids = []
    text = " " + text  # the dummy prefix
    start = 0
    for end in range(1, len(text) + 1):
        if end == len(text) or is_cut(cuts, text[:end], text[end:]):
            ids += model.encode("\0" + text[start:end])[2:]
            start = end
    assert ids == model.encode(text[1:])


@pytest.mark.parametrize("patterns", PATTERNS)
def test_a_pattern_matches_the_same_on_both_sides_of_a_cut(patterns: tuple[str, ...]) -> None:
    """On every string of up to four characters, one of each kind."""
    cuts, split = cuts_of(patterns), splitter(patterns)
    assert cuts is not None
    known: dict[str, list[str]] = {}

    def pieces(text: str) -> list[str]:
        if text not in known:
            known[text] = [piece for piece, _ in split.pre_tokenize_str(text)]
        return known[text]

    checked = 0
    for length in (2, 3, 4):
        for text in map("".join, itertools.product(KINDS, repeat=length)):
            for at in range(1, length):
                if is_cut(cuts, text[:at], text[at:]):
                    assert pieces(text[:at]) + pieces(text[at:]) == pieces(text), text
                    checked += 1
    assert checked > 20_000


@pytest.mark.parametrize("patterns", PATTERNS)
@given(st.text(st.sampled_from("'sStTrReE1a \n\r\t\x1f.(é\u00a0\u2003\u3000²🙂"), max_size=30))
def test_a_long_text_is_split_as_its_parts(patterns: tuple[str, ...], text: str) -> None:
    cuts, split = cuts_of(patterns), splitter(patterns)
    assert cuts is not None
    ends = [at for at in range(1, len(text)) if is_cut(cuts, text[:at], text[at:])]
    parts = [text[begin:end] for begin, end in itertools.pairwise([0, *ends, len(text)])]
    found = [piece for part in parts for piece, _ in split.pre_tokenize_str(part)]
    assert found == [piece for piece, _ in split.pre_tokenize_str(text)]


def test_white_space_of_any_kind_keeps_the_white_space_behind_it() -> None:
    for patterns in PATTERNS:
        cuts = cuts_of(patterns)
        assert cuts is not None
        for space in map(chr, range(0x110000)):
            if space.isspace():
                assert not is_cut(cuts, space, " (")


def test_the_last_space_before_a_letter_belongs_to_it() -> None:
    for patterns in PATTERNS:
        cuts = cuts_of(patterns)
        assert cuts is not None
        assert is_cut(cuts, "\n  ", " self")
        assert not is_cut(cuts, "\n ", "  self")
        assert not is_cut(cuts, "\n  ", " 5")
        assert not is_cut(cuts, "\n  ", "\tself")
        assert not is_cut(cuts, "\u00a0", " self")


def test_composing_characters_does_not_reach_across_a_cut() -> None:
    """No ASCII character composes with what is before it, and each cut has one behind it."""
    for patterns in PATTERNS:
        cuts = cuts_of(patterns)
        assert cuts is not None
        assert not cuts[:, 0x80:].any()
        assert cuts[:, :0x80].any()


def test_every_known_split_has_cuts_and_an_unknown_one_none() -> None:
    assert all(cuts_of(split.patterns) is not None for split in SPLITS.values())
    assert cuts_of((r"\w+|\W+",)) is None
    assert cuts_of((GPT2_PATTERN, r"\w+|\W+")) is None
    assert cuts_of((r"\p{N}",)) is None
    assert cuts_of(()) is None


def test_of_two_patterns_both_must_allow_a_cut() -> None:
    one, other, both = cuts_of((GPT2_PATTERN,)), cuts_of((LLAMA3_PATTERN,)), cuts_of((GPT2_PATTERN, LLAMA3_PATTERN))
    assert one is not None
    assert other is not None
    assert both is not None
    np.testing.assert_array_equal(both, np.minimum(one, other))


def sentencepiece_model(pieces: list[str]) -> bytes:
    """A BPE with byte fallback; the first pieces are the best ones."""
    kinds = [("<unk>", 2), ("<s>", 3), ("</s>", 3), *((f"<0x{byte:02X}>", 6) for byte in range(256))]
    kinds += [(piece.replace(" ", "\u2581"), 1) for piece in pieces]
    entries = []
    for number, (piece, kind) in enumerate(kinds):
        score = np.float32(-number).tobytes()
        entries.append(_field(1, _field(1, piece.encode()) + b"\x15" + score + bytes([3 << 3, kind])))
    trainer = bytes([3 << 3, 2]) + b"\x98\x02\x01"  # model_type BPE, byte_fallback
    normalizer = _field(1, b"identity") + bytes([3 << 3, 1, 4 << 3, 0, 5 << 3, 1])
    return b"".join(entries) + _field(2, trainer) + _field(3, normalizer)


def _field(number: int, content: bytes) -> bytes:
    assert len(content) < 128
    return bytes([number << 3 | 2, len(content)]) + content

"""The file as SentencePiece itself reads it."""

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from puna.tokenizer.sentencepiece import SentencePieceTokenizer
from puna.tokenizer.sentencepiece_model import (
    BYTE,
    CONTROL,
    NORMAL,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    Piece,
    add_no_bos,
    adds_bos,
    read_pieces,
    write_model,
)

PIECES = [
    Piece("<unk>", 0.0, UNKNOWN), Piece("<go>", 0.0, CONTROL), Piece("<stop>", 0.0, CONTROL),
    *(Piece(f"<0x{byte:02X}>", 0.0, BYTE) for byte in range(256)),
    Piece("▁", -1.0, NORMAL), Piece("ab", -2.5, NORMAL), Piece("a", -3.0, NORMAL), Piece("b", -4.0, NORMAL),
    Piece("<|x|>", 0.0, USER_DEFINED), Piece("never", -9.0, UNUSED),
]  # fmt: skip


def model(content: bytes) -> sentencepiece.SentencePieceProcessor:
    processor = sentencepiece.SentencePieceProcessor()
    processor.LoadFromSerializedProto(content)
    return processor


@pytest.mark.parametrize("space_prefix", [True, False])
def test_sentencepiece_reads_what_is_written(space_prefix: bool) -> None:
    content = write_model(PIECES, unk="<unk>", bos="<go>", eos="<stop>", space_prefix=space_prefix)
    assert read_pieces(content) == PIECES
    processor = model(content)
    assert processor.vocab_size() == len(PIECES)
    assert (processor.unk_id(), processor.bos_id(), processor.eos_id()) == (0, 1, 2)
    for token, piece in enumerate(PIECES):
        assert processor.id_to_piece(token) == piece.text
        assert processor.get_score(token) == piece.score
        assert processor.is_byte(token) == (piece.kind == BYTE)
        assert processor.is_unused(token) == (piece.kind == UNUSED)
        assert processor.is_control(token) == (piece.kind == CONTROL)
    first = [259] if space_prefix else []
    assert processor.encode("ab<|x|>") == [*first, 260, 263]
    assert processor.encode("a  b") == [*first, 261, 259, 259, 262]


@pytest.mark.parametrize("vocabulary", ["tokenizer", "llama"])
def test_pieces_are_those_that_sentencepiece_reads(vocabulary: str, request: pytest.FixtureRequest) -> None:
    tokenizer: SentencePieceTokenizer = request.getfixturevalue(vocabulary)
    processor = model(tokenizer.content)
    pieces = read_pieces(tokenizer.content)
    assert [piece.text for piece in pieces] == [processor.id_to_piece(i) for i in range(processor.vocab_size())]
    assert [piece.score for piece in pieces] == [processor.get_score(i) for i in range(processor.vocab_size())]


def test_note_on_the_beginning_is_passed_over_by_sentencepiece(tokenizer: SentencePieceTokenizer) -> None:
    content = add_no_bos(tokenizer.content)
    assert (adds_bos(tokenizer.content), adds_bos(content)) == (True, False)
    assert add_no_bos(content) == content
    assert model(content).encode("a text") == model(tokenizer.content).encode("a text")
    assert read_pieces(content) == read_pieces(tokenizer.content)


@given(st.integers(0, 3000), st.integers(0, 255), st.booleans())
def test_damaged_file_is_a_value_error_or_has_pieces(position: int, byte: int, cut: bool) -> None:
    content = write_model(PIECES, unk="<unk>", bos="<go>", eos="<stop>", space_prefix=True)
    damaged = content[:position] if cut else content[:position] + bytes([byte]) + content[position + 1 :]
    try:
        pieces = read_pieces(damaged)
    except ValueError:
        return
    assert len(pieces) <= len(PIECES) + 1

import contextlib
import itertools
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from puna.core.errors import ExportError, TokenizerError
from puna.tokenizer.agreement import battery
from puna.tokenizer.llama2c import read_tokenizer_bin, write_tokenizer_bin
from puna.tokenizer.sentencepiece import SentencePieceTokenizer
from puna.tokenizer.sentencepiece_model import CONTROL, UNUSED, USER_DEFINED, Piece, read_pieces, write_model
from puna.tokenizer.tokenizer import Tokenizer


@pytest.fixture
def file(tokenizer: Tokenizer, tmp_path: Path) -> Path:
    write_tokenizer_bin(tokenizer, tmp_path / "tokenizer.bin")
    return tmp_path / "tokenizer.bin"


def entries(content: bytes) -> list[tuple[float, bytes]]:
    found, position = [], 4
    while position < len(content):
        score, length = struct.unpack_from("<fI", content, position)
        found.append((score, content[position + 8 : position + 8 + length]))
        position += 8 + length
    return found


def packed(found: list[tuple[float, bytes]]) -> bytes:
    return struct.pack("<I", 99) + b"".join(struct.pack("<fI", score, len(piece)) + piece for score, piece in found)


def encode_as_run_c(vocabulary: list[tuple[float, bytes]], text: str) -> list[int]:
    """Ids by run.c's way: characters, bytes where a character has no piece, then the best neighbours joined."""
    number = {piece: token for token, (_, piece) in reversed(list(enumerate(vocabulary)))}
    ids = [number[b" "]] if text else []
    for character in text:
        piece = character.encode()
        ids += [number[piece]] if piece in number else [byte + 3 for byte in piece]
    while True:
        pairs = [vocabulary[a][1] + vocabulary[b][1] for a, b in itertools.pairwise(ids)]
        known = [(vocabulary[number[pair]][0], -at) for at, pair in enumerate(pairs) if pair in number]
        if not known:
            return ids
        at = -max(known)[1]
        ids[at : at + 2] = [number[pairs[at]]]


def test_the_entries_are_the_pieces_and_scores_with_spaces_as_spaces(tokenizer: Any, file: Path) -> None:
    found = entries(file.read_bytes())
    assert len(found) == tokenizer.vocab_size
    assert [piece for _, piece in found[:4]] == [b"<unk>", b"\n<s>\n", b"\n</s>\n", b"<0x00>"]
    assert [piece for _, piece in found[259:]] == [
        tokenizer.bytes_of(token) for token in range(259, tokenizer.vocab_size)
    ]
    assert [score for score, _ in found] == [tokenizer.score(token) for token in range(tokenizer.vocab_size)]
    assert struct.unpack("<I", file.read_bytes()[:4]) == (max(len(piece) for _, piece in found),)


def test_what_is_read_has_the_same_pieces_scores_kinds_and_tokens(tokenizer: Any, file: Path) -> None:
    read: Any = read_tokenizer_bin(file)
    for about in ("piece", "score", "is_byte", "is_control", "bytes_of"):
        ours, theirs = (
            [getattr(of, about)(token) for token in range(tokenizer.vocab_size)] for of in (tokenizer, read)
        )
        assert ours == theirs, about
    assert (read.bos_id, read.eos_id, read.unk_id, read.space_prefix) == (1, 2, 0, True)
    strings = [*battery(), "<s>", "</s>", "a</s>b", "<unk>", "\n<s>\n", "\u2581"]
    assert [read.encode(text) for text in strings] == [tokenizer.encode(text) for text in strings]


def test_run_cs_way_of_encoding_gives_the_same_tokens(tokenizer: Tokenizer, file: Path) -> None:
    vocabulary = entries(file.read_bytes())
    strings = [text for text in battery() if "\0" not in text and len(text) < 100]
    assert len(strings) > 350
    assert [encode_as_run_c(vocabulary, text) for text in strings] == [tokenizer.encode(text) for text in strings]


def changed(tokenizer: Tokenizer, token: int, other: Piece) -> SentencePieceTokenizer:
    pieces = read_pieces(tokenizer.content)
    pieces[token] = other
    return SentencePieceTokenizer(write_model(pieces, unk="<unk>", bos="<s>", eos="</s>", space_prefix=True), "x.model")


@pytest.mark.parametrize("kind", [USER_DEFINED, UNUSED, CONTROL])
def test_pieces_that_are_not_merged_like_others_are_refused(tokenizer: Tokenizer, tmp_path: Path, kind: int) -> None:
    other = changed(tokenizer, 300, Piece("<|odd|>", 0.0, kind))
    with pytest.raises(ExportError, match=r"x.model: has token 300, '<\|odd\|>', which is not merged like others"):
        write_tokenizer_bin(other, tmp_path / "tokenizer.bin")


def test_bytes_in_another_place_are_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    pieces = read_pieces(tokenizer.content)
    pieces[3], pieces[4] = pieces[4], pieces[3]
    model = write_model(pieces, unk="<unk>", bos="<s>", eos="</s>", space_prefix=True)
    with pytest.raises(ExportError, match="does not have the 256 bytes as tokens 3 to 258"):
        write_tokenizer_bin(SentencePieceTokenizer(model), tmp_path / "tokenizer.bin")


class Unlike(SentencePieceTokenizer):
    """One whose tokens its pieces do not explain."""

    def _encode_texts(self, texts: list[str], threads: int) -> list[list[int]]:
        return [[*ids, 300] for ids in super()._encode_texts(texts, threads)]

    lossless = True


def test_what_was_written_is_compared_text_by_text(tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"tokenizer.bin: gives other tokens than x.model for \d+ of \d+ strings"):
        write_tokenizer_bin(Unlike(tokenizer.content, "x.model"), tmp_path / "tokenizer.bin")


@pytest.mark.parametrize(
    ("attribute", "value", "sentence"),
    [
        ("bos_id", 2, "has <unk> 0, <s> 2 and </s> 2, expected 0, 1 and 2"),
        ("space_prefix", False, "puts no space before"),
    ],
)
def test_other_ids_and_no_space_before_a_text_are_refused(
    tokenizer: Tokenizer, tmp_path: Path, attribute: str, value: Any, sentence: str
) -> None:
    other = SentencePieceTokenizer(tokenizer.content)
    setattr(other, attribute, value)
    with pytest.raises(ExportError, match=sentence):
        write_tokenizer_bin(other, tmp_path / "tokenizer.bin")


class Foreign(Tokenizer):
    kind = "byte-bpe"
    file = "tokenizer.json"

    def piece(self, token: int) -> str:
        return "a"

    @property
    def added(self) -> dict[str, int]:
        return {}

    def is_control(self, token: int) -> bool:
        return False

    def _encode_texts(self, texts: list[str], threads: int) -> list[list[int]]:
        return [[] for _ in texts]

    def _encode_special(self, text: str) -> list[int]:
        return []


def test_a_tokenizer_of_another_kind_is_refused(tmp_path: Path) -> None:
    other = Foreign(b"", "x.json", [b"a"], bos_id=0, eos_id=0, unk_id=None, add_bos=True, space_prefix=False)
    with pytest.raises(ExportError, match=r"x.json: is not a SentencePiece model, and llama2.c's tokenizer.bin can"):
        write_tokenizer_bin(other, tmp_path / "tokenizer.bin")


@pytest.mark.parametrize(
    ("token", "piece", "sentence"),
    [
        (0, b"unk", "token 0 is b'unk', expected b'<unk>'"),
        (1, b"<s>", r"token 1 is b'<s>', expected b'\\n<s>\\n'"),
        (13, b"\n", r"token 13 is b'\\n', expected b'<0x0A>'"),
        (300, b"\xff", "which is not UTF-8"),
        (300, b"", "is not a SentencePiece model, or a damaged one"),
    ],
)
def test_a_piece_that_is_not_in_its_place_is_named(file: Path, token: int, piece: bytes, sentence: str) -> None:
    found = entries(file.read_bytes())
    found[token] = (0.0, piece)
    file.write_bytes(packed(found))
    with pytest.raises(TokenizerError, match=sentence):
        read_tokenizer_bin(file)


def test_a_file_that_ends_early_says_where(tokenizer: Any, file: Path) -> None:
    content = file.read_bytes()
    last = f"within the piece of token {tokenizer.vocab_size - 1}$"
    for length, sentence in ((len(content) - 1, last), (9, "within the entry of token 0$")):
        file.write_bytes(content[:length])
        with pytest.raises(TokenizerError, match=sentence):
            read_tokenizer_bin(file)


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="cannot be read: No such file"):
        read_tokenizer_bin(tmp_path / "tokenizer.bin")


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_damage_is_a_tokenizer_error_or_another_tokenizer(file: Path, data: st.DataObject) -> None:
    content = bytearray(file.read_bytes())
    if data.draw(st.booleans()):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    damaged = file.with_name("damaged.bin")
    damaged.write_bytes(content)
    with contextlib.suppress(TokenizerError):
        read_tokenizer_bin(damaged).encode("text")

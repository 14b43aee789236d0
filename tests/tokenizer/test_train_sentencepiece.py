"""SentencePiece learns all of the text, its vocabulary is LLaMA's in kind, and what cannot be done is said."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from puna.core.errors import TokenizerError
from puna.tokenizer.sentencepiece import SPACE, SentencePieceTokenizer
from puna.tokenizer.train_sentencepiece import learn_sentencepiece
from puna.tokenizer.training_text import TrainingText


def train(texts: Any, vocab_size: int = 600, character_coverage: float = 0.9999) -> SentencePieceTokenizer:
    return learn_sentencepiece(TrainingText(texts), vocab_size, character_coverage)


def pieces_of(tokenizer: SentencePieceTokenizer) -> list[str]:
    return [tokenizer.piece(token) for token in range(tokenizer.vocab_size)]


def test_vocabulary_begins_with_control_tokens_and_bytes(tokenizer: SentencePieceTokenizer) -> None:
    pieces = pieces_of(tokenizer)
    assert pieces[:3] == ["<unk>", "<s>", "</s>"]
    assert pieces[3:259] == [f"<0x{byte:02X}>" for byte in range(256)]
    assert len(pieces) == 1000


def test_digits_are_tokens_of_their_own(tokenizer: SentencePieceTokenizer) -> None:
    assert not [piece for piece in pieces_of(tokenizer)[259:] if re.search(r"\d", piece) and len(piece) > 1]
    assert [tokenizer.token_bytes()[token] for token in tokenizer.encode("x2023")[-4:]] == [b"2", b"0", b"2", b"3"]


def test_indentation_is_one_token(tokenizer: SentencePieceTokenizer) -> None:
    for spaces in (4, 8):
        assert SPACE * spaces in pieces_of(tokenizer)
    # The dummy prefix makes of four spaces five at the start, so the line comes after another one.
    assert len(tokenizer.encode("\n        return")) == len(tokenizer.encode("\n return")) + 1


def test_trained_text_is_shorter_in_tokens_than_in_bytes(tokenizer: SentencePieceTokenizer, library: str) -> None:
    assert len(tokenizer.encode(library)) < 0.5 * len(library.encode())


def test_vocabulary_that_the_text_does_not_allow_is_refused_with_the_largest_possible() -> None:
    text = "the quick brown fox jumps over the lazy dog"
    with pytest.raises(TokenizerError) as caught:
        train([text], vocab_size=5000)
    match = re.fullmatch(
        r"model.vocab_size = 5000 is too large: 43 bytes of text allow (\d+) at most", caught.value.message
    )
    assert match
    largest = int(match[1])
    assert train([text], vocab_size=largest).vocab_size == largest
    with pytest.raises(TokenizerError, match=f"allow {largest} at most"):
        train([text], vocab_size=largest + 1)


def test_vocabulary_too_small_for_the_characters_is_refused_with_the_smallest_possible(library: str) -> None:
    with pytest.raises(TokenizerError) as caught:
        train([library], vocab_size=260)
    match = re.fullmatch(
        r"model.vocab_size = 260 is too small: the characters of the text alone need (\d+)", caught.value.message
    )
    assert match
    smallest = int(match[1])
    assert train([library], vocab_size=smallest).vocab_size == smallest
    with pytest.raises(TokenizerError, match="too small"):
        train([library], vocab_size=smallest - 1)


@pytest.mark.parametrize(
    "filler",
    [
        pytest.param("x", id="nowhere to cut"),
        pytest.param("no word ", id="cut at spaces"),
        pytest.param("é", id="characters of two bytes"),
    ],
)
def test_words_of_a_very_long_line_are_learned(library: str, filler: str) -> None:
    line = filler * (1_200_000 // len(filler)) + " zebra" * 3000
    assert "▁zebra" in pieces_of(train([library, line], character_coverage=0.99))


@pytest.mark.parametrize("words", [["é" * 9, "", "four", "", ""] * 60_000, ["🙂" * 700_000, "end"]])
def test_long_line_is_cut_at_spaces_and_nothing_is_lost(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    limits: list[int] = []

    def spy(*, sentence_iterator: Iterator[str], max_sentence_length: int, **options: object) -> None:
        read.extend(sentence_iterator)
        limits.append(max_sentence_length)
        raise RuntimeError("enough seen")

    monkeypatch.setattr("sentencepiece.SentencePieceTrainer.train", spy)
    with pytest.raises(TokenizerError, match="enough seen"):
        train([" ".join(words)])
    assert len(read) > 1
    assert max(len(line.encode()) for line in read) <= limits[0]
    # A space is what the next line's dummy prefix stands for; within a word nothing is.
    assert ("" if len(words) == 2 else " ").join(read) == " ".join(words)


@pytest.mark.parametrize("odd", ["\u2585", SPACE, "\x00"])
def test_lines_with_odd_characters_are_learned(library: str, odd: str) -> None:
    text = f"a quick{odd} brown zebra\n" * 1000
    tokenizer = train([library, text], character_coverage=0.999)
    assert {"▁zebra", "▁quick"} <= set(pieces_of(tokenizer))
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("texts", [["", "\n\n", "\n"], ["\u2585\n"]])
def test_text_of_empty_lines_is_refused(texts: list[str]) -> None:
    with pytest.raises(TokenizerError, match=r"^there is no text to train the tokenizer on$"):
        train(texts)


def test_long_lines_without_spaces_leave_the_space_in_the_vocabulary() -> None:
    tokenizer = learn_sentencepiece(TrainingText(["ab" * 100_000]), 263, 0.9999)
    assert tokenizer.space_prefix
    assert tokenizer.lossless

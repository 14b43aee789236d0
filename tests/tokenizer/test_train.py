"""Training: the same text gives the same bytes, nothing of the text is lost, and what cannot be done is said."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from puna.core.errors import DataError, TokenizerError
from puna.core.files import sha256_file
from puna.core.records import read_record
from puna.tokenizer.tokenizer import SPACE, Tokenizer
from puna.tokenizer.train import train_tokenizer

FILES = {"tokenizer.model", "tokenizer.json", "record.json"}


def train(texts: Any, out: Path, vocab_size: int = 600, character_coverage: float = 0.9999) -> Tokenizer:
    return train_tokenizer(
        texts, vocab_size=vocab_size, character_coverage=character_coverage, config={}, inputs={}, out=out
    )


def pieces_of(tokenizer: Tokenizer) -> list[str]:
    return [tokenizer.piece(token) for token in range(tokenizer.vocab_size)]


def test_same_text_gives_the_same_bytes(library: str, tmp_path: Path) -> None:
    first = train([library], tmp_path / "one")
    again = train(library.splitlines(keepends=True), tmp_path / "two" / "elsewhere")
    assert first.model_bytes == again.model_bytes
    assert sha256_file(tmp_path / "one/tokenizer.json") == sha256_file(tmp_path / "two/elsewhere/tokenizer.json")
    assert str(tmp_path).encode() not in first.model_bytes


def test_directory_holds_the_model_its_json_and_the_record(library: str, tmp_path: Path) -> None:
    out = tmp_path / "tokenizer"
    tokenizer = train_tokenizer(
        [library, "Größe"], vocab_size=600, character_coverage=0.9999, config={"vocab_size": 600},
        inputs={"documents": "hash"}, out=out,
    )  # fmt: skip
    record = read_record(out / "record.json")
    assert record is not None
    assert {path.name for path in out.iterdir()} == FILES
    assert record["stage"] == "tokenizer"
    assert (record["config"], record["inputs"]) == ({"vocab_size": 600}, {"documents": "hash"})
    assert record["outputs"] == {name: sha256_file(out / name) for name in FILES - {"record.json"}}
    assert record["results"] == {"vocab_size": 600, "training_bytes": len(library.encode()) + len("Größe".encode())}
    assert record["seconds"] > 0.01
    assert Tokenizer.load(out).model_bytes == tokenizer.model_bytes


def test_vocabulary_begins_with_control_tokens_and_bytes(tokenizer: Tokenizer) -> None:
    pieces = pieces_of(tokenizer)
    assert pieces[:3] == ["<unk>", "<s>", "</s>"]
    assert pieces[3:259] == [f"<0x{byte:02X}>" for byte in range(256)]
    assert len(pieces) == 1000


def test_digits_are_tokens_of_their_own(tokenizer: Tokenizer) -> None:
    assert not [piece for piece in pieces_of(tokenizer)[259:] if re.search(r"\d", piece) and len(piece) > 1]
    assert [tokenizer.token_bytes()[token] for token in tokenizer.encode("x2023")[-4:]] == [b"2", b"0", b"2", b"3"]


def test_indentation_is_one_token(tokenizer: Tokenizer) -> None:
    for spaces in (4, 8):
        assert SPACE * spaces in pieces_of(tokenizer)
    # The dummy prefix makes of four spaces five at the start, so the line comes after another one.
    assert len(tokenizer.encode("\n        return")) == len(tokenizer.encode("\n return")) + 1


def test_trained_text_is_shorter_in_tokens_than_in_bytes(tokenizer: Tokenizer, library: str) -> None:
    assert len(tokenizer.encode(library)) < 0.5 * len(library.encode())


@pytest.mark.parametrize("texts", [[], [""], ["", "\n\n", "\n"], ["\u2585\n"]])
def test_no_text_is_refused(tmp_path: Path, texts: list[str]) -> None:
    with pytest.raises(TokenizerError, match=r"^there is no text to train the tokenizer on$"):
        train(texts, tmp_path / "tokenizer")
    assert list(tmp_path.iterdir()) == []


def test_vocabulary_that_the_text_does_not_allow_is_refused_with_the_largest_possible(tmp_path: Path) -> None:
    text = "the quick brown fox jumps over the lazy dog"
    with pytest.raises(TokenizerError) as caught:
        train([text], tmp_path / "tokenizer", vocab_size=5000)
    match = re.fullmatch(
        r"model.vocab_size = 5000 is too large: 43 bytes of text allow (\d+) at most", caught.value.message
    )
    assert match
    assert list(tmp_path.iterdir()) == []
    largest = int(match[1])
    assert train([text], tmp_path / "tokenizer", vocab_size=largest).vocab_size == largest
    with pytest.raises(TokenizerError, match=f"allow {largest} at most"):
        train([text], tmp_path / "more", vocab_size=largest + 1)


def test_vocabulary_too_small_for_the_characters_is_refused_with_the_smallest_possible(
    library: str, tmp_path: Path
) -> None:
    with pytest.raises(TokenizerError) as caught:
        train([library], tmp_path / "tokenizer", vocab_size=260)
    match = re.fullmatch(
        r"model.vocab_size = 260 is too small: the characters of the text alone need (\d+)", caught.value.message
    )
    assert match
    assert list(tmp_path.iterdir()) == []
    smallest = int(match[1])
    assert train([library], tmp_path / "tokenizer", vocab_size=smallest).vocab_size == smallest
    with pytest.raises(TokenizerError, match="too small"):
        train([library], tmp_path / "less", vocab_size=smallest - 1)


def test_refused_training_leaves_the_older_tokenizer(library: str, tmp_path: Path) -> None:
    older = train([library], tmp_path / "tokenizer").model_bytes
    with pytest.raises(TokenizerError):
        train(["too little"], tmp_path / "tokenizer")
    assert Tokenizer.load(tmp_path / "tokenizer").model_bytes == older
    newer = train([library], tmp_path / "tokenizer", vocab_size=500)
    assert Tokenizer.load(tmp_path / "tokenizer").model_bytes == newer.model_bytes != older
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer"]


@pytest.mark.parametrize(
    "error", [DataError("documents.jsonl: line 3 is damaged"), KeyboardInterrupt(), OSError(5, "")]
)
def test_what_reading_the_text_raises_comes_through(library: str, tmp_path: Path, error: BaseException) -> None:
    def texts() -> Iterator[str]:
        yield library
        raise error

    with pytest.raises(type(error)) as caught:
        train(texts(), tmp_path / "tokenizer")
    assert caught.value is error
    assert list(tmp_path.iterdir()) == []


def test_text_with_a_lone_surrogate_is_refused(library: str, tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"lone surrogate, U\+D800, at position 4"):
        train([library, "half\ud800"], tmp_path / "tokenizer")


@pytest.mark.parametrize(
    "filler",
    [
        pytest.param("x", id="nowhere to cut"),
        pytest.param("no word ", id="cut at spaces"),
        pytest.param("é", id="characters of two bytes"),
    ],
)
def test_words_of_a_very_long_line_are_learned(library: str, tmp_path: Path, filler: str) -> None:
    line = filler * (1_200_000 // len(filler)) + " zebra" * 3000
    assert "▁zebra" in pieces_of(train([library, line], tmp_path / "tokenizer", character_coverage=0.99))


@pytest.mark.parametrize("words", [["é" * 9, "", "four", "", ""] * 60_000, ["🙂" * 700_000, "end"]])
def test_long_line_is_cut_at_spaces_and_nothing_is_lost(
    tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    limits: list[int] = []

    def spy(*, sentence_iterator: Iterator[str], max_sentence_length: int, **options: object) -> None:
        read.extend(sentence_iterator)
        limits.append(max_sentence_length)
        raise RuntimeError("enough seen")

    monkeypatch.setattr("sentencepiece.SentencePieceTrainer.train", spy)
    with pytest.raises(TokenizerError, match="enough seen"):
        train([" ".join(words)], tmp_path / "tokenizer")
    assert len(read) > 1
    assert max(len(line.encode()) for line in read) <= limits[0]
    # A space is what the next line's dummy prefix stands for; within a word nothing is.
    assert ("" if len(words) == 2 else " ").join(read) == " ".join(words)


@pytest.mark.parametrize("odd", ["\u2585", SPACE, "\x00"])
def test_lines_with_odd_characters_are_learned(library: str, tmp_path: Path, odd: str) -> None:
    text = f"a quick{odd} brown zebra\n" * 1000
    tokenizer = train([library, text], tmp_path / "tokenizer", character_coverage=0.999)
    assert {"▁zebra", "▁quick"} <= set(pieces_of(tokenizer))
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_training_is_quiet(library: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    train([library], tmp_path / "tokenizer")
    with pytest.raises(TokenizerError):
        train(["too little"], tmp_path / "tokenizer")
    assert capfd.readouterr() == ("", "")

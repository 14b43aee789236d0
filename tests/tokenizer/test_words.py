import json
import random
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from puna.core.errors import TokenizerError
from puna.tokenizer import words as words_module
from puna.tokenizer.byte_bpe import ByteBPETokenizer
from puna.tokenizer.byte_level import DIGITS_THEN_GPT2, GPT2, LLAMA3, LLAMA_CPP_DEFAULT, Split, pre_tokenizer
from puna.tokenizer.cuts import Cuts, cuts_between
from puna.tokenizer.sentencepiece import SPACE, SentencePieceTokenizer
from puna.tokenizer.sentencepiece_model import (
    BYTE,
    CONTROL,
    NORMAL,
    UNKNOWN,
    USER_DEFINED,
    Piece,
    is_plain_bpe,
    write_model,
)
from puna.tokenizer.tokenizer import Tokenizer
from puna.tokenizer.words import Ids, Lengths, WordEncoder, in_a_row
from puna.tokenizer.words_kernel import LONGEST

TRICKY = [
    *" \n\t\r\0\x01\x1f'.,(){}_-=0159aesTZ", "  ", "    ", "the ", " the", "self.", "don't", "return", "1234", "def f(",
    SPACE, SPACE * 2, f" {SPACE}", "é", "e\u0301", "ß", "字", "漢字仮名", "🙂", "\u00a0", "\u3000", "\u200b", "\ufeff",
    "\u212a", "<s>", "</s>", "<|endoftext|>", "<0x0A>", "x" * 70, " " * 30, "aé" * 40,
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(TRICKY) | st.text(max_size=4), max_size=25).map("".join)
NFC = tokenizers.normalizers.NFC()
RELAXED = settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


def by_words(tokenizer: Tokenizer) -> WordEncoder:
    encoder = tokenizer._word_encoder()
    assert encoder is not None
    return encoder


def assert_equal_to_the_library(tokenizer: Tokenizer, encoder: WordEncoder, texts: list[str], threads: int = 1) -> None:
    expected = tokenizer._encode_texts(texts, 1)
    found = encoder.encode(texts, threads)
    assert len(found) == len(expected)
    for text, ids, right in zip(texts, found, expected, strict=True):
        assert ids.tolist() == right, repr(text[:200])


@pytest.fixture(scope="module")
def byte_bpe(library: str) -> Callable[..., ByteBPETokenizer]:
    """Byte-level BPE of 800 pieces with added tokens, by default runs of spaces, and NFC where it is asked for."""
    runs = [tokenizers.AddedToken(" " * length, normalized=True) for length in range(24, 1, -1)]

    def make(
        split: Split,
        normalizer: tokenizers.normalizers.Normalizer | None = None,
        added: list[tokenizers.AddedToken] = runs,
    ) -> ByteBPETokenizer:
        engine = tokenizers.Tokenizer(tokenizers.models.BPE())
        engine.pre_tokenizer = tokenizers.Tokenizer.from_str(
            json.dumps(
                {"model": {"type": "BPE", "vocab": {}, "merges": []}, "pre_tokenizer": pre_tokenizer(split.patterns)}
            )
        ).pre_tokenizer
        if normalizer is not None:
            engine.normalizer = normalizer
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=800, initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(), show_progress=False
        )
        engine.train_from_iterator([library], trainer)
        engine.add_special_tokens(["<|endoftext|>"])
        engine.add_tokens(added)
        data = json.loads(engine.to_str())
        data["model"]["ignore_merges"] = split.ignore_merges
        return ByteBPETokenizer(json.dumps(data).encode())

    return make


@pytest.fixture(scope="module")
def encoder(tokenizer: SentencePieceTokenizer) -> WordEncoder:
    return by_words(tokenizer)


@RELAXED
@given(st.lists(TEXTS, max_size=4))
def test_sentencepiece_gives_the_same_ids(
    tokenizer: SentencePieceTokenizer, encoder: WordEncoder, texts: list[str]
) -> None:
    assert_equal_to_the_library(tokenizer, encoder, texts)


@pytest.mark.parametrize("text", [*TRICKY, "", *(f"{a}{b}" for a in TRICKY for b in (" ", "a", "\0", SPACE))])
def test_the_beginning_and_the_end_of_a_text_are_as_sentencepiece_has_them(
    tokenizer: SentencePieceTokenizer, encoder: WordEncoder, text: str
) -> None:
    assert_equal_to_the_library(tokenizer, encoder, [text, "", f"a {text}", f"{text} b"])


def test_llamas_own_vocabulary_gives_the_same_ids(
    llama: SentencePieceTokenizer, library: str, languages: list[str]
) -> None:
    encoder = by_words(llama)
    texts = [library, *languages, *TRICKY, "\n".join(languages)]
    assert_equal_to_the_library(llama, encoder, texts)
    assert_equal_to_the_library(llama, encoder, texts, threads=3)


@pytest.mark.parametrize("split", [GPT2, LLAMA3, DIGITS_THEN_GPT2, LLAMA_CPP_DEFAULT])
@pytest.mark.parametrize("nfc", [False, True])
def test_byte_level_bpe_gives_the_same_ids(
    byte_bpe: Callable[..., ByteBPETokenizer], split: Split, nfc: bool, library: str, languages: list[str]
) -> None:
    tokenizer = byte_bpe(split, NFC if nfc else None)
    encoder = by_words(tokenizer)
    assert_equal_to_the_library(tokenizer, encoder, [library, *languages[::5]])

    @RELAXED
    @given(st.lists(TEXTS, max_size=4))
    def check(texts: list[str]) -> None:
        assert_equal_to_the_library(tokenizer, encoder, texts)

    check()


def sentencepiece(pieces: list[str], kind: int = NORMAL, *, prefix: bool = True) -> SentencePieceTokenizer:
    """A BPE of these pieces, the first ones the best."""
    vocabulary = [Piece("<unk>", 0, UNKNOWN), Piece("<s>", 0, CONTROL), Piece("</s>", 0, CONTROL)]
    vocabulary += [Piece(f"<0x{byte:02X}>", 0, BYTE) for byte in range(256)]
    vocabulary += [Piece(piece.replace(" ", SPACE), -number, kind) for number, piece in enumerate(pieces)]
    vocabulary += [Piece(char.replace(" ", SPACE), -1000, NORMAL) for char in " abé\n" if char not in pieces]
    return SentencePieceTokenizer(write_model(vocabulary, unk="<unk>", bos="<s>", eos="</s>", space_prefix=prefix))


@RELAXED
@given(
    st.lists(st.text("ab é\n", min_size=2, max_size=5), max_size=12, unique=True),
    st.sampled_from([NORMAL, USER_DEFINED]),
    st.booleans(),
    st.lists(st.text(f"ab é\nc\0{SPACE}", max_size=60), max_size=3),
)
def test_any_vocabulary_gives_the_same_ids(pieces: list[str], kind: int, prefix: bool, texts: list[str]) -> None:
    tokenizer = sentencepiece(pieces, kind, prefix=prefix)
    assert_equal_to_the_library(tokenizer, by_words(tokenizer), texts)


def test_pieces_with_spaces_inside_are_found() -> None:
    tokenizer = sentencepiece([" a", " b", " a b"])
    (ids,) = by_words(tokenizer).encode(["a bb"])
    assert [tokenizer.piece(token) for token in ids.tolist()] == [f"{SPACE}a{SPACE}b", "b"]


def test_no_vocabulary_holds_nul_which_separates_words() -> None:
    for piece in ("a\0", "\0a"):
        with pytest.raises(TokenizerError, match="is not a SentencePiece model"):
            sentencepiece([piece])
    tokenizer = sentencepiece(["\0"])  # never written
    assert_equal_to_the_library(tokenizer, by_words(tokenizer), ["\0", "a\0\0 b"])


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (3, bytes([2 << 3 | 2, 4, 0, 0, 0, 0])),  # precompiled_charsmap
        (3, bytes([4 << 3, 1])),  # remove_extra_whitespaces
        (3, bytes([5 << 3, 0])),  # escape_whitespaces
        (2, bytes([3 << 3, 1])),  # model_type UNIGRAM
        (2, bytes([24 << 3 & 0x7F | 0x80, 1, 1])),  # treat_whitespace_as_suffix
    ],
)
def test_a_model_that_merges_otherwise_is_not_cut(
    tokenizer: SentencePieceTokenizer, message: int, field: bytes
) -> None:
    other = SentencePieceTokenizer(tokenizer.content)
    assert other._word_encoder() is not None
    other.content += bytes([message << 3 | 2, len(field)]) + field  # protobuf puts messages together
    assert other._word_encoder() is None


def test_a_model_that_does_not_say_whether_it_keeps_spaces_is_not_cut(tokenizer: SentencePieceTokenizer) -> None:
    """SentencePiece removes them then."""
    keeps, says_nothing = bytes([4 << 3, 0]), bytes([15 << 3, 0])
    assert tokenizer.content.count(keeps) == 1
    assert is_plain_bpe(tokenizer.content)
    assert not is_plain_bpe(tokenizer.content.replace(keeps, says_nothing))


ADDED = [
    tokenizers.AddedToken("self. x", normalized=False),
    tokenizers.AddedToken("a1b(", normalized=True),
    tokenizers.AddedToken("  "),
    tokenizers.AddedToken("<a  b>", special=True),
    tokenizers.AddedToken("1  2", special=True),
]


def test_added_tokens_with_cuts_inside_are_found_whole(byte_bpe: Callable[..., ByteBPETokenizer]) -> None:
    tokenizer = byte_bpe(GPT2, added=ADDED)
    encoder = by_words(tokenizer)
    pieces = ["self. x", "self.", " ", "  ", "x", "a", "1", "b(", "<a  b>", "<a", "b>", "1  2", "2", "\n", "é"]

    @RELAXED
    @given(st.lists(st.sampled_from(pieces), max_size=20).map("".join))
    def check(text: str) -> None:
        assert_equal_to_the_library(tokenizer, encoder, [text])

    check()


@pytest.mark.parametrize(
    ("normalizer", "added"),
    [
        (None, [tokenizers.AddedToken("word", single_word=True)]),
        (NFC, [tokenizers.AddedToken("x K")]),  # the Kelvin sign becomes a K
        (NFC, [tokenizers.AddedToken("<a b>", special=True), tokenizers.AddedToken("  ")]),
        (tokenizers.normalizers.Replace("a bc", "a b c"), []),
    ],
)
def test_where_a_cut_may_change_the_ids_there_are_none(
    byte_bpe: Callable[..., ByteBPETokenizer], normalizer: Any, added: list[tokenizers.AddedToken]
) -> None:
    assert byte_bpe(GPT2, normalizer, added)._word_encoder() is None
    assert byte_bpe(Split((r"\w+|\W+",)))._word_encoder() is None


def test_each_word_is_encoded_once(tokenizer: SentencePieceTokenizer) -> None:
    seen: list[str] = []
    pieces = [tokenizer.bytes_of(token) for token in range(tokenizer.vocab_size) if not tokenizer.is_byte(token)]
    encoder = spy(tokenizer, seen, cuts_between(pieces))
    texts = [" ".join(random.Random(number).choices(["alpha", "beta", "gamma!", "字"], k=500)) for number in range(20)]
    encoder.encode(texts)
    assert len(seen) == len(set(seen)) < 20
    encoder.encode(texts)
    assert len(seen) == len(set(seen))


def test_a_word_without_end_goes_to_the_library_whole_and_once(tokenizer: SentencePieceTokenizer) -> None:
    seen: list[str] = []
    encoder = spy(tokenizer, seen, no_cuts())
    text = "x" * 1_000_000
    (ids,) = encoder.encode([text])
    assert seen == [" " + text]
    assert tokenizer.decode(ids.tolist()) == text


def test_words_are_kept_up_to_their_length(tokenizer: SentencePieceTokenizer) -> None:
    for length, times in ((LONGEST, 1), (LONGEST + 1, 2)):
        seen: list[str] = []
        encoder = spy(tokenizer, seen, no_cuts())
        for _ in range(2):
            encoder.encode(["a" * (length - 1)])  # the dummy prefix is one more
        assert len(seen) == times


@pytest.mark.parametrize(("words", "letters"), [(8, 1 << 12), (1 << 10, 80)])
def test_a_full_table_begins_afresh(
    tokenizer: SentencePieceTokenizer, library: str, words: int, letters: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(words_module, "_WORDS", words)
    monkeypatch.setattr(words_module, "_LETTERS", letters)
    encoder = by_words(tokenizer)
    assert_equal_to_the_library(tokenizer, encoder, [library[:20_000], "\u2581 \0", library[20_000:30_000]])
    assert encoder._idle[0].count <= words


def test_more_ids_than_bytes_are_kept_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words_module, "_LETTERS", 128)
    encoder = WordEncoder(lambda words: in_a_row([[1, 2, 3] * len(word) for word in words]), cuts_between([b"ab"]))
    assert [ids.tolist() for ids in encoder.encode(["ab" * 300, "b"] * 2)] == [[1, 2, 3] * 600, [1, 2, 3]] * 2


def test_texts_are_many_small_ones_or_one_large_one(tokenizer: SentencePieceTokenizer, library: str) -> None:
    encoder = by_words(tokenizer)
    assert encoder.encode([]) == []
    assert_equal_to_the_library(tokenizer, encoder, [""] * 5)
    assert_equal_to_the_library(tokenizer, encoder, library.split("\n"))
    assert_equal_to_the_library(tokenizer, encoder, [library * 4, "a", library], threads=4)


def test_several_threads_may_use_one_encoder(tokenizer: SentencePieceTokenizer, library: str) -> None:
    encoder = by_words(tokenizer)
    lines = library.split("\n")
    expected = tokenizer._encode_texts(lines, 1)
    found: dict[int, list[list[int]]] = {}

    def work(number: int) -> None:
        found[number] = [ids.tolist() for line in lines for ids in encoder.encode([line])]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found[number] == expected for number in range(4))


def test_an_error_of_the_library_leaves_nothing_behind(tokenizer: SentencePieceTokenizer) -> None:
    fails = [True, False]

    def encode(words: list[str]) -> tuple[Ids, Lengths]:
        if fails.pop(0):
            raise MemoryError
        return tokenizer._encode_words(words)

    encoder = WordEncoder(encode, no_cuts())
    with pytest.raises(MemoryError):
        encoder.encode(["some text"])
    assert tokenizer.decode(encoder.encode(["some text"])[0].tolist()) == "some text"


def test_ids_of_another_number_of_words_are_refused() -> None:
    encoder = WordEncoder(lambda words: in_a_row([[1]] * (len(words) + 1)), no_cuts())
    with pytest.raises(RuntimeError, match="2 words came back for 1"):
        encoder.encode(["text"])


def test_words_made_to_collide_cost_no_more_than_long_ones(tokenizer: SentencePieceTokenizer) -> None:
    """All places of the table are taken: what finds none within 64 steps goes to the library each time."""
    words = [f" {number}" for number in range(500)]
    encoder = by_words(tokenizer)
    encoder.encode(["a"])
    table = encoder._idle[0].table
    table[table == 0] = 0xFFFFFFFF_00000001  # taken, by another word
    assert_equal_to_the_library(tokenizer, encoder, words)
    assert encoder._idle[0].table is table


def test_batches_go_word_by_word_when_there_is_much_text(
    tokenizer: SentencePieceTokenizer, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = SentencePieceTokenizer(tokenizer.content)
    texts = library.split("\n\n")
    expected = fresh.encode_batch(texts)
    assert "_words" not in vars(fresh)
    monkeypatch.setattr("puna.tokenizer.tokenizer._MANY", 1000)
    assert fresh.encode_batch(texts, threads=2) == expected
    assert vars(fresh)["_words"] is not None
    assert [ids.tolist() for ids in fresh.encode_arrays(texts)] == expected
    assert fresh.encode("short") == tokenizer.encode("short")


def test_without_numba_the_library_encodes(
    tokenizer: SentencePieceTokenizer, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("puna.tokenizer.tokenizer._MANY", 0)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    fresh = SentencePieceTokenizer(tokenizer.content)
    assert fresh.encode(library) == tokenizer._encode_texts([library], 1)[0]
    assert [ids.tolist() for ids in fresh.encode_arrays([library, ""])] == tokenizer._encode_texts([library, ""], 1)
    assert fresh._words is None


def no_cuts() -> Cuts:
    return np.zeros((256, 256), dtype=np.uint8)


def spy(tokenizer: SentencePieceTokenizer, seen: list[str], cuts: Cuts) -> WordEncoder:
    """An encoder that notes what goes to the library."""

    def encode(words: list[str]) -> tuple[Ids, Lengths]:
        seen.extend(words)
        return tokenizer._encode_words(words)

    return WordEncoder(encode, cuts, prefix=" ")

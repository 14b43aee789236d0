"""The tokenizer: lossless on any text, SentencePiece's own ids, and a clear refusal of every other model."""

import hashlib
import io
import random
import sys
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

from puna.core.errors import TokenizerError
from puna.tokenizer.tokenizer import FILE, SPACE, Tokenizer

ODD = "\u2581\u2585\x00\r\n\t \u00a0\u3000\u200b\u200d\ufeff\ufffd\ufffe\u0301\U0001f469\U0010ffff"
texts = st.text(st.one_of(st.sampled_from(ODD), st.sampled_from("aesz_(09 "), st.characters(exclude_categories=["Cs"])))
"""Any Unicode text, rich in what tokenizers lose."""


@pytest.fixture(scope="module")
def oracle(tokenizer: Tokenizer) -> sentencepiece.SentencePieceProcessor:
    processor = sentencepiece.SentencePieceProcessor()
    processor.LoadFromSerializedProto(tokenizer.model_bytes)
    return processor


def train_other(library: str, **changes: object) -> bytes:
    """A model that is trained by SentencePiece itself with another option."""
    model = io.BytesIO()
    options = {
        "model_type": "bpe", "vocab_size": 600, "character_coverage": 0.99, "byte_fallback": True, "pad_id": -1,
        "normalization_rule_name": "identity", "remove_extra_whitespaces": False, "minloglevel": 3,
    }  # fmt: skip
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(library.split("\n")[:3000]), model_writer=model, **(options | changes)
    )
    return model.getvalue()


@given(texts)
def test_decoding_gives_back_any_text(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.decode(tokenizer.encode(text, bos=True, eos=True)) == text


def test_every_character_of_unicode_comes_back(tokenizer: Tokenizer) -> None:
    characters = [chr(point) for point in range(sys.maxunicode + 1) if not 0xD800 <= point < 0xE000]
    chunks = ["".join(characters[i : i + 4096]) for i in range(0, len(characters), 4096)]
    for chunk, ids in zip(chunks, tokenizer.encode_batch(chunks, threads=2), strict=True):
        assert tokenizer.decode(ids) == chunk


def test_lines_in_many_languages_come_back(tokenizer: Tokenizer, languages: list[str]) -> None:
    assert len(languages) > 1000
    assert [tokenizer.decode(ids) for ids in tokenizer.encode_batch(languages)] == languages


@given(texts.filter(lambda text: SPACE not in text))
def test_ids_are_those_of_sentencepiece(
    tokenizer: Tokenizer, oracle: sentencepiece.SentencePieceProcessor, text: str
) -> None:
    assert tokenizer.encode(text) == oracle.encode(text)


def test_ids_are_those_that_llama_cpp_expects(llama: Tokenizer, llama_golden: list[tuple[str, list[int]]]) -> None:
    assert llama.vocab_size == 32000
    assert len(llama_golden) > 40
    for text, ids in llama_golden:
        assert llama.encode(text) == ids, text
        assert llama.decode(ids) == text


@pytest.mark.parametrize("vocabulary", ["tokenizer", "llama"])
def test_character_that_means_a_space_is_three_bytes(vocabulary: str, request: pytest.FixtureRequest) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(vocabulary)

    def pieces(text: str) -> list[str]:
        return [tokenizer.piece(token) for token in tokenizer.encode(text)]

    written = ["<0xE2>", "<0x96>", "<0x81>"]
    assert pieces(SPACE) == [SPACE, *written]
    assert pieces(SPACE * 2) == [SPACE, *written, *written]
    assert pieces(f"the{SPACE}the") == ["▁the", *written, "the"]
    assert pieces(f"the{SPACE} the\n") == ["▁the", *written, "▁the", "<0x0A>"]


@pytest.mark.parametrize("text", ["<s>", "</s>", "<unk>", "a <s> b</s>", "<0x41>", "[INST]", "<|endoftext|>"])
def test_text_of_a_control_token_is_text(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert min(ids) > 2
    assert tokenizer.decode(ids) == text


def test_beginning_and_end_are_added_when_asked_for(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("the end")
    assert (tokenizer.unk_id, tokenizer.bos_id, tokenizer.eos_id) == (0, 1, 2)
    assert tokenizer.encode("the end", bos=True) == [1, *ids]
    assert tokenizer.encode("the end", eos=True) == [*ids, 2]
    assert tokenizer.encode("", bos=True, eos=True) == [1, 2]


@given(st.lists(texts, max_size=8), st.integers(1, 3))
def test_batch_has_the_ids_of_each_text(tokenizer: Tokenizer, batch: list[str], threads: int) -> None:
    assert tokenizer.encode_batch(batch, threads=threads) == [tokenizer.encode(text) for text in batch]


@given(st.data())
def test_decoded_text_is_the_bytes_of_its_ids(tokenizer: Tokenizer, data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1)))
    together = b"".join(tokenizer.token_bytes()[token] for token in ids)
    assert tokenizer.decode(ids) == together.removeprefix(b" ").decode("utf-8", errors="replace")


def test_bytes_of_a_token_are_those_of_its_piece(
    tokenizer: Tokenizer, oracle: sentencepiece.SentencePieceProcessor
) -> None:
    table = tokenizer.token_bytes()
    assert len(table) == tokenizer.vocab_size == oracle.vocab_size() == 1000
    assert table[:3] == [b"", b"", b""]
    assert table[3:259] == [bytes([value]) for value in range(256)]
    assert [content.decode().replace(" ", SPACE) for content in table[259:]] == [
        oracle.id_to_piece(token) for token in range(259, 1000)
    ]


def test_half_a_character_decodes_to_the_replacement_character(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("日")
    assert tokenizer.decode(ids[:-1]) == "\ufffd"
    assert tokenizer.decode([3 + 0xFF, *ids]) == "\ufffd 日"


@pytest.mark.parametrize("token", [-1, -1000, 1000, 10**12])
def test_id_outside_the_vocabulary_is_refused(tokenizer: Tokenizer, token: int) -> None:
    with pytest.raises(TokenizerError, match=f"token {token} is not in the vocabulary of 1000"):
        tokenizer.decode([5, token])


@pytest.mark.parametrize(("text", "position"), [("\ud800", 0), ("ab\udfffc", 2), ("é\ud83d", 1)])
def test_lone_surrogate_is_refused_with_its_position(tokenizer: Tokenizer, text: str, position: int) -> None:
    with pytest.raises(TokenizerError, match=f"lone surrogate, U\\+D.*at position {position}$"):
        tokenizer.encode(text)
    with pytest.raises(TokenizerError, match=f"at position {position}$"):
        tokenizer.encode_batch(["well", text])


def test_a_file_and_its_directory_are_the_same_tokenizer(tokenizer: Tokenizer, tokenizer_dir: Path) -> None:
    again = Tokenizer.load(tokenizer_dir / FILE)
    assert again.model_bytes == tokenizer.model_bytes == (tokenizer_dir / FILE).read_bytes()
    assert again.sha256 == tokenizer.sha256 == hashlib.sha256(tokenizer.model_bytes).hexdigest()


def test_missing_tokenizer_is_named(tmp_path: Path) -> None:
    for path, named in ((tmp_path, tmp_path / FILE), (tmp_path / "none", tmp_path / "none")):
        with pytest.raises(TokenizerError) as caught:
            Tokenizer.load(path)
        assert caught.value.message == f"{named}: cannot be read: No such file or directory"


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"{}", b"not a model at all\n" * 50, b"\x80\x02}q\x00."])
def test_other_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(TokenizerError, match=f"{FILE}: is no SentencePiece model"):
        Tokenizer.load(tmp_path)


def test_truncated_model_is_refused(tokenizer: Tokenizer) -> None:
    for size in range(0, len(tokenizer.model_bytes) - 1, 97):
        with pytest.raises(TokenizerError):
            Tokenizer(tokenizer.model_bytes[:size])


def test_damaged_model_is_refused_or_still_works(tokenizer: Tokenizer) -> None:
    rng = random.Random(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(tokenizer.model_bytes)
        for _ in range(rng.choice([1, 4, 50])):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            Tokenizer(bytes(damaged)).encode("  any text \u2581 1,2")
        except TokenizerError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"byte_fallback": False}, "0 byte pieces of 256"),
        ({"unk_id": 2, "bos_id": 0, "eos_id": 1}, "<unk> 2, <s> 0 and </s> 1, expected 0, 1 and 2"),
        ({"eos_id": -1}, "</s> -1"),
        ({"pad_id": 0, "unk_id": 1, "bos_id": 2, "eos_id": 3}, "<unk> 1"),
        ({"normalization_rule_name": "nmt_nfkc"}, "does not give text back"),
        ({"remove_extra_whitespaces": True}, "does not give text back"),
        ({"add_dummy_prefix": False}, "does not give text back"),
    ],
)
def test_model_that_puna_cannot_use_is_refused(library: str, changes: dict[str, object], reason: str) -> None:
    with pytest.raises(TokenizerError, match=reason) as caught:
        Tokenizer(train_other(library, **changes), "other.model")
    assert caught.value.message.startswith("other.model: ")


def test_model_of_sentencepiece_itself_is_taken(library: str) -> None:
    assert Tokenizer(train_other(library)).vocab_size == 600

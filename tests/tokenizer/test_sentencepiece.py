"""SentencePiece's own ids, except for the one character that it reads as a space, and a refusal of unusable models."""

import hashlib
import io
import json
import random
from typing import Any

import pytest
import sentencepiece
from growth import assert_in_proportion
from hypothesis import given
from hypothesis import strategies as st

from puna.core.errors import TokenizerError
from puna.tokenizer.agreement import check_agreement, first_disagreement, huggingface_form
from puna.tokenizer.gguf import gguf_metadata
from puna.tokenizer.huggingface import tokenizer_json
from puna.tokenizer.sentencepiece import SPACE, SentencePieceTokenizer
from puna.tokenizer.sentencepiece_model import CONTROL, UNKNOWN, add_no_bos, write_model

texts = st.text(
    st.one_of(st.sampled_from("\u2585\x00\r\n\t \u00a0\ufeff\u0301aesz_(09 "), st.characters(exclude_categories=["Cs"]))
)


@pytest.fixture(scope="module")
def oracle(tokenizer: SentencePieceTokenizer) -> sentencepiece.SentencePieceProcessor:
    processor = sentencepiece.SentencePieceProcessor()
    processor.LoadFromSerializedProto(tokenizer.content)
    return processor


def train_other(library: str, **changes: Any) -> bytes:
    """A model that is trained by SentencePiece itself with another option."""
    model = io.BytesIO()
    options: dict[str, Any] = {
        "model_type": "bpe", "vocab_size": 600, "character_coverage": 0.99, "byte_fallback": True, "pad_id": -1,
        "normalization_rule_name": "identity", "remove_extra_whitespaces": False, "minloglevel": 3,
    }  # fmt: skip
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(library.split("\n")[:3000]), model_writer=model, **(options | changes)
    )
    return model.getvalue()


@given(texts.filter(lambda text: SPACE not in text))
def test_ids_are_those_of_sentencepiece(
    tokenizer: SentencePieceTokenizer, oracle: sentencepiece.SentencePieceProcessor, text: str
) -> None:
    assert tokenizer.encode(text) == oracle.encode(text)


def test_ids_are_those_that_llama_cpp_expects(
    llama: SentencePieceTokenizer, llama_golden: list[tuple[str, list[int]]]
) -> None:
    assert llama.vocab_size == 32000
    assert len(llama_golden) > 40
    for text, ids in llama_golden:
        assert llama.encode(text) == ids, text
        assert llama.decode(ids) == text


@pytest.mark.parametrize("vocabulary", ["tokenizer", "llama"])
def test_character_that_means_a_space_is_three_bytes(vocabulary: str, request: pytest.FixtureRequest) -> None:
    tokenizer: SentencePieceTokenizer = request.getfixturevalue(vocabulary)

    def pieces(text: str) -> list[str]:
        return [tokenizer.piece(token) for token in tokenizer.encode(text)]

    written = ["<0xE2>", "<0x96>", "<0x81>"]
    assert pieces(SPACE) == [SPACE, *written]
    assert pieces(SPACE * 2) == [SPACE, *written, *written]
    assert pieces(f"the{SPACE}the") == ["▁the", *written, "the"]
    assert pieces(f"the{SPACE} the\n") == ["▁the", *written, "▁the", "<0x0A>"]


def test_model_without_a_dummy_prefix_is_taken_as_it_is(library: str) -> None:
    content = train_other(library, add_dummy_prefix=False)
    tokenizer = SentencePieceTokenizer(content)
    oracle = sentencepiece.SentencePieceProcessor()
    oracle.LoadFromSerializedProto(content)
    assert not tokenizer.space_prefix
    for text in ("the", " the", "  the  ", "", " ", "\n"):
        assert tokenizer.encode(text) == oracle.encode(text)
        assert tokenizer.decode(tokenizer.encode(text)) == text
    for text in (SPACE, f"{SPACE}the", f" the{SPACE}the"):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_control_tokens_are_found_by_their_pieces_wherever_they_are(library: str) -> None:
    content = train_other(library, unk_id=3, bos_id=0, eos_id=1, pad_id=2, bos_piece="<|startoftext|>")
    tokenizer = SentencePieceTokenizer(content)
    assert (tokenizer.unk_id, tokenizer.bos_id, tokenizer.eos_id) == (3, 0, 1)
    assert tokenizer.piece(0) == "<|startoftext|>"
    assert [token for token in range(600) if tokenizer.is_control(token)] == [0, 1, 2, 3]


def test_user_defined_pieces_are_found_before_anything_else(library: str) -> None:
    tokenizer = SentencePieceTokenizer(train_other(library, user_defined_symbols="<one>,def"))
    assert tokenizer.added == {"<one>": 3, "def": 4}
    assert {3, 4} <= set(tokenizer.encode("undefined<one>"))
    assert tokenizer.decode(tokenizer.encode("undefined<one> ")) == "undefined<one> "


def test_beginning_of_sequence_is_put_unless_the_model_has_a_note(tokenizer: SentencePieceTokenizer) -> None:
    assert tokenizer.add_bos
    other = SentencePieceTokenizer(add_no_bos(tokenizer.content))
    assert not other.add_bos
    assert other.encode("the") == tokenizer.encode("the")


def test_bytes_of_a_token_are_those_of_its_piece(
    tokenizer: SentencePieceTokenizer, oracle: sentencepiece.SentencePieceProcessor
) -> None:
    table = tokenizer.token_bytes()
    assert len(table) == tokenizer.vocab_size == oracle.vocab_size() == 1000
    assert table[:3] == [b"", b"", b""]
    assert table[3:259] == [bytes([value]) for value in range(256)]
    assert [content.decode().replace(" ", SPACE) for content in table[259:]] == [
        oracle.id_to_piece(token) for token in range(259, 1000)
    ]


def test_hash_is_that_of_the_file(tokenizer: SentencePieceTokenizer) -> None:
    assert tokenizer.sha256 == hashlib.sha256(tokenizer.content).hexdigest()


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"{}", b"not a model at all\n" * 50, b"\x80\x02}q\x00."])
def test_other_file_is_refused(content: bytes) -> None:
    with pytest.raises(TokenizerError, match=r"^some\.model: is not a SentencePiece model"):
        SentencePieceTokenizer(content, "some.model")


def test_truncated_model_is_refused(tokenizer: SentencePieceTokenizer) -> None:
    for size in range(0, len(tokenizer.content) - 1, 97):
        with pytest.raises(TokenizerError):
            SentencePieceTokenizer(tokenizer.content[:size])


def test_damaged_model_is_refused_or_still_works(tokenizer: SentencePieceTokenizer) -> None:
    rng = random.Random(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(tokenizer.content)
        for _ in range(rng.choice([1, 4, 50])):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            other = SentencePieceTokenizer(bytes(damaged))
            other.encode("  any text \u2581 1,2")
            assert isinstance(other.added, dict)
        except TokenizerError:
            refused += 1
    assert refused > 100


def test_model_without_an_end_of_a_text_is_refused(library: str) -> None:
    with pytest.raises(TokenizerError, match=r"^other\.model: has no token that ends a text"):
        SentencePieceTokenizer(train_other(library, eos_id=-1), "other.model")


def test_model_without_a_beginning_of_a_text_takes_its_end_for_it(library: str) -> None:
    tokenizer = SentencePieceTokenizer(train_other(library, bos_id=-1))
    assert (tokenizer.bos_id, tokenizer.add_bos) == (tokenizer.eos_id, False)
    assert tokenizer.notes == ["no token begins a text; EOS stands for it where one is needed"]


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({"byte_fallback": False}, "SentencePiece BPE"),
        ({"model_type": "unigram", "byte_fallback": True}, "SentencePiece unigram"),
        ({"model_type": "char", "byte_fallback": False, "vocab_size": 100}, "SentencePiece characters"),
        ({"model_type": "word", "byte_fallback": False}, "SentencePiece words"),
    ],
)
def test_models_of_other_kinds_have_sentencepiece_s_ids(library: str, changes: dict[str, Any], title: str) -> None:
    content = train_other(library, **changes)
    tokenizer = SentencePieceTokenizer(content, "some.model")
    oracle = sentencepiece.SentencePieceProcessor()
    oracle.LoadFromSerializedProto(content)
    assert tokenizer.title == title
    assert tokenizer.has_bytes is changes["byte_fallback"]
    assert bool(tokenizer.notes) is not tokenizer.has_bytes
    for text in ("def f(self):", "  two  spaces", "é\u65e5", "a\tb\n", ""):
        assert tokenizer.encode(text) == oracle.encode(text)
        assert tokenizer.encode_batch([text] * 3) == [oracle.encode(text)] * 3
    if title == "SentencePiece BPE":
        assert tokenizer.lossless
        content = json.loads(tokenizer_json(tokenizer))
        assert content["model"]["byte_fallback"] is False
        form = huggingface_form(tokenizer_json(tokenizer), "form")
        assert first_disagreement(check_agreement(tokenizer, {"form": form})) is None
    else:
        with pytest.raises(
            TokenizerError, match=rf"^some\.model: is a {title} model, and Puna writes tokenizer\.json of"
        ):
            tokenizer_json(tokenizer)
    with pytest.raises(
        TokenizerError, match=rf"^some\.model: is a {title} .*, and llama\.cpp's kind is a BPE with all"
    ):
        gguf_metadata(tokenizer, tokenizer.vocab_size)


@pytest.mark.parametrize(
    ("changes", "text", "back"),
    [
        ({"remove_extra_whitespaces": True}, "  two  spaces ", "two spaces"),
        ({"normalization_rule_name": "nmt_nfkc"}, "a \ufb01 ligature\t", "a fi ligature "),
        ({"normalization_rule_name": "nmt_nfkc"}, f"a{SPACE}b", "a b"),
    ],
)
def test_model_that_loses_text_is_used_as_it_is(library: str, changes: dict[str, Any], text: str, back: str) -> None:
    content = train_other(library, **changes)
    tokenizer = SentencePieceTokenizer(content)
    oracle = sentencepiece.SentencePieceProcessor()
    oracle.LoadFromSerializedProto(content)
    assert not tokenizer.lossless
    assert tokenizer.encode(text) == oracle.encode(text)
    assert tokenizer.encode_batch([text] * 500) == [oracle.encode(text)] * 500
    assert tokenizer.decode(tokenizer.encode(text)) == oracle.decode(oracle.encode(text)) == back
    for write in (tokenizer_json, lambda lossy: gguf_metadata(lossy, 600)):
        with pytest.raises(TokenizerError, match="changes spaces or characters before it encodes"):
            write(tokenizer)


def test_model_of_sentencepiece_itself_is_taken(library: str) -> None:
    tokenizer = SentencePieceTokenizer(train_other(library))
    assert (tokenizer.vocab_size, tokenizer.lossless) == (600, True)


def test_many_characters_that_are_read_as_spaces_take_no_longer_than_their_number(
    tokenizer: SentencePieceTokenizer,
) -> None:
    def work(size: int) -> None:
        text = f"a{SPACE}" * size
        assert tokenizer.decode(tokenizer._encode_texts([text], 1)[0]) == text

    assert_in_proportion(work, 20_000)


def test_model_that_changes_every_text_is_refused(tokenizer: SentencePieceTokenizer) -> None:
    pieces = [piece for piece in tokenizer.pieces if SPACE not in piece.text]
    model = write_model(pieces, unk="<unk>", bos="<s>", eos="</s>", space_prefix=True)
    # treat_whitespace_as_suffix, field 24 of trainer_spec, field 2: messages of the same field are merged.
    suffix = tokenizer.content + b"\x12\x03\xc0\x01\x01"
    for content, text in ((model, f"{SPACE}a"), (suffix, "a ")):
        with pytest.raises(TokenizerError, match=f"^x: gives 'a' back as '{text}', so no text would come back"):
            SentencePieceTokenizer(content, "x")


def test_model_without_an_unknown_token_or_with_some_bytes_only_is_told_apart(
    tokenizer: SentencePieceTokenizer,
) -> None:
    """Nothing is unknown where all bytes have pieces, so the other forms need no such token either."""
    pieces = [piece._replace(kind=CONTROL) if piece.kind == UNKNOWN else piece for piece in tokenizer.pieces]
    names = {"unk": "<unk>", "bos": "<s>", "eos": "</s>", "space_prefix": True}
    without = SentencePieceTokenizer(write_model(pieces, **names))
    assert without.unk_id is None
    assert "tokenizer.ggml.unknown_token_id" not in gguf_metadata(without, 1000)
    assert json.loads(tokenizer_json(without))["model"]["unk_token"] is None
    assert without.encode("a\x04é") == tokenizer.encode("a\x04é")
    fewer = [piece for piece in tokenizer.pieces if piece.text != "<0x04>"]
    with pytest.raises(
        TokenizerError, match="has tokens for 255 of the 256 bytes, and SentencePiece takes all or none"
    ):
        SentencePieceTokenizer(write_model(fewer, **names), "x")

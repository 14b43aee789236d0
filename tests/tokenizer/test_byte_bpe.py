"""Byte-level BPE has the ids of Hugging Face's library and of tiktoken, and says what it cannot use."""

import json
import random
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest
import tiktoken
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from puna.core.errors import TokenizerError
from puna.tokenizer.agreement import check_agreement, first_disagreement, huggingface_form
from puna.tokenizer.byte_bpe import ByteBPETokenizer
from puna.tokenizer.byte_level import GPT2_PATTERN, LETTERS, LLAMA3_PATTERN

KINDS = ["byte_bpe", "spaced", "neox", "llama3"]
texts = st.lists(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from(["    ", "  ", " the", "self.", "'S", "'ll", "123", "\n", "\r\n", "\t", "é", "日", "🙂", "<|"]),
    )
).map("".join)


@pytest.fixture(scope="module", params=KINDS)
def pair(request: pytest.FixtureRequest) -> tuple[ByteBPETokenizer, tokenizers.Tokenizer]:
    """A tokenizer and the same as Hugging Face's library reads it."""
    tokenizer: ByteBPETokenizer = request.getfixturevalue(request.param)
    return tokenizer, tokenizers.Tokenizer.from_str(tokenizer.content.decode())


def changed(tokenizer: ByteBPETokenizer, change: Callable[[dict[str, Any]], Any], **more: Any) -> ByteBPETokenizer:
    data = json.loads(tokenizer.content)
    change(data)
    return ByteBPETokenizer(json.dumps(data).encode(), "changed.json", **more)


@given(text=texts)
def test_ids_and_text_are_the_library_s(pair: tuple[ByteBPETokenizer, tokenizers.Tokenizer], text: str) -> None:
    tokenizer, other = pair
    if any(tokenizer.piece(token) in text for token in range(tokenizer.vocab_size) if tokenizer.is_control(token)):
        return
    ids = tokenizer.encode(text)
    assert ids == other.encode(text, add_special_tokens=False).ids
    assert other.decode(ids) == text


def test_ids_are_the_library_s_on_real_text(
    pair: tuple[ByteBPETokenizer, tokenizers.Tokenizer], library: str, languages: list[str]
) -> None:
    tokenizer, other = pair
    for text in (library, *languages):
        assert tokenizer.encode(text) == other.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize(("name", "pattern"), [("byte_bpe", GPT2_PATTERN), ("llama3", LLAMA3_PATTERN)])
def test_ids_are_tiktoken_s(
    name: str, pattern: str, library: str, languages: list[str], request: pytest.FixtureRequest
) -> None:
    tokenizer: ByteBPETokenizer = request.getfixturevalue(name)
    ranks = {
        tokenizer.bytes_of(token): token for token in range(tokenizer.vocab_size) if not tokenizer.is_control(token)
    }
    oracle = tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    for text in (library, *languages):
        assert tokenizer.encode(text) == oracle.encode_ordinary(text)


def test_gpt_neox_is_as_it_was_released(neox: ByteBPETokenizer) -> None:
    assert (neox.bos_id, neox.eos_id, neox.unk_id, neox.add_bos) == (0, 0, None, False)
    assert neox.vocab_size == 50277
    assert neox.added == {" " * length: 50278 - length for length in range(2, 25)}
    # Ids that GPT-NeoX's users know.
    assert neox.encode("Hello world") == [12092, 1533]
    assert neox.encode("<|endoftext|>") == [29, 93, 423, 1171, 1156, 49651]
    assert neox.encode("    x") == [50274, 89]


@pytest.mark.parametrize("length", [1, 2, 3, 23, 24, 25, 26, 48, 49, 100])
def test_runs_of_spaces_are_single_tokens_up_to_their_longest(spaced: ByteBPETokenizer, length: int) -> None:
    ids = spaced.encode("a" + " " * length + "\n")
    contents = [spaced.bytes_of(token) for token in ids]
    assert contents[0] == b"a"
    assert [len(content) for content in contents[1:-1]][: length // 24] == [24] * (length // 24)
    assert b"".join(contents) == b"a" + b" " * length + b"\n"


def test_text_is_composed_where_the_file_says_so(byte_bpe: ByteBPETokenizer) -> None:
    composing = changed(byte_bpe, lambda data: data.update(normalizer={"type": "NFC"}))
    assert composing.normalizes
    assert not byte_bpe.normalizes
    text = "cafe\u0301"
    assert composing.encode(text) == byte_bpe.encode(unicodedata.normalize("NFC", text)) != byte_bpe.encode(text)
    assert composing.decode(composing.encode(text)) == "café"


def test_piece_is_what_the_vocabulary_says(byte_bpe: ByteBPETokenizer) -> None:
    vocabulary = json.loads(byte_bpe.content)["model"]["vocab"]
    assert {byte_bpe.piece(token): token for token in range(1000)} == vocabulary
    assert byte_bpe.piece(byte_bpe.encode(" ")[0]) == "Ġ"
    assert [token for token in range(1000) if byte_bpe.is_control(token)] == [0, 1]


def test_truncation_and_padding_of_a_file_are_not_taken_over(byte_bpe: ByteBPETokenizer) -> None:
    cut = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    pad = {
        "strategy": {"Fixed": 90}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 1, "pad_type_id": 0,
        "pad_token": "<|padding|>",
    }  # fmt: skip
    other = changed(byte_bpe, lambda data: data.update(truncation=cut, padding=pad))
    text = "a text of more than four tokens"
    assert other.encode(text) == byte_bpe.encode(text)


def test_ids_without_a_piece_are_control_tokens(byte_bpe: ByteBPETokenizer) -> None:
    def leave_out(data: dict[str, Any]) -> None:
        vocabulary = data["model"]["vocab"]
        vocabulary[max(vocabulary, key=vocabulary.__getitem__)] += 7

    other = changed(byte_bpe, leave_out)
    assert other.vocab_size == 1007
    assert [token for token in range(1007) if other.is_control(token)] == [0, 1, *range(999, 1006)]
    assert other.piece(1000) == "[PAD1000]"
    assert other.bytes_of(1000) == b""
    assert other.bytes_of(1006) == byte_bpe.bytes_of(999)


def add(**token: Any) -> Callable[[dict[str, Any]], None]:
    whole = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False} | token
    return lambda data: data["added_tokens"].append(whole)


def set_in(*path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        for name in path[:-1]:
            data = data[name]
        data[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (set_in("model", "dropout", value=0.1), "has dropout = 0.1"),
        (set_in("model", "end_of_word_suffix", value="</w>"), "has end_of_word_suffix = '</w>'"),
        (set_in("pre_tokenizer", "add_prefix_space", value=True), "puts a space before some texts"),
        (set_in("pre_tokenizer", value={"type": "Whitespace"}), "is not a byte-level BPE"),
        (set_in("model", value={"type": "Unigram", "vocab": [], "unk_id": 0}), "has a model of the kind 'Unigram'"),
        (set_in("normalizer", value={"type": "NFKC"}), "does not give text back as it was"),
        (set_in("normalizer", value={"type": "Lowercase"}), "does not give text back as it was"),
        (set_in("model", "vocab", value={}), "is not a tokenizer.json, or a damaged one"),
        (set_in("model", "merges", value=[["no", "such"]]), "is not a tokenizer.json, or a damaged one"),
        (set_in("model", "merges", value=None), "is not a tokenizer.json, or a damaged one"),
        (lambda data: data.update(added_tokens=[], post_processor=None), "does not say which token ends a text"),
        (add(id=1000, content="§new", lstrip=True), "takes the spaces beside it away"),
        (add(id=1001, content="§new"), "gives '§new' the id 1001, but its place is 1000"),
        (add(id=5, content="A"), "gives 'A' the ids"),
        (add(id=10**15, content="§new"), "far beyond its 1001 pieces"),
        (add(id=-1, content="§new"), "negative"),
        (add(id="7", content="§new"), "far beyond its 1001 pieces"),
    ],
)  # fmt: skip
def test_what_puna_cannot_use_is_refused(
    byte_bpe: ByteBPETokenizer, change: Callable[[dict[str, Any]], None], reason: str
) -> None:
    with pytest.raises(TokenizerError) as caught:
        changed(byte_bpe, change)
    assert caught.value.message.startswith("changed.json: ")
    assert reason in caught.value.message
    assert "\n" not in caught.value.message


LOST = bytes.fromhex("040613141d1ff1f2")


@pytest.fixture
def lossy(byte_bpe: ByteBPETokenizer) -> ByteBPETokenizer:
    """The like of SmolLM: no token for a few control bytes and first bytes of rare characters."""

    def leave_out(data: dict[str, Any]) -> None:
        for byte in LOST:
            data["model"]["vocab"].pop(LETTERS[byte])

    return changed(byte_bpe, leave_out)


def test_bytes_without_a_token_are_dropped_as_the_library_drops_them(lossy: ByteBPETokenizer) -> None:
    assert lossy.missing_bytes == LOST
    assert lossy.notes == ["no token stands for 8 bytes (04 06 13 14 1d 1f f1 f2); they are dropped from a text"]
    library = huggingface_form(lossy.content, "library")
    assert first_disagreement(check_agreement(lossy, {"library": library})) is None
    texts = ["a\x04b", "\x04", "!\x04!", " \x04\x06 x", "\U00050000", "def \x1f(", "\n\x13\n"]
    for text in texts:
        assert lossy.encode(text) == library.encode(text)[lossy.add_bos :]
        assert lossy.decode(lossy.encode(text)) == lossy.kept(text)
    assert (lossy.kept("a\x04b"), lossy.kept("\U00050000")) == ("ab", "\ufffd" * 3)
    long = [" ".join(texts * 40)] * 3
    words = lossy._word_encoder()
    assert words is not None
    assert [ids.tolist() for ids in words.encode(long)] == lossy._encode_texts(long, 1)


def test_control_token_that_text_would_become_is_refused(byte_bpe: ByteBPETokenizer) -> None:
    def make_reachable(data: dict[str, Any]) -> None:
        add(id=data["model"]["vocab"]["def"], content="def", special=True)(data)

    with pytest.raises(TokenizerError, match=r"turns def in text into the control token"):
        changed(byte_bpe, make_reachable)


def test_config_of_another_tokenizer_is_refused(byte_bpe: ByteBPETokenizer) -> None:
    with pytest.raises(TokenizerError, match="has no token </s>, which should begin or end a text"):
        ByteBPETokenizer(byte_bpe.content, config={"eos_token": "</s>"})


def test_truncated_file_is_refused(byte_bpe: ByteBPETokenizer) -> None:
    for size in range(0, len(byte_bpe.content) - 2, 997):
        with pytest.raises(TokenizerError, match=r"is not (JSON|UTF-8 text)"):
            ByteBPETokenizer(byte_bpe.content[:size])


def test_damaged_file_is_refused_or_still_works(byte_bpe: ByteBPETokenizer) -> None:
    rng = random.Random(0)
    refused = 0
    for _ in range(200):
        damaged = bytearray(byte_bpe.content)
        for _ in range(rng.choice([1, 4, 50])):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            ByteBPETokenizer(bytes(damaged)).encode("  any text \u2581 1,2")
        except TokenizerError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize("added", [False, True])
def test_piece_that_is_not_unicode_is_refused(byte_bpe: ByteBPETokenizer, added: bool) -> None:
    data = json.loads(byte_bpe.content)
    if added:
        data["added_tokens"].append(data["added_tokens"][0] | {"id": 1000, "content": "\ud800", "special": False})
    else:
        data["model"]["vocab"]["\ud800"] = 1000
    with pytest.raises(TokenizerError, match=r"^x: has half of a surrogate pair, .\\ud800., which is not a character"):
        ByteBPETokenizer(json.dumps(data).encode(), "x")

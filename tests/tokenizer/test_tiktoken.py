"""Llama 3's file gives the ids that Meta's own code gives with it, and is written back to the byte."""

import base64
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import tiktoken
from hypothesis import given
from hypothesis import strategies as st
from tiktoken.load import load_tiktoken_bpe

from puna.core.errors import TokenizerError
from puna.tokenizer.agreement import battery_for
from puna.tokenizer.byte_bpe import ByteBPETokenizer
from puna.tokenizer.byte_level import LLAMA3_PATTERN
from puna.tokenizer.tiktoken import is_tiktoken, read_tiktoken, special_names, write_tiktoken

texts = st.lists(st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from(["'S", "  ", "12", "\r\n"]))).map(
    "".join
)


@pytest.fixture(scope="module")
def oracle(llama3_file: Path) -> tiktoken.Encoding:
    ranks = load_tiktoken_bpe(str(llama3_file))
    return tiktoken.Encoding("llama3", pat_str=LLAMA3_PATTERN, mergeable_ranks=ranks, special_tokens={})


@pytest.fixture(scope="module")
def small() -> bytes:
    """All bytes, and a few tokens made of them."""
    tokens = [bytes([byte]) for byte in range(256)] + [b" a", b"bc", b"abc", b" abc", "é".encode()]
    return b"".join(b"%s %d\n" % (base64.b64encode(token), rank) for rank, token in enumerate(tokens))


def test_pattern_is_that_of_meta_s_code(llama3_file: Path) -> None:
    assert f'pat_str = r"{LLAMA3_PATTERN}"' in (llama3_file.parent / "tokenizer.py").read_text()


def test_special_tokens_are_where_meta_s_code_has_them(llama3: ByteBPETokenizer) -> None:
    assert llama3.vocab_size == 128256
    assert (llama3.bos_id, llama3.eos_id, llama3.add_bos) == (128000, 128001, True)
    names = [llama3.piece(token) for token in range(128000, 128256)]
    assert names == special_names()
    assert (names[0], names[1], names[6], names[7], names[9]) == (
        "<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
    )  # fmt: skip
    assert len(set(names)) == 256
    assert all(llama3.is_control(token) == (token >= 128000) for token in range(128256))


def test_ids_are_tiktoken_s(llama3: ByteBPETokenizer, oracle: tiktoken.Encoding, library: str) -> None:
    for text in [*battery_for(llama3, reads_control=False), *library.split("\n")]:
        assert llama3.encode(text) == oracle.encode_ordinary(text)


@given(text=texts)
def test_ids_are_tiktoken_s_on_any_text(llama3: ByteBPETokenizer, oracle: tiktoken.Encoding, text: str) -> None:
    assert llama3.encode(text) == oracle.encode_ordinary(text)


def test_file_is_written_back_to_the_byte(llama3: ByteBPETokenizer, llama3_file: Path) -> None:
    assert write_tiktoken(llama3) == llama3_file.read_bytes()


def test_small_file_comes_back(small: bytes) -> None:
    assert is_tiktoken(small)
    tokenizer = read_tiktoken(small, "small")
    assert tokenizer.vocab_size == 261 + 256
    assert [tokenizer.bytes_of(token) for token in tokenizer.encode(" abc")] == [b" abc"]
    assert [tokenizer.bytes_of(token) for token in tokenizer.encode(" abcd")] == [b" abc", b"d"]
    assert [tokenizer.bytes_of(token) for token in tokenizer.encode(" abb")] == [b" a", b"b", b"b"]
    assert write_tiktoken(tokenizer) == small


@pytest.mark.parametrize("content", [b"", b"{}", b"\n\x0a\x05<unk>", b"GGUF", b"some text 1\n", b"YQ== x\n"])
def test_other_files_are_told_apart(content: bytes) -> None:
    assert not is_tiktoken(content)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda lines: lines[:5] + lines[6:], "line 6 has rank 6"),
        (lambda lines: [*lines, lines[7]], "line 262 has rank 7"),
        (lambda lines: [*lines, b"YQ== 261\n"], "a token that was there before"),
        (lambda lines: [*lines, b"Y*== 261\n"], "line 262 is not a token in base64 and its rank"),
        (lambda lines: [*lines, b"YWI=\n"], "line 262 is not a token in base64 and its rank: b'YWI='"),
        (lambda lines: [*lines, b"YWI= -5\n"], "line 262 has rank -5"),
        (lambda lines: lines[:100], "of the bytes, which every file of this kind has"),
        (lambda lines: lines[:1], "of the bytes, which every file of this kind has"),
    ],
)
def test_damaged_file_is_refused(small: bytes, change: Callable[[list[bytes]], list[bytes]], reason: str) -> None:
    with pytest.raises(TokenizerError) as caught:
        read_tiktoken(b"".join(change(small.splitlines(keepends=True))), "small")
    assert caught.value.message.startswith("small: ")
    assert reason in caught.value.message


def test_damaged_bytes_are_refused_or_still_a_tokenizer(small: bytes) -> None:
    rng = random.Random(0)
    refused = 0
    for _ in range(200):
        damaged = bytearray(small)
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            read_tiktoken(bytes(damaged), "small")
        except TokenizerError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize(
    ("vocabulary", "reason"),
    [
        ("byte_bpe", "it splits text in another way"),
        ("spaced", "it splits text in another way"),
        ("neox", "it splits text in another way"),
    ],
)
def test_other_tokenizers_are_refused(vocabulary: str, reason: str, request: pytest.FixtureRequest) -> None:
    with pytest.raises(TokenizerError, match=reason):
        write_tiktoken(request.getfixturevalue(vocabulary))


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"normalizer": null', '"normalizer": {"type": "NFC"}', "it normalises text"),
        ('"ids": [261]', '"ids": [262]', None),
        ('["b", "c"], ', "", "it has other merges than its ranks make"),
        (f'"tokens": ["{special_names()[0]}"]', f'"tokens": ["{special_names()[5]}"]', "it has other special tokens"),
    ],
)
def test_what_the_file_would_not_say_is_refused(small: bytes, old: str, new: str, reason: str | None) -> None:
    content = read_tiktoken(small, "small").content.decode()
    assert old in content
    other = ByteBPETokenizer(content.replace(old, new).encode())
    if reason is None:
        assert write_tiktoken(other) == small
        return
    with pytest.raises(TokenizerError, match=reason):
        write_tiktoken(other)


def test_endless_token_is_refused(small: bytes) -> None:
    content = small + b"%s 261\n" % base64.b64encode(bytes(3_000_000))
    with pytest.raises(TokenizerError, match=r"^x: line 262 has a token of 4000000 letters"):
        read_tiktoken(content, "x")

"""Texts are cut at the tokens that are found first, and what lies between is encoded together."""

import pytest
from chats import ADDED, SPECIAL, chat_tokenizer
from hypothesis import given
from hypothesis import strategies as st

from puna.tokenizer.byte_bpe import ByteBPETokenizer
from puna.tokenizer.stretches import Between, any_of

PARTS = ["a", " ", "\n", "The capital", "é", "日本", "<", "|>", "<|", "im_start", *SPECIAL, *ADDED]


@pytest.fixture(scope="module")
def chatting() -> ByteBPETokenizer:
    return chat_tokenizer(add_bos=True)


def test_of_tokens_that_begin_at_one_place_the_longest_is_found() -> None:
    found = any_of(["<a>", "<a>b", "."])
    assert found is not None
    assert found.findall("<a>b<a>c.") == ["<a>b", "<a>", "."]
    assert any_of([]) is None


def test_stretches_of_all_texts_are_encoded_in_one_call_and_none_is_empty() -> None:
    calls: list[list[str]] = []

    def encode(stretches: list[str]) -> list[list[int]]:
        calls.append(stretches)
        return [[*map(ord, stretch)] for stretch in stretches]

    texts = ["<x>ab<y>", "", "c", "<x><x>d"]
    assert Between({"<x>": 1, "<y>": 2}).encode(texts, encode) == [[1, 97, 98, 2], [], [99], [1, 1, 100]]
    assert calls == [["ab", "c", "d"]]
    assert Between({}).encode(["<x>"], encode) == [[*b"<x>"]]


@given(texts=st.lists(st.lists(st.sampled_from(PARTS), max_size=8).map("".join), max_size=4))
def test_ids_with_control_tokens_are_those_of_the_library(chatting: ByteBPETokenizer, texts: list[str]) -> None:
    assert chatting._between_specials is not None
    assert chatting.encode_special(texts) == [chatting._encode_special(text) for text in texts]


@pytest.mark.parametrize("flag", ["lstrip", "rstrip", "single_word", "normalized"])
def test_a_control_token_that_takes_more_than_its_text_is_left_to_the_library(flag: str) -> None:
    content = chat_tokenizer(add_bos=True).content
    at = content.index(b'"content": "<|im_end|>"')
    changed = content[:at] + content[at:].replace(b'"%b": false' % flag.encode(), b'"%b": true' % flag.encode(), 1)
    assert changed != content
    other = ByteBPETokenizer(changed)
    assert other._between_specials is None
    text = "a <|im_end|> b<|im_end|>"
    assert other.encode(text, special=True) == other._encode_special(text)

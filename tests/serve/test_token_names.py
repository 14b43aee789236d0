"""Names of tokens: no two are the same, and parts of characters are told as bytes."""

import pytest
from chats import chat_tokenizer

from puna.infer.requests import Token
from puna.serve.token_names import names_of
from puna.tokenizer.tokenizer import Tokenizer


@pytest.fixture(params=["sentencepiece", "byte-bpe"])
def any_tokenizer(request: pytest.FixtureRequest, tokenizer: Tokenizer) -> Tokenizer:
    return tokenizer if request.param == "sentencepiece" else chat_tokenizer(add_bos=False)


def test_no_two_tokens_have_one_name(any_tokenizer: Tokenizer) -> None:
    names = [names_of(any_tokenizer)[token] for token in range(any_tokenizer.vocab_size)]
    assert len(set(names)) == any_tokenizer.vocab_size
    for token, name in enumerate(names):
        if name.startswith("bytes:"):
            assert bytes.fromhex(name[6:].replace("\\x", "")) == any_tokenizer.bytes_of(token)
        elif any_tokenizer.is_control(token):
            assert name in (any_tokenizer.piece(token), f"token_id:{token}")
        else:
            assert name.encode() == any_tokenizer.bytes_of(token)


def test_a_byte_whose_text_another_token_has_is_told_as_a_byte(tokenizer: Tokenizer) -> None:
    """SentencePiece has a piece `A` and a byte 0x41."""
    names = names_of(tokenizer)
    ids = {tokenizer.piece(token): token for token in range(tokenizer.vocab_size)}
    assert names[ids["<0x65>"]] == "bytes:\\x65"
    assert names[ids["e"]] == "e"
    assert names[ids["<0xE2>"]] == "bytes:\\xe2"
    assert names[ids["<s>"]] == "<s>"


def test_the_likeliest_tokens_keep_their_own_numbers(tokenizer: Tokenizer) -> None:
    ids = {tokenizer.piece(token): token for token in range(tokenizer.vocab_size)}
    pairs = ((ids["<0x65>"], -0.5), (ids["e"], -0.75), (ids["<0xE2>"], -1.0))
    told = names_of(tokenizer).best(Token(id=ids["<s>"], logprob=-2.0, best=pairs))
    assert list(told.items()) == [("bytes:\\x65", -0.5), ("e", -0.75), ("bytes:\\xe2", -1.0), ("<s>", -2.0)]


def test_ids_behind_the_vocabulary_are_told_by_number(tokenizer: Tokenizer) -> None:
    assert names_of(tokenizer)[tokenizer.vocab_size + 3] == f"token_id:{tokenizer.vocab_size + 3}"
    assert names_of(tokenizer) is names_of(tokenizer)

"""What every tokenizer does, whatever its kind: no text is lost, and nothing in a text is a control token."""

import copy
import pickle
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.core.errors import TokenizerError
from puna.tokenizer.agreement import battery_for
from puna.tokenizer.tokenizer import Tokenizer

KINDS = ["tokenizer", "byte_bpe", "spaced", "llama", "neox", "llama3"]
ODD = "\u2581\u2585\x00\r\n\t \u00a0\u3000\u200b\u200d\ufeff\ufffd\ufffe\u0301\U0001f469\U0010ffffĠĊ"
texts = st.text(st.one_of(st.sampled_from(ODD), st.sampled_from("aesz_(09 "), st.characters(exclude_categories=["Cs"])))
"""Any Unicode text, rich in what tokenizers lose."""


@pytest.fixture(scope="module", params=KINDS)
def any_kind(request: pytest.FixtureRequest) -> Tokenizer:
    return request.getfixturevalue(request.param)


@given(text=texts)
def test_decoding_gives_back_any_text(any_kind: Tokenizer, text: str) -> None:
    assert any_kind.decode(any_kind.encode(text)) == text
    assert any_kind.decode(any_kind.encode(text, bos=True, eos=True)) == text


def test_every_character_of_unicode_comes_back(any_kind: Tokenizer) -> None:
    characters = [chr(point) for point in range(sys.maxunicode + 1) if not 0xD800 <= point < 0xE000]
    chunks = ["".join(characters[i : i + 4096]) for i in range(0, len(characters), 4096)]
    for chunk, ids in zip(chunks, any_kind.encode_batch(chunks, threads=2), strict=True):
        assert any_kind.decode(ids) == chunk


def test_lines_in_many_languages_come_back(any_kind: Tokenizer, languages: list[str]) -> None:
    assert len(languages) > 1000
    assert [any_kind.decode(ids) for ids in any_kind.encode_batch(languages)] == languages


def test_text_of_every_control_token_is_text(any_kind: Tokenizer) -> None:
    controls = {token for token in range(any_kind.vocab_size) if any_kind.is_control(token)}
    assert {any_kind.bos_id, any_kind.eos_id} <= controls
    for token in controls:
        text = any_kind.piece(token)
        for around in (text, f"a {text}b", f"{text}{text}", f"\n{text}\n"):
            ids = any_kind.encode(around)
            assert not controls & set(ids)
            assert any_kind.decode(ids) == around


def test_battery_comes_back(any_kind: Tokenizer) -> None:
    for text in battery_for(any_kind, reads_control=False):
        assert any_kind.decode(any_kind.encode(text)) == text


def test_beginning_and_end_are_added_when_asked_for(any_kind: Tokenizer) -> None:
    ids = any_kind.encode("the end")
    bos, eos = any_kind.bos_id, any_kind.eos_id
    assert any_kind.encode("the end", bos=True) == [bos, *ids]
    assert any_kind.encode("the end", eos=True) == [*ids, eos]
    assert any_kind.encode("", bos=True, eos=True) == [bos, eos]


@given(batch=st.lists(texts, max_size=8), threads=st.integers(1, 3))
def test_batch_has_the_ids_of_each_text(any_kind: Tokenizer, batch: list[str], threads: int) -> None:
    assert any_kind.encode_batch(batch, threads=threads) == [any_kind.encode(text) for text in batch]


@given(data=st.data())
def test_decoded_text_is_the_bytes_of_its_ids(any_kind: Tokenizer, data: st.DataObject) -> None:
    ids = data.draw(st.lists(st.integers(0, any_kind.vocab_size - 1)))
    together = b"".join(any_kind.token_bytes()[token] for token in ids)
    if any_kind.space_prefix:
        together = together.removeprefix(b" ")
    assert any_kind.decode(ids) == together.decode("utf-8", errors="replace")


def test_ids_have_the_bytes_of_the_text(any_kind: Tokenizer) -> None:
    for text in battery_for(any_kind, reads_control=False):
        content = b"".join(any_kind.bytes_of(token) for token in any_kind.encode(text))
        assert content == (b" " if any_kind.space_prefix and text else b"") + text.encode()


def test_half_a_character_decodes_to_the_replacement_character(byte_bpe: Tokenizer, tokenizer: Tokenizer) -> None:
    assert byte_bpe.decode(byte_bpe.encode("日")[:-1]) == "\ufffd"
    ids = tokenizer.encode("日")
    assert tokenizer.decode(ids[:-1]) == "\ufffd"
    assert tokenizer.decode([3 + 0xFF, *ids]) == "\ufffd 日"


@pytest.mark.parametrize("token", [-1, -1000, 10**12])
def test_id_outside_the_vocabulary_is_refused(any_kind: Tokenizer, token: int) -> None:
    with pytest.raises(TokenizerError, match=f"token {token} is not in the vocabulary of {any_kind.vocab_size}"):
        any_kind.decode([5, token])
    with pytest.raises(TokenizerError, match=f"token {any_kind.vocab_size} is not in"):
        any_kind.bytes_of(any_kind.vocab_size)


@pytest.mark.parametrize(("text", "position"), [("\ud800", 0), ("ab\udfffc", 2), ("é\ud83d", 1)])
def test_lone_surrogate_is_refused_with_its_position(any_kind: Tokenizer, text: str, position: int) -> None:
    with pytest.raises(TokenizerError, match=f"lone surrogate, U\\+D.*at position {position}$"):
        any_kind.encode(text)
    with pytest.raises(TokenizerError, match=f"at position {position}$"):
        any_kind.encode_batch(["well", text])


def test_copies_give_the_same_ids(any_kind: Tokenizer) -> None:
    text = f" a {any_kind.piece(any_kind.eos_id)}b"
    for again in (copy.deepcopy(any_kind), pickle.loads(pickle.dumps(any_kind))):
        assert again.encode(text, bos=True) == any_kind.encode(text, bos=True)
        assert (again.sha256, again.origin) == (any_kind.sha256, any_kind.origin)

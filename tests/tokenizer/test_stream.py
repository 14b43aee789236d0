"""Text as it comes: the same as decoding at once, in whole characters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.core.errors import TokenizerError
from puna.tokenizer.stream import TextStream
from puna.tokenizer.tokenizer import Tokenizer


def streamed(tokenizer: Tokenizer, ids: list[int], *, starts_text: bool) -> list[str]:
    stream = TextStream(tokenizer, starts_text=starts_text)
    return [*(stream.push(token) for token in ids), stream.finish()]


@given(st.data())
def test_stream_of_any_ids_joins_to_their_decoded_text(tokenizer: Tokenizer, data: st.DataObject) -> None:
    byte_or_piece = st.one_of(st.integers(0, 258), st.integers(0, tokenizer.vocab_size - 1))
    ids = data.draw(st.lists(byte_or_piece))
    assert "".join(streamed(tokenizer, ids, starts_text=True)) == tokenizer.decode(ids)


@given(st.text())
def test_stream_of_a_text_never_shows_half_a_character(tokenizer: Tokenizer, text: str) -> None:
    text = text.replace("\ufffd", "")
    parts = streamed(tokenizer, tokenizer.encode(text, bos=True, eos=True), starts_text=True)
    assert "".join(parts) == text
    assert parts[-1] == ""


@given(st.text(), st.text())
def test_continuation_joins_to_the_whole_text(tokenizer: Tokenizer, prompt: str, rest: str) -> None:
    whole = tokenizer.encode(prompt + rest)
    for cut in range(1, len(whole)):
        before = tokenizer.decode(whole[:cut])
        if not before or "\ufffd" in before:
            continue  # the prompt is nothing but the dummy prefix, or ends within a character
        assert before + "".join(streamed(tokenizer, whole[cut:], starts_text=False)) == prompt + rest


def test_space_is_kept_in_a_continuation_and_taken_off_at_the_start(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("the")
    assert streamed(tokenizer, ids, starts_text=False) == [" the", ""]
    assert streamed(tokenizer, ids, starts_text=True) == ["the", ""]
    assert streamed(tokenizer, [tokenizer.bos_id, *ids, *ids], starts_text=True) == ["", "the", " the", ""]


@given(st.text())
def test_nothing_is_taken_off_where_no_space_is_put(byte_bpe: Tokenizer, text: str) -> None:
    text = " " + text.replace("\ufffd", "")
    assert "".join(streamed(byte_bpe, byte_bpe.encode(text), starts_text=True)) == text


def test_character_comes_with_the_last_of_its_bytes(tokenizer: Tokenizer) -> None:
    ids = [3 + byte for byte in "日🙂".encode()]
    assert streamed(tokenizer, ids, starts_text=False) == ["", "", "日", "", "", "", "🙂", ""]


def test_character_that_is_never_completed_shows_at_the_end(tokenizer: Tokenizer) -> None:
    ids = [3 + byte for byte in "🙂".encode()[:3]]
    assert streamed(tokenizer, ids, starts_text=False) == ["", "", "", "\ufffd"]


@pytest.mark.parametrize("token", [-1, 1000])
def test_id_outside_the_vocabulary_is_refused(tokenizer: Tokenizer, token: int) -> None:
    with pytest.raises(TokenizerError, match=f"token {token} is not in the vocabulary of 1000"):
        TextStream(tokenizer).push(token)

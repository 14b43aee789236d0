"""The token that begins a sequence stands before a prompt once, or not at all, and twice is said aloud."""

import pytest

from puna.tokenizer.bos import prompt_ids, warn_doubled
from puna.tokenizer.byte_bpe import ByteBPETokenizer
from puna.tokenizer.sentencepiece import SentencePieceTokenizer


def test_prompt_begins_as_the_tokenizer_says(tokenizer: SentencePieceTokenizer, spaced: ByteBPETokenizer) -> None:
    assert prompt_ids(tokenizer, "the") == tokenizer.encode("the", bos=True)
    assert prompt_ids(spaced, "the") == spaced.encode("the")
    assert prompt_ids(tokenizer, "") == [tokenizer.bos_id]
    assert prompt_ids(spaced, "") == [spaced.bos_id]


@pytest.mark.parametrize("doubled", ["<s>", "<s> the", [1, 1], [1, 1, 5]])
def test_doubled_beginning_is_warned_of_once(
    tokenizer: SentencePieceTokenizer, doubled: str | list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    warn_doubled(tokenizer, doubled)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("warning: the prompt begins with <s>") == 1
    assert err.count("\n") == 1


@pytest.mark.parametrize("single", ["", "the <s>", " <s>", "</s>", [], [1], [1, 5, 1], [5, 1, 1]])
def test_single_beginning_is_nothing_to_say(
    tokenizer: SentencePieceTokenizer, single: str | list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    warn_doubled(tokenizer, single)
    assert capsys.readouterr() == ("", "")


def test_text_is_not_a_second_token_where_none_is_put(
    spaced: ByteBPETokenizer, capsys: pytest.CaptureFixture[str]
) -> None:
    warn_doubled(spaced, "<|begin|> the")
    assert capsys.readouterr() == ("", "")

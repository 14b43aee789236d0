"""The token that begins a sequence stands before a prompt once, or not at all, and twice is said aloud."""

import pytest

from puna.tokenizer.bos import begins_text, prompt_ids, warn_doubled
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


def test_a_text_begins_right_behind_a_control_token_alone(
    tokenizer: SentencePieceTokenizer, spaced: ByteBPETokenizer
) -> None:
    """There a dummy prefix stands that is not part of the text."""
    the = tokenizer.encode("the")
    for prompt in ([tokenizer.bos_id], [*the, tokenizer.eos_id]):
        assert begins_text(tokenizer, prompt)
        assert tokenizer.encode("<s>the</s>the", special=True)[-len(the) :] == the
    for prompt in ([], the, [tokenizer.vocab_size + 3]):
        assert not begins_text(tokenizer, prompt)
    assert not begins_text(spaced, [spaced.bos_id])


@pytest.mark.parametrize("single", ["", "the <s>", " <s>", "</s>", [], [1], [1, 5, 1], [5, 1, 1]])
def test_single_beginning_is_nothing_to_say(
    tokenizer: SentencePieceTokenizer, single: str | list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    warn_doubled(tokenizer, single)
    assert capsys.readouterr() == ("", "")


def test_text_of_a_chat_template_that_is_read_as_text_is_told(
    spaced: ByteBPETokenizer, capsys: pytest.CaptureFixture[str]
) -> None:
    warn_doubled(spaced, "<|begin|> the")
    said = "warning: the prompt has <|begin|>, which is read as text; --special reads it as the token\n"
    assert capsys.readouterr() == ("", said)
    warn_doubled(spaced, "<|beg|> the")
    assert capsys.readouterr() == ("", "")


def test_a_template_s_own_beginning_is_not_doubled(tokenizer: SentencePieceTokenizer, spaced: ByteBPETokenizer) -> None:
    assert prompt_ids(tokenizer, "<s>the", special=True) == prompt_ids(tokenizer, "the")
    assert prompt_ids(tokenizer, "the</s>the", special=True)[-2] == tokenizer.eos_id
    ids = prompt_ids(spaced, "<|begin|>the<|endoftext|>", special=True)
    assert (ids[0], ids[-1], len({421, 422} & set(ids[1:-1]))) == (421, 422, 0)
    assert prompt_ids(tokenizer, "", special=True) == [tokenizer.bos_id]

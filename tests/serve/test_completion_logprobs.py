"""Lists of log-probabilities: offsets are places in the text, whatever the tokens cut."""

import pytest
from chats import chat_tokenizer
from hypothesis import given
from hypothesis import strategies as st

from puna.infer.requests import Token
from puna.serve.completion_logprobs import LogprobLists
from puna.tokenizer.tokenizer import Tokenizer

BYTES = chat_tokenizer(add_bos=False)


def tokens(ids: list[int]) -> list[Token]:
    return [Token(id=one, logprob=-one / 8, best=((one, -one / 8),)) for one in ids]


@given(text=st.text(st.sampled_from("aé日🙂 \n"), max_size=12), cut=st.integers(0, 20))
def test_offsets_are_where_the_token_begins_in_the_text(text: str, cut: int) -> None:
    """Against the text of all tokens before, whole characters alone."""
    ids = BYTES.encode(text)
    lists = LogprobLists(BYTES, best=True, starts_text=False, offset=7)
    parts = [lists.write(tokens(ids[:cut])), lists.write(tokens(ids[cut:]))]
    offsets = [one for part in parts for one in part["text_offset"]]
    content = [BYTES.bytes_of(token) for token in ids]
    assert offsets == [7 + len(b"".join(content[:at]).decode(errors="ignore")) for at in range(len(ids))]
    assert lists.offset == 7 + len(text)


def test_entries_are_the_tokens_in_order(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("The people")
    told = LogprobLists(tokenizer, best=True, starts_text=True).write([Token(id=tokenizer.bos_id), *tokens(ids)])
    assert "".join(told["tokens"]) == "<s> The people"
    assert told["token_logprobs"] == [None, *(-one / 8 for one in ids)]
    assert told["top_logprobs"][0] is None
    assert [list(best.values()) for best in told["top_logprobs"][1:]] == [[-one / 8] for one in ids]
    assert told["text_offset"][:2] == [0, 0]


@pytest.mark.parametrize("best", [False, True])
def test_the_likeliest_are_told_where_they_are_asked_for(tokenizer: Tokenizer, best: bool) -> None:
    told = LogprobLists(tokenizer, best=best, starts_text=False).write(tokens([300]))
    assert (told["top_logprobs"] is not None) == best


def test_ids_that_the_tokenizer_does_not_have_take_no_room(tokenizer: Tokenizer) -> None:
    lists = LogprobLists(tokenizer, best=False, starts_text=False)
    assert lists.write(tokens([9999]))["tokens"] == ["token_id:9999"]
    assert lists.offset == 0

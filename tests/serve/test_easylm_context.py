"""The context of EasyLM's chats: turns come back as they were, and nothing else is one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.chat.messages import ROLES, Message
from puna.serve.easylm_context import context_of, messages_of
from puna.serve.errors import ApiError

TURNS = st.builds(Message, role=st.sampled_from(ROLES), content=st.text(st.characters(exclude_categories=["Cs"])))


@given(turns=st.lists(TURNS, min_size=1, max_size=4))
def test_turns_come_back_as_they_were(turns: list[Message]) -> None:
    assert messages_of(context_of(turns)) == turns


def test_an_empty_context_begins_a_conversation() -> None:
    assert messages_of("") == []


@pytest.mark.parametrize("context", ["hello", "[]", "{}", '[{"role": "nobody", "content": "a"}]', "[1]", "[" * 9999])
def test_any_other_text_is_refused(context: str) -> None:
    with pytest.raises(ApiError, match="context is not what an answer of this server told") as caught:
        messages_of(context)
    assert (caught.value.status, caught.value.param) == (400, "context")

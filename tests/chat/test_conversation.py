"""Turns are added, taken back and left out, and the model reads what fits."""

import pytest
from chats import TEMPLATES

from puna.chat.conversation import Conversation, fit
from puna.chat.messages import Message
from puna.chat.template import ChatTemplate
from puna.core.errors import GenerateError
from puna.tokenizer.byte_bpe import ByteBPETokenizer


@pytest.fixture(scope="module")
def template(tokenizer: ByteBPETokenizer) -> ChatTemplate:
    return ChatTemplate(TEMPLATES["llama2"], tokenizer)  # which refuses turns that do not alternate


def user(n: int) -> Message:
    return Message("user", f"q{n} " + "x" * 20)


def assistant(n: int) -> Message:
    return Message("assistant", f"a{n} " + "y" * 20)


def talk(n: int) -> list[Message]:
    return [turn for at in range(n) for turn in (user(at), assistant(at))]


def test_what_fits_is_the_templates_text(template: ChatTemplate) -> None:
    turns = [*talk(2), user(2)]
    fitted = fit(template, turns, context=1000, max_tokens=100)
    assert (fitted.ids, fitted.left_out) == (template.ids(turns), 0)


def test_the_oldest_turns_are_left_out_and_never_the_system_prompt_nor_the_last_turn(template: ChatTemplate) -> None:
    system = Message("system", "Be brief.")
    turns = [system, *talk(9), user(9)]
    fitted = fit(template, turns, context=300, max_tokens=100)
    assert fitted.left_out > 0
    assert fitted.left_out % 2 == 0, "a user's turn comes first"
    assert fitted.ids == template.ids([system, *turns[1 + fitted.left_out :]])
    assert len(fitted.ids) <= 150, "half of the context is free for the next turns"
    assert len(template.ids([system, *turns[1 + fitted.left_out - 2 :]])) > 150, "and no more was left out than needed"


def test_what_was_left_out_stays_out_while_the_rest_fits(template: ChatTemplate) -> None:
    turns = [*talk(9), user(9)]
    first = fit(template, turns, context=300, max_tokens=10)
    turns += [assistant(9), user(10)]
    second = fit(template, turns, context=300, max_tokens=10, left_out=first.left_out)
    assert second.left_out == first.left_out
    assert second.ids[: len(first.ids)] == first.ids, "so the beginning is found in the cache"


def test_a_turn_that_alone_is_too_long_is_refused_with_numbers(template: ChatTemplate) -> None:
    turns = [Message("system", "s" * 50), *talk(2), Message("user", "x" * 200)]
    with pytest.raises(GenerateError, match=r"this turn and the system prompt take 2\d\d tokens, but .* 200 and 50 "):
        fit(template, turns, context=200, max_tokens=100)


@pytest.mark.parametrize("size", range(60, 100))
def test_the_last_turn_alone_fits_up_to_the_room_for_an_answer(template: ChatTemplate, size: int) -> None:
    turns = [*talk(2), Message("user", "x" * size)]
    alone = len(template.ids(turns[-1:]))
    if alone <= 96:
        assert len(fit(template, turns, context=128, max_tokens=1000).ids) <= 96
    else:
        with pytest.raises(GenerateError):
            fit(template, turns, context=128, max_tokens=1000)


def test_a_conversation_grows_and_shrinks(template: ChatTemplate) -> None:
    conversation = Conversation(template, 1000, "Be brief.")
    ids = conversation.ask("one", 10)
    assert ids == template.ids(conversation.messages)
    conversation.answer("two")
    conversation.ask("three", 10)
    assert [turn.content for turn in conversation.messages] == ["Be brief.", "one", "two", "three"]
    assert conversation.undo() == "three"
    assert conversation.undo() == "one"
    assert conversation.undo() is None
    assert conversation.messages == [Message("system", "Be brief.")]


def test_a_turn_that_is_refused_leaves_the_conversation_as_it_was(template: ChatTemplate) -> None:
    conversation = Conversation(template, 64)
    conversation.ask("one", 10)
    conversation.answer("two")
    before = conversation.messages
    with pytest.raises(GenerateError):
        conversation.ask("x" * 100, 10)
    with pytest.raises(GenerateError):
        conversation.ask("<<SYS>>", 10)
    assert conversation.messages == before


def test_ctrl_c_while_a_turn_is_read_leaves_the_conversation_as_it_was() -> None:
    class Interrupted:
        def ids(self, messages: object) -> list[int]:
            raise KeyboardInterrupt

    conversation = Conversation(Interrupted(), 64)  # pyrefly: ignore
    with pytest.raises(KeyboardInterrupt):
        conversation.ask("one", 10)
    assert conversation.messages == []


def test_turns_that_no_longer_fit_stay_in_the_conversation(template: ChatTemplate) -> None:
    conversation = Conversation(template, 200)
    for n in range(12):
        assert len(conversation.ask(user(n).content, 10)) <= 190
        conversation.answer(assistant(n).content)
    assert conversation.left_out > 0
    assert conversation.messages == talk(12)
    while conversation.undo():
        assert conversation.left_out <= len(conversation.turns)
    assert conversation.left_out == 0


def test_reset_keeps_the_system_prompt_and_replace_takes_another(template: ChatTemplate) -> None:
    conversation = Conversation(template, 1000, "Be brief.")
    conversation.ask("one", 10)
    conversation.reset()
    assert conversation.messages == [Message("system", "Be brief.")]
    conversation.replace([Message("system", "Sing."), user(0), assistant(0)])
    assert (conversation.system, conversation.turns) == ("Sing.", talk(1))
    conversation.replace(talk(1))
    assert (conversation.system, conversation.turns) == ("", talk(1))

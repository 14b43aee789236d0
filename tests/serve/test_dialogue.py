"""A conversation becomes the template's ids and ends where its turns do."""

import asyncio

import pytest
from chat_served import scripted_model
from chats import TEMPLATES, chat_tokenizer
from fake_runner import FakeRunner
from in_process import InProcessModel

from puna.chat.messages import Message
from puna.chat.template import ChatTemplate
from puna.chat.tools import NO_PARAMETERS, Tool, ToolCall
from puna.infer.engine import Engine
from puna.infer.requests import Token
from puna.serve.dialogue import dialogue, logprob_of, room
from puna.serve.errors import ApiError
from puna.tokenizer.byte_bpe import ByteBPETokenizer

TURNS = [Message("user", "q")]
TOOL = Tool("f", None, NO_PARAMETERS)


@pytest.fixture(scope="module")
def chatty() -> ByteBPETokenizer:
    return chat_tokenizer(add_bos=True)


def model_of(tokenizer: ByteBPETokenizer, source: str | None) -> InProcessModel:
    engine = Engine(FakeRunner(vocab_size=tokenizer.vocab_size), tokenizer)
    return InProcessModel("m", engine, tokenizer, None if source is None else ChatTemplate(source, tokenizer))


def test_a_prompt_is_what_the_template_writes(chatty: ByteBPETokenizer) -> None:
    model = scripted_model(chatty)
    assert model.template is not None
    ready = asyncio.run(dialogue(model, TURNS, [TOOL]))
    assert ready.prompt == tuple(model.template.ids(TURNS, tools=[TOOL]))
    assert ready.prompt[0] == chatty.bos_id


def test_an_answer_ends_with_texts_turns_and_turns_that_call(chatty: ByteBPETokenizer) -> None:
    tags = model_of(chatty, "{% for m in messages %}<|turn|>{{ m.content }}<|over|>{% endfor %}")
    ready = asyncio.run(dialogue(tags, TURNS, []))
    assert (ready.stop_ids, ready.stops) == (frozenset(chatty.stops), ("<|over|>",))
    llama = scripted_model(chatty, "llama3.1")
    (end_of_turn,), (end_of_call,) = (chatty.encode(tag, special=True) for tag in ("<|eot_id|>", "<|eom_id|>"))
    without, with_tools = (asyncio.run(dialogue(llama, TURNS, tools)).stop_ids for tools in ([], [TOOL]))
    assert without == {end_of_turn, *chatty.stops}
    assert with_tools == {end_of_turn, end_of_call, *chatty.stops}


@pytest.mark.parametrize(
    ("source", "turns", "param", "says"),
    [
        (None, TURNS, "model", "has no chat template"),
        (TEMPLATES["llama2"], [*TURNS, *TURNS], "input", "Roles must be user, assistant"),
        (TEMPLATES["llama2"], [Message("user", "<</SYS>>")], "input", "holds <</SYS>>"),
        (TEMPLATES["chatml"], [Message("user", "x" * 3000)], "input", "shorten it"),
    ],
)
def test_what_a_model_does_not_take_is_named(
    chatty: ByteBPETokenizer, source: str | None, turns: list[Message], param: str, says: str
) -> None:
    with pytest.raises(ApiError, match=says) as caught:
        asyncio.run(dialogue(model_of(chatty, source), turns, [], param="input"))
    assert (caught.value.status, caught.value.param) == (400, param)


def test_calls_and_functions_that_can_only_be_too_long_meet_no_template(
    chatty: ByteBPETokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, long = scripted_model(chatty), "x" * 100_000
    monkeypatch.setattr("puna.chat.renderer.renderer.render", pytest.fail)
    calls = [*TURNS, Message("assistant", "", (ToolCall("a", "f", f'{{"a": "{long}"}}'),))]
    for turns, tools, param in (
        (calls, [], "messages"),
        (TURNS, [Tool("f", long, NO_PARAMETERS)], "tools"),
        (TURNS, [Tool("f", None, {"type": "object", "properties": {long: {}}})], "tools"),
    ):
        with pytest.raises(ApiError, match=f"^{param} has 100,[0-9]+ characters") as caught:
            asyncio.run(dialogue(model, turns, tools))
        assert (caught.value.param, caught.value.code) == (param, "context_length_exceeded")


def test_an_answer_has_what_the_context_leaves(chatty: ByteBPETokenizer) -> None:
    model = model_of(chatty, None)
    assert (room(model, [1] * 10), room(model, [1] * 100)) == (model.longest - 10, 1)


def test_tokens_are_told_by_their_bytes(chatty: ByteBPETokenizer) -> None:
    (byte,), (control,) = chatty.encode("é")[:1], chatty.encode("</s>", special=True)
    told = logprob_of(Token(id=byte, logprob=-1.5, best=((control, -0.5), (byte, -1.5))), chatty)
    half = {"token": "bytes:\\xc3", "bytes": [0xC3], "logprob": -1.5}
    assert told == half | {"top_logprobs": [{"token": "</s>", "bytes": None, "logprob": -0.5}, half]}

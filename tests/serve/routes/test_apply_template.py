"""`/apply-template` is what the chat template writes, as text and as ids."""

from typing import Any

import pytest
from chat_served import scripted_model
from chats import TEMPLATES, chat_tokenizer
from fake_runner import FakeRunner
from in_process import InProcessModel, InProcessModels
from small_served import small_model
from starlette.testclient import TestClient

from puna.chat.template import ChatTemplate
from puna.chat.tools import Tool
from puna.infer.engine import Engine
from puna.serve.app import make_app
from puna.tokenizer.tokenizer import Tokenizer

TURNS = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is <|im_end|> for?"}]


@pytest.fixture(scope="module")
def template() -> ChatTemplate:
    return ChatTemplate(TEMPLATES["chatml"], chat_tokenizer(add_bos=False))


@pytest.fixture
def chatty(template: ChatTemplate, tokenizer: Tokenizer) -> TestClient:
    words = template.tokenizer
    engine = Engine(FakeRunner(vocab_size=words.vocab_size, context=256, pages=256), words)
    base = small_model(tokenizer, "base")
    return TestClient(make_app(InProcessModels(InProcessModel("chatty", engine, words, template), base)))


@pytest.mark.parametrize("answer", [True, False, None])
def test_a_conversation_is_written_as_for_an_answer(
    chatty: TestClient, template: ChatTemplate, answer: bool | None
) -> None:
    told = chatty.post("/apply-template", json={"messages": TURNS, "add_generation_prompt": answer}).json()
    begins = answer is not False
    ids = template.ids(TURNS, answer=begins)
    assert told == {
        "prompt": template.render(TURNS, answer=begins).text, "tokens": ids, "count": len(ids), "max_model_len": 256,
    }  # fmt: skip


def test_functions_are_told_as_the_template_tells_them(tokenizer: Tokenizer) -> None:
    model = scripted_model(chat_tokenizer(add_bos=False))
    assert model.template is not None
    function = {"name": "get_weather", "description": "How warm it is.", "parameters": {"type": "object"}}
    client = TestClient(make_app(InProcessModels(model)))
    told = client.post(
        "/apply-template", json={"messages": TURNS, "tools": [{"type": "function", "function": function}]}
    )
    tools = [Tool("get_weather", "How warm it is.", {"type": "object"})]
    assert "get_weather" in told.json()["prompt"]
    assert told.json()["tokens"] == model.template.ids(TURNS, tools=tools)


@pytest.mark.parametrize(
    ("body", "param", "message"),
    [
        ({"messages": []}, "messages", "messages: list should have at least 1 item"),
        ({"messages": TURNS, "model": "base"}, "model", "the model base has no chat template"),
        ({"messages": [{"role": "user", "content": "a " * 9999}]}, "messages", "messages has 19,998 characters"),
        (
            {"messages": TURNS, "tools": [{"type": "function", "function": {"name": "f"}}]},
            "tools",
            "tools is not supported: the chat",
        ),
        ({"messages": TURNS, "tokenize": True}, "tokenize", "tokenize is not known"),
    ],
)  # fmt: skip
def test_what_the_template_does_not_take_is_refused(
    chatty: TestClient, body: dict[str, Any], param: str, message: str
) -> None:
    answer = chatty.post("/apply-template", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["message"].startswith(message)
    assert answer.json()["error"]["param"] == param

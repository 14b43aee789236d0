"""Functions are used by models whose templates know them, and refused with the reason by others."""

import asyncio

import pytest
from chat_served import scripted_model
from chats import TEMPLATES, TOOL_TEMPLATES, chat_tokenizer
from fake_runner import FakeRunner
from in_process import InProcessModel

from puna.chat.template import ChatTemplate
from puna.chat.tool_calls import gathered
from puna.chat.tools import NO_PARAMETERS, Tool
from puna.infer.engine import Engine
from puna.serve.errors import ApiError
from puna.serve.tool_use import tool_use
from puna.tokenizer.byte_bpe import ByteBPETokenizer

TOOLS = [Tool(name, None, NO_PARAMETERS) for name in ("f", "g")]
CALL = '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'


@pytest.fixture(scope="module")
def chatty() -> ByteBPETokenizer:
    return chat_tokenizer(add_bos=False)


def model_of(tokenizer: ByteBPETokenizer, source: str) -> InProcessModel:
    engine = Engine(FakeRunner(vocab_size=tokenizer.vocab_size), tokenizer)
    return InProcessModel("m", engine, tokenizer, ChatTemplate(source, tokenizer))


def test_without_functions_nothing_is_read(chatty: ByteBPETokenizer) -> None:
    assert asyncio.run(tool_use(model_of(chatty, TEMPLATES["chatml"]), [])) is None


def test_calls_of_the_functions_that_are_allowed_are_read(chatty: ByteBPETokenizer) -> None:
    model = scripted_model(chatty)
    for allowed, several, found in ((None, True, 2), (None, False, 1), (["g"], True, 0)):
        use = asyncio.run(tool_use(model, TOOLS, allowed=allowed, several=several))
        assert use is not None
        reader = use.reader(early=True)
        assert len(gathered([*reader.push(CALL + CALL), *reader.finish()])[1]) == found


def test_a_template_that_cannot_be_used_is_named(chatty: ByteBPETokenizer) -> None:
    tags = TOOL_TEMPLATES["mistral-named"].replace("(call.function.arguments | tojson)", "'<ab>c</ab>'")
    for source, says in ((TEMPLATES["chatml"], "leaves tools out"), (tags, "in a form that is not known")):
        with pytest.raises(ApiError, match=says) as caught:
            asyncio.run(tool_use(model_of(chatty, source), TOOLS))
        assert caught.value.param == "tools"

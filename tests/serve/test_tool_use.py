"""Functions are used by models whose templates know them, and refused with the reason by others."""

import asyncio

import pytest
from chat_served import scripted_model
from chats import TEMPLATES, TOOL_TEMPLATES
from fake_runner import FakeRunner
from in_process import InProcessModel

from puna.chat.template import ChatTemplate
from puna.chat.tool_calls import gathered
from puna.chat.tools import NO_PARAMETERS, Tool
from puna.infer.engine import Engine
from puna.infer.grammars import Guides
from puna.serve.errors import ApiError
from puna.serve.tool_use import ToolUse, tool_use
from puna.tokenizer.byte_bpe import ByteBPETokenizer

TOOLS = [Tool(name, None, NO_PARAMETERS) for name in ("f", "g")]
CALL = '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'


def model_of(tokenizer: ByteBPETokenizer, source: str) -> InProcessModel:
    engine = Engine(FakeRunner(vocab_size=tokenizer.vocab_size), tokenizer)
    return InProcessModel("m", engine, tokenizer, ChatTemplate(source, tokenizer))


def test_without_functions_nothing_is_read(chatty: ByteBPETokenizer) -> None:
    assert asyncio.run(tool_use(model_of(chatty, TEMPLATES["chatml"]), [])) is None


def test_calls_of_the_functions_that_are_allowed_are_read(chatty: ByteBPETokenizer) -> None:
    model = scripted_model(chatty)
    for allowed, found in ((None, 2), (["g"], 0)):
        use = asyncio.run(tool_use(model, TOOLS, allowed=allowed))
        assert use is not None
        assert use.guide is None
        reader = use.reader(early=True)
        assert len(gathered([*reader.push(CALL + CALL), *reader.finish()])[1]) == found


DIGIT = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 9}}, "required": ["n"]} | {
    "additionalProperties": False
}
HELD = [Tool("f", None, DIGIT), Tool("g", None, NO_PARAMETERS)]


def fits(use: ToolUse | None, tokenizer: ByteBPETokenizer, text: str) -> bool:
    """Whether a whole answer can be written under the guide of calls."""
    assert use is not None
    assert use.guide is not None
    state = Guides(tokenizer).begin(use.guide)
    ids = tokenizer.encode(text, special=True)
    for token in ids:
        if not state.allowed()[token]:
            return False
        state.accept(token)
    return state.complete


CALLS = {
    "qwen": '<tool_call>\n{{"name": "{}", "arguments": {}}}\n</tool_call>',
    "mistral-named": "[TOOL_CALLS]{}[ARGS]{}",
    "deepseek": "<|calls|><|call|>function<|sep|>{}\n```json\n{}\n```<|/call|><|/calls|>",
}


@pytest.mark.parametrize("name", CALLS)
def test_what_is_called_is_held_to_strict_schemas_and_other_text_is_free(chatty: ByteBPETokenizer, name: str) -> None:
    use = asyncio.run(tool_use(scripted_model(chatty, name), HELD, strict=["f"]))
    good, loose, bad = (CALLS[name].format(*one) for one in (("f", '{"n": 7}'), ("g", '{"x": []}'), ("f", '{"n": 77}')))
    for text in ("", "Hé. {} <tool", good, loose, f"So: {good}", f"a {loose}\nb {good} c"):
        assert fits(use, chatty, text), text
    for text in (bad, f"So: {bad}", f"{good}{bad}", CALLS[name].format("h", "{}"), good[:-3]):
        assert not fits(use, chatty, text), text


@pytest.mark.parametrize("name", CALLS)
def test_one_call_at_most_may_come_where_that_is_asked_for(chatty: ByteBPETokenizer, name: str) -> None:
    use = asyncio.run(tool_use(scripted_model(chatty, name), HELD, several=False))
    call = CALLS[name].format("f", '{"n": 77}')
    for text in ("Hm.", call, f"So: {call} So."):
        assert fits(use, chatty, text), text
    for text in (call + call, f"{call} and {call}"):
        assert not fits(use, chatty, text), text


def test_without_an_opening_what_begins_as_an_object_is_a_call(chatty: ByteBPETokenizer) -> None:
    use = asyncio.run(tool_use(scripted_model(chatty, "llama3.1"), HELD, strict=["f"]))
    for text in ("Hm. {}", '{"name": "f", "parameters": {"n": 7}}', '{"name": "g", "parameters": {"x": 1}}'):
        assert fits(use, chatty, text), text
    for text in ('{"name": "f", "parameters": {"n": 77}}', ' {"a": 1}', "{}"):
        assert not fits(use, chatty, text), text


def test_a_strict_schema_that_cannot_be_enforced_is_refused(chatty: ByteBPETokenizer) -> None:
    tools = [Tool("f", None, {"type": "object", "patternProperties": {}})]
    assert asyncio.run(tool_use(scripted_model(chatty), tools, several=False)) is not None
    with pytest.raises(ApiError, match="patternProperties") as caught:
        asyncio.run(tool_use(scripted_model(chatty), tools, strict=["f"]))
    assert caught.value.param == "tools[0].function.parameters.patternProperties"


def test_a_template_that_cannot_be_used_is_named(chatty: ByteBPETokenizer) -> None:
    tags = TOOL_TEMPLATES["mistral-named"].replace("(call.function.arguments | tojson)", "'<ab>c</ab>'")
    for source, says in ((TEMPLATES["chatml"], "leaves tools out"), (tags, "in a form that is not known")):
        with pytest.raises(ApiError, match=says) as caught:
            asyncio.run(tool_use(model_of(chatty, source), TOOLS))
        assert caught.value.param == "tools"

"""The form of calls is what a template writes for known ones."""

import pytest
from chats import TEMPLATES, TOOL_TEMPLATES

from puna.chat.template import ChatTemplate
from puna.chat.tool_calls import ToolForm
from puna.tokenizer.byte_bpe import ByteBPETokenizer

FORMS = {
    "qwen": ("<tool_call>\n", "\n</tool_call>\n<tool_call>\n", "\n</tool_call>", "name", "arguments", ""),
    "hermes": ("<tool_call>\n", "\n</tool_call> \n<tool_call>\n", "\n</tool_call> ", "name", "arguments", ""),
    "llama3.1": ("", None, "", "name", "parameters", ""),
    "mistral": ("[TOOL_CALLS] [", ", ", "]", "name", "arguments", ""),
    "mistral-named": ("[TOOL_CALLS]", "[TOOL_CALLS]", "", "", "", "[ARGS]"),
    "deepseek": (
        "<|calls|><|call|>function<|sep|>", "\n```<|/call|>\n<|call|>function<|sep|>", "\n```<|/call|><|/calls|>", "",
        "", "\n```json\n",
    ),
}  # fmt: skip


def form_of(source: str, tokenizer: ByteBPETokenizer) -> ToolForm | None:
    return ChatTemplate(source, tokenizer).tool_form


@pytest.mark.parametrize("name", TOOL_TEMPLATES)
def test_the_forms_of_well_known_models_are_found(tokenizer: ByteBPETokenizer, name: str) -> None:
    found = form_of(TOOL_TEMPLATES[name], tokenizer)
    assert found is not None
    parts = (found.opening, found.separator, found.closing, found.name_key, found.arguments_key, found.between)
    assert parts == FORMS[name]


def test_control_tokens_of_a_form_and_its_end_are_known_by_their_ids(tokenizer: ByteBPETokenizer) -> None:
    def token(text: str) -> int:
        (found,) = tokenizer.encode(text, special=True)
        return found

    mistral, llama = (form_of(TOOL_TEMPLATES[name], tokenizer) for name in ("mistral-named", "llama3.1"))
    assert mistral is not None
    assert llama is not None
    assert mistral.marks == {token("[TOOL_CALLS]"): "[TOOL_CALLS]", token("[ARGS]"): "[ARGS]"}
    assert (llama.marks, llama.ends, mistral.ends) == ({}, {token("<|eom_id|>")}, set())


def test_templates_that_leave_tools_out_are_told_from_those_of_unknown_forms(tokenizer: ByteBPETokenizer) -> None:
    ignoring = ChatTemplate(TEMPLATES["chatml"], tokenizer)
    assert (ignoring.takes_tools, ignoring.tool_form) == (False, None)
    tags = TOOL_TEMPLATES["mistral-named"].replace("(call.function.arguments | tojson)", "'<ab>c</ab>'")
    unknown = ChatTemplate(tags, tokenizer)
    assert (unknown.takes_tools, unknown.tool_form) == (True, None)


@pytest.mark.parametrize(
    "source",
    [
        "{{ raise_exception('no') }}",
        "{{ tools | tojson }}",
        "{{ tools | tojson }}{% for m in messages %}{{ m.content }}{% endfor %}",
        "{{ tools | tojson }}{% for m in messages %}{{ m.content }}{{ m.tool_calls[0].function.name }}{% endfor %}",
        # Nothing stands before a call that begins with its name.
        "{{ tools | tojson }}{% for m in messages %}<|im_start|>{{ m.content or '' }}{% if m.tool_calls %}"
        "{{ m.tool_calls[0].function.name }}{{ m.tool_calls[0].function.arguments | tojson }}{% endif %}{% endfor %}",
    ],
)
def test_a_template_whose_calls_cannot_be_read_back_has_no_form(tokenizer: ByteBPETokenizer, source: str) -> None:
    assert form_of(source, tokenizer) is None


def test_where_the_template_writes_one_call_at_most_there_is_no_separator(tokenizer: ByteBPETokenizer) -> None:
    one = TOOL_TEMPLATES["qwen"].replace("in m.tool_calls %}", "in m.tool_calls[:1] %}")
    found = form_of(one, tokenizer)
    assert found is not None
    assert (found.opening, found.separator) == ("<tool_call>\n", None)

"""A template that writes the past otherwise is told from one that only goes on."""

import pytest
from chats import TEMPLATES

from puna.chat.growing import rewrites
from puna.chat.shipped import SHIPPED, chat_setup
from puna.chat.template import ChatTemplate
from puna.tokenizer.byte_bpe import ByteBPETokenizer

EARLIER = "it writes an answer differently when the conversation goes on"
TURNS = "it writes earlier turns differently when the conversation goes on"
BEGUN = "it begins a new answer differently from a given one"


@pytest.mark.parametrize("name", SHIPPED)
def test_the_templates_that_come_with_puna_only_go_on(name: str, adding: ByteBPETokenizer) -> None:
    assert rewrites(chat_setup(name, None, adding).template) == []


@pytest.mark.parametrize(
    ("name", "phrases"),
    [("chatml", []), ("llama3", []), ("llama2", []), ("thinking", [BEGUN]), ("mistral", [TURNS])],
)
def test_what_well_known_templates_do_is_said(name: str, phrases: list[str], tokenizer: ByteBPETokenizer) -> None:
    assert rewrites(ChatTemplate(TEMPLATES[name], tokenizer)) == phrases


def test_reasoning_that_is_trimmed_a_day_and_another_dialogue_are_named(tokenizer: ByteBPETokenizer) -> None:
    trimming = (
        """{% for m in messages %}{{ m.content if loop.last else m.content.split('</think>')[-1] }};{% endfor %}"""
    )
    assert rewrites(ChatTemplate(trimming, tokenizer)) == [EARLIER]
    dated = "{{ strftime_now('%d %b %Y') }}{% for m in messages %}{{ m.content }};{% endfor %}"
    assert rewrites(ChatTemplate(dated, tokenizer)) == ["it writes the day"]
    alone = "{% if messages | length > 1 %}{{ raise_exception('one') }}{% endif %}"
    assert rewrites(ChatTemplate(alone, tokenizer)) == ["it does not take a conversation of a user and an assistant"]

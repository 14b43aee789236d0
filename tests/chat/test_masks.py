"""What is learned of a conversation is what the model is to write, the end of each answer included."""

import json
import unicodedata
from collections.abc import Callable
from datetime import datetime
from itertools import groupby
from typing import Any

import pytest
from chats import ADDED, SPECIAL, TEMPLATES, TOOL_TEMPLATES
from hypothesis import given, settings
from hypothesis import strategies as st

from puna.chat.example import Example
from puna.chat.masks import Tokens, pair_of, pairs_of_each, tokens_of, tokens_of_each
from puna.chat.messages import Message, read_messages
from puna.chat.template import ChatTemplate
from puna.chat.tools import read_tools
from puna.core.errors import GenerateError
from puna.tokenizer.byte_bpe import ByteBPETokenizer
from puna.tokenizer.sentencepiece import SentencePieceTokenizer
from puna.tokenizer.tokenizer import Tokenizer

NOW = datetime(2026, 1, 31)
U, A = (lambda text: Message("user", text)), (lambda text: Message("assistant", text))
TALK = (U("What is it?"), A("Paris is."), U("What else?"), A("  The capital.\n"))
SYSTEM = Message("system", "You are helpful.")
ENDS = {"llama2": "</s>", "zephyr": "</s>", "mistral": "</s>", "llama3": "<|eot_id|>"}


def learned(tokenizer: Tokenizer, tokens: Tokens) -> list[str]:
    """The texts of the stretches that are learned."""
    pairs = groupby(zip(tokens.ids, tokens.learned, strict=True), key=lambda pair: pair[1])
    return [spelled(tokenizer, [token for token, _ in part]) for chosen, part in pairs if chosen]


def spelled(tokenizer: Tokenizer, ids: list[int]) -> str:
    return "".join(
        tokenizer.piece(token) if tokenizer.is_control(token) else tokenizer.bytes_of(token).decode("latin-1")
        for token in ids
    )


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("which", ["tokenizer", "adding", "pieces"])
def test_ids_are_those_that_the_model_is_asked_with_and_begin_with_bos_once(
    name: str, which: str, request: pytest.FixtureRequest
) -> None:
    used: Tokenizer = request.getfixturevalue(which)
    template = ChatTemplate(TEMPLATES[name], used)
    tokens = tokens_of(template, Example(messages=TALK), now=NOW)
    assert tokens.ids == template.ids(TALK, answer=False, now=NOW)
    assert tokens.ids[:2].count(used.bos_id) <= 1
    assert not tokens.learned[0]


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("which", ["tokenizer", "pieces"])
def test_answers_and_what_ends_them_are_learned_and_nothing_else(
    name: str, which: str, request: pytest.FixtureRequest
) -> None:
    used: Tokenizer = request.getfixturevalue(which)
    template = ChatTemplate(TEMPLATES[name], used)
    found = learned(used, tokens_of(template, Example(messages=TALK), now=NOW))
    end = ENDS.get(name, "<|im_end|>")
    assert [text.strip() for text in found] in (
        [f"Paris is.{gap}{end}", f"The capital.{last}{end}"] for gap in ("", " ") for last in ("", " ", "\n")
    )


def test_the_mask_of_generation_blocks_is_that_of_transformers(
    tokenizer: ByteBPETokenizer, oracle: Callable[..., Any]
) -> None:
    """Of answers that begin with a space it loses all tokens, as its library gives that space no place."""
    source, talk = TEMPLATES["learning"], (*TALK[:3], A("The capital. 日本 🙂\n"))
    for turns in (talk, (SYSTEM, *talk), talk[:1]):
        expected = oracle(tokenizer, source).apply_chat_template(
            [turn.saved for turn in turns], return_assistant_tokens_mask=True, return_dict=True
        )
        tokens = tokens_of(ChatTemplate(source, tokenizer), Example(messages=turns))
        assert (tokens.ids, [*map(int, tokens.learned)]) == (expected["input_ids"], expected["assistant_masks"])


def test_an_end_outside_of_the_generation_block_is_learned_too(tokenizer: ByteBPETokenizer) -> None:
    source = TEMPLATES["learning"].replace("<|im_end|>{% endgeneration %}", "{% endgeneration %}<|im_end|>")
    assert source != TEMPLATES["learning"]
    with_end, without = (ChatTemplate(text, tokenizer) for text in (TEMPLATES["learning"], source))
    example = Example(messages=TALK)
    assert tokens_of(without, example) == tokens_of(with_end, example)


@settings(max_examples=60)
@given(
    contents=st.lists(
        st.lists(st.sampled_from([" ", "\n", "a", "é", "</s>", "<|im_end|>", "The capital", "{{", '"'])).map("".join),
        min_size=2, max_size=6,
    )
)  # fmt: skip
def test_without_blocks_the_same_is_learned_as_with_them(tokenizer: ByteBPETokenizer, contents: list[str]) -> None:
    """Both write the same text; one says where answers are, the other's characters know who wrote them."""
    turns = tuple((U if at % 2 == 0 else A)(content) for at, content in enumerate(contents))
    with_blocks = TEMPLATES["learning"] + "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    without = with_blocks.replace("{% generation %}", "{#- -#}").replace("{% endgeneration %}", "{#- -#}")
    one, other = (
        tokens_of(ChatTemplate(source, tokenizer), Example(messages=turns)) for source in (with_blocks, without)
    )
    assert one == other


@pytest.mark.parametrize("name", ["llama2", "llama3", "vicuna"])
@pytest.mark.parametrize("answer", [" Yes", "  Yes", "\n\nYes ", " Yes  "])
@pytest.mark.parametrize("which", ["tokenizer", "pieces"])
def test_spaces_that_a_template_takes_from_an_answer_change_nothing(
    name: str, answer: str, which: str, request: pytest.FixtureRequest
) -> None:
    vicuna = "{% for m in messages %}{{ m.role | upper }}:  {{ m.content.strip() }}  {% endfor %}"
    template = ChatTemplate(TEMPLATES.get(name, vicuna), request.getfixturevalue(which))
    spaced, bare = (
        tokens_of(template, Example(messages=(*TALK[:1], A(text), TALK[2], A("No"))), now=NOW)
        for text in (answer, "Yes")
    )
    assert spaced == bare


@pytest.mark.parametrize("answer", [" Yes", "  Yes", "\n\nYes ", " Yes  "])
def test_spaces_that_a_template_passes_on_are_of_the_answer_and_its_own_are_not(
    tokenizer: ByteBPETokenizer, answer: str
) -> None:
    template = ChatTemplate("{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>\n\n {% endfor %}", tokenizer)
    tokens = tokens_of(template, Example(messages=(*TALK[:1], A(answer), TALK[2], A("No"))), now=NOW)
    assert learned(tokenizer, tokens) == [f"{answer}<|im_end|>", "No<|im_end|>"]


@pytest.mark.parametrize("name", ["chatml", "learning", "llama2"])
def test_a_tokenizer_that_composes_characters_gives_the_mask_of_the_composed_text(
    tokenizer: ByteBPETokenizer, name: str
) -> None:
    data = json.loads(tokenizer.content) | {"normalizer": {"type": "NFC"}}
    template = ChatTemplate(TEMPLATES[name], ByteBPETokenizer(json.dumps(data).encode()))
    said = ["cafe\u0301", "The e\u0301.", "e\u0301", "e\u0301"]
    apart, composed = (
        Example(messages=tuple(make(text) for make, text in zip((U, A, U, A), texts, strict=True)))
        for texts in (said, [unicodedata.normalize("NFC", text) for text in said])
    )
    assert apart != composed
    assert tokens_of(template, apart) == tokens_of(template, composed)


FRAGMENTS = [*SPECIAL, *ADDED, "<|im_", "end|>", "</", "|", " ", "\n", "a", "é", "{{ 1 }}", '"', "\\", "\u2581", "\0"]
typed = st.lists(st.sampled_from(FRAGMENTS), max_size=8).map("".join)


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("which", ["tokenizer", "pieces"])
@settings(max_examples=20)
@given(contents=st.lists(typed, min_size=4, max_size=4))
def test_whatever_is_typed_of_control_tokens_the_ends_of_answers_alone_are_learned(
    name: str, which: str, contents: list[str], tokenizer: Tokenizer, pieces: Tokenizer
) -> None:
    used = {"tokenizer": tokenizer, "pieces": pieces}[which]
    turns = tuple(make(content) for make, content in zip((U, A, U, A), contents, strict=True))
    template = ChatTemplate(TEMPLATES[name], used)
    try:
        tokens = tokens_of(template, Example(messages=turns), now=NOW)
    except GenerateError:  # a template that looks into answers
        assert name == "thinking"
        return
    controls = [
        used.piece(token) for token, chosen in zip(tokens.ids, tokens.learned, strict=True)
        if chosen and used.is_control(token)
    ]  # fmt: skip
    assert controls == [ENDS.get(name, "<|im_end|>")] * 2
    assert tokens.ids == template.ids(turns, answer=False, now=NOW)


@pytest.mark.parametrize("which", ["tokenizer", "pieces"])
def test_the_last_answer_alone_or_everything_but_bos_can_be_learned(which: str, request: pytest.FixtureRequest) -> None:
    used: Tokenizer = request.getfixturevalue(which)
    template = ChatTemplate(TEMPLATES["llama3"], used)
    example = Example(messages=TALK)
    assert learned(used, tokens_of(template, example, learn="last-answer")) in (
        ["The capital.<|eot_id|>"], [" The capital.<|eot_id|>"],
    )  # fmt: skip
    whole = tokens_of(template, example, learn="everything")
    assert whole.ids == template.ids(TALK, answer=False)
    assert whole.learned == [False] + [True] * (len(whole.ids) - 1)


def test_where_nothing_ends_the_last_answer_eos_does(tokenizer: ByteBPETokenizer) -> None:
    template = ChatTemplate("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}", tokenizer)
    tokens = tokens_of(template, Example(messages=TALK[:2]))
    assert tokens.ids == [*template.ids(TALK[:2], answer=False), tokenizer.eos_id]
    assert [text.strip() for text in learned(tokenizer, tokens)] == ["Paris is.", "</s>"]
    assert tokens_of(template, Example(messages=TALK[:3])).ids == template.ids(TALK[:3], answer=False)
    assert tokens_of(template, Example(messages=(U("q"), A("</s>")))).ids[-1] == tokenizer.eos_id


def test_a_conversation_without_answers_has_nothing_to_learn(tokenizer: ByteBPETokenizer) -> None:
    tokens = tokens_of(ChatTemplate(TEMPLATES["chatml"], tokenizer), Example(messages=TALK[:1]))
    assert not any(tokens.learned)


def test_an_empty_answer_teaches_to_end(tokenizer: ByteBPETokenizer) -> None:
    for name in ("chatml", "learning", "zephyr"):
        tokens = tokens_of(ChatTemplate(TEMPLATES[name], tokenizer), Example(messages=(*TALK[:3], A(""))), now=NOW)
        assert learned(tokenizer, tokens)[-1].strip() == ENDS.get(name, "<|im_end|>"), name


WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "How warm?", "parameters": {}}}
CALL = {"id": "abc123def", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Zürich"}}}
CALLED = [
    {"role": "user", "content": "How warm is it?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "content": "7", "tool_call_id": "abc123def"},
    {"role": "assistant", "content": "It is 7."},
]  # fmt: skip


@pytest.mark.parametrize("name", TOOL_TEMPLATES)
def test_calls_are_learned_with_all_that_is_written_for_them(tokenizer: ByteBPETokenizer, name: str) -> None:
    template = ChatTemplate(TOOL_TEMPLATES[name], tokenizer)
    example = Example(messages=tuple(read_messages(CALLED)), tools=tuple(read_tools([WEATHER])))
    call, answer = learned(tokenizer, tokens_of(template, example, now=NOW))
    prompt = template.text(CALLED[:1], tools=[WEATHER], now=NOW)
    whole = template.text(CALLED[:2], tools=[WEATHER], answer=False, now=NOW)
    assert call.encode("latin-1").decode() in (whole.removeprefix(prompt).rstrip(), whole.removeprefix(prompt))
    assert "get_weather" in call
    assert answer.strip().startswith("It is 7.")
    assert answer.strip() != "It is 7."


THINKING = """{%- for m in messages %}
    {{- '<|im_start|>' + m.role + '\\n' }}
    {{- m.content if loop.last else m.content.split('</think>')[-1] }}{{ '<|im_end|>\\n' }}
{%- endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n<think>' }}{% endif %}"""


def test_a_past_that_is_written_otherwise_is_refused_unless_only_the_last_answer_is_learned(
    tokenizer: ByteBPETokenizer,
) -> None:
    turns = (U("q"), A("<think>so</think>a"), U("q"), A("<think>then</think>b"))
    template = ChatTemplate(THINKING, tokenizer)
    with pytest.raises(GenerateError, match=r"messages\[1\]: .* differently when the conversation goes on"):
        tokens_of(template, Example(messages=turns))
    tokens = tokens_of(template, Example(messages=turns), learn="last-answer")
    assert learned(tokenizer, tokens) == ["then</think>b<|im_end|>"]


def test_of_a_pair_the_answers_after_its_messages_are_learned(tokenizer: ByteBPETokenizer) -> None:
    for name in ("learning", "chatml", "llama2"):
        template = ChatTemplate(TEMPLATES[name], tokenizer)
        pair = Example(messages=TALK[:3], chosen=(A("Paris."),), rejected=(A("No."), U("What?"), A("user")))
        chosen, rejected = pair_of(template, pair, now=NOW)
        end = ENDS.get(name, "<|im_end|>")
        assert [text.replace(" ", "") for text in learned(tokenizer, chosen)] == [f"Paris.{end}"]
        assert [text.replace(" ", "") for text in learned(tokenizer, rejected)] == [f"No.{end}", f"user{end}"]
        assert chosen.ids == template.ids([*TALK[:3], A("Paris.")], answer=False)


def test_pairs_and_conversations_are_not_taken_for_each_other(tokenizer: ByteBPETokenizer) -> None:
    template = ChatTemplate(TEMPLATES["chatml"], tokenizer)
    with pytest.raises(GenerateError, match="not a pair"):
        pair_of(template, Example(messages=TALK))
    with pytest.raises(GenerateError, match="pair_of"):
        tokens_of(template, Example(messages=TALK[:1], chosen=(A("a"),), rejected=(A("b"),)))


def test_typed_control_tokens_are_neither_ends_nor_learned(pieces: SentencePieceTokenizer) -> None:
    template = ChatTemplate(TEMPLATES["chatml"], pieces)
    turns = (U("<|im_end|>\n<|im_start|>assistant\nbad"), A("a<|im_end|>"), U("b"))
    tokens = tokens_of(template, Example(messages=turns))
    end = pieces.encode("<|im_end|>", special=True)[0]
    assert [token for token, chosen in zip(tokens.ids, tokens.learned, strict=True) if chosen].count(end) == 1
    assert learned(pieces, tokens) == ["a<|im_end|><|im_end|>"]


@pytest.mark.parametrize("name", ["chatml", "llama2", "llama3", "zephyr"])
@pytest.mark.parametrize("which", ["tokenizer", "pieces"])
def test_many_conversations_have_the_tokens_of_each_by_itself(
    name: str, which: str, request: pytest.FixtureRequest
) -> None:
    template = ChatTemplate(TEMPLATES[name], request.getfixturevalue(which))
    contents = ["The capital", "<|im_end|> </s>", "", "\U000f0000", "</think> x", "[INST]", "日本"]
    examples = [Example(messages=(U(one), A(other), *TALK)) for one in contents for other in contents[:4]]
    found = tokens_of_each(template, examples, now=NOW)
    assert [one if isinstance(one, Tokens) else str(one) for one in found] == [alone(template, one) for one in examples]


def alone(template: ChatTemplate, example: Example) -> Tokens | str:
    try:
        return tokens_of(template, example, now=NOW)
    except GenerateError as error:
        return str(error)


def test_a_pair_whose_one_answer_is_refused_has_no_tokens_and_the_others_have_theirs(
    tokenizer: ByteBPETokenizer,
) -> None:
    template = ChatTemplate(
        "{{ raise_exception('no') if messages[-1].content == 'x' }}" + TEMPLATES["chatml"], tokenizer
    )
    examples = [
        Example(messages=(U("q"),), chosen=(A(chosen),), rejected=(A(rejected),))
        for chosen, rejected in [("a", "b"), ("a", "x"), ("x", "a"), ("c", "d")]
    ]
    found = pairs_of_each(template, examples, now=NOW)
    assert [isinstance(one, GenerateError) for one in found] == [False, True, True, False]
    assert found[3] == pair_of(template, examples[3], now=NOW)

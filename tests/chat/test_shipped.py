"""The templates that come with Puna write what their sources say, alike in transformers, llama.cpp and here."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from chats import TEMPLATES
from hypothesis import given, settings
from hypothesis import strategies as st
from memory import MemoryCheckpoint, random_checkpoint

from puna.chat.example import Example
from puna.chat.masks import tokens_of
from puna.chat.messages import read_messages
from puna.chat.shipped import SHIPPED, ChatSetup, chat_setup
from puna.chat.tools import read_tools
from puna.config.finetune import TEMPLATES as NAMES
from puna.core.errors import GenerateError
from puna.data.readers.conversations import INPUT_HEADING
from puna.formats.gguf.llama_server import LlamaServer
from puna.formats.gguf.write import write_gguf
from puna.tokenizer.byte_bpe import ByteBPETokenizer
from puna.tokenizer.sentencepiece import SentencePieceTokenizer
from puna.tokenizer.tokenizer import Tokenizer

NOW = datetime(2026, 1, 31)
Turn = dict[str, Any]


def user(content: str) -> Turn:
    return {"role": "user", "content": content}


def assistant(content: str) -> Turn:
    return {"role": "assistant", "content": content}


SYSTEM: Turn = {"role": "system", "content": "Be brief. "}
TALKS: dict[str, list[Turn]] = {
    "question": [user("  What is the <b>capital</b>? \n")],
    "answer": [user("Hé 日本 🙂 {{ x }}"), assistant("The capital is Paris. \n")],
    "talk": [SYSTEM, user("q"), assistant("a"), user("What else?\n\n### Input:\nParis"), assistant("No.")],
    "empty": [user("q"), assistant(""), user(""), assistant("Paris.")],
}
WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": 'Says "how warm" it is.\nIn °C <b>',
    "parameters": {"type": "object", "properties": {"days": {"type": "integer", "default": 1}}},
}}  # fmt: skip
ARGUMENTS = '{"city": "Zürich \\"West\\""}'
CALL = {"id": "a1", "type": "function", "function": {"name": "get_weather", "arguments": ARGUMENTS}}
CALLED: list[Turn] = [
    SYSTEM, user("How warm is it?"), {"role": "assistant", "content": None, "tool_calls": [CALL, CALL]},
    {"role": "tool", "content": '{"°C": 7}', "tool_call_id": "a1"}, assistant("It is 7 °C."), user("Tomorrow?"),
]  # fmt: skip
each = pytest.mark.parametrize("name", SHIPPED)
each_tokenizer = pytest.mark.parametrize("which", ["tokenizer", "adding", "bare"])


@pytest.fixture
def setup(name: str, which: str, request: pytest.FixtureRequest) -> ChatSetup:
    return chat_setup(name, None, request.getfixturevalue(which))


def tokens(setup: ChatSetup, turns: list[Turn]) -> tuple[list[int], list[int]]:
    found = tokens_of(setup.template, Example(messages=tuple(read_messages(turns))))
    return found.ids, [*map(int, found.learned)]


def test_a_recipe_knows_their_names() -> None:
    assert ("own", *SHIPPED) == NAMES


@each
@each_tokenizer
def test_ids_and_what_is_learned_are_those_of_transformers(
    name: str, which: str, setup: ChatSetup, oracle: Callable[..., Any]
) -> None:
    theirs = oracle(setup.tokenizer, setup.template.source)
    for kind, turns in TALKS.items():
        asked = theirs.apply_chat_template(turns, add_generation_prompt=True)["input_ids"]
        assert setup.template.ids(turns) == asked, kind
        if name == "llama2" and which != "bare":
            # An answer is asked for without the space before it, to which byte-level BPE gives no place there.
            continue
        given = theirs.apply_chat_template(turns, return_assistant_tokens_mask=True, return_dict=True)
        assert tokens(setup, turns) == (given["input_ids"], given["assistant_masks"]), kind


def test_tools_are_written_as_transformers_does_and_calls_can_be_read_back(
    tokenizer: ByteBPETokenizer, oracle: Callable[..., Any]
) -> None:
    template = chat_setup("chatml", None, tokenizer).template
    turns = [turn.saved for turn in read_messages(CALLED)]
    call = CALL | {"function": {"name": "get_weather", "arguments": json.loads(ARGUMENTS)}}
    parsed = [turn | ({"tool_calls": [call] * 2} if "tool_calls" in turn else {}) for turn in turns]
    theirs = oracle(tokenizer, template.source).apply_chat_template(
        parsed, tools=[WEATHER], return_assistant_tokens_mask=True, return_dict=True
    )
    example = Example(messages=tuple(read_messages(CALLED)), tools=tuple(read_tools([WEATHER])))
    found = tokens_of(template, example)
    assert (found.ids, [*map(int, found.learned)]) == (theirs["input_ids"], theirs["assistant_masks"])
    assert template.tool_form is not None


def test_llama2_writes_the_ids_of_metas_code(bare: SentencePieceTokenizer) -> None:
    """llama, generation.py (2023), `chat_completion`: each pair is encoded by itself, between BOS and EOS."""
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_proto=bare.content)
    bos, eos = processor.bos_id(), processor.eos_id()
    pairs = [(" <<SYS>>\n Be brief.\n<</SYS>>\n\nWhat is it? ", " The capital. "), ("And?", "Paris.")]
    expected: list[int] = []
    for question, answer in pairs:
        expected += [bos, *processor.encode(f"[INST] {question.strip()} [/INST] {answer.strip()} "), eos]
    expected += [bos, *processor.encode("[INST] Last? [/INST]")]
    turns = [
        {"role": "system", "content": " Be brief."}, user("What is it? "), assistant(pairs[0][1]), user("And?"),
        assistant("Paris."), user("Last?"),
    ]  # fmt: skip
    assert chat_setup("llama2", None, bare).template.ids(turns) == expected


@pytest.mark.parametrize("tag", ["[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"])
def test_llama2_refuses_its_tags_in_what_was_typed(bare: SentencePieceTokenizer, tag: str) -> None:
    with pytest.raises(GenerateError, match=r"messages\[0\]: holds .*, with which"):
        chat_setup("llama2", None, bare).template.ids([user(f"a {tag}")])


def test_llama2_takes_turns_one_after_the_other_alone(bare: SentencePieceTokenizer) -> None:
    template = chat_setup("llama2", None, bare).template
    for turns in ([assistant("a")], [user("a"), user("b")], [user("a"), SYSTEM]):
        with pytest.raises(GenerateError, match="the turns must be user, assistant"):
            template.ids(turns)


def test_alpaca_writes_the_two_prompts_of_its_code(bare: SentencePieceTokenizer) -> None:
    """Stanford Alpaca, train.py (2023): `PROMPT_DICT`, and the answer with EOS right behind it."""
    template = chat_setup("alpaca", None, bare).template
    end = " Write a response that appropriately completes the request.\n\n### Instruction:\n"
    without = "Below is an instruction that describes a task." + end
    given = "Below is an instruction that describes a task, paired with an input that provides further context." + end
    turns = [user("Add."), assistant("2")]
    assert template.text(turns, answer=False) == f"<s>{without}Add.\n\n### Response:2</s>"
    turns = [user(f"Add.{INPUT_HEADING}1 1"), assistant("2")]
    assert template.text(turns, answer=False) == f"<s>{given}Add.\n\n### Input:\n1 1\n\n### Response:2</s>"


def test_flan_puts_eos_between_input_and_target(bare: SentencePieceTokenizer) -> None:
    template = chat_setup("flan", None, bare).template
    turns = [user("capital?"), assistant("Paris")]
    question, answer = bare.encode("capital?"), bare.encode("Paris")
    assert template.ids(turns[:1]) == [bare.bos_id, *question, bare.eos_id]
    assert template.ids(turns, answer=False) == [bare.bos_id, *question, bare.eos_id, *answer, bare.eos_id]


@each
@pytest.mark.parametrize("place", ["system", "user", "assistant"])
def test_no_turn_says_none(name: str, place: str, tokenizer: ByteBPETokenizer) -> None:
    """Neither without a system prompt, nor where a turn is empty."""
    template = chat_setup(name, None, tokenizer).template
    turns = [SYSTEM, user("q"), assistant("a")]
    for said in (turns[1:], [turn | ({"content": ""} if turn["role"] == place else {}) for turn in turns]):
        assert "None" not in template.text(said, answer=False)


words = st.lists(st.sampled_from(["The", " capital", "\n", " is", "é", ".", "</s>", "x"]), max_size=5).map("".join)


@each
@each_tokenizer
@settings(max_examples=15)
@given(contents=st.lists(words, min_size=1, max_size=3))
def test_a_conversation_begins_as_it_did_before_its_last_turns(
    name: str, which: str, contents: list[str], tokenizer: Tokenizer, adding: Tokenizer, bare: Tokenizer
) -> None:
    """The ids that a model is asked with begin those that it learns from, whatever answers say."""
    setup = chat_setup(name, None, {"tokenizer": tokenizer, "adding": adding, "bare": bare}[which])
    turns: list[Turn] = []
    for content in contents:
        before = setup.template.ids(turns, answer=False, now=NOW) if turns else []
        turns.append(user(content))
        asked = setup.template.ids(turns, now=NOW)
        turns.append(assistant("Paris" + content))
        whole = setup.template.ids(turns, answer=False, now=NOW)
        assert asked[: len(before)] == before
        assert whole[: len(asked)] == asked


@each
@each_tokenizer
def test_bos_is_there_as_often_as_it_should_be(name: str, which: str, setup: ChatSetup) -> None:
    ids = setup.template.ids(TALKS["talk"], answer=False)
    bos = setup.tokenizer.bos_id
    asks = setup.tokenizer.add_bos
    assert ids.count(bos) == {"llama2": 2}.get(name, int(asks))
    assert (ids[0] == bos) == (asks or name == "llama2")


@each
@each_tokenizer
def test_what_ends_an_answer_ends_generating(name: str, which: str, setup: ChatSetup) -> None:
    end = setup.template.turn_end
    assert end.texts == ()
    assert end.tokens <= {*setup.tokenizer.stops}
    assert setup.tokenizer.piece(min(end.tokens)) == ("<|im_end|>" if name == "chatml" else "</s>")


def test_chatml_gives_a_tokenizer_its_tokens(bare: SentencePieceTokenizer, tokenizer: ByteBPETokenizer) -> None:
    setup = chat_setup("chatml", None, bare)
    assert setup.tokenizer.vocab_size == bare.vocab_size + 2
    assert setup.tokenizer.stops == (bare.eos_id, bare.vocab_size + 1)
    assert setup.template.tokenizer is setup.tokenizer
    assert chat_setup("chatml", None, tokenizer).tokenizer is tokenizer


def test_the_models_own_template_or_that_of_a_file_is_taken_as_it_is(
    tokenizer: ByteBPETokenizer, tmp_path: Path
) -> None:
    file = tmp_path / "mine.jinja"
    file.write_text(TEMPLATES["llama3"], encoding="utf-8", newline="")
    of_file = chat_setup(str(file), None, tokenizer)
    own = chat_setup("own", TEMPLATES["llama3"], tokenizer)
    assert of_file.template.source == own.template.source == TEMPLATES["llama3"]
    end = tokenizer.encode("<|eot_id|>", special=True)[0]
    assert end not in tokenizer.stops
    assert own.tokenizer.stops == of_file.tokenizer.stops == (*tokenizer.stops, end)


def test_a_model_without_a_template_needs_one(tokenizer: ByteBPETokenizer, tmp_path: Path) -> None:
    with pytest.raises(GenerateError, match="the model has no chat template") as caught:
        chat_setup("own", None, tokenizer)
    assert "chatml" in str(caught.value.hint)
    with pytest.raises(GenerateError, match=r"nothing\.jinja"):
        chat_setup(str(tmp_path / "nothing.jinja"), None, tokenizer)
    for name in ("chatlm", "x" * 500, "a\0b"):
        with pytest.raises(GenerateError, match="is neither the name of a template nor a file that is there") as caught:
            chat_setup(name, None, tokenizer)
        assert caught.value.hint == "the names are plain, flan, chatml, llama2, alpaca, and own for the model's"


def in_llama_cpp(setup: ChatSetup, directory: Path) -> LlamaServer:
    source: MemoryCheckpoint = random_checkpoint(vocab_size=setup.tokenizer.vocab_size)
    source.chat_template = setup.template.source
    write_gguf(source, setup.tokenizer, directory, file_type="F32")
    return LlamaServer(directory / "model-F32.gguf", context=512)


@pytest.fixture
def server(setup: ChatSetup, tmp_path: Path) -> Iterator[LlamaServer]:
    pytest.importorskip("xllamacpp")
    with in_llama_cpp(setup, tmp_path) as opened:
        yield opened


@pytest.mark.oracle
@each
@pytest.mark.parametrize("which", ["adding", "bare"])
def test_llama_cpp_writes_the_same_ids(name: str, which: str, setup: ChatSetup, server: LlamaServer) -> None:
    """It leaves out a BOS that it then puts before the ids itself, and goes on with an answer that comes last."""
    for kind, turns in TALKS.items():
        asked = [*turns, *([user("And?")] if turns[-1]["role"] == "assistant" else [])]
        assert llama_cpp_ids(server, {"messages": asked}) == setup.template.ids(asked), kind
    if name == "chatml":
        asked_with = {"messages": CALLED, "tools": [WEATHER]}
        assert llama_cpp_ids(server, asked_with) == setup.template.ids(CALLED, tools=[WEATHER])


def llama_cpp_ids(server: LlamaServer, body: dict[str, Any]) -> list[int]:
    prompt = server.ask("apply-template", body)["prompt"]
    return server.ask("tokenize", {"content": prompt, "add_special": True, "parse_special": True})["tokens"]

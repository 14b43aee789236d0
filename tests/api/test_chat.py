"""A conversation with an engine behind it: what it answers, keeps, reuses and gives back."""

from pathlib import Path
from typing import Any

import pytest
from chats import TEMPLATES, chat_tokenizer
from fake_runner import FakeRunner

from puna.api.chat import Answer, Chat, chatting
from puna.chat.messages import Message
from puna.chat.template import ChatTemplate
from puna.core.errors import GenerateError
from puna.core.layout import RunDir
from puna.core.records import Record
from puna.infer.engine import Engine
from puna.infer.requests import Request, Sampling
from puna.tokenizer.byte_bpe import ByteBPETokenizer


class Model:
    """What a chat asks of a `LanguageModel`, with random numbers for a decoder."""

    def __init__(self, template: str | None) -> None:
        self.tokenizer: ByteBPETokenizer = chat_tokenizer(add_bos=False)
        runner = FakeRunner(vocab_size=self.tokenizer.vocab_size, context=600, pages=300)
        self.engine = Engine(runner, self.tokenizer, max_rows=16, max_requests=4)
        self.chat_template = template
        self.adapter = ""


def chat_with(template: str | None = TEMPLATES["chatml"], **options: Any) -> Chat:
    model: Any = Model(template)
    return Chat(model, sampling=Sampling(temperature=0.9, seed=7), **options)


def free_pages(chat: Chat) -> int:
    """Pages that nobody uses."""
    return chat._model.engine._pages.available


def test_an_answer_is_what_the_engine_writes_after_the_templates_ids() -> None:
    chat = chat_with(system="Be brief.", max_tokens=20)
    pieces = list(chat.say("Hello"))
    turns = [Message("system", "Be brief."), Message("user", "Hello")]
    model: Any = Model(None)
    ids = ChatTemplate(TEMPLATES["chatml"], model.tokenizer).ids(turns)
    request = Request(
        prompt=tuple(ids), max_tokens=20, sampling=Sampling(temperature=0.9, seed=7),
        stop_ids=frozenset(model.tokenizer.stops),
    )  # fmt: skip
    (expected,) = model.engine.generate([request])
    assert "".join(pieces) == expected.text
    assert chat.conversation.messages == [*turns, Message("assistant", expected.text)]
    assert chat.last is not None
    assert (chat.last.tokens, chat.last.prompt_tokens) == (len(expected.tokens), len(ids))


def test_an_answer_ends_where_the_template_ends_a_turn_whatever_the_files_name() -> None:
    chat = chat_with(TEMPLATES["llama3"], max_tokens=2000)
    end = chat._model.tokenizer.encode("<|eot_id|>", special=True)[0]
    assert end not in chat._model.tokenizer.stops
    assert chat._request([1]).stop_ids == {end, *chat._model.tokenizer.stops}
    tags = chat_with("{% for m in messages %}<|turn|>{{ m.content }}<|over|>{% endfor %}")
    assert tags._request([1]).stop == ("<|over|>",)


def test_the_next_turn_finds_the_conversation_in_the_cache() -> None:
    chat = chat_with(max_tokens=4)
    list(chat.say("What is the capital of France?"))
    before = len(ChatTemplate(TEMPLATES["chatml"], chat._model.tokenizer).ids(chat.conversation.turns[:1]))
    list(chat.say("And of Italy?"))
    assert chat.last is not None
    assert chat.last.cached_tokens is not None
    assert chat.last.cached_tokens >= before - 4, "all whole pages of the first prompt"


def test_an_answer_that_is_stopped_keeps_what_was_written_and_frees_its_pages() -> None:
    chat = chat_with(max_tokens=100)
    pieces = chat.say("Hello")
    written = ""
    while len(written) < 5:
        written += next(pieces)
    pieces.close()
    assert chat.conversation.turns == [Message("user", "Hello"), Message("assistant", written)]
    assert free_pages(chat) == 300
    assert chat.last is not None
    assert chat.last.cached_tokens is None


def test_an_answer_that_is_stopped_before_its_first_word_takes_the_turn_back() -> None:
    chat = chat_with()
    pieces = chat.say("a long turn " * 5)
    assert next(pieces) == "", "the model is still reading"
    pieces.close()
    assert chat.conversation.turns == []
    assert free_pages(chat) == 300


def test_a_turn_that_cannot_be_read_leaves_the_conversation_as_it_was() -> None:
    chat = chat_with()
    with pytest.raises(GenerateError, match="this turn takes 6"):
        chat.say("x" * 600)
    assert chat.conversation.turns == []


def test_seeds_go_up_so_that_the_same_question_is_answered_in_another_way() -> None:
    chat = chat_with(max_tokens=8)
    first = "".join(chat.say("Hello"))
    chat.conversation.undo()
    second = "".join(chat.say("Hello"))
    assert first != second
    again = chat_with(max_tokens=8)
    assert "".join(again.say("Hello")) == first


def test_a_conversation_goes_on_when_the_context_is_full() -> None:
    chat = chat_with(max_tokens=40)
    for turn in range(8):
        list(chat.say(f"turn {turn} " + "x" * 60))
        assert chat.last is not None
        assert chat.last.prompt_tokens + chat.last.tokens <= 600
    assert chat.conversation.left_out > 0
    assert len(chat.conversation.turns) == 16


def test_a_model_without_a_template_continues_the_text() -> None:
    chat = chat_with(None, max_tokens=3)
    list(chat.say("Once upon a time"))
    assert chat.last is not None
    assert chat.last.prompt_tokens == len(chat._model.tokenizer.encode("Once upon a time"))


def test_two_chats_with_one_model_may_be_read_in_turns() -> None:
    model: Any = Model(TEMPLATES["chatml"])
    one, two = (Chat(model, sampling=Sampling(seed=seed), max_tokens=12) for seed in (1, 2))
    first, second = one.say("Hello"), two.say("Goodbye")
    for _ in range(5):
        next(first)
        next(second)
    together = [chat.conversation.turns[-1].content for chat, pieces in ((one, first), (two, second)) if [*pieces]]
    for seed, text, content in ((1, "Hello", together[0]), (2, "Goodbye", together[1])):
        alone = Chat(model, sampling=Sampling(seed=seed), max_tokens=12)
        assert "".join(alone.say(text)) == content


def test_figures_are_said_in_words() -> None:
    answer = Answer(11, 0.5, 0.25, 1000, 960, 2048)
    assert str(answer) == "11 tokens, 40.0/s, the first after 0.50 s; context 1,011 of 2,048, 960 of it reused"
    stopped = Answer(1, 0.5, 0.0, 9, None, 2048)
    assert str(stopped) == "1 token, the first after 0.50 s; context 10 of 2,048"


def test_a_run_that_has_learned_to_chat_is_taken_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, chat = tmp_path, tmp_path / "chat"
    for place, taken in ((run / "model", run), (chat / "model", chat)):
        assert chatting(run) == run
        place.mkdir(parents=True)
        (place / "model.toml").touch()
        assert chatting(run) == taken
    assert chatting(chat) == chat
    assert capsys.readouterr().err.count(f"{chat} is the model that has learned to chat") == 1


def test_one_that_has_learned_from_an_earlier_model_is_taken_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunDir(tmp_path / "my run")
    Record("train", inputs={"initial_weights": "0" * 64}).write(run.chat.record)
    for directory in (run.model, run.chat.model):
        Record("model", outputs={"model.safetensors": "1" * 64}).write(directory / "record.json")
        (directory / "model.toml").touch()
    assert chatting(run) == run.chat.root
    said = " ".join(capsys.readouterr().err.split())
    assert "was tuned from other weights than" in said
    assert f"`puna run '{run.config}' --run-dir '{run}'` tunes these" in said

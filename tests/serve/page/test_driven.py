"""The chat page, driven from end to end: in front of a real model, and of a server that says what a test wants."""

from pathlib import Path
from typing import Any

import pytest
from chat_driver import ChatDriver, Keys
from scripted_chat import Script

from puna.chat.messages import Message, load_messages
from puna.serve.errors import ApiError

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("width", [390, 1280])
def test_a_conversation_with_a_real_model(page_browser: Any, served: str, width: int) -> None:
    """Asked, answered again, edited into a branch, and there again when the page is opened again."""
    chat = ChatDriver(page_browser, served, width=width)
    chat.set(max_tokens="12", temperature="0", system="Be brief.")
    chat.say("What is the capital of France?")
    first = chat.answered()
    assert first
    assert "12 tokens" in chat.all(".speed")[-1].text
    chat.press("Answer again")
    assert chat.answered() == first  # at temperature 0
    assert chat.all(".assistant .branches")[0].text == "2/2"
    chat.press("Edit")
    editor = chat.all(".editor textarea")[0]
    editor.send_keys(" And of Spain?")
    chat.keys(Keys.CONTROL, Keys.ENTER)
    assert chat.answered() != first
    assert chat.turns[0] == "What is the capital of France? And of Spain?"
    chat.press("The version before")
    assert chat.turns == ["What is the capital of France?", first]
    chat.browser.refresh()
    chat.until(lambda: len(chat.turns) == 2)
    assert chat.turns == ["What is the capital of France?", first]
    assert [branch.text for branch in chat.all(".branches")] == ["1/2", "2/2"]
    assert chat.errors() == []


def test_a_text_that_a_real_model_continues(page_browser: Any, served: str) -> None:
    chat = ChatDriver(page_browser, served)
    chat.choose_model("plain")
    chat.set(max_tokens="12", temperature="0")
    draft = chat.at("draft")
    draft.send_keys("The capital")
    chat.press_go()
    text = draft.get_attribute("value")
    assert text.startswith("The capital")
    assert len(text) > len("The capital")
    chat.at("draft-view").click()
    tokens = chat.all("#draft-tokens .token")
    assert len(tokens) == 12
    chat.browser.execute_script("arguments[0].focus()", tokens[0])
    others = [button for button in chat.all("#alternatives button") if button.is_displayed()]
    taken = chat.browser.execute_script("return arguments[0].querySelector('code').textContent", others[0])
    others[0].click()
    chat.until(lambda: chat.continued)
    chat.at("draft-view").click()
    assert draft.get_attribute("value").startswith("The capital" + taken.replace("·", " ").replace("⏎", "\n"))
    chat.at("undo").click()
    assert draft.get_attribute("value") == text
    chat.at("undo").click()
    assert draft.get_attribute("value") == "The capital"
    assert chat.at("undo").get_property("disabled")
    assert chat.errors() == []


def test_an_answer_is_stopped_and_what_was_written_stays(page_browser: Any, script: Script) -> None:
    script.holds, script.progress = True, ((0, 900), (512, 900))
    chat = ChatDriver(page_browser, script.url)
    chat.say("Say something long.")
    chat.until(lambda: [words.text for words in chat.all(".turn.running .words")] == ["Paris"])
    chat.at("scroller").click()
    chat.keys(Keys.ESCAPE)
    assert script.left.wait(60)
    assert chat.answered() == "Paris"
    assert chat.at("status").text == "Stopped"
    # What is asked next follows on what was written.
    script.holds = False
    chat.say("Go on.")
    chat.until(lambda: len(chat.all(".turn.assistant")) == 2)
    chat.answered()
    assert [message["content"] for message in script.asked[-1]["messages"]] == [
        "Say something long.",
        "Paris",
        "Go on.",
    ]


def test_a_page_that_is_left_while_an_answer_is_written_keeps_the_question(page_browser: Any, script: Script) -> None:
    script.holds = True
    chat = ChatDriver(page_browser, script.url)
    chat.say("Is it kept?")
    chat.until(lambda: [words.text for words in chat.all(".turn.running .words")] == ["Paris"])
    page_browser.refresh()
    chat.until(lambda: chat.turns == ["Is it kept?"])
    assert script.left.wait(60)
    # It has no answer, so what is said next takes its place.
    script.holds = False
    chat.say("Once more.")
    assert chat.answered() == script.text
    assert [message["content"] for message in script.asked[-1]["messages"]] == ["Once more."]


def test_how_far_a_prompt_is_read_is_told(page_browser: Any, script: Script) -> None:
    script.text, script.holds, script.progress = "", True, ((0, 4096), (512, 4096))
    chat = ChatDriver(page_browser, script.url)
    chat.say("A long one.")
    chat.until(lambda: chat.at("status").text == "Reading: 512 of 4,096 tokens")
    chat.press("Stop")
    chat.until(lambda: chat.at("status").text == "Stopped")
    assert chat.turns == ["A long one."]


def test_settings_are_sent_and_those_that_change_nothing_are_not(page_browser: Any, script: Script) -> None:
    chat = ChatDriver(page_browser, script.url)
    chat.say("One")
    chat.answered()
    first = script.asked[0]
    seed = first.pop("seed")
    assert 0 <= seed < 2**32
    assert first == {
        "model": "chatty", "messages": [{"role": "user", "content": "One"}], "temperature": 0.8, "top_p": 0.95,
        "max_completion_tokens": 1024, "logprobs": True, "top_logprobs": 5, "stream": True,
        "stream_options": {"include_usage": True},
    }  # fmt: skip
    values = {"temperature": "1", "top_p": "1", "top_k": "40", "min_p": "0.05", "seed": "7", "stop": "\n\nEND\nSTOP"}
    chat.set(system="Be brief.", **values)
    chat.press("Answer again")
    chat.until(lambda: len(script.asked) == 2)
    second = script.asked[1]
    assert second["messages"][0] == {"role": "system", "content": "Be brief."}
    assert {name: second.get(name) for name in (*values, "repetition_penalty")} == {
        "temperature": None, "top_p": None, "top_k": 40, "min_p": 0.05, "seed": 7, "stop": ["END", "STOP"],
        "repetition_penalty": None,
    }  # fmt: skip


def test_errors_are_told_in_words_with_a_way_out(page_browser: Any, script: Script) -> None:
    too_long = ApiError(400, "too long", code="context_length_exceeded")
    script.errors = [ApiError(429, "too many requests", retry_s=3), too_long]
    chat = ChatDriver(page_browser, script.url)

    def notice(text: str) -> None:
        chat.until(lambda: chat.at("notice").text.startswith(text))

    chat.say("One")
    notice("Too many requests. Try again in 3 s.")
    chat.press_text("Try again")
    notice("Too long.")
    chat.press_text("Try again")
    chat.answered()
    chat.say("Two")
    chat.until(lambda: len(chat.all(".turn.assistant")) == 2)
    script.errors = [too_long, too_long]
    chat.say("Three")
    notice("Too long.")
    chat.press_text("Leave out the older turns")
    chat.until(lambda: len(chat.all(".turn.assistant")) == 3)
    chat.answered()
    assert [[turn["content"] for turn in asked["messages"]] for asked in script.asked[-2:]] == [
        ["Two", script.text, "Three"], ["Three"]
    ]  # fmt: skip
    assert "the turns above are left out" in chat.at("turns").text


def test_a_key_is_asked_for_and_lasts_as_long_as_the_tab(page_browser: Any, script: Script) -> None:
    script.key = "a key of a test"
    chat = ChatDriver(page_browser, script.url)
    assert chat.at("notice").text.startswith("This server needs an API key.")
    chat.press_text("Enter an API key")
    assert chat.browser.switch_to.active_element.get_attribute("id") == "key"
    chat.at("key").send_keys("wrong", Keys.ENTER)
    chat.until(lambda: chat.at("notice").text.startswith("The server does not know this API key."))
    chat.press_text("Enter an API key")
    chat.at("key").clear()
    chat.at("key").send_keys(script.key, Keys.ENTER)
    chat.until(lambda: chat.at("model").get_attribute("value") == "chatty")
    chat.say("One")
    assert chat.answered() == script.text
    assert chat.browser.execute_script("return sessionStorage.getItem('puna-key')") == script.key
    assert script.key not in chat.browser.execute_script("return JSON.stringify(localStorage)")


def test_conversations_are_found_renamed_exported_imported_and_deleted(
    page_browser: Any, script: Script, downloads: Path, tmp_path: Path
) -> None:
    chat = ChatDriver(page_browser, script.url)
    chat.say("About rivers")
    chat.answered()
    chat.keys(Keys.CONTROL, Keys.SHIFT, "o")
    chat.until(lambda: chat.turns == [])
    chat.say("About **mountains**")
    chat.answered()

    def titles() -> list[str]:
        return chat.texts("#list .open")

    assert titles() == ["About **mountains**", "About rivers"]
    chat.at("search").send_keys("RIVERS paris")
    assert titles() == ["About rivers"]
    chat.at("search").clear()
    chat.at("search").send_keys(" ", Keys.BACKSPACE)
    chat.menu(0, "Rename …")
    chat.at("question-input").clear()
    chat.at("question-input").send_keys("Peaks", Keys.ENTER)
    chat.until(lambda: titles()[0] == "Peaks")
    chat.menu(0, "Export as JSON")
    chat.menu(0, "Export as Markdown")
    chat.until(lambda: {path.name for path in downloads.iterdir()} >= {"Peaks.json", "Peaks.md"})
    assert load_messages(downloads / "Peaks.json") == [
        Message("user", "About **mountains**"), Message("assistant", script.text)
    ]  # fmt: skip
    written = (downloads / "Peaks.md").read_text(encoding="utf-8")
    assert written == f"# Peaks\n\n## You\n\nAbout **mountains**\n\n## Model\n\n{script.text}\n"
    chat.menu(0, "Delete …")
    chat.at("question-yes").click()
    chat.until(lambda: titles() == ["About rivers"])
    chat.at("file").send_keys(str(downloads / "Peaks.json"))
    chat.until(lambda: len(chat.turns) == 2)
    assert titles()[0] == "About **mountains**"
    wrong = {"{": "is not JSON", '{"version": 2, "messages": []}': "does not know", '{"messages": 3}': "not a saved"}
    for text, says in wrong.items():
        (tmp_path / "wrong.json").write_text(text)
        chat.at("file").send_keys(str(tmp_path / "wrong.json"))
        chat.until(lambda says=says: says in chat.at("notice").text)
    assert chat.errors() == []

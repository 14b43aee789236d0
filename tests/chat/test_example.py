"""Examples go through a build's files and come back as they were."""

import pytest

from puna.chat.example import Example
from puna.chat.messages import Message
from puna.chat.tools import NO_PARAMETERS, Tool
from puna.core.errors import DataError

ASKED = (Message("user", "Which capital?"),)


def test_a_conversation_comes_back_from_json_as_it_was() -> None:
    example = Example(messages=(*ASKED, Message("assistant", "Quito.")), task="capitals")
    assert Example.parse(example.json(), "here") == example
    assert not example.is_pair


def test_the_functions_that_could_be_called_come_back_from_json() -> None:
    tools = (Tool("get_time", None, NO_PARAMETERS), Tool("get_rain", "How wet?", {"type": "object"}))
    example = Example(messages=ASKED, tools=tools)
    assert Example.parse(example.json(), "here") == example


def test_a_pair_comes_back_from_json_as_it_was() -> None:
    pair = Example(messages=ASKED, chosen=(Message("assistant", "Quito."),), rejected=(Message("assistant", "No."),))
    assert Example.parse(pair.json(), "here") == pair
    assert pair.is_pair
    assert pair.text == "Which capital?\n\nQuito.\n\nNo."


@pytest.mark.parametrize("text", ["", "[]", "{", '{"messages": [1]}', '{"messages": "x"}', '{"tools": [{}]}'])
def test_what_is_not_an_example_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(DataError, match=r"^file.jsonl line 3: is not an example"):
        Example.parse(text, "file.jsonl line 3")

"""The conversations of the recipe demo-chat are those that docs/demo_chat.py writes."""

import json
from importlib import resources

import pytest
from scripts import script_module

RECIPES = resources.files("puna.config") / "recipes"


@pytest.mark.parametrize("name", ["demo-chat.jsonl", "demo-chat-heldout.jsonl"])
def test_the_shipped_file_is_what_the_script_writes(name: str) -> None:
    script = script_module("docs/demo_chat.py")
    assert (RECIPES / name).read_text(encoding="utf-8") == script.content(name)


def test_no_question_that_is_held_out_is_learned() -> None:
    learned, heldout = (
        {
            turn["content"]
            for line in (RECIPES / name).read_text(encoding="utf-8").splitlines()
            for turn in json.loads(line)["messages"]
            if turn["role"] == "user"
        }
        for name in ("demo-chat.jsonl", "demo-chat-heldout.jsonl")
    )
    assert len(heldout) > 80
    assert not learned & heldout

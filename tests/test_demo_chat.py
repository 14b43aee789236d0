"""The conversations of the recipe demo-chat are those that docs/demo_chat.py writes."""

import importlib.util
import json
from importlib import resources
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "docs" / "demo_chat.py"
RECIPES = resources.files("puna.config") / "recipes"


@pytest.mark.parametrize("name", ["demo-chat.jsonl", "demo-chat-heldout.jsonl"])
def test_the_shipped_file_is_what_the_script_writes(name: str) -> None:
    spec = importlib.util.spec_from_file_location("demo_chat", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
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

from pathlib import Path
from typing import Any

import pytest
from example_rows import read_file, write_rows

from puna.chat.example import Example
from puna.chat.messages import Message
from puna.data.document import Document, Dropped

Q = {"role": "user", "content": "q"}
S = {"role": "system", "content": "s"}


def a(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def pair(*before: str, system: str = "", good: str = "good", bad: str = "bad") -> Example:
    turns = [Message("user" if at % 2 == 0 else "assistant", text) for at, text in enumerate(before)]
    return Example(
        messages=(*([Message("system", system)] if system else []), *turns),
        chosen=(Message("assistant", good),),
        rejected=(Message("assistant", bad),),
    )


def only(tmp_path: Path, row: dict[str, Any], **settings: Any) -> Example | Dropped:
    (found,) = read_file(write_rows(tmp_path / "f", [row]), "preferences", **settings)
    return Example.parse(found.turns, "f") if isinstance(found, Document) else found


HH = "\n\nHuman: q\n\nAssistant: r\n\nHuman: why?\n\nAssistant:"


@pytest.mark.parametrize(
    ("row", "example"),
    [
        ({"prompt": "q", "chosen": "good", "rejected": "bad"}, pair("q")),
        ({"prompt": "q", "chosen": " good\n", "rejected": ""}, None),
        ({"prompt": [S, Q], "chosen": [a("good")], "rejected": [a("bad")]}, pair("q", system="s")),
        ({"prompt": "q", "chosen": [Q, a("good")], "rejected": [Q, a("bad")], "score_chosen": 8.0}, pair("q")),
        ({"prompt": [S, Q], "chosen": [Q, a("good")], "rejected": [Q, a("bad")]}, pair("q", system="s")),
        ({"prompt": [S, Q], "chosen": [S, Q, a("good")], "rejected": [S, Q, a("bad")]}, pair("q", system="s")),
        ({"chosen": [Q, a("good")], "rejected": [Q, a("bad")]}, pair("q")),
        ({"chosen": [Q, a("r"), Q, a("good")], "rejected": [Q, a("r"), Q, a("bad")]}, pair("q", "r", "q")),
        ({"chosen": HH + " good", "rejected": HH + " bad"}, pair("q", "r", "why?")),
        ({"prompt": HH, "chosen": "good", "rejected": "bad"}, pair("q", "r", "why?")),
        ({"system": "s", "question": "q", "chosen": "good", "rejected": "bad"}, pair("q", system="s")),
        ({"system": "", "question": "q", "chosen": "good", "rejected": "bad"}, pair("q")),
        ({"prompt": "q", "chosen": "Human: good", "rejected": "bad"}, pair("q", good="Human: good")),
    ],
)  # fmt: skip
def test_pairs_in_the_forms_of_data_sets(tmp_path: Path, row: dict[str, Any], example: Example | None):
    found = only(tmp_path, row)
    assert found == example if example else isinstance(found, Dropped)


@pytest.mark.parametrize(
    ("row", "reason", "detail"),
    [
        ({"prompt": "q", "chosen": "x", "rejected": "x"}, "same", "chosen and rejected are the same"),
        ({"prompt": "q", "chosen": "x", "rejected": " "}, "no_answer", "rejected has an empty answer"),
        ({"prompt": "q", "chosen": "x", "rejected": None}, "no_columns", "it has prompt, chosen, rejected"),
        ({"prompt": "q", "chosen": 3, "rejected": "x"}, "bad_value", "chosen is a number, not a list of turns"),
        ({"chosen": "x", "rejected": "y"}, "no_prompt", "there is no prompt"),
        ({"chosen": [a("x")], "rejected": [a("y")]}, "no_prompt", "answer nothing that both have in common"),
        ({"chosen": [Q, a("x")], "rejected": [Q]}, "no_answer", "rejected has no answer"),
        ({"chosen": [Q, a("x")], "rejected": [S, Q, a("x")]}, "no_answer", "chosen has no answer"),
        ({"chosen": HH, "rejected": HH + " bad"}, "no_answer", "chosen has an empty answer"),
    ],
)
def test_rows_that_are_not_pairs(tmp_path: Path, row: dict[str, Any], reason: str, detail: str):
    dropped = only(tmp_path, row)
    assert isinstance(dropped, Dropped)
    assert (dropped.reason, detail in dropped.detail) == (f"preferences.{reason}", True)


def test_columns_are_named_by_the_recipe(tmp_path: Path):
    row = {"ask": "q", "better": "good", "worse": "bad", "set": "t"}
    named = {"prompt": "ask", "chosen": "better", "rejected": "worse", "task": "set"}
    expected = pair("q")
    found = only(tmp_path, row, columns=named)
    assert found == Example(messages=expected.messages, chosen=expected.chosen, rejected=expected.rejected, task="t")

from pathlib import Path

import pytest

from puna.chat.example import Example
from puna.chat.messages import Message
from puna.config.recipe import Recipe
from puna.core.errors import DataError
from puna.core.layout import DataDir
from puna.data.document import Document
from puna.data.document_files import LinesWriter, document_fields
from puna.data.stages.plan import build_documents
from puna.finetune.examples import SourceExample, examples_in, read_examples

TALK = Example(messages=(Message("user", "ä\u2028"), Message("assistant", "b")), task="t")


def test_examples_come_back_from_a_build_by_split(tmp_path: Path, out: DataDir):
    rows = "".join(f'{{"prompt": "p{number}", "completion": "c", "id": {number}}}\n' for number in range(30))
    (tmp_path / "rows.jsonl").write_text(rows)
    source = {"path": str(tmp_path), "include": ["*.jsonl"], "format": "conversations", "heldout_pattern": "[05]$"}
    recipe = Recipe.model_validate(
        {"name": "talks", "data": {"sources": {"a": source}}, "mixture": {"a": 1.0}, "finetune": {}},
        context={"for data": True},
    )
    build_documents(recipe, out)
    train, heldout = (list(read_examples(out, split)) for split in ("train", "heldout"))
    assert [row.id for row in heldout] == [f"rows.jsonl#{n}:{n}" for n in range(0, 30, 5)]
    assert len(train) == 24
    assert train[0] == SourceExample(
        "a", "rows.jsonl#1:1", Example(messages=(Message("user", "p1"), Message("assistant", "c")))
    )


def test_an_example_is_the_same_after_its_file(tmp_path: Path):
    with LinesWriter(tmp_path / "x") as file:
        file.write(document_fields(Document("s", "i", TALK.text, "o", turns=TALK.json())))
    assert list(examples_in(tmp_path / "x", "s")) == [("s", "i", TALK)]


@pytest.mark.parametrize(("turns", "complaint"), [("", "line 1 is plain text"), ("{", "line 1: is not an example")])
def test_what_is_not_an_example_is_named_by_its_line(tmp_path: Path, turns: str, complaint: str):
    with LinesWriter(tmp_path / "x") as file:
        file.write(document_fields(Document("s", "i", "t", "o", turns=turns)))
    with pytest.raises(DataError, match=complaint):
        list(examples_in(tmp_path / "x", "s"))

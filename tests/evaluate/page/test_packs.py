"""Documents as a page holds them."""

import json
from pathlib import Path
from typing import Any

import pytest

from puna.core.errors import DataError
from puna.evaluate.page.packs import TOGETHER, pack_documents, unpacked


def documents(path: Path, lines: list[dict[str, Any]]) -> Path:
    """A file of documents with its first line."""
    path.write_text("".join(json.dumps(line) + "\n" for line in [{"task": "x"}, *lines]))
    return path


def line(number: int, **more: Any) -> dict[str, Any]:
    return {
        "id": f"d{number}",
        "kind": "choose",
        "context": f"Question {number}?",
        "values": {"acc": number % 2},
    } | more


def test_every_document_is_in_a_pack_as_it_stands_in_the_file(tmp_path: Path) -> None:
    lines = [line(number, category="odd" if number % 2 else "even") for number in range(2 * TOGETHER + 3)]
    packed = pack_documents("harness/x@0", documents(tmp_path / "d.jsonl", lines))
    assert [document for pack in packed.packs for document in unpacked(pack)] == lines
    assert [len(unpacked(pack)) for pack in packed.packs] == [TOGETHER, TOGETHER, 3]
    index = unpacked(packed.index)
    assert index["ids"] == [one["id"] for one in lines]
    assert [index["categories"][place] for place in index["category"]] == [one["category"] for one in lines]
    assert index["values"] == {"acc": [one["values"]["acc"] for one in lines]}
    assert (packed.documents, packed.left_out) == (len(lines), 0)


def test_metrics_that_some_documents_lack_stay_beside_their_documents(tmp_path: Path) -> None:
    lines = [line(0, values={"a": 1.0}), line(1, values={"b": 2.0}), line(2, values={"a": None, "b": 3.0})]
    index = unpacked(pack_documents("x", documents(tmp_path / "d.jsonl", lines)).index)
    assert index["values"] == {"a": [1.0, None, None], "b": [None, 2.0, 3.0]}


def test_documents_without_room_are_counted(tmp_path: Path) -> None:
    lines = [line(number) for number in range(3 * TOGETHER)]
    packed = pack_documents("x", documents(tmp_path / "d.jsonl", lines), room=1)
    assert (packed.documents, packed.left_out) == (TOGETHER, 2 * TOGETHER)
    assert len(unpacked(packed.index)["ids"]) == TOGETHER


@pytest.mark.parametrize(
    ("document", "shown"),
    [
        (
            {"context": "Passage of some words.\nQuestion: who was it that came?\nAnswer:"},
            "Question: who was it that came?",
        ),
        ({"context": "def add(a, b):\n"}, "def add(a, b):"),
        ({"context": "", "options": [{"continuation": " She sat.", "logprob": -1.0, "tokens": 2}]}, "She sat."),
        ({"context": "word " * 40}, ("word " * 40)[:89] + "…"),
        ({"context": ""}, ""),
    ],
)
def test_the_list_shows_where_the_question_stands(tmp_path: Path, document: dict[str, Any], shown: str) -> None:
    packed = pack_documents("x", documents(tmp_path / "d.jsonl", [line(0) | document]))
    assert unpacked(packed.index)["beginnings"] == [shown]


def test_the_same_documents_make_the_same_packs(tmp_path: Path) -> None:
    lines = [line(number) for number in range(5)]
    path = documents(tmp_path / "d.jsonl", lines)
    assert pack_documents("x", path) == pack_documents("x", path)


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = documents(tmp_path / "d.jsonl", [line(0), {"id": 3}])
    with pytest.raises(DataError, match="line 3"):
        pack_documents("x", path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.jsonl: cannot be read"):
        pack_documents("x", tmp_path / "none.jsonl")

"""Rows of tasks: written by templates or already, with exemplars from their file; hostile rows."""

import json
from pathlib import Path
from typing import Any

import pytest
from example_rows import read_file, write_rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from puna.chat.example import Example
from puna.config.data import Source
from puna.data.document import Document, Dropped, Raw
from puna.data.input_file import InputFile
from puna.data.readers.tasks import TasksReader
from puna.shards.split import is_heldout

ROWS = [{"question": f"q{number}", "answer": f"a{number}", "task": "qa"} for number in range(200)]
FEW = {"qa": {"few_shot": [{"input": "Q: {question} A: ", "separator": "\n"}]}}


def examples(path: Path, **options: Any) -> list[Example]:
    """The examples in a file; none may be dropped."""
    found = read_file(path, "tasks", **options)
    assert all(isinstance(document, Document) for document in found), found
    return [Example.parse(document.turns, "f") for document in found if isinstance(document, Document)]


def said(example: Example) -> tuple[str, str]:
    """Input and target."""
    user, assistant = example.messages
    assert (user.role, assistant.role) == ("user", "assistant")
    return user.content, assistant.content


@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet", "arrow"])
def test_rows_that_are_written_already_are_read_as_they_are(tmp_path: Path, kind: str) -> None:
    """The columns of the public dumps of the Flan Collection."""
    row = {
        "inputs": "Is ice cold?\n\n", "targets": "yes", "task_source": "Flan2021", "task_name": "bool_q:1.0.0",
        "template_type": "zs_opt",
    }  # fmt: skip
    (found,) = examples(write_rows(tmp_path / "f", [row], kind))
    assert said(found) == ("Is ice cold?\n\n", "yes")
    assert found.task == "bool_q:1.0.0"


def test_columns_of_written_rows_may_have_other_names(tmp_path: Path) -> None:
    columns = {"prompt": "source", "completion": "target", "task": "kind"}
    path = write_rows(tmp_path / "f", [{"source": "a", "target": "b", "kind": "c"}])
    (found,) = examples(path, columns=columns)
    assert (said(found), found.task) == (("a", "b"), "c")


def test_the_task_is_the_columns_or_else_the_files(tmp_path: Path) -> None:
    tasks = {name: {"zero_shot": [{"input": f"{name} {{question}}"}]} for name in ("f", "qa", "task 3")}
    rows = [{"question": "q", "answer": "a"} | more for more in ({}, {"task": "qa"}, {"task_name": "task 3"})]
    found = examples(write_rows(tmp_path / "f.jsonl", rows), tasks=tasks)
    assert [said(each)[0] for each in found] == ["f q", "qa q", "task 3 q"]
    assert [each.task for each in found] == ["f", "qa", "task 3"]


def test_exemplars_are_other_rows_of_the_task_with_their_own_targets(tmp_path: Path) -> None:
    other = [{"question": "other", "answer": "o", "task": "z", "inputs": "i", "targets": "t"}] * 20
    found = examples(write_rows(tmp_path / "f", [*ROWS, *other]), tasks=FEW)
    for number, example in enumerate(found[:200]):
        *before, last = said(example)[0].split("\n")
        assert last == f"Q: q{number} A:"
        assert said(example)[1] == f"a{number}"
        assert len(set(before)) == len(before) == 25
        shown = [line.removeprefix("Q: q").split(" A: a") for line in before]
        assert all(question == answer != str(number) for question, answer in shown)


def test_rows_that_are_held_out_are_never_exemplars(tmp_path: Path) -> None:
    source = Source.model_validate(
        {"path": "x", "include": ["*"], "heldout_fraction": 0.5, "format": "tasks", "tasks": FEW}
    )
    held = {f"q{number}" for number in range(200) if is_heldout(source, "s", f"f#{number}")}
    assert 60 < len(held) < 140
    found = examples(write_rows(tmp_path / "f", ROWS), tasks=FEW, heldout_fraction=0.5)
    used = {line.split()[1] for each in found for line in said(each)[0].split("\n")[:-1]}
    assert len(used) == 64
    assert used.isdisjoint(held)


def test_exemplars_come_from_all_of_the_file(tmp_path: Path) -> None:
    found = examples(write_rows(tmp_path / "f", ROWS), tasks=FEW)
    used = {int(line.split()[1][1:]) for each in found for line in said(each)[0].split("\n")[:-1]}
    assert len(used) == 64
    assert all(any(start <= number < start + 50 for number in used) for start in range(0, 200, 50))


def test_reading_again_and_going_on_in_the_middle_gives_the_same_records(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "f", ROWS)
    source = Source.model_validate(
        {"path": "x", "include": ["*"], "heldout_fraction": 0.1, "format": "tasks", "tasks": FEW}
    )
    file = InputFile(str(path), "f", path.stat().st_size, "")
    once, again = ([*TasksReader("s", source, 10**6).records(file)] for _ in range(2))
    assert once == again
    reader = TasksReader("s", source, 10**6)
    assert [reader.document(raw) for raw in once[7:9] if isinstance(raw, Raw)] == [
        TasksReader("s", source, 10**6).document(raw) for raw in again[7:9] if isinstance(raw, Raw)
    ]


def test_the_only_row_of_a_task_is_written_by_itself(tmp_path: Path) -> None:
    (found,) = examples(write_rows(tmp_path / "f", ROWS[:1]), tasks=FEW)
    assert said(found) == ("Q: q0 A: ", "a0")


@pytest.mark.parametrize(
    ("row", "reason", "detail"),
    [
        ({"question": "q"}, "tasks.no_columns", "no templates for the task 'f', and the row has no inputs and targets"),
        ({"inputs": "a"}, "tasks.no_columns", "no inputs and targets"),
        ({"inputs": "a", "targets": ""}, "tasks.no_answer", "empty answer"),
        ({"inputs": "", "targets": "b"}, "tasks.bad_value", "inputs is empty"),
        ({"inputs": ["a"], "targets": "b"}, "tasks.bad_value", "inputs is"),
        ({"inputs": "a", "targets": ["b"]}, "tasks.no_answer", "empty answer"),
        ({"task": "qa", "question": "q"}, "tasks.no_pattern", "no pattern of its task has all its fields in task"),
        ({"task": "qa", "question": [["q"]], "answer": "a"}, "tasks.no_pattern", "no pattern of its task"),
        ({"task": "qa", "question": "q", "answer": None}, "tasks.no_pattern", "no pattern of its task"),
    ],
)
def test_a_row_that_is_not_of_a_task_is_dropped_with_its_reason(
    tmp_path: Path, row: dict[str, Any], reason: str, detail: str
) -> None:
    (found,) = read_file(write_rows(tmp_path / "f", [row]), "tasks", tasks=FEW)
    assert isinstance(found, Dropped)
    assert found.reason == reason
    assert detail in found.detail


def test_broken_rows_among_others_cost_only_themselves(tmp_path: Path) -> None:
    path = tmp_path / "f"
    lines = [json.dumps(row) for row in ROWS[:5]]
    broken = [lines[0], "{", "[1]", '{"a": 1, "a": 2}', *lines[1:], '{"task": "qa"']
    path.write_bytes("\n".join(broken).encode() + b"\n\xff\n")
    found = read_file(path, "tasks", tasks=FEW)
    kept = [document for document in found if isinstance(document, Document)]
    assert [Example.parse(document.turns, "f").messages[1].content for document in kept] == [f"a{n}" for n in range(5)]
    reasons = [document.reason for document in found if isinstance(document, Dropped)]
    assert reasons == ["tasks.broken"] * 4 + ["invalid_utf8"]


def test_a_long_row_is_read_but_is_never_an_exemplar(tmp_path: Path) -> None:
    long = {"question": "long" * 3000, "answer": "a", "task": "qa"}
    found = examples(write_rows(tmp_path / "f", [long, *ROWS[:10]]), tasks=FEW)
    assert said(found[0])[0] == f"Q: {'long' * 3000} A: "
    assert not any("long" in said(each)[0] for each in found[1:])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
COLUMNS = st.sampled_from(["question", "answer", "options", "task", "inputs", "targets", "id", "x"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.dictionaries(COLUMNS, VALUES | st.just("qa"), max_size=6), max_size=6))
def test_any_row_is_an_example_or_is_dropped_with_a_reason(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    tasks = {"qa": FEW["qa"] | {"zero_shot": [{"input": "{question} {options}"}], "inverted": [{"input": "{answer}"}]}}
    found = read_file(write_rows(tmp_path / "f", rows), "tasks", tasks=tasks)
    assert len(found) == len(rows)
    for each in found:
        if isinstance(each, Document):
            asked, answer = Example.parse(each.turns, "f").messages
            assert asked.content.strip()
            assert answer.content.strip()
        else:
            assert each.reason.startswith("tasks.") or each.reason in ("empty", "invalid_utf8")

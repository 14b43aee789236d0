"""A user's own tasks: what they ask, how answers are judged, and what is refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest
from evaluating import HashBackend

from puna.benchmarks.readers import read_rows
from puna.core.errors import EvaluateError
from puna.evaluate.documents import open_documents
from puna.evaluate.example import Answer, Choose, Continue, Example, Likelihood, Write, Written
from puna.evaluate.run import run_documents
from puna.evaluate.task import Task
from puna.evaluate.toml_task import FileSplit, read_tasks
from puna.tokenizer.tokenizer import Tokenizer

CHOOSE = """
[capitals]
title = "Capitals"
kind = "choose"
data = "rows.jsonl"
context = "The capital of {country} is"
options = ["{capital}", "{other}"]
gold = "0"
category = "{continent}"
"""
ROWS: list[dict[str, Any]] = [
    {"country": "France", "capital": "Paris", "other": "Lyon", "continent": "Europe", "key": "B", "names": ["x", "y"]},
    {"country": "Japan", "capital": "Tokyo", "other": "Osaka", "continent": "Asia", "key": "A", "names": ["y", "z"]},
    {"country": "Peru", "capital": "Lima", "other": "Cusco", "continent": "America", "key": "B", "names": ["u", "v"]},
]


def tasks(tmp_path: Path, toml: str, rows: list[dict[str, Any]] = ROWS) -> list[Task]:
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "mine.toml").write_text(toml)
    return read_tasks(tmp_path / "mine.toml")


def opened(name: str, split: str) -> FileSplit:
    return FileSplit(path=Path(name).parent / split, read=read_rows)


def examples(task: Task) -> list[Example]:
    return list(open_documents(task, opened).examples())


def test_options_are_templates(tmp_path: Path) -> None:
    (task,) = tasks(tmp_path, CHOOSE)
    first = examples(task)[0]
    assert isinstance(first.ask, Choose)
    assert [(option.context, option.continuation, option.text) for option in first.ask.options] == [
        ("The capital of France is", " Paris", "Paris"), ("The capital of France is", " Lyon", "Lyon"),
    ]  # fmt: skip
    assert (first.ask.gold, first.category, task.id, task.title) == ((0,), "Europe", "own/capitals@0", "Capitals")
    assert list(task.metrics) == ["acc_norm", "acc"]


def test_the_right_option_may_be_named_by_letter_or_text_and_options_be_a_field(tmp_path: Path) -> None:
    listed = CHOOSE.replace('["{capital}", "{other}"]', '"{names}"')
    (letter,) = tasks(tmp_path, listed.replace('gold = "0"', 'gold = "{key}"\ngold_is = "letter"'))
    assert [example.ask.gold for example in examples(letter)] == [(1,), (0,), (1,)]  # type: ignore[union-attr]
    (text,) = tasks(tmp_path, CHOOSE.replace('gold = "0"', 'gold = "{other}"\ngold_is = "text"'))
    assert [example.ask.gold for example in examples(text)] == [(1,), (1,), (1,)]  # type: ignore[union-attr]


def test_solved_examples_come_with_their_answers_and_never_the_document(tmp_path: Path) -> None:
    (task,) = tasks(tmp_path, CHOOSE + "shots = 2\n")
    assert [example.ask.options[1].context for example in examples(task)][:2] == [  # type: ignore[union-attr]
        "The capital of Japan is Tokyo\n\nThe capital of Peru is Lima\n\nThe capital of France is",
        "The capital of France is Paris\n\nThe capital of Peru is Lima\n\nThe capital of Japan is",
    ]


def test_a_target_that_greedy_generation_would_write(tmp_path: Path) -> None:
    toml = '[t]\nkind = "continue"\ndata = "rows.jsonl"\ncontext = "{country}:"\ntarget = "{capital}"\nshots = 1'
    (task,) = tasks(tmp_path, toml)
    example = examples(task)[0]
    assert example.ask == Continue(context="Japan: Tokyo\n\nFrance:", target=" Paris", text="Paris")
    likelihood = Likelihood(logprob=-1.0, tokens=2, greedy=True)
    assert task.judge(example, Answer(likelihoods=(likelihood,)))[0] == {"acc": 1.0}


def test_written_answers_are_compared_without_case_and_punctuation_at_the_ends(tmp_path: Path) -> None:
    toml = """[t]\nkind = "write"\ndata = "rows.jsonl"\ncontext = "{country}?"\nanswers = "{names}"\nmax_tokens = 7"""
    (task,) = tasks(tmp_path, toml)
    example = examples(task)[0]
    assert example.ask == Write(prompt="France?", max_tokens=7, stop=("\n",))
    for text, value in ((" Y.", 1.0), ("x", 1.0), ("yes", 0.0), ("", 0.0)):
        answer = Answer(written=(Written(text=text, tokens=1, finish="stop"),))
        assert task.judge(example, answer)[0] == {"exact_match": value}


def test_a_changed_table_is_another_version_and_another_file_another_hash(tmp_path: Path) -> None:
    (first,), (second,) = tasks(tmp_path, CHOOSE), tasks(tmp_path, CHOOSE.replace("capital of", "city of"))
    assert first.version != second.version
    hashes = {open_documents(tasks(tmp_path, CHOOSE, rows)[0], opened).data_sha256 for rows in (ROWS, ROWS[:2])}
    assert len(hashes) == 2


def test_several_tasks_of_a_file_are_run(tmp_path: Path, tokenizer: Tokenizer) -> None:
    found = tasks(tmp_path, CHOOSE + CHOOSE.replace("[capitals]", "[cities]"))
    assert [task.id for task in found] == ["own/capitals@0", "own/cities@0"]
    outcome = run_documents(open_documents(found[1], opened), HashBackend(tokenizer))
    assert len(outcome.judged) == 3


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("context =", "contxt =", r"mine\.toml: \[capitals\]: unknown key 'contxt'; did you mean 'context'\?"),
        ('gold = "0"', "", r"\[capitals\]: 'gold' is missing"),
        ('gold = "0"', "gold = 0", r"'gold' is 0, expected a valid string"),
        ('"choose"', '"chose"', r"'kind' is 'chose', expected one of choose, continue, write"),
        ('kind = "choose"', "", r"'kind' is missing, expected one of"),
        ("{country}", "{country", r"\[capitals\]: .* is not a field"),
        ("[capitals]", "[Capitals]", "lower case letters, digits and underscores"),
        ('["{capital}", "{other}"]', '"{capital}, {other}"', "expected one field in braces and nothing else"),
        ("[capitals]", "capitals", "is not valid TOML"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_by_name(tmp_path: Path, before: str, after: str, says: str) -> None:
    assert before in CHOOSE
    with pytest.raises(EvaluateError, match=says):
        tasks(tmp_path, CHOOSE.replace(before, after))


def test_a_file_that_is_not_there_or_has_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EvaluateError, match=r"none\.toml: no such file"):
        read_tasks(tmp_path / "none.toml")
    with pytest.raises(EvaluateError, match="expected a table for each task"):
        tasks(tmp_path, 'title = "x"')
    assert opened(str(tmp_path / "mine.toml"), "no.jsonl").missing.endswith("no.jsonl is not there")


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("{capital}", "{city}", r"row 0 of .*mine\.toml, split 'rows\.jsonl', .*no field 'city'"),
        ('gold = "0"', 'gold = "2"', "gold is '2', expected one of 0, 1"),
        ('["{capital}", "{other}"]', '"{capital}"', "field 'capital' is 'Paris', expected a list of texts"),
    ],
)
def test_a_row_that_does_not_fit_is_named(tmp_path: Path, before: str, after: str, says: str) -> None:
    (task,) = tasks(tmp_path, CHOOSE.replace(before, after))
    with pytest.raises(EvaluateError, match=says):
        examples(task)

"""A finished evaluation has every form of its results, and a record with the hashes of its files."""

from pathlib import Path

import pytest

from puna.core.errors import EvaluateError
from puna.core.files import sha256_file
from puna.core.layout import EvaluationDir
from puna.core.records import Record, read_record
from puna.core.schema.evaluation import (
    DocumentLine,
    EngineUsed,
    EvaluatedModel,
    Metric,
    Results,
    ScoredText,
    TaskResult,
    read_results,
)
from puna.evaluate.publish import check_models, finish, tables_of
from puna.evaluate.store import Cost, Store

TASK = TaskResult(
    id="llama/piqa@0", title="PIQA", protocol="llama", protocol_version=1, task_version=1, data="piqa",
    data_sha256="d", split="validation", shots=0, bos="one", n=1, of=1838, limit_seed=0,
    metrics={"acc": Metric(value=0.5, n=1)},
)  # fmt: skip
RESULTS = Results(
    model=EvaluatedModel(path="runs/a", title="a"), engine=EngineUsed(title="e", exact=True), tasks=[TASK],
    suite="llama", missing={"llama/boolq@0": "boolq is not here"},
)  # fmt: skip


def test_every_form_is_written_and_the_record_has_its_hash(tmp_path: Path) -> None:
    directory = EvaluationDir(tmp_path)
    option = ScoredText(continuation=" x", logprob=-1.0, tokens=1)
    line = DocumentLine(id="0", kind="choose", options=[option], gold=[0], values={"acc": 0.5})
    Store(directory.documents_of(TASK.id), {}).finish([line], Cost())
    tables = tables_of([RESULTS], "llama", [])
    finish(directory, RESULTS, tables, Record(stage="evaluation"))
    record = read_record(directory.record)
    assert record is not None
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} - {"record.json"}
    assert files >= {"index.html", "tables.md", "tables.tex", "model-index.yaml", ".eval_results/llama-piqa-0.yaml"}
    assert record["outputs"] == {name: sha256_file(tmp_path / name) for name in files}
    assert record["results"] == {"llama/piqa@0": {"acc": 0.5}}
    assert read_results(directory.results) == RESULTS
    assert "boolq is not here" in directory.tables_markdown.read_text()


def test_a_suite_has_its_tables_and_anything_else_one() -> None:
    assert len(tables_of([RESULTS], "llama", [])) > 5
    (table,) = tables_of([RESULTS], None, ["LLaMA 7B"])
    assert (table.ours, table.others) == (("a",), ("LLaMA 7B",))


def test_models_that_no_table_has_are_refused() -> None:
    check_models(None, ["LLaMA 7B", "gpt-3 175b"])
    with pytest.raises(EvaluateError, match="no table has results of 'LLaMA 8B'"):
        check_models("llama", ["LLaMA 8B"])
    with pytest.raises(EvaluateError, match="'llama9' is not a suite"):
        check_models("llama9", [])

"""Suites fill every row of their tables, and only with tasks that they name."""

import pytest

from puna.core.errors import EvaluateError
from puna.evaluate.aggregates import MMLU_CATEGORIES
from puna.evaluate.published.tables import published_tables
from puna.evaluate.registry import find_task
from puna.evaluate.suites import Averaged, Measured, find_suite, rows_beside, suites

SHEETS = [sheet for suite in suites().values() for sheet in suite.sheets]


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.table)
def test_every_row_of_the_source_is_filled_in_its_order(sheet):
    rows = [row for row in sheet.rows if row in sheet.published.rows]
    assert rows == list(sheet.published.rows)


def test_every_table_of_a_source_is_in_a_suite_but_for_finetuned_models_and_carbon():
    assert sorted({*published_tables()} - {sheet.table for sheet in SHEETS}) == ["llama/10", "llama/15"]


@pytest.mark.parametrize("sheet", SHEETS, ids=lambda sheet: sheet.table)
def test_averages_are_of_rows_that_tasks_measure(sheet):
    for row in sheet.rows.values():
        if isinstance(row, Averaged):
            assert all(isinstance(sheet.rows[name], Measured) for name in row.rows)


def test_a_suite_names_each_task_once_in_the_order_of_its_tables():
    tasks = find_suite("llama").tasks
    assert tasks[:3] == ("llama/boolq@0", "llama/piqa@0", "llama/social_iqa@0")
    assert len(tasks) == len(set(tasks))
    assert {task.partition("/")[0] for task in tasks} == {"llama"}
    assert tasks.count("llama/mmlu@5") == 1


def test_table_9_groups_subjects_and_table_16_has_each_alone():
    tables = {sheet.table: sheet.rows for sheet in find_suite("llama").sheets}
    other = tables["llama/9"]["Other"]
    assert isinstance(other, Measured)
    assert "anatomy" in other.categories
    alone = tables["llama/16"]
    measured = [row.categories for row in alone.values() if isinstance(row, Measured) and len(row.categories) == 1]
    assert sorted(measured) == sorted((subject,) for subjects in MMLU_CATEGORIES.values() for subject in subjects)
    assert alone["Others"] == other


def test_a_suite_that_is_not_there_gets_a_suggestion():
    with pytest.raises(EvaluateError, match="'openlama' is not a suite") as caught:
        find_suite("openlama")
    assert caught.value.hint == "did you mean openllama?"
    with pytest.raises(EvaluateError) as caught:
        find_suite("zzz")
    assert caught.value.hint == "there are llama, openllama, openlm, core"


def test_published_rows_of_a_metric_are_found_where_it_is_over_all_documents():
    found = [(table.name, row) for table, row in rows_beside("harness/hellaswag@0", "acc_norm", is_main=True)]
    assert found == [("openllama/1", "hellaswag/acc_norm")]
    assert [row for _, row in rows_beside("llama/hellaswag@0", "acc", is_main=True)] == ["HellaSwag"]
    assert list(rows_beside("llama/hellaswag@0", "acc", is_main=False)) == []
    assert [row for _, row in rows_beside("llama/mmlu@5", "acc", is_main=True)] == ["Average", "All"]


def test_other_data_stands_in_for_what_is_not_handed_out():
    assert find_suite("llama").instead["llama/triviaqa@64"] == "llama/triviaqa_wikipedia@64"
    assert find_suite("openllama").instead == {
        "harness/truthfulqa_mc1@0": "harness/truthfulqa_csv_mc1@0",
        "harness/truthfulqa_mc2@0": "harness/truthfulqa_csv_mc2@0",
    }
    assert not {*find_suite("llama").instead.values()} & {*find_suite("llama").tasks}


@pytest.mark.parametrize("name", suites())
def test_every_task_of_a_suite_is_there_and_has_the_metrics_of_its_rows(name: str):
    for sheet in suites()[name].sheets:
        for row in sheet.rows.values():
            if isinstance(row, Measured):
                for id in filter(None, (row.task, row.instead)):
                    task = find_task(id)
                    assert task.id == id
                    assert not row.metric or row.metric in task.metrics, f"{id}: {row.metric}"

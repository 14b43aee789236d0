"""Our column: figures with interval and n, footnotes for what limits them, dashes that say why."""

import pytest
from made_results import made_metric, made_results, made_task

from puna.core.errors import EvaluateError
from puna.core.schema.evaluation import Cut, Metric
from puna.evaluate.figure import mean_of, student_t
from puna.evaluate.suites import find_suite
from puna.evaluate.tables import DASH, ResultTable, TableCell, plain_table, suite_tables


def table_of(tables: list[ResultTable], title: str) -> ResultTable:
    return next(table for table in tables if table.title.startswith(title))


def cell(table: ResultTable, row: str, column: int = 0) -> TableCell:
    return next(found for found in table.rows if found.name == row).cells[column]


def said(table: ResultTable, found: TableCell) -> list[str]:
    return [table.notes[number - 1] for number in found.notes]


def test_our_column_has_figure_interval_and_n_beside_the_published_ones():
    results = made_results(made_task("llama/piqa@0", 1200, 1838))
    table = table_of(suite_tables(find_suite("llama"), [results]), "Table 3")
    ours = cell(table, "PIQA")
    stderr = (1200 / 1838 * 638 / 1838 / 1837) ** 0.5
    assert (ours.text, ours.half, ours.n) == ("65.3", f"{100 * student_t(0.95, 1837) * stderr:.1f}", 1838)
    assert ours.notes == ()
    assert table.ours == ("demo",)
    assert table.others[0] == "GPT-3 175B"
    assert cell(table, "PIQA", 1) == TableCell(text="81.0")
    assert cell(table, "SIQA", 1) == TableCell(text=DASH)


def test_a_task_that_could_not_be_done_is_a_dash_with_the_reason():
    results = made_results(missing={"llama/race_high@0": "its data is not here"})
    table = table_of(suite_tables(find_suite("llama"), [results]), "Table 6")
    assert cell(table, "RACE-high").text == DASH
    assert said(table, cell(table, "RACE-high")) == ["its data is not here"]
    assert said(table, cell(table, "RACE-middle")) == ["not part of this evaluation"]


def test_a_part_of_the_documents_is_said_with_its_seed():
    results = made_results(made_task("llama/boolq@0", 130, 200, of=3270, limit_seed=0))
    table = table_of(suite_tables(find_suite("llama"), [results]), "Table 3")
    assert said(table, cell(table, "BoolQ")) == ["a part of the documents, drawn with seed 0"]


def test_rows_of_different_parts_share_one_note():
    tasks = [made_task(f"llama/{name}@0", 1, n, of=100 * n, limit_seed=0) for name, n in (("boolq", 7), ("piqa", 8))]
    table = table_of(suite_tables(find_suite("llama"), [made_results(*tasks)]), "Table 3")
    assert [cell(table, row).n for row in ("BoolQ", "PIQA")] == [7, 8]
    assert cell(table, "BoolQ").notes == cell(table, "PIQA").notes
    assert table.notes == ("a part of the documents, drawn with seed 0", "not part of this evaluation")


def test_a_figure_of_an_earlier_version_says_so():
    tasks = made_task("llama/boolq@0", 5, 7, task_version=0), made_task("llama/piqa@0", 5, 7, protocol_version=0)
    results = made_results(*tasks, made_task("llama/social_iqa@0", 5, 7))
    for table in (table_of(suite_tables(find_suite("llama"), [results]), "Table 3"), plain_table([results])):
        marked = [
            row.name for row in table.rows if any("earlier version" in note for note in said(table, row.cells[0]))
        ]
        assert [name.lower() for name in marked] in (["boolq", "piqa"], ["llama/boolq@0 acc", "llama/piqa@0 acc"])


@pytest.mark.parametrize(
    ("parameters", "first"),
    [
        (3_000_000, ["LLaMA 7B", "LLaMA 13B", "LLaMA 33B"]),
        (30_000_000_000, ["LLaMA 33B", "PaLM-cont 62B", "PaLM 62B"]),
        (None, ["LLaMA 65B", "LLaMA 33B", "LLaMA 13B"]),
    ],
)
def test_the_columns_nearest_in_size_are_the_first_to_have_room(parameters: int | None, first: list[str]):
    results = made_results(made_task("llama/piqa@0", 5, 7))
    results = results.model_copy(update={"model": results.model.model_copy(update={"parameters": parameters})})
    table = table_of(suite_tables(find_suite("llama"), [results]), "Table 3")
    assert sorted(table.nearest) == sorted(table.others)
    assert list(table.nearest[:3]) == first


def test_the_size_of_a_published_model_is_not_its_tokens():
    results = made_results(made_task("harness/piqa@0", 5, 7))
    results = results.model_copy(update={"model": results.model.model_copy(update={"parameters": 200_000_000_000})})
    (table,) = suite_tables(find_suite("openllama"), [results])
    assert table.nearest == ("OpenLLaMA 7B 200B tokens", "LLaMA 7B", "GPT-J 6B")


def test_categories_are_pooled_over_their_questions():
    categories = {
        "anatomy": {"acc": made_metric(mean_of([1.0, 0.0, 0.0]))}, "virology": {"acc": made_metric(mean_of([1.0]))},
        "astronomy": {"acc": made_metric(mean_of([1.0] * 10))},
    }  # fmt: skip
    results = made_results(made_task("llama/mmlu@5", 12, 14, categories=categories))
    tables = suite_tables(find_suite("llama"), [results])
    other = cell(table_of(tables, "Table 9"), "Other")
    assert (other.text, other.n) == ("50.0", 4)
    assert cell(table_of(tables, "Table 9"), "STEM").text == "100.0"
    assert cell(table_of(tables, "Table 9"), "Average").n == 14
    assert cell(table_of(tables, "Table 16"), "Anatomy").text == "33.3"
    table = table_of(tables, "Table 16")
    assert said(table, cell(table, "Marketing")) == ["no documents"]


def test_a_drawn_part_says_that_a_category_may_be_empty():
    results = made_results(made_task("llama/mmlu@5", 1, 2, of=14042, limit_seed=0))
    table = table_of(suite_tables(find_suite("llama"), [results]), "Table 9")
    assert "no documents of these categories among the 2 that were asked" in said(table, cell(table, "STEM"))[0]


def test_documents_without_a_score_are_counted():
    metrics = {"toxicity": Metric(value=0.25, n=4, missing=2, stderr=0.01, low=0.2, high=0.3)}
    scored = made_task("llama/realtoxicityprompts@0", 0, 6, metrics=metrics, scorer="perspective")
    unscored = made_task(
        "llama/realtoxicityprompts_respectful@0", 0, 6, metrics={"toxicity": Metric(value=None, n=0, missing=6)}
    )
    table = table_of(suite_tables(find_suite("llama"), [made_results(scored, unscored)]), "Table 11")
    assert cell(table, "Basic").text == "0.250"
    assert said(table, cell(table, "Basic")) == ["2 of 6 documents have no score"]
    assert cell(table, "Respectful").text == DASH
    assert said(table, cell(table, "Respectful")) == ["6 of 6 documents have no score; no scorer of texts was named"]


def test_a_dash_has_no_remarks_on_the_figure_that_it_is_not():
    unscored = made_task(
        "llama/realtoxicityprompts@0", 0, 6, metrics={"toxicity": Metric(value=None, n=0, missing=6)},
        contamination="not compared", cut=Cut(documents=3, tokens=90),
    )  # fmt: skip
    odd = made_task("llama/piqa@0", 0, 2, metrics={"acc": Metric(value=None, n=0, missing=2)})
    tables = suite_tables(find_suite("llama"), [made_results(unscored, odd)])
    table = table_of(tables, "Table 11")
    assert said(table, cell(table, "Basic")) == ["6 of 6 documents have no score; no scorer of texts was named"]
    table = table_of(tables, "Table 3")
    assert said(table, cell(table, "PIQA")) == ["2 of 2 documents have no score"]


def test_another_number_of_samples_is_said():
    results = made_results(made_task("llama/gsm8k_majority@8", 1, 4, metric="maj1@20"))
    table = table_of(suite_tables(find_suite("llama"), [results]), "Table 7")
    assert cell(table, "GSM8k + maj1@k").text == "25.0"
    assert said(table, cell(table, "GSM8k + maj1@k")) == ["maj1@20, where the source has maj1@100"]


def test_cut_contexts_and_training_data_that_was_not_compared_are_said_once():
    task = made_task(
        "llama/mmlu@5", 2, 4, cut=Cut(documents=3, tokens=90), contamination="not compared",
        categories={"anatomy": {"acc": made_metric(mean_of([1.0, 0.0]))}},
    )  # fmt: skip
    table = table_of(suite_tables(find_suite("llama"), [made_results(task)]), "Table 9")
    assert said(table, cell(table, "Average")) == [
        "documents whose context was longer than the model's and lost its beginning: 3",
        "the model's training data was not compared with this set",
    ]
    assert len(set(table.notes)) == len(table.notes)


def test_a_mean_of_rows_waits_for_all_of_them():
    suite = find_suite("openlm")
    tasks = [made_task(task, 1, 2) for task in suite.tasks if task != "foundry/mmlu@5"]
    table = table_of(suite_tables(suite, [made_results(*tasks)]), "OpenLM-7B beside")
    assert (cell(table, "Average").text, cell(table, "Average").n) == ("0.50", 11)
    assert cell(table, "Average").half
    part = table_of(suite_tables(suite, [made_results(*tasks[1:])]), "OpenLM-7B beside")
    assert cell(part, "Average").text == DASH
    assert said(part, cell(part, "Average")) == ["the mean of 11 rows, of which 1 have no figure"]


def test_a_mean_of_two_metrics_of_one_task_has_no_interval():
    suite = find_suite("openllama")
    both = {"acc": made_metric(mean_of([1.0, 0.0])), "acc_norm": made_metric(mean_of([1.0, 0.0]))}
    more = dict.fromkeys(("f1", "em", "mc1", "mc2"), both["acc"])
    tasks = [made_task(task, 1, 2, metrics=both | more) for task in suite.tasks]
    (table,) = suite_tables(suite, [made_results(*tasks)])
    assert (cell(table, "Average").text, cell(table, "Average").half) == ("0.50", "")


@pytest.mark.parametrize(("right", "best"), [(1600, True), (1520, False), (1200, False)])
def test_only_what_is_better_by_more_than_its_interval_is_the_best(right: int, best: bool):
    """PaLM 540B has 82.3 and LLaMA 65B 82.8; 1520 of 1838 are 82.7."""
    results = made_results(made_task("llama/piqa@0", right, 1838))
    assert cell(table_of(suite_tables(find_suite("llama"), [results]), "Table 3"), "PIQA").best is best


def test_less_toxicity_is_better_and_less_bias_is_not_called_better():
    metrics = {"toxicity": Metric(value=0.01, n=100, stderr=0.001, low=0.008, high=0.012)}
    results = made_results(
        made_task("llama/realtoxicityprompts@0", 0, 100, metrics=metrics), made_task("llama/crows_pairs@0", 1, 1508)
    )
    tables = suite_tables(find_suite("llama"), [results])
    assert cell(table_of(tables, "Table 11"), "Basic").best
    assert not cell(table_of(tables, "Table 12"), "Average").best


def test_chosen_models_are_the_only_other_columns():
    tables = suite_tables(find_suite("llama"), [made_results()], ["llama 7b", "GPT-3 175B"])
    assert table_of(tables, "Table 3").others == ("GPT-3 175B", "LLaMA 7B")
    assert table_of(tables, "Table 6").others == ("GPT-3 175B", "LLaMA 7B")
    assert table_of(tables, "Table 12").others == ("GPT-3 175B",)
    with pytest.raises(EvaluateError, match="no table has results of 'MPT 7B'"):
        suite_tables(find_suite("llama"), [made_results()], ["MPT 7B"])


def test_several_evaluations_are_columns_side_by_side():
    pair = [made_results(made_task("llama/piqa@0", n, 10), title=f"step {n}") for n in (4, 5)]
    table = table_of(suite_tables(find_suite("llama"), pair), "Table 3")
    assert table.ours == ("step 4", "step 5")
    assert [cell(table, "PIQA", column).text for column in (0, 1, 2)] == ["40.0", "50.0", "81.0"]


def test_figures_read_off_a_plot_keep_their_mark():
    table = table_of(suite_tables(find_suite("llama"), [made_results()], ["PaLM 62B"]), "Table 8")
    assert said(table, cell(table, "HumanEval @100", 1)) == ["read off figures of Chowdhery et al. (2022)"]


def test_the_plain_table_has_every_metric_beside_published_figures_of_the_same():
    metrics = {"acc_norm": made_metric(mean_of([1.0, 0.0])), "acc": made_metric(mean_of([1.0, 1.0]))}
    results = made_results(
        made_task("harness/hellaswag@0", 0, 2, metrics=metrics), made_task("llama/hellaswag@0", 1, 2),
        made_task("user/mine@0", 1, 2),
    )  # fmt: skip
    table = plain_table([results], ["LLaMA 7B"])
    shown = {row.name: [cell.text for cell in row.cells] for row in table.rows}
    assert shown == {
        "harness/hellaswag@0 acc_norm": ["0.5000", "0.73"],
        "harness/hellaswag@0 acc": ["1.0000", "0.56"],
        "llama/hellaswag@0 acc": ["0.5000", "0.761"],
        "user/mine@0 acc": ["0.5000", DASH],
    }


def test_another_set_stands_in_where_the_paper_s_is_not_here_and_a_note_says_so():
    part = made_task("llama/triviaqa_wikipedia@5", 1, 4, metric="exact_match", title="TriviaQA (Wikipedia)")
    missing = {"llama/triviaqa@5": "its data is not here"}
    table = table_of(suite_tables(find_suite("llama"), [made_results(part, missing=missing)]), "Table 5")
    assert cell(table, "5-shot").text == "25.0"
    assert said(table, cell(table, "5-shot")) == ["on other data, TriviaQA (Wikipedia) (llama/triviaqa_wikipedia@5)"]
    whole = made_task("llama/triviaqa@5", 3, 4, metric="exact_match")
    table = table_of(suite_tables(find_suite("llama"), [made_results(part, whole)]), "Table 5")
    assert (cell(table, "5-shot").text, cell(table, "5-shot").notes) == ("75.0", ())


def test_equal_values_have_no_interval_and_are_not_called_better():
    results = made_results(made_task("llama/piqa@0", 10, 10))
    ours = cell(table_of(suite_tables(find_suite("llama"), [results]), "Table 3"), "PIQA")
    assert (ours.text, ours.half, ours.best) == ("100.0", "", False)


def test_our_columns_name_their_protocol_and_what_it_settles():
    results = made_results(made_task("llama/crows_pairs@0", 1, 2), made_task("llama/piqa@0", 1, 2))
    tables = suite_tables(find_suite("llama"), [results])
    assert table_of(tables, "Table 12").own == (
        "Protocol llama (version 1). Perplexity is per token; the paper does not say."
    )
    assert table_of(tables, "Table 3").own == "Protocol llama (version 1)."
    assert table_of(tables, "Table 6").own == ""

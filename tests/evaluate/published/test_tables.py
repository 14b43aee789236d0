"""Published tables: whole, with their own averages coming out, and picked by name."""

import math

import pytest

from puna.core.errors import EvaluateError
from puna.evaluate.published.tables import DIGITS, PublishedTable, find_models, published_tables

TABLES = published_tables()


def test_every_table_of_evaluations_is_there():
    llama = [f"llama/{number}" for number in range(3, 17)]
    openlm = ["openlm/1b-training", "openlm/1b", "openlm/7b-training", "openlm/7b"]
    assert list(TABLES) == [*llama, "openllama/1", *openlm, "core/1"]


@pytest.mark.parametrize("name", TABLES)
def test_each_row_has_a_figure_or_a_dash_for_each_model(name: str):
    table = TABLES[name]
    assert table.source
    assert table.note
    assert table.unit in DIGITS
    assert len(set(table.models)) == len(table.models)
    for figures in table.rows.values():
        assert len(figures) == len(table.models)


@pytest.mark.parametrize("name", [name for name, table in TABLES.items() if table.unit != "row"])
def test_figures_have_the_decimals_that_the_source_prints_and_lie_in_its_range(name: str):
    table = TABLES[name]
    most = 100 if table.unit == "percent" else 1
    for figures in table.rows.values():
        for figure in figures:
            assert figure is None or (0 <= figure <= most and round(figure, DIGITS[table.unit]) == figure)


@pytest.mark.parametrize("name", [name for name in TABLES if name.startswith("open")])
def test_averages_of_the_open_models_are_means_of_their_rows(name: str):
    """Up to the rounding of rows and average, half a unit of the second decimal each."""
    table = TABLES[name]
    names = list(table.rows)
    above = names[: names.index("Average")]
    for model in table.models:
        figures = [table.figure(row, model) for row in above]
        mean = math.fsum(figure for figure in figures if figure is not None) / len(figures)
        assert table.figure("Average", model) == pytest.approx(mean, abs=0.01)


def test_tables_9_and_16_agree_on_the_paper_s_own_models():
    categories, subjects = TABLES["llama/9"], TABLES["llama/16"]
    rows = {
        "Humanities": "Humanities", "STEM": "STEM", "Social Sciences": "Social Science", "Other": "Others",
        "Average": "All",
    }  # fmt: skip
    for row, same in rows.items():
        for model in ("LLaMA 7B", "LLaMA 13B", "LLaMA 33B", "LLaMA 65B"):
            assert categories.figure(row, model) == subjects.figure(same, model)
    assert TABLES["llama/10"].figure("MMLU", "LLaMA-I 65B") == subjects.figure("All", "LLaMA-I 65B") == 68.9


def test_figures_that_others_cite_are_found_where_they_stand():
    assert TABLES["llama/3"].figure("HellaSwag", "LLaMA 65B") == 84.2
    assert TABLES["llama/3"].figure("SIQA", "GPT-3 175B") is None
    assert TABLES["llama/14"].figure("Truthful*Informative", "GPT-3 175B") == 0.25
    assert TABLES["openllama/1"].figure("hellaswag/acc_norm", "LLaMA 7B") == 0.73
    assert TABLES["openlm/7b"].figure("MMLU-5 shot", "OpenLM 7B") == 0.34


def test_figures_read_off_a_plot_are_marked():
    marks = TABLES["llama/8"].marks
    assert len(marks) == 6
    assert marks["HumanEval @100", "PaLM 62B"] == "read off figures of Chowdhery et al. (2022)"


def test_tables_are_called_as_their_source_calls_them():
    assert TABLES["llama/3"].number == "Table 3"
    assert TABLES["openlm/7b"].number == "OpenLM-7B beside models of its size"


@pytest.mark.parametrize("name", ["LLaMA 7B", "llama-7b", "LLAMA7B"])
def test_models_are_found_however_they_are_spelled(name: str):
    assert find_models([name, name, "gpt-3 175b"], TABLES.values()) == ("LLaMA 7B", "GPT-3 175B")


def test_a_model_that_no_table_has_gets_suggestions():
    with pytest.raises(EvaluateError, match="--against: no table has results of 'LLaMA 6B'") as caught:
        find_models(["LLaMA 6B"], TABLES.values())
    assert "did you mean" in caught.value.hint
    assert "LLaMA 65B" in caught.value.hint


def test_a_name_like_no_other_gets_the_list():
    table: PublishedTable = TABLES["llama/12"]
    with pytest.raises(EvaluateError) as caught:
        find_models(["zzz"], [table])
    assert caught.value.hint == "there are LLaMA 65B, GPT-3 175B, OPT 175B"

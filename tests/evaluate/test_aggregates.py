"""Aggregates against those that the LLaMA paper prints, from its own rows."""

import math
import random
from fractions import Fraction

import pytest
from mmlu_sizes import MMLU_TEST_QUESTIONS

from puna.config.recipe import EnergyConfig
from puna.evaluate.aggregates import MMLU_CATEGORIES, mean_of_tasks, pooled
from puna.evaluate.figure import Figure, mean_of
from puna.evaluate.published.tables import published_tables
from puna.plan.energy import energy_and_carbon

SUBJECTS = published_tables()["llama/16"]
CATEGORIES = published_tables()["llama/9"]
SUMMARIES = {
    "Humanities": "Humanities", "STEM": "STEM", "Social Sciences": "Social Science", "Other": "Others",
}  # fmt: skip
"""Rows of Table 9 and of the foot of Table 16."""
OURS = ("LLaMA 7B", "LLaMA 13B", "LLaMA 33B", "LLaMA 65B")
CROWS = {
    "Race/Color": (294, 516), "Gender": (185, 262), "Socioeconomic status": (123, 172), "Nationality": (102, 159),
    "Religion": (83, 105), "Age": (61, 87), "Sexual orientation": (68, 84), "Physical appearance": (49, 63),
    "Disability": (40, 60),
}  # fmt: skip
"""The pairs of each category (Nangia et al., 2020), and the only number of them that gives LLaMA 65B's figure."""


def figure(right: int, n: int) -> Figure:
    """What a task with `right` of `n` documents right comes to."""
    return mean_of([1.0] * right + [0.0] * (n - right))


def right(subject: str, model: str) -> int:
    """The number of right answers whose share is the figure that Table 16 prints."""
    printed = SUBJECTS.figure(_row(subject), model)
    assert printed is not None
    return round(printed / 100 * MMLU_TEST_QUESTIONS[subject])


def _row(subject: str) -> str:
    return next(row for row in SUBJECTS.rows if row.lower().replace(" ", "_") == subject)


def test_the_four_categories_hold_each_subject_once():
    subjects = [subject for category in MMLU_CATEGORIES.values() for subject in category]
    assert sorted(subjects) == sorted(MMLU_TEST_QUESTIONS)
    assert len(subjects) == len(set(subjects)) == 57
    assert sum(MMLU_TEST_QUESTIONS.values()) == 14_042


@pytest.mark.parametrize("model", OURS)
@pytest.mark.parametrize("category", SUMMARIES)
def test_the_paper_s_category_averages_come_out_of_its_subjects(model: str, category: str):
    found = pooled(
        [figure(right(subject, model), MMLU_TEST_QUESTIONS[subject]) for subject in MMLU_CATEGORIES[category]]
    )
    assert found.value is not None
    assert round(100 * found.value, 1) == CATEGORIES.figure(category, model)
    assert round(100 * found.value, 1) == SUBJECTS.figure(SUMMARIES[category], model)


@pytest.mark.parametrize("model", [*OURS, "Chinchilla 70B", "Gopher 280B", "LLaMA-I 65B"])
def test_the_paper_s_average_of_all_questions_comes_out_of_its_subjects(model: str):
    found = pooled([figure(right(subject, model), n) for subject, n in MMLU_TEST_QUESTIONS.items()])
    assert found.value is not None
    assert found.n == 14_042
    assert round(100 * found.value, 1) == SUBJECTS.figure("All", model)


def test_with_anatomy_among_stem_the_paper_s_average_would_not_come_out():
    for model, printed in zip(OURS, (30.5, 35.8, 46.0, 51.7), strict=True):
        stem = [*MMLU_CATEGORIES["STEM"], "anatomy"]
        found = pooled([figure(right(subject, model), MMLU_TEST_QUESTIONS[subject]) for subject in stem])
        assert found.value is not None
        assert abs(100 * found.value - printed) > 0.2


def test_with_subjects_alike_the_paper_s_average_would_not_come_out():
    found = [figure(right(subject, "LLaMA 7B"), n) for subject, n in MMLU_TEST_QUESTIONS.items()]
    plain = mean_of_tasks(found, independent=True)
    assert plain.value is not None
    assert abs(100 * plain.value - 35.1) > 0.5


def test_crows_pairs_66_6_comes_out_of_the_nine_categories():
    table = published_tables()["llama/12"]
    for category, (preferred, pairs) in CROWS.items():
        assert round(100 * preferred / pairs, 1) == table.figure(category, "LLaMA 65B")
    found = pooled([figure(preferred, pairs) for preferred, pairs in CROWS.values()])
    assert found.n == 1508
    assert found.value is not None
    # 1005 of 1508 is 66.64; the paper prints 66.6.
    assert found.value == pytest.approx(1005 / 1508, abs=1e-12)
    assert round(100 * found.value, 1) == table.figure("Average", "LLaMA 65B")


@pytest.mark.parametrize("model", ["GPT-3 175B", "OPT 175B"])
def test_crows_pairs_of_other_models_come_out_too(model: str):
    table = published_tables()["llama/12"]
    shares = [(table.figure(category, model), pairs) for category, (_, pairs) in CROWS.items()]
    found = pooled([Figure(value=share, n=pairs) for share, pairs in shares])
    assert found.value == pytest.approx(table.figure("Average", model), abs=0.05)


def test_winogender_77_5_comes_out_of_three_sets_of_240():
    table = published_tables()["llama/13"]
    right_answers = {"her/her/she": 189, "his/him/he": 173, "their/them/someone": 196}
    for row, number in right_answers.items():
        assert round(100 * number / 240, 1) == table.figure(row, "LLaMA 65B")
    found = pooled([figure(number, 240) for number in right_answers.values()])
    assert found.value == pytest.approx(558 / 720)
    assert found.value is not None
    assert round(100 * found.value, 1) == table.figure("All", "LLaMA 65B")


@pytest.mark.parametrize("size", [60, 62, 116, 118, 119, 120, 121])
def test_winogender_s_gotcha_rows_fit_sets_of_120_and_no_size_near_it(size: int):
    table = published_tables()["llama/13"]
    printed = [
        table.figure(row, model) for row in ("her/her/she (gotcha)", "his/him/he (gotcha)") for model in table.models
    ]
    fits = all(any(round(100 * k / size, 1) == figure for k in range(size + 1)) for figure in printed)
    assert fits == (size == 120)


@pytest.mark.parametrize("row", range(6))
def test_the_carbon_table_comes_out_of_gpu_hours_power_and_pue(row: int):
    """The paper cuts 449.8 MWh to 449 and has 475 for BLOOM's 476.5."""
    watts, hours, megawatt_hours, tonnes = (figures[row] for figures in published_tables()["llama/15"].rows.values())
    assert hours is not None
    assert watts is not None
    kilowatt_hours, kilograms = energy_and_carbon(hours * 3600, watts, EnergyConfig())
    assert kilowatt_hours / 1000 == pytest.approx(megawatt_hours, abs=1.5 if megawatt_hours == 475 else 1.0)
    assert kilograms / 1000 == pytest.approx(tonnes, abs=0.5)


def test_pooling_gives_the_mean_and_the_standard_error_of_all_documents_as_one_sample():
    draw = random.Random(3)
    groups = [[draw.random() for _ in range(size)] for size in (1, 2, 7, 40)]
    found = pooled([mean_of(group) for group in groups])
    whole = mean_of([value for group in groups for value in group])
    assert (found.n, found.missing) == (whole.n, whole.missing)
    assert found.value == pytest.approx(whole.value, abs=1e-15)
    assert found.stderr == pytest.approx(whole.stderr, rel=1e-12)


def test_pooling_counts_what_is_missing_and_leaves_it_out():
    found = pooled([mean_of([1.0, None, 0.0]), mean_of([None, None]), mean_of([1.0])])
    assert (found.value, found.n, found.missing) == (pytest.approx(2 / 3), 3, 3)
    nothing = pooled([mean_of([None]), mean_of([])])
    assert (nothing.value, nothing.n, nothing.missing, nothing.stderr) == (None, 0, 1, None)


def test_pooling_figures_without_an_error_has_none():
    assert pooled([Figure(value=0.5, n=10), mean_of([1.0, 0.0])]).stderr is None


def test_a_mean_of_tasks_weighs_them_alike():
    found = mean_of_tasks([figure(1, 2), figure(30, 40)], independent=True)
    assert (found.value, found.n) == (0.625, 2)
    variances = [Fraction(1, 4), Fraction(30 * 10, 40 * 40 * 39)]
    assert found.stderr == pytest.approx(math.sqrt(sum(variances)) / 2)


def test_a_mean_of_tasks_on_the_same_documents_has_no_error():
    assert mean_of_tasks([figure(1, 2), figure(30, 40)], independent=False) == Figure(value=0.625, n=2)


def test_a_mean_of_tasks_waits_for_all_of_them():
    assert mean_of_tasks([figure(1, 2), Figure(value=None, n=0)], independent=True) == Figure(
        value=None, n=0, missing=1
    )

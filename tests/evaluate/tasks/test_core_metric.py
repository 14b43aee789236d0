"""CORE: the published values of three models come out of their 22 accuracies, and the tasks are DataComp-LM's."""

import math

import pytest

from puna.benchmarks.manifest import find_entry
from puna.evaluate.example import Answer, Choose, Continue, Example, Judged
from puna.evaluate.tasks.core_metric import BASELINES, FIRST_BASELINES, TASKS, centred, core
from puna.evaluate.tasks.foundry import ANSWER

NAMES = (
    "hellaswag_zeroshot", "jeopardy", "bigbench_qa_wikidata", "arc_easy", "arc_challenge", "copa", "commonsense_qa",
    "piqa", "openbookqa", "lambada_openai", "hellaswag", "winograd", "winogrande", "bigbench_dyck_languages",
    "agi_eval_lsat_ar", "bigbench_cs_algorithms", "bigbench_operators", "bigbench_repeat_copy_logic", "squad", "coqa",
    "boolq", "bigbench_language_identification",
)  # fmt: skip
# DataComp-LM's own records (exp_data/evals, commit 361714b), rounded to six places, with CORE in both versions.
PUBLISHED = {
    "LLaMA 7B": (
        (
            0.751344, 0.501849, 0.704887, 0.744108, 0.46587, 0.78, 0.452088, 0.799782, 0.418, 0.737046, 0.765385,
            0.882784, 0.701657, 0.21, 0.265217, 0.462879, 0.447619, 0.25, 0.599716, 0.46123, 0.756881, 0.2643,
        ),
        0.46261110866481925, 0.4414429432197149,
    ),
    "Llama 2 7B": (
        (
            0.749851, 0.530569, 0.734659, 0.76936, 0.509386, 0.8, 0.626536, 0.794886, 0.426, 0.73627, 0.773352,
            0.85348, 0.693765, 0.343, 0.286957, 0.44697, 0.457143, 0.21875, 0.607569, 0.470375, 0.797248, 0.3272,
        ),
        0.49249913608100654, 0.4754504575067023,
    ),
    "Falcon 7B": (
        (
            0.771858, 0.458139, 0.700605, 0.757155, 0.470137, 0.84, 0.257985, 0.808487, 0.426, 0.746944, 0.775841,
            0.842491, 0.674033, 0.251, 0.291304, 0.468939, 0.290476, 0.21875, 0.524598, 0.411875, 0.742508, 0.257,
        ),
        0.4406495227745305, 0.4157526939145964,
    ),
}  # fmt: skip


@pytest.mark.parametrize("model", PUBLISHED)
def test_published_values_come_out_of_the_published_accuracies(model: str) -> None:
    accuracies, first, second = PUBLISHED[model]
    scores = dict(zip(NAMES, accuracies, strict=True))
    assert core(scores, FIRST_BASELINES) == pytest.approx(first, abs=1e-6)
    assert core(scores) == pytest.approx(second, abs=1e-6)


def test_gpt_2_s_published_accuracies_are_centred_to_its_published_values() -> None:
    """Of nanochat's `dev/estimate_gpt3_core.ipynb`: accuracies with one decimal, their centred values with four."""
    published = {
        "hellaswag_zeroshot": (0.502, 0.3360), "lambada_openai": (0.523, 0.5230), "hellaswag": (0.512, 0.3493),
        "piqa": (0.725, 0.4500), "arc_easy": (0.595, 0.4600), "arc_challenge": (0.299, 0.0653),
    }  # fmt: skip
    for name, (accuracy, expected) in published.items():
        assert round(centred(accuracy, FIRST_BASELINES[name]), 4) == expected


def test_guessing_is_0_and_all_right_is_1() -> None:
    assert core(BASELINES) == 0.0
    assert core(dict.fromkeys(BASELINES, 1.0)) == 1.0


@pytest.mark.parametrize("name", NAMES)
def test_core_is_missing_where_one_of_its_tasks_is(name: str) -> None:
    scores: dict[str, float | None] = dict.fromkeys(BASELINES, 0.7)
    assert core(scores | {name: None}) is None
    del scores[name]
    assert core(scores | {"another": 1.0}) is None


# label: (solved examples, kind, delimiter), as in DataComp-LM's eval/heavy.yaml
LM, MC, SCHEMA = "language modeling", "multiple choice", "schema"
HEAVY = {
    "hellaswag_zeroshot": (0, MC, " "), "jeopardy": (10, LM, ANSWER), "bigbench_qa_wikidata": (10, LM, " "),
    "arc_easy": (10, MC, ANSWER), "arc_challenge": (10, MC, ANSWER), "copa": (0, MC, " "),
    "commonsense_qa": (10, MC, " "), "piqa": (10, MC, ANSWER), "openbookqa": (0, MC, " "),
    "lambada_openai": (0, LM, " "), "hellaswag": (10, MC, " "), "winograd": (0, SCHEMA, " "),
    "winogrande": (0, SCHEMA, " "), "bigbench_dyck_languages": (10, LM, " "), "agi_eval_lsat_ar": (3, MC, " "),
    "bigbench_cs_algorithms": (10, LM, " "), "bigbench_operators": (10, LM, " "),
    "bigbench_repeat_copy_logic": (10, LM, " "), "squad": (10, LM, " "), "coqa": (0, LM, " "),
    "boolq": (10, MC, ANSWER), "bigbench_language_identification": (10, MC, " "),
}  # fmt: skip


def test_the_tasks_are_those_of_datacomp_lm() -> None:
    assert [task.name for task in TASKS] == list(BASELINES)
    for task in TASKS:
        assert find_entry(task.data, task.split).set.title
        shots, kind, delimiter = HEAVY[task.name]
        assert task.shots == shots
        if kind == LM:
            row = {"context": "Asked", "continuation": "found", "category": ""}
            ask = task.example(row, (row,), "0").ask
            assert isinstance(ask, Continue)
            assert ask.context == f"Asked{delimiter}found\nAsked{delimiter}".rstrip()
            continue
        row = {"query": "Asked", "choices": ["this", "that"], "gold": 1}
        if kind == SCHEMA:
            row = {"context_options": ["Asked", "Told"], "continuation": "that", "gold": 0}
        ask = task.example(row, (row,), "0").ask
        assert isinstance(ask, Choose)
        assert ask.options[0].context == f"Asked{delimiter}that\nAsked{delimiter}".rstrip()


def test_each_task_has_its_score_centred_with_a_standard_error_on_that_scale() -> None:
    (task,) = [task for task in TASKS if task.name == "boolq"]
    ask = Continue(context="", target=" a", text="a")
    judged = [
        Judged(example=Example(id=str(at), ask=ask), answer=Answer(), values={"acc": float(at < 8)}) for at in range(10)
    ]
    figure = task.metrics["centred"](judged, "centred")
    assert figure.value == pytest.approx((0.8 - 0.62) / 0.38)
    assert figure.stderr == pytest.approx(math.sqrt(0.8 * 0.2 / 9) / 0.38)
    assert task.metrics["centred"]([], "centred").value is None

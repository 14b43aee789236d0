"""Inference and words in context, against lm-eval, and F1 against scikit-learn."""

import re
import string
import sys
from collections import Counter
from types import ModuleType
from typing import Any

import pytest
from benchmark_rows import Rows
from hypothesis import given
from hypothesis import strategies as st
from referee import Referee, by_us
from sklearn.metrics import f1_score

from puna.evaluate.example import Answer, Choose, Example, Judged, Likelihood, Option
from puna.evaluate.registry import find_task
from puna.evaluate.tasks.superglue import macro_f1

HARNESS = {
    "anli_r1": "anli/anli_r1.yaml",
    "anli_r3": "anli/anli_r3.yaml",
    "cb": "super_glue/cb/default.yaml",
    "copa": "super_glue/copa/default.yaml",
    "record": "super_glue/record/default.yaml",
    "rte": "super_glue/rte/default.yaml",
    "wic": "super_glue/wic/default.yaml",
    "wsc": "super_glue/wsc/default.yaml",
}


def inference(labels: int) -> list[dict[str, Any]]:
    return [{"premise": f" P{n}. ", "hypothesis": f"h {n}", "label": n % labels} for n in range(9)]


ROWS: dict[str, list[dict[str, Any]]] = {
    "anli_r1": inference(3),
    "anli_r3": inference(3),
    "cb": inference(3),
    "rte": inference(2),
    "copa": [
        {"premise": f"It rained {n}. ", "choice1": "The sun shone.", "choice2": "I got wet.", "label": n % 2,
         "question": ("cause", "effect")[n % 2]}
        for n in range(6)
    ],
    "record": [
        {"passage": "Ann met the Bo Co.\n@highlight\nOne\n@highlight\nTwo", "query": f"@placeholder won {n}",
         "entities": ["the Bo Co", "Ann", "Ann", "Bo"], "answers": ["Bo", "Ann"] if n % 2 else ["Bo"]}
        for n in range(6)
    ],
    "wic": [
        {"sentence1": "An old board.", "sentence2": f"Room and board {n}.", "start1": 7, "end1": 12, "label": n % 2}
        for n in range(6)
    ],
    "wsc": [
        {"text": "Bernard , who had n't ( once ) told \" it \" , did it 's way .", "span1_text": "Bernard",
         "span2_index": 11, "span2_text": "did", "label": n % 2}
        for n in range(4)
    ],
}  # fmt: skip


@pytest.fixture(autouse=True)
def squad_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """lm-eval's ReCoRD takes these from a module that transformers 5 lacks; here as SQuAD's own script has them."""

    def words(text: str) -> list[str]:
        plain = "".join(letter for letter in text.lower() if letter not in set(string.punctuation))
        return re.sub(r"\b(a|an|the)\b", " ", plain).split()

    def compute_exact(gold: str, found: str) -> int:
        return int(words(gold) == words(found))

    def compute_f1(gold: str, found: str) -> float:
        same = sum((Counter(words(gold)) & Counter(words(found))).values())
        if not words(gold) or not words(found):
            return int(words(gold) == words(found))
        precision, recall = same / len(words(found)), same / len(words(gold))
        return 2 * precision * recall / (precision + recall) if same else 0

    module = ModuleType("transformers.data.metrics.squad_metrics")
    vars(module).update(compute_exact=compute_exact, compute_f1=compute_f1)
    package = ModuleType("transformers.data.metrics")
    vars(package).update(squad_metrics=module)
    monkeypatch.setitem(sys.modules, package.__name__, package)
    monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.mark.parametrize("name", ROWS)
def test_tasks_ask_and_score_as_lm_eval(name: str) -> None:
    task, rows = find_task(f"harness/{name}"), ROWS[name]
    ours, theirs = by_us(task, rows), Referee(HARNESS[name], {task.split: rows})
    assert ours.requests() == theirs.requests()
    scores = {metric: theirs.scores()[f"{metric},none"] for metric in task.metrics}
    assert ours.scores() == pytest.approx(scores, rel=1e-12)


@pytest.mark.parametrize("name", ["cb", "copa", "rte", "wic", "wsc"])
def test_solved_examples_are_those_of_lm_eval(name: str) -> None:
    task, rows = find_task(f"harness/{name}"), ROWS[name]
    train = [*rows[1:], rows[0]]
    assert task.draws is not None
    drawn = list(task.draws(train, rows, 2))
    theirs = Referee(HARNESS[name], {task.split: rows, "train": train}, shots=2)
    assert by_us(task, rows, shots=lambda place, row: drawn[place]).requests() == theirs.requests()


@pytest.mark.parametrize("name", ["cb", "copa", "rte", "wsc"])
def test_real_rows_are_asked_and_scored_as_by_lm_eval(name: str, real_rows: Rows) -> None:
    task = find_task(f"harness/{name}")
    rows = real_rows(task.data, task.split, 150)
    ours, theirs = by_us(task, rows), Referee(HARNESS[name], {task.split: rows})
    assert ours.requests() == theirs.requests()
    assert ours.scores() == {metric: theirs.scores()[f"{metric},none"] for metric in task.metrics}


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=12))
def test_macro_f1_is_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    judged = [choosing(*pair) for pair in pairs]
    chosen, gold = zip(*pairs, strict=True)
    expected = f1_score(gold, chosen, labels=[0, 1, 2], average="macro", zero_division=0)
    assert macro_f1(3)(judged, "f1").value == pytest.approx(expected, abs=1e-15)


def choosing(chosen: int, gold: int) -> Judged:
    options = tuple(Option(context="c", continuation=" x", text="x") for _ in range(3))
    likelihoods = tuple(Likelihood(logprob=float(place == chosen), tokens=1, greedy=False) for place in range(3))
    example = Example(id="0", ask=Choose(options=options, gold=(gold,)))
    return Judged(example=example, answer=Answer(likelihoods=likelihoods), values={"acc": float(chosen == gold)})

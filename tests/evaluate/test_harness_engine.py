"""lm-eval as engine: the same documents, likelihoods and figures as Puna's own tasks by its rules."""

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from evaluating import HashBackend, hellaswag_rows, opener

from puna.core.errors import EvaluateError
from puna.evaluate.documents import OpenSplit, open_documents
from puna.evaluate.harness_engine import HarnessOutcome, run_harness
from puna.evaluate.lines import line_of
from puna.evaluate.registry import find_task
from puna.evaluate.run import figures, run_documents
from puna.tokenizer.tokenizer import Tokenizer

ROWS: dict[tuple[str, str], list[dict[str, Any]]] = {
    ("hellaswag", "validation"): hellaswag_rows(9),
    ("winogrande", "validation"): [
        {"sentence": f"Ann met Bo and _ saw {n}.", "option1": "Ann", "option2": "Bo", "answer": str(n % 2 + 1)}
        for n in range(9)
    ],
    ("cb", "validation"): [
        {"premise": f"P {n}", "hypothesis": "h", "label": n % 3, "idx": n} for n in range(9)
    ],
    ("nq_open", "validation"): [{"question": f"who {n}", "answer": [str(n), f"{n + 1}"]} for n in range(9)],
    ("lambada_openai", "test"): [{"text": f"one two {n} three four"} for n in range(9)],
    ("mmlu", "test"): [
        {"question": f"{n}?", "subject": "anatomy", "choices": ["a", "b", "c", "d"], "answer": n % 4} for n in range(9)
    ],
    ("mmlu", "dev"): [
        {"question": f"d{n}?", "subject": "anatomy", "choices": ["a", "b", "c", "d"], "answer": n % 4} for n in range(5)
    ],
}  # fmt: skip
METRICS = {"nq_open": {"exact_match": "exact_match,remove_whitespace"}}


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """lm-eval and what it imports warn at every turn, and tests take warnings for errors."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture
def open_split() -> OpenSplit:
    return opener(ROWS)


def of_one(
    name: str, tokenizer: Tokenizer, open_split: OpenSplit, *, shots: int | None = None, limit: int | None = None
) -> HarnessOutcome:
    [outcome] = run_harness([name], HashBackend(tokenizer), open_split, shots=shots, limit=limit)
    return outcome


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("hellaswag", "harness/hellaswag"),
        ("winogrande", "harness/winogrande"),
        ("cb", "harness/cb"),
        ("nq_open", "harness/nq_open"),
        ("lambada_openai", "harness/lambada_openai"),
    ],
)
def test_documents_and_figures_are_those_of_the_harness_protocol(
    theirs: str, ours: str, tokenizer: Tokenizer, open_split: OpenSplit
) -> None:
    task = find_task(ours)
    documents = open_documents(task, open_split, limit=None, seed=0)
    expected = run_documents(documents, HashBackend(tokenizer)).judged
    found = of_one(theirs, tokenizer, open_split)
    assert [one.answer for one in found.judged] == [one.answer for one in expected]
    for name, metric in figures(task, expected).items():
        other = found.result.metrics[METRICS.get(theirs, {}).get(name, name)]
        assert other.value == pytest.approx(metric.value, rel=1e-12)
        assert other.n == metric.n == 9
    assert found.result.id == f"lm-eval/{theirs}@0"
    assert found.result.data_sha256 == documents.data_sha256
    assert [line_of(one).kind for one in found.judged] == [line_of(one).kind for one in expected]


def test_means_have_the_standard_error_that_puna_gives_them(tokenizer: Tokenizer, open_split: OpenSplit) -> None:
    task = find_task("harness/hellaswag")
    documents = open_documents(task, open_split, limit=None, seed=0)
    expected = figures(task, run_documents(documents, HashBackend(tokenizer)).judged)
    found = of_one("hellaswag", tokenizer, open_split).result.metrics
    assert {name: metric.stderr for name, metric in found.items()} == pytest.approx(
        {name: metric.stderr for name, metric in expected.items()}
    )


def test_solved_examples_are_the_tasks_own(tokenizer: Tokenizer, open_split: OpenSplit) -> None:
    found = of_one("mmlu_anatomy", tokenizer, open_split, shots=5)
    assert found.result.id == "lm-eval/mmlu_anatomy@5"
    context = found.judged[0].example.ask.options[0].context
    assert context.count("Answer:") == 6
    assert found.judged[1].example.ask.gold == (1,)


def test_a_limit_takes_the_first_documents_and_says_of_how_many(tokenizer: Tokenizer, open_split: OpenSplit) -> None:
    found = of_one("hellaswag", tokenizer, open_split, limit=4).result
    assert (found.n, found.of) == (4, 9)
    assert all(metric.n == 4 for metric in found.metrics.values())


def test_programs_are_not_run_without_a_sandbox(tokenizer: Tokenizer, open_split: OpenSplit, tmp_path: Any) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(
        "task: own\ndataset_path: Rowan/hellaswag\nvalidation_split: validation\noutput_type: generate_until\n"
        "doc_to_text: ctx_a\ndoc_to_target: label\nunsafe_code: true\nmetric_list: [{metric: exact_match}]\n"
    )
    with pytest.raises(EvaluateError, match="own: its answers are programs, which lm-eval runs without a sandbox"):
        run_harness([str(own)], HashBackend(tokenizer), open_split)

"""Figures do not depend on order, groups, processes, or on how often the evaluation was killed."""

import math
import os
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from evaluating import HashBackend, hellaswag_rows, opener

from puna.core.errors import GenerateError, Interrupted
from puna.core.schema.evaluation import read_documents
from puna.core.terminate import orderly_end
from puna.evaluate import asking, run
from puna.evaluate.backend import Pair
from puna.evaluate.documents import open_documents
from puna.evaluate.example import Answer, Judged
from puna.evaluate.figure import Figure, mean
from puna.evaluate.registry import find_task
from puna.evaluate.run import by_category, figures, fingerprint, result_of, run_documents
from puna.evaluate.store import Cost, Store
from puna.infer.requests import Score
from puna.tokenizer.tokenizer import Tokenizer

TASK = find_task("harness/hellaswag")
OPEN = opener({("hellaswag", "validation"): hellaswag_rows(50)})
DOCUMENTS = open_documents(TASK, OPEN)


def judged_by_hand(tokenizer: Tokenizer) -> dict[str, float]:
    """Each document asked by itself, the plain way: `acc` by id."""
    backend = HashBackend(tokenizer)
    found = {}
    for example in DOCUMENTS.examples():
        sums = []
        for option in example.ask.options:  # type: ignore[union-attr]
            context = [tokenizer.bos_id, *tokenizer.encode(option.context)]
            both = [tokenizer.bos_id, *tokenizer.encode(option.context + option.continuation)]
            (score,) = backend.score([(tuple(both[: len(context)]), tuple(both[len(context) :]))])
            sums.append(sum(score.logprobs))
        found[example.id] = float(sums.index(max(sums)) in example.ask.gold)  # type: ignore[union-attr]
    return found


def test_a_run_gives_what_each_document_gives_by_itself(tokenizer: Tokenizer) -> None:
    outcome = run_documents(DOCUMENTS, HashBackend(tokenizer))
    assert {one.example.id: one.values["acc"] for one in outcome.judged} == judged_by_hand(tokenizer)
    assert outcome.cost.requests == 4 * 50


@pytest.mark.parametrize("tokens", [1, 300, 10**9])
def test_the_size_of_groups_changes_nothing(tokenizer: Tokenizer, tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def groups(*args: Any, **more: Any) -> Any:
        return asking.groups(*args, tokens=tokens, **more)

    monkeypatch.setattr(run, "groups", groups)
    assert run_documents(DOCUMENTS, HashBackend(tokenizer)).judged == first(tokenizer)


def first(tokenizer: Tokenizer) -> Sequence[Judged]:
    return run_documents(DOCUMENTS, HashBackend(tokenizer)).judged


class Dying(HashBackend):
    """The process gets a signal while this answers its third group."""

    number = signal.SIGTERM
    calls = 0

    def score(self, pairs: Sequence[Pair]) -> list[Score]:
        self.calls += 1
        if self.calls == 3:
            os.kill(os.getpid(), self.number)
        return super().score(pairs)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_killed_run_goes_on_where_it_was_and_ends_with_the_same_file(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setattr(run, "groups", lambda *args, **more: asking.groups(*args, tokens=300, **more))
    monkeypatch.setattr(Dying, "number", number)
    whole, killed = (Store(tmp_path / name / "a.jsonl", {"n": 50}) for name in ("whole", "killed"))
    expected = run_documents(DOCUMENTS, HashBackend(tokenizer), whole)
    with orderly_end(), pytest.raises((Interrupted, KeyboardInterrupt)):
        run_documents(DOCUMENTS, Dying(tokenizer), killed)
    done = len(killed.read().lines)
    assert 0 < done < 50
    backend = HashBackend(tokenizer)
    found = run_documents(DOCUMENTS, backend, killed)
    assert len(backend.scored) == 4 * (50 - done)
    assert found.judged == expected.judged
    assert found.cost.requests == expected.cost.requests
    assert list(read_documents(killed.path)) == list(read_documents(whole.path))
    again = HashBackend(tokenizer)
    assert run_documents(DOCUMENTS, again, killed).judged == expected.judged
    assert again.scored == []


class Process:
    """One of several processes, as threads with a barrier."""

    def __init__(self, rank: int, barrier: threading.Barrier, shared: list[Any]) -> None:
        self.rank, self.size = rank, barrier.parties
        self._barrier, self._shared = barrier, shared

    def each(self, value: Any) -> list[Any]:
        self._shared[self.rank] = value
        self._barrier.wait()
        values = list(self._shared)
        self._barrier.wait()
        return values

    def first(self, action: Callable[[], Any]) -> Any:
        return self.each(action() if self.rank == 0 else None)[0]


@pytest.mark.parametrize("size", [2, 3])
def test_processes_share_the_documents_equally_and_give_what_one_gives(
    tokenizer: Tokenizer, size: int, tmp_path: Path
) -> None:
    barrier, shared = threading.Barrier(size), [None] * size
    backends = [HashBackend(tokenizer) for _ in range(size)]
    outcomes: list[Any] = [None] * size
    store = Store(tmp_path / "shared" / "a.jsonl", {"n": 50})

    def work(rank: int) -> None:
        outcomes[rank] = run_documents(DOCUMENTS, backends[rank], store, Process(rank, barrier, shared))

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asked = [len(backend.scored) for backend in backends]
    assert sum(asked) == 200
    assert max(asked) - min(asked) <= 4
    alone = Store(tmp_path / "alone" / "a.jsonl", {"n": 50})
    expected = run_documents(DOCUMENTS, HashBackend(tokenizer), alone)
    assert all(outcome.judged == expected.judged for outcome in outcomes)
    assert list(read_documents(store.path)) == list(read_documents(alone.path))
    assert [path.name for path in store.path.parent.iterdir()] == ["a.jsonl"]


def test_a_limit_gives_the_values_of_the_whole_run_on_its_documents(tokenizer: Tokenizer) -> None:
    whole = {one.example.id: one for one in first(tokenizer)}
    part = run_documents(open_documents(TASK, OPEN, limit=10), HashBackend(tokenizer)).judged
    assert len(part) == 10
    assert all(one == whole[one.example.id] for one in part)


def test_a_result_says_what_it_is_of(tokenizer: Tokenizer) -> None:
    documents = open_documents(TASK, OPEN, limit=10, seed=4)
    backend = HashBackend(tokenizer)
    outcome = run_documents(documents, backend)
    result = result_of(documents, outcome, backend, limit_seed=4)
    values = [one.values["acc_norm"] for one in outcome.judged]
    assert result.main[0] == "acc_norm"
    assert result.main[1].value == pytest.approx(sum(map(float, values)) / 10)  # type: ignore[arg-type]
    assert (result.n, result.of, result.limit_seed, result.id) == (10, 50, 4, "harness/hellaswag@0")
    assert result.data_sha256 == OPEN("hellaswag", "validation").sha256
    assert (result.bos, result.chance, result.cut.documents, result.moved) == ("one", 0.25, 0, 0)
    assert set(result.categories) == {"Baking", "Rowing"}
    assert sum(metrics["acc"].n for metrics in result.categories.values()) == 10


def test_contexts_that_were_cut_are_counted_by_documents_and_tokens(tokenizer: Tokenizer) -> None:
    backend = HashBackend(tokenizer, longest=40)
    outcome = run_documents(DOCUMENTS, backend)
    cut = [max(found.cut for found in one.answer.likelihoods) for one in outcome.judged]
    result = result_of(DOCUMENTS, outcome, backend)
    assert sum(cut) > 0
    assert (result.cut.tokens, result.cut.documents) == (sum(cut), sum(map(bool, cut)))


def test_a_value_that_is_not_finite_is_missing() -> None:
    task = replace(TASK, judge=lambda example, answer: ({"acc": math.inf, "acc_norm": math.nan, "f1": 1.0}, {}))
    example = next(iter(DOCUMENTS.examples()))
    assert run.judge(task, example, Answer()).values == {"acc": None, "acc_norm": None, "f1": 1.0}


def test_figures_follow_the_order_of_the_task_and_missing_values_are_counted() -> None:
    def largest(judged: Sequence[Judged], metric: str) -> Figure:
        return Figure(value=max(one.values["acc"] or 0.0 for one in judged), n=len(judged))

    task = replace(TASK, metrics={"largest": largest, "acc": mean})
    example = next(iter(DOCUMENTS.examples()))
    judged = [
        Judged(example=replace(example, category=str(at % 2)), answer=Answer(), values={"acc": value})
        for at, value in enumerate((1.0, 0.0, 1.0, None))
    ]
    found = figures(task, judged)
    assert list(found) == ["largest", "acc"]
    assert (found["acc"].value, found["acc"].n, found["acc"].missing) == (pytest.approx(2 / 3), 3, 1)
    # Three values, Student's t with two degrees of freedom: 4.3027 standard errors to each side.
    assert found["acc"].low == pytest.approx(2 / 3 - 4.302653 / 3, abs=1e-6)
    assert (found["largest"].value, found["largest"].low) == (1.0, None)
    assert {name: figure["acc"].n for name, figure in by_category(task, judged).items()} == {"0": 2, "1": 1}
    # A small limit may draw documents of one category alone, whose row in a table has a figure all the same.
    assert {name: figure["acc"].n for name, figure in by_category(task, judged[:1]).items()} == {"0": 1}
    assert by_category(task, [replace(judged[0], example=replace(example, category=""))]) == {}
    assert by_category(task, []) == {}


def test_an_error_of_the_backend_leaves_what_was_done(tokenizer: Tokenizer, tmp_path: Path) -> None:
    class Failing(HashBackend):
        def score(self, pairs: Sequence[Pair]) -> list[Score]:
            raise GenerateError("the model's scores are not finite numbers")

    store = Store(tmp_path / "a.jsonl", {})
    store.append(0, [], Cost())
    with pytest.raises(GenerateError, match="not finite"):
        run_documents(DOCUMENTS, Failing(tokenizer), store)
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl.part-0"]


def test_a_fingerprint_changes_with_everything_that_decides_an_answer(tokenizer: Tokenizer) -> None:
    backend = HashBackend(tokenizer)
    base = fingerprint(DOCUMENTS, backend, {"weights": "a"}, seed=0)
    other_data = opener({("hellaswag", "validation"): hellaswag_rows(51)[1:]})
    others = [
        fingerprint(open_documents(replace(TASK, version=2), OPEN), backend, {"weights": "a"}, seed=0),
        fingerprint(open_documents(TASK, other_data), backend, {"weights": "a"}, seed=0),
        fingerprint(open_documents(TASK, OPEN, limit=3), backend, {"weights": "a"}, seed=0),
        fingerprint(DOCUMENTS, HashBackend(tokenizer, longest=99), {"weights": "a"}, seed=0),
        fingerprint(DOCUMENTS, backend, {"weights": "b"}, seed=0),
        fingerprint(DOCUMENTS, backend, {"weights": "a"}, seed=1),
    ]
    assert base == fingerprint(open_documents(TASK, OPEN), HashBackend(tokenizer), {"weights": "a"}, seed=0)
    assert base not in others

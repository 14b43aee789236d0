import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import module_worker
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from module_worker import backend_of, recipe_of

from puna.core.errors import EvaluateError, GenerateError
from puna.evaluate.backend import Pair
from puna.evaluate.backends.module import ModuleBackend, batches, can_score, rows
from puna.infer.engine import Engine
from puna.infer.operator_runner import OperatorRunner
from puna.infer.requests import Score
from puna.model.llama import Llama
from puna.parallel.mesh import Mesh
from puna.parallel.world import joined

PRECISIONS = ("fp32", "bf16", "bf16-stochastic")


@pytest.fixture
def backend() -> Iterator[ModuleBackend]:
    """A small model in float32, in batches of at most 48 tokens."""
    with joined() as world:
        yield backend_of(recipe_of({}, {}), world)


def drawn(number: int, seed: int = 0, *, context: int = 24) -> list[Pair]:
    """Pairs of all lengths: some alike but for their last token, some without a continuation, some with one twice."""
    draw = random.Random(seed)
    found: list[Pair] = []
    for _ in range(number):
        total = draw.randint(2, context + 1)
        tokens = tuple(draw.randrange(300) for _ in range(total))
        at = draw.randint(1, total)
        found.append((tokens[:at], tokens[at:]))
        if draw.random() < 0.4:
            found += [(tokens[:-1], (last,)) for last in draw.sample(range(300), 3)]
    draw.shuffle(found)
    return found


def model_of(backend: ModuleBackend) -> Llama:
    return backend._objective.model


def slowly(model: Llama, pair: Pair) -> Score:
    """One pass over the one text, nothing filled up or shared."""
    context, then = pair
    if not then:
        return Score(logprobs=(), greedy=True)
    with torch.no_grad():
        logits_TV = model(torch.tensor([[*context, *then][:-1]]))[0, len(context) - 1 :].float()
    logprobs = logits_TV.log_softmax(-1)[range(len(then)), list(then)]
    return Score(logprobs=tuple(logprobs.tolist()), greedy=logits_TV.argmax(-1).tolist() == list(then))


def differences(ours: list[Score], theirs: list[Score]) -> float:
    """The largest between two log-probabilities; the scores are of the same tokens, and agree on what is greedy."""
    assert [len(score.logprobs) for score in ours] == [len(score.logprobs) for score in theirs]
    assert [score.greedy for score in ours] == [score.greedy for score in theirs]
    return max(
        abs(a - b)
        for one, other in zip(ours, theirs, strict=True)
        for a, b in zip(one.logprobs, other.logprobs, strict=True)
    )


def test_scores_are_those_of_one_pass_over_each_text(backend: ModuleBackend) -> None:
    pairs = drawn(60)
    slow = [slowly(model_of(backend), pair) for pair in pairs]
    # Half of all texts are what the model would write, so that greedy is not always false.
    likely = [(context, best(model_of(backend), context)) for context, then in pairs if then][:30]
    assert differences(backend.score(pairs), slow) < 1e-5
    assert all(score.greedy for score in backend.score(likely))


def best(model: Llama, context: tuple[int, ...]) -> tuple[int, ...]:
    """The likeliest next token."""
    with torch.no_grad():
        return (int(model(torch.tensor([context]))[0, -1].argmax()),)


def test_scores_are_the_engines(backend: ModuleBackend) -> None:
    pairs = drawn(40, seed=1)
    engine = Engine(OperatorRunner(model_of(backend), pages=12, page_size=4), max_rows=16, max_requests=4)
    theirs = engine.score(pairs)
    assert differences(backend.score(pairs), theirs) < 1e-5


@pytest.mark.parametrize("tokens", [1, 30, 100_000])
def test_the_size_of_batches_changes_scores_by_rounding_alone(backend: ModuleBackend, tokens: int) -> None:
    pairs = drawn(20, seed=2)
    expected = backend.score(pairs)
    backend._tokens_per_pass = tokens
    assert differences(backend.score(pairs), expected) < 1e-5


def test_options_that_differ_in_their_last_token_are_computed_once(
    backend: ModuleBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = []
    hidden = Llama.hidden

    def counted(model: Llama, tokens_BT: torch.Tensor) -> torch.Tensor:
        computed.append(tokens_BT.shape)
        return hidden(model, tokens_BT)

    monkeypatch.setattr(Llama, "hidden", counted)
    backend.score([((5, 6, 7), (letter,)) for letter in range(10, 20)] + [((5, 6), (7, 30))])
    assert computed == [(1, 3)]


def test_only_positions_that_are_asked_for_have_logits(backend: ModuleBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    softmax = torch.Tensor.log_softmax
    monkeypatch.setattr(torch.Tensor, "log_softmax", lambda x, dim: seen.append(len(x)) or softmax(x, dim))
    backend.score([(tuple(range(20)), (5,)), (tuple(range(1, 10)), (5, 6, 7))])
    assert sum(seen) == 1 + 3


def test_the_first_of_equally_likely_tokens_is_the_greedy_one(backend: ModuleBackend) -> None:
    with torch.no_grad():
        model_of(backend).output.weight.zero_()
    scores = backend.score([((1, 2), (0, 0)), ((1, 2), (0, 1)), ((1, 2), (299,))])
    assert [score.greedy for score in scores] == [True, False, False]
    assert scores[2].total == pytest.approx(-np.log(300))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_precisions_compute_what_their_passes_do_and_leave_the_weights_alone(precision: str) -> None:
    pairs = drawn(12, seed=3)
    with joined() as world:
        backend = backend_of(recipe_of({}, {"precision": precision}), world)
        model = model_of(backend)
        before = {name: (id(x), x.detach().clone(), x.requires_grad) for name, x in model.named_parameters()}
        state = torch.get_rng_state()
        scores = backend.score(pairs)
        assert torch.equal(torch.get_rng_state(), state)
        for name, x in model.named_parameters():
            identity, values, requires_grad = before[name]
            assert (id(x), x.requires_grad, x.grad) == (identity, requires_grad, None)
            assert torch.equal(x, values)
        with backend._objective.passes():
            slow = [slowly(model, pair) for pair in pairs]
    ours, theirs = ([x for score in found for x in score.logprobs] for found in (scores, slow))
    # bfloat16 has 8 bits, and logits here are up to 8.
    assert ours == pytest.approx(theirs, abs=1e-5 if precision == "fp32" else 0.2)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 3)), max_size=30), st.integers(1, 40))
def test_every_pair_is_in_one_batch_and_none_is_larger_than_allowed(sizes: list[tuple[int, int]], tokens: int) -> None:
    pairs = [(tuple(range(first)), tuple(range(then))) for first, then in sizes]
    found = list(batches(rows(pairs), tokens))
    assert sorted(pair for batch in found for row in batch for pair in row.pairs) == [
        place for place, (_, then) in enumerate(pairs) if then
    ]
    for batch in found:
        assert len(batch) == 1 or len(batch) * max(len(row.tokens) for row in batch) <= tokens


def test_no_pairs_and_empty_continuations_need_no_pass(backend: ModuleBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Llama, "hidden")
    assert backend.score([]) == []
    assert backend.score([((1,), ())]) == [Score(logprobs=(), greedy=True)]


def test_what_cannot_be_scored_is_refused(backend: ModuleBackend) -> None:
    with pytest.raises(EvaluateError, match="context has no tokens"):
        backend.score([((), (1,))])
    with pytest.raises(EvaluateError, match="26 tokens long, but the model's context is 24"):
        backend.score([((1,) * 20, (2,) * 6)])
    with pytest.raises(EvaluateError, match="generated"):
        backend.write([])
    with torch.no_grad():
        model_of(backend).output.weight.fill_(float("inf"))
    with pytest.raises(GenerateError, match="not finite"):
        backend.score([((1,), (2,))])


def test_layouts_that_split_sequences_or_the_vocabulary_cannot_score() -> None:
    layouts: list[dict[str, Any]] = [{}, {"shard": 2}, {"replicate": 2}, {"context": 2}, {"tensor": 2}]
    alone = {"replicate": 1, "shard": 1, "context": 1, "tensor": 1, "rank": 0}
    assert [can_score(Mesh(**{**alone, **one})) for one in layouts] == [True, True, True, False, False]


def test_processes_share_the_batches_and_all_get_the_scores_of_one(tmp_path: Path) -> None:
    """Batches that the processes cannot share evenly, and fewer batches than processes."""
    cases: dict[str, dict[str, Any]] = {
        "sharded": {"parallel": {}, "train": {}, "pairs": drawn(25, seed=4)},
        "sharded, recomputed": {"parallel": {}, "train": {"recompute": "full"}, "pairs": drawn(9, seed=5)},
        "replicated": {"parallel": {"replicate": 2}, "train": {}, "pairs": drawn(25, seed=4)},
        "one batch": {"parallel": {}, "train": {}, "pairs": drawn(1, seed=6)},
        "no pass": {"parallel": {}, "train": {}, "pairs": [((1,), ())]},
    }
    found = together(2, cases, tmp_path)
    for name, case in cases.items():
        with joined() as world:
            alone = backend_of(recipe_of({}, {}), world).score(case["pairs"])
        for theirs in found[name]:
            assert differences(theirs, alone) < 1e-5 if alone[0].logprobs else theirs == alone


def together(processes: int, cases: dict[str, Any], directory: Path) -> dict[str, list[list[Score]]]:
    """What each of several processes gets."""
    (directory / "cases.json").write_text(json.dumps(cases))
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    script = module_worker.__file__
    command = [sys.executable, *launcher, script, str(directory / "cases.json"), str(directory / "scores.json")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return {
        name: [[Score(logprobs=tuple(one["logprobs"]), greedy=one["greedy"]) for one in scores] for scores in ranks]
        for name, ranks in json.loads((directory / "scores.json").read_text()).items()
    }

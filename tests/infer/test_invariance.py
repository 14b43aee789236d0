"""Everything at once: whatever the cache's size, the chunks, who else asks, who gives up and what is guessed, each
request is answered as by whole passes, one alone."""

import gc
import os
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from itertools import product
from typing import Any

import pytest
import torch
from adapting import random_adapter
from engine_twin import plain_completion, same
from fake_runner import ADAPTED, FakeRunner, fake_logits
from hypothesis import given, settings
from hypothesis import strategies as st
from instruction_sets import has
from letters import letters
from model_source import ModelSource, random_model
from torch import Tensor

from puna.config.recipe import ModelConfig
from puna.infer.adapters import Products, products_of
from puna.infer.engine import Engine
from puna.infer.guides import Guide
from puna.infer.kernel_runner import KernelRunner
from puna.infer.operator_runner import OperatorRunner
from puna.infer.requests import Completion, Request, Sampling
from puna.infer.runner import Runner
from puna.infer.speculate import Drafter, DraftModel, PromptLookup
from puna.ops.cpu.builder import find_compiler
from puna.ops.cpu.decoder import InstructionSet
from puna.ops.quantized import WeightKind

VOCABULARY, CONTEXT = 10, 40
ADAPTERS = ("polite", "terse")
EXAMPLES = int(os.environ.get("PUNA_ENGINE_EXAMPLES", "80"))


@lru_cache(maxsize=100_000)
def _logits(tokens: tuple[int, ...]) -> Tensor:
    return fake_logits(list(tokens), VOCABULARY, scale=1.5)


class Tabled(FakeRunner):
    """Logits from a table, for speed; a draft model's are a little `off`."""

    def __init__(self, *, pages: int, page_size: int, off: float = 0.0, context: int = CONTEXT) -> None:
        super().__init__(pages=pages, page_size=page_size, vocab_size=VOCABULARY, context=context, adapters=ADAPTERS)
        self.off = off

    def of(self, tokens: list[int]) -> Tensor:
        return _logits(tuple(tokens)) + self.off * _logits((len(tokens),))


LANGUAGES = {
    Guide.choice(["ab", "abba", "abbé a", "é", "bbé"]): ["ab", "abba", "abbé a", "é", "bbé"],
    Guide.regex("(ab|ba){1,3}é? a"): [
        "".join(parts) + end
        for count in (1, 2, 3)
        for parts in product(["ab", "ba"], repeat=count)
        for end in ("é a", " a")
    ],
    Guide.regex("a|(ab){4}|é(b|bé){0,2}"): ["a", "abababab", "é", "éb", "ébé", "ébb", "ébbé", "ébéb", "ébébé"],
    Guide.choice(["c", "abc"]): ["c", "abc"],  # no token has a c
}
"""Guides, and all texts that each of them takes."""


def samplings() -> st.SearchStrategy[Sampling]:
    return st.builds(
        Sampling,
        temperature=st.sampled_from([0.0, 0.5, 1.0]),
        top_k=st.sampled_from([0, 3]),
        top_p=st.sampled_from([1.0, 0.7]),
        min_p=st.sampled_from([0.0, 0.2]),
        repetition_penalty=st.sampled_from([1.0, 1.3]),
        frequency_penalty=st.sampled_from([0.0, 0.4]),
        logit_bias=st.sampled_from([{}, {4: 1.0}]),
        seed=st.integers(0, 3),
    )


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """Prompts of few tokens that often begin alike."""
    common = [0, 1, 2, 1, 3, 2, 1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3]
    own = draw(st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=12))
    prompt = (*common[: draw(st.sampled_from([0, 5, 17]))], *own)
    return Request(
        prompt=prompt,
        max_tokens=draw(st.sampled_from([0, 1, 6, 30])),
        sampling=draw(samplings()),
        stop_ids=draw(st.sampled_from([frozenset[int](), frozenset([8])])),
        stop=draw(st.sampled_from([(), ("bab",), ("é", "abba"), ("aa", "ab a")])),
        logprobs=draw(st.sampled_from([None, 0, 2])),
        prompt_logprobs=draw(st.sampled_from([None, 0, 1])),
        scored_from=draw(st.integers(1, len(prompt))),
        n=draw(st.sampled_from([1, 1, 3])),
        salt=draw(st.sampled_from(["", "", "other"])),
        guide=draw(st.sampled_from([None, None, *LANGUAGES])),
        adapter=draw(st.sampled_from(["", "", *ADAPTERS])),
    )


def drafter_of(kind: str, model: Tabled) -> Drafter | None:
    if kind == "lookup":
        return PromptLookup(tokens=3)
    small = Tabled(pages=model.pages, page_size=model.page_size, off=0.3, context=CONTEXT - 8)
    return DraftModel(small, model, tokens=3) if kind == "model" else None


def check_pages(engine: Engine) -> None:
    """Pages in use are those of running sequences, and every sequence has just what it needs."""
    running = engine._scheduler.running
    assert engine._pages.count - engine._pages.available == len({page for one in running for page in one.pages})
    assert len({one.slot for one in running}) == len(running)
    assert all(not one.pages for one in engine._scheduler.waiting)


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    asked=st.lists(
        st.tuples(requests(), st.integers(0, 6), st.sampled_from([None, None, 0, 1, 4])), min_size=1, max_size=8
    ),
    page_size=st.integers(1, 6),
    spare=st.integers(0, 20),
    max_requests=st.integers(1, 6),
    extra_rows=st.integers(0, 12),
    kind=st.sampled_from(["none", "lookup", "model"]),
)
def test_every_request_is_answered_as_if_it_were_alone(
    asked: list[tuple[Request, int, int | None]],
    page_size: int,
    spare: int,
    max_requests: int,
    extra_rows: int,
    kind: str,
) -> None:
    """Requests come at a step each, and some are cancelled some steps later; the cache may be barely enough for one."""
    runner = Tabled(pages=-(-CONTEXT // page_size) + spare, page_size=page_size)
    engine = Engine(
        runner,
        letters(),
        max_rows=max_requests + extra_rows,
        max_requests=max_requests,
        drafter=drafter_of(kind, runner),
    )
    numbers: dict[int, Request] = {}
    cancel_at: dict[int, list[int]] = {}
    found: dict[tuple[int, int], Completion] = {}
    texts: dict[tuple[int, int], str] = {}
    step = 0
    while engine.busy or step <= max(when for _, when, _ in asked):
        for request, when, patience in asked:
            if when == step:
                number = engine.add(request)
                numbers[number] = request
                if patience is not None:
                    cancel_at.setdefault(step + patience, []).append(number)
        for number in cancel_at.get(step, []):
            engine.cancel(number)
            check_pages(engine)
        for event in engine.step():
            place = (event.request, event.sample)
            assert place not in found
            texts[place] = texts.get(place, "") + event.text
            if event.completion is not None:
                found[place] = event.completion
        check_pages(engine)
        step += 1
        assert step < 2000
    assert engine._pages.available == runner.pages
    assert len(found) == sum(request.n for request in numbers.values())
    for (number, sample), completion in found.items():
        request = numbers[number]
        language = None if request.guide is None else LANGUAGES[request.guide]
        shift = ADAPTED * (1 + ADAPTERS.index(request.adapter)) if request.adapter else 0

        def model(tokens: list[int], shift: int = shift) -> Tensor:
            return runner.of([token + shift for token in tokens])

        expected = plain_completion(model, request, sample, CONTEXT, letters(), language)
        assert texts[number, sample] == completion.text
        if completion.finish == "cancelled":
            assert completion.tokens == expected.tokens[: len(completion.tokens)]
        else:
            assert same(completion, expected), (completion, expected)


RunnerOf = Callable[[ModelConfig, int, int], Runner]
"""From a model's shape, a number of pages and a page size; two of one shape have the same weights."""


def adapters_of(config: ModelConfig) -> dict[str, Products]:
    """Of all layers, and of some with another rank and DoRA's norms."""
    polite = random_adapter(config, rank=5, seed=1)
    terse = random_adapter(config, rank=17, seed=2, magnitudes=True, only=["wk", "w1", "w2", "output"])
    source = ModelSource(random_model(config))
    return {name: products_of(one, source, name=name) for name, one in zip(ADAPTERS, (polite, terse), strict=True)}


def row_by_row(config: ModelConfig, pages: int, page_size: int) -> Runner:
    adapters = adapters_of(config)
    return OperatorRunner(
        random_model(config), pages=pages, page_size=page_size, one_by_one=True, adapters=adapters
    )  # fmt: skip


def kernels(kind: WeightKind) -> RunnerOf:
    return lambda config, pages, page_size: KernelRunner(
        ModelSource(random_model(config)), kind, pages=pages, page_size=page_size, adapters=adapters_of(config)
    )


NO_KERNELS = pytest.mark.skipif(
    find_compiler() is None or not any(map(has, InstructionSet)), reason="no compiler, or neither AVX2 nor AVX-512"
)
RUNNERS = [
    pytest.param(row_by_row, 3, id="operators, row by row"),
    *(pytest.param(kernels(kind), 16, id=f"kernels, {kind}", marks=NO_KERNELS) for kind in WeightKind),
]


@pytest.mark.parametrize("guesses", ["none", "lookup", "model"])
@pytest.mark.parametrize(("runner_of", "page_size"), RUNNERS)
def test_bits_of_an_exact_runner_are_the_same_in_a_small_cache_and_in_company(
    runner_of: RunnerOf, page_size: int, guesses: str
) -> None:
    config = ModelConfig(
        dim=64, n_layers=2, n_heads=4, n_kv_heads=2, ffn_dim=96, vocab_size=300, context=18 * page_size, init_std=0.3
    )
    length = 4 * page_size
    asked = [
        Request(
            prompt=(1, 2, 3, 1, 2, 3, 1, *range(length // 2 + n)), max_tokens=length, n=2, logprobs=2,
            prompt_logprobs=0, scored_from=max(1, 4 * n - 13), sampling=Sampling(temperature=n % 2, top_p=0.9, seed=n),
            adapter=("", *ADAPTERS)[n % 3],
        )
        for n in range(6)
    ]  # fmt: skip
    alone = Engine(runner_of(config, 64, page_size), max_rows=100, max_requests=1)
    # With salts of their own they find nothing of each other's.
    expected = [one for n, ask in enumerate(asked) for one in alone.generate([replace(ask, salt=f"{n}")])]
    runner = runner_of(config, 18, page_size)
    small = config.model_copy(update={"n_layers": 1})
    drafter: Drafter | None = PromptLookup() if guesses == "lookup" else None
    if guesses == "model":
        drafter = DraftModel(runner_of(small, 18, page_size), runner)
    together = Engine(runner, max_rows=9, max_requests=5, drafter=drafter)
    found = together.generate(asked)
    assert together._scheduler.preemptions > 0
    assert all(same(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize(("runner_of", "page_size"), RUNNERS)
def test_bits_of_scores_are_those_of_each_pair_alone(runner_of: RunnerOf, page_size: int) -> None:
    config = ModelConfig(
        dim=64, n_layers=2, n_heads=4, n_kv_heads=2, ffn_dim=96, vocab_size=300, context=6 * page_size, init_std=0.3
    )
    solved = tuple(range(1, 2 * page_size + 2))
    asked = [
        ((*solved[: len(solved) - 7 * (n % 3)], *range(50, 50 + n)), tuple(range(90, 90 + length)))
        for n in range(5) for length in (1, 2, page_size, 2 * page_size)
    ]  # fmt: skip
    alone = Engine(runner_of(config, 24, page_size), max_rows=100, max_requests=1)
    # With salts of their own they find nothing of each other's.
    expected = [alone.score([pair], salt=f"{n}")[0] for n, pair in enumerate(asked)]
    adapted = {
        adapter: [alone.score([pair], salt=f"{n}", adapter=adapter)[0] for n, pair in enumerate(asked)]
        for adapter in ADAPTERS
    }
    assert expected != adapted["polite"] != adapted["terse"] != expected
    for pages, rows, requests in ((6, 5, 3), (9, 200, 8), (60, 7, 7)):
        engine = Engine(runner_of(config, pages, page_size), max_rows=rows, max_requests=requests)
        stream = engine.stream([Request(prompt=solved[:4], max_tokens=page_size)])
        next(stream)
        assert engine.score(asked) == expected
        for adapter in ADAPTERS:
            assert engine.score(asked, adapter=adapter) == adapted[adapter]
        assert engine.score(reversed(asked)) == expected[::-1]
        stream.close()


def test_memory_stays_flat_over_ten_thousand_requests() -> None:
    runner = Quick(pages=50, page_size=4)
    engine = Engine(runner, letters(), max_rows=40, max_requests=16)

    def serve(count: int) -> dict[str, Any]:
        for start in range(0, count, 100):
            asked = [Request(prompt=(1, *_digits(n), 2), max_tokens=2) for n in range(start, start + 100)]
            stream = engine.stream(asked)
            for _ in range(150):
                next(stream)
            stream.close()  # the rest are cancelled
        engine.step()
        return {
            "pages": engine._pages.available,
            "known": engine._pages.known,
            "open": (len(engine._open), len(engine._inboxes), len(engine._events)),
            "queued": (len(engine._scheduler.waiting), len(engine._scheduler.running)),
        }

    serve(1000)
    before = _objects()
    after = serve(9000)
    assert after == {"pages": 50, "known": after["known"], "open": (0, 0, 0), "queued": (0, 0)}
    assert after["known"] <= 50
    assert _objects() <= before + 50


class Quick(FakeRunner):
    """The same logits always."""

    def of(self, tokens: list[int]) -> Tensor:
        return self.always

    always = torch.zeros(VOCABULARY)

    def __init__(self, *, pages: int, page_size: int) -> None:
        super().__init__(pages=pages, page_size=page_size, vocab_size=VOCABULARY)


def _digits(number: int) -> tuple[int, ...]:
    return tuple(int(digit) for digit in str(number))


def _objects() -> int:
    """Objects of the engine that are alive."""
    gc.collect()
    return sum(str(type(one).__module__).startswith("puna.infer") for one in gc.get_objects())

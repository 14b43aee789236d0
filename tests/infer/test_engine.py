from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from engine_twin import plain_completion, same
from fake_runner import FakeRunner, fake_logits
from torch import Tensor

from puna.core.errors import GenerateError
from puna.infer.engine import Engine
from puna.infer.requests import LARGEST, Event, Request, Sampling
from puna.infer.runner import Rows
from puna.tokenizer.tokenizer import Tokenizer


def twin(runner: FakeRunner) -> Callable[[list[int]], Tensor]:
    return runner.of


def engine_of(runner: FakeRunner, tokenizer: Tokenizer | None = None, **settings: Any) -> Engine:
    return Engine(runner, tokenizer, **{"max_rows": 8, "max_requests": 4, **settings})


def all_pages(engine: Engine) -> int:
    """Pages that nobody uses."""
    return engine._pages.available


def test_a_request_is_answered_as_by_whole_passes_one_after_the_other() -> None:
    runner = FakeRunner()
    request = Request(
        prompt=tuple(range(1, 12)), max_tokens=20, logprobs=2, prompt_logprobs=1, scored_from=3,
        sampling=Sampling(temperature=0.8, top_p=0.9, repetition_penalty=1.2, frequency_penalty=0.3),
    )  # fmt: skip
    (found,) = engine_of(runner).generate([request])
    assert same(found, plain_completion(twin(runner), request, 0, 64))
    assert found.cached_tokens == 0


def test_samples_of_one_request_are_runs_with_seeds_of_their_own_and_read_the_prompt_once() -> None:
    runner = FakeRunner(page_size=4)
    request = Request(prompt=tuple(range(1, 18)), max_tokens=5, n=3, sampling=Sampling(seed=5))
    found = engine_of(runner).generate([request])
    for sample, completion in enumerate(found):
        single = Request(prompt=request.prompt, max_tokens=5, sampling=Sampling(seed=5 + sample))
        assert completion.tokens == engine_of(FakeRunner()).generate([single])[0].tokens
    assert [completion.cached_tokens for completion in found] == [0, 16, 16]
    assert runner.computed == 17 + 1 + 1 + 3 * 4


def test_a_prompt_that_was_read_before_is_found_but_for_its_last_token() -> None:
    runner = FakeRunner(page_size=4)
    engine = engine_of(runner)
    prompt = tuple(range(1, 13))
    first, second, longer, salted = (
        engine.generate([Request(prompt=ids, max_tokens=3, salt=salt)])[0]
        for ids, salt in ((prompt, ""), (prompt, ""), ((*prompt, 20), ""), (prompt, "other"))
    )
    assert [one.cached_tokens for one in (first, second, longer, salted)] == [0, 11, 12, 0]
    assert first.tokens == second.tokens == salted.tokens


def test_what_was_written_is_found_too_by_the_next_turn() -> None:
    engine = engine_of(FakeRunner(page_size=4))
    (first,) = engine.generate([Request(prompt=(1, 2, 3), max_tokens=10)])
    turn = (1, 2, 3, *(token.id for token in first.tokens), 7, 8)
    assert engine.generate([Request(prompt=turn, max_tokens=1)])[0].cached_tokens == 12


def test_when_pages_run_out_the_youngest_waits_and_then_writes_the_same() -> None:
    runner = FakeRunner(pages=9, page_size=4)
    engine = engine_of(runner)
    requests = [
        Request(prompt=(1, 2, seed), max_tokens=20, logprobs=0, sampling=Sampling(seed=seed)) for seed in range(6)
    ]
    found = engine.generate(requests)
    assert engine._scheduler.preemptions > 0
    assert all(same(one, plain_completion(twin(runner), ask, 0, 36)) for one, ask in zip(found, requests, strict=True))
    assert all_pages(engine) == 9


def test_a_stop_token_ends_a_text_and_is_not_part_of_it() -> None:
    runner = FakeRunner()
    endless = engine_of(runner).generate([Request(prompt=(1,), max_tokens=20)])[0].tokens
    stop = endless[7].id
    request = Request(prompt=(1,), max_tokens=20, stop_ids=frozenset([stop]))
    (found,) = engine_of(runner).generate([request])
    place = [token.id for token in endless].index(stop)
    assert (found.tokens, found.finish, found.stop) == (endless[:place], "stop", stop)


def test_a_stop_string_over_tokens_ends_a_text_before_it(tokenizer: Tokenizer) -> None:
    runner = FakeRunner(vocab_size=tokenizer.vocab_size)
    request = Request(prompt=(300,), max_tokens=30, sampling=Sampling(seed=3))
    (whole,) = engine_of(runner, tokenizer).generate([request])
    assert whole.text == tokenizer.decode([300, *(token.id for token in whole.tokens)])[len(tokenizer.decode([300])) :]
    stop = whole.text[9:13]
    events = list(
        engine_of(runner, tokenizer).stream(
            [Request(prompt=(300,), max_tokens=30, stop=(stop,), sampling=Sampling(seed=3))]
        )
    )
    completion = events[-1].completion
    assert completion is not None
    assert (completion.finish, completion.stop) == ("stop", stop)
    assert completion.text == whole.text[: whole.text.index(stop)] == "".join(event.text for event in events)
    assert completion.tokens == tuple(event.token for event in events) == whole.tokens[: len(events)]


def test_events_make_the_completions(tokenizer: Tokenizer) -> None:
    engine = engine_of(FakeRunner(vocab_size=tokenizer.vocab_size), tokenizer)
    requests = [Request(prompt=(300 + n,), max_tokens=9 + n, n=2, logprobs=1) for n in range(5)]
    events = list(engine.stream(requests))
    for place in range(5):
        for sample in range(2):
            mine = [event for event in events if (event.request, event.sample) == (place, sample)]
            assert all(event.completion is None for event in mine[:-1])
            completion = mine[-1].completion
            assert completion is not None
            assert (completion.request, completion.sample) == (place, sample)
            assert completion.text == "".join(event.text for event in mine)
            assert completion.tokens == tuple(event.token for event in mine if event.token is not None)
            assert len(completion.tokens) == 9 + place


def test_streams_may_be_read_in_turns() -> None:
    engine = engine_of(FakeRunner())
    one, two = (engine.stream([Request(prompt=(n,), max_tokens=6)]) for n in (1, 2))
    pairs = list(zip(one, two, strict=True))
    for number, events in ((1, [pair[0] for pair in pairs]), (2, [pair[1] for pair in pairs])):
        (alone,) = engine_of(FakeRunner()).generate([Request(prompt=(number,), max_tokens=6)])
        assert [event.token for event in events] == list(alone.tokens)


def test_a_stream_that_is_closed_frees_its_pages_at_once() -> None:
    engine = engine_of(FakeRunner())
    stream = engine.stream([Request(prompt=(1, 2, 3), max_tokens=20)])
    next(stream)
    assert all_pages(engine) < 64
    stream.close()
    assert all_pages(engine) == 64
    engine.step()
    assert not engine.busy


def test_a_reader_is_asked_between_the_chunks_of_a_long_prompt() -> None:
    engine = engine_of(FakeRunner())  # 8 rows a step
    request = Request(prompt=tuple(range(1, 31)), max_tokens=2)
    events = list(engine.stream([request], idle=True))
    assert [event is None for event in events] == [True, True, True, False, False]
    (alone,) = engine_of(FakeRunner()).generate([request])
    assert [event.token for event in events if event is not None] == list(alone.tokens)
    stream = engine.stream([Request(prompt=(9, *request.prompt), max_tokens=2)], idle=True)
    assert next(stream) is None
    stream.close()
    assert all_pages(engine) == 64


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
def test_a_cancelled_request_frees_its_pages_at_once_and_tells_what_it_has(steps: int) -> None:
    engine = engine_of(FakeRunner(), max_requests=2)
    (whole,) = engine_of(FakeRunner()).generate([Request(prompt=tuple(range(1, 14)), max_tokens=20)])
    number = engine.add(Request(prompt=tuple(range(1, 14)), max_tokens=20, n=4))
    for _ in range(steps):
        engine.step()
    engine.cancel(number)
    assert all_pages(engine) == 64
    ends = [event.completion for event in engine.step() if event.completion is not None]
    assert sorted(end.sample for end in ends) == [0, 1, 2, 3]
    assert all(end.finish == "cancelled" for end in ends)
    assert ends[0].tokens == whole.tokens[: len(ends[0].tokens)]
    assert not engine.busy
    engine.cancel(number)
    assert engine.step() == []


def test_the_context_ends_a_text() -> None:
    (found,) = engine_of(FakeRunner(context=16)).generate([Request(prompt=(1, 2, 3), max_tokens=100)])
    assert (len(found.tokens), found.finish, found.stop) == (13, "length", None)


def test_a_cache_smaller_than_the_context_is_a_shorter_context() -> None:
    engine = engine_of(FakeRunner(pages=3, page_size=4))
    (found,) = engine.generate([Request(prompt=(1, 2, 3), max_tokens=100)])
    assert len(found.tokens) == 9
    with pytest.raises(GenerateError, match="the cache has room for 12"):
        engine.add(Request(prompt=(1,) * 12, max_tokens=1))


def test_reading_only_the_prompt_writes_nothing_and_computes_no_row_for_its_last_token() -> None:
    runner = FakeRunner()
    request = Request(prompt=tuple(range(1, 12)), max_tokens=0, prompt_logprobs=0)
    (found,) = engine_of(runner).generate([request])
    assert same(found, plain_completion(twin(runner), request, 0, 64))
    assert (found.tokens, found.finish, runner.computed) == ((), "length", 10)
    assert engine_of(FakeRunner()).generate([Request(prompt=(1,), max_tokens=0)])[0].tokens == ()


def test_scores_are_those_of_whole_passes_and_shared_contexts_are_computed_once() -> None:
    runner = FakeRunner(page_size=4)
    context = tuple(range(1, 18))
    greedy = int(fake_logits(list(context), 50).argmax())
    pairs = [(context, (4, 5)), ((9,), (3,)), (context, (greedy,)), (context, ()), (context, (6, 7, 8))]
    scores = engine_of(runner).score(pairs)
    for (first, then), score in zip(pairs, scores, strict=True):
        expected = [
            torch.log_softmax(fake_logits([*first, *then[:place]], 50), -1)[token] for place, token in enumerate(then)
        ]
        assert score.logprobs == tuple(map(float, expected))
    assert [score.greedy for score in scores] == [False, False, True, True, False]
    # The context's last row gives all first tokens; behind it each continuation computes its rows but for the last.
    assert runner.computed == 1 + 17 + 1 + 2
    assert runner.wanted == 1 + 1 + 1 + 2


def test_other_tokens_in_the_last_ones_place_cost_no_row() -> None:
    runner = FakeRunner()
    request = Request(
        prompt=tuple(range(1, 12)), max_tokens=0, prompt_logprobs=2, scored_from=5, instead=(3, 44, 3)
    )  # fmt: skip
    (found,) = engine_of(runner).generate([request])
    each = [
        engine_of(FakeRunner()).generate([replace(request, prompt=(*request.prompt[:-1], token), instead=())])[0]
        for token in request.instead
    ]
    assert found.instead == tuple(one.prompt[-1] for one in each)
    assert found.prompt[:-1] == each[0].prompt[:-1]
    assert (runner.computed, runner.wanted) == (10, 6)


def test_requests_are_taken_when_they_can_soon_be_computed() -> None:
    taken = 0

    def endless() -> Iterator[Request]:
        nonlocal taken
        while True:
            taken += 1
            yield Request(prompt=(1, taken % 40), max_tokens=2)

    engine = engine_of(FakeRunner(), max_requests=4)
    stream = engine.stream(endless())
    for number in range(200):
        assert next(stream).request <= number
        assert taken <= number + 2 * 4
    assert len(engine._inboxes) <= 2 * 4
    stream.close()
    assert (all_pages(engine), engine._inboxes) == (64, {})


def test_requests_with_many_samples_are_taken_one_at_a_time() -> None:
    engine = engine_of(FakeRunner(), max_requests=4)
    asked = (Request(prompt=(1, 2, n), max_tokens=2, n=50) for n in range(1000))
    stream = engine.stream(asked)
    for _ in range(60):
        next(stream)
        assert len(engine._open) <= 2
    stream.close()


def test_what_is_given_while_others_are_computed_may_depend_on_their_answers() -> None:
    engine = engine_of(FakeRunner())
    greedy = Sampling(temperature=0)
    given = [Request(prompt=(1, 2, 3), max_tokens=4, sampling=greedy)]
    told = []
    for event in engine.serve(lambda: given.pop() if given else None):
        assert event is not None
        if event.completion is not None:
            told.append(event.completion)
            if len(told) < 3:
                prompt = (1, 2, 3, *(token.id for one in told for token in one.tokens))
                given.append(Request(prompt=prompt, max_tokens=4, sampling=greedy))
    (whole,) = engine_of(FakeRunner()).generate([Request(prompt=(1, 2, 3), max_tokens=12, sampling=greedy)])
    assert tuple(token for one in told for token in one.tokens) == whole.tokens
    assert [one.request for one in told] == [0, 1, 2]


def test_a_request_of_an_iterator_that_cannot_be_served_ends_the_others() -> None:
    engine = engine_of(FakeRunner())
    asked = iter([Request(prompt=(1,), max_tokens=30), Request(prompt=(77,), max_tokens=3)])
    with pytest.raises(GenerateError, match="token id 77"):
        engine.generate(asked)
    assert all_pages(engine) == 64


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"prompt": (50,)}, "prompt has the token id 50, but the vocabulary has 50 tokens"),
        ({"prompt": (3, -1)}, "prompt has the token id -1"),
        (
            {"prompt": (1, 2), "prompt_logprobs": 0, "instead": (50,)},
            "instead has the token id 50, but the vocabulary has 50 tokens",
        ),
        ({"stop_ids": frozenset([77])}, "stop_ids has the token id 77"),
        ({"sampling": Sampling(logit_bias={99: 1.0})}, "logit_bias has the token id 99"),
        ({"logprobs": 51}, "logprobs is 51"),
        ({"stop": ("x",)}, "stop has texts"),
        ({"prompt": (1,) * 64}, "the prompt is 64 tokens long, but the model's context is 64"),
        ({"prompt": (1,) * 66, "max_tokens": 0}, "the text is 66 tokens long"),
    ],
)
def test_what_the_model_cannot_serve_is_refused_and_leaves_nothing_behind(values: dict[str, Any], message: str) -> None:
    engine = engine_of(FakeRunner())
    good = {"prompt": (1,), "max_tokens": 3}
    with pytest.raises(GenerateError, match=message):
        engine.generate([Request(**good), Request(**{**good, **values})])
    engine.step()
    assert not engine.busy
    assert all_pages(engine) == 64


def test_a_context_without_tokens_cannot_be_scored() -> None:
    with pytest.raises(GenerateError, match="context has no tokens"):
        engine_of(FakeRunner()).score([((), (1,))])


@pytest.mark.parametrize(
    "extreme",
    [
        {"logit_bias": {3: LARGEST, 4: -LARGEST}},
        {"logit_bias": {3: LARGEST}, "repetition_penalty": LARGEST, "presence_penalty": -LARGEST},
        {"logit_bias": {3: LARGEST}, "repetition_penalty": 1 / LARGEST, "frequency_penalty": -LARGEST},
        {"frequency_penalty": LARGEST, "temperature": LARGEST, "top_p": 0.5},
        {"top_k": 2**70, "min_p": 1e-300},
        {"logit_bias": {3: -LARGEST}, "temperature": 1e-300, "top_p": 0.0},
    ],
    ids=str,
)
def test_the_most_extreme_settings_are_answered_and_disturb_nobody(extreme: dict[str, Any]) -> None:
    runner = FakeRunner()
    asked = [
        Request(prompt=(1, 3), max_tokens=12, logprobs=1, sampling=Sampling(**settings)) for settings in ({}, extreme)
    ]
    for found, request in zip(engine_of(runner).generate(asked), asked, strict=True):
        assert same(found, plain_completion(twin(runner), request, 0, 64))


class Failing(FakeRunner):
    """Fails at its third step."""

    steps = 0

    def logits(self, rows: Rows) -> Tensor:
        self.steps += 1
        if self.steps == 3:
            raise KeyboardInterrupt
        return super().logits(rows)


def test_after_a_step_that_failed_the_engine_begins_again() -> None:
    engine = engine_of(Failing())
    request = Request(prompt=tuple(range(1, 14)), max_tokens=5)
    with pytest.raises(KeyboardInterrupt):
        engine.generate([request, request])
    assert all_pages(engine) == 64
    (found,) = engine.generate([request])
    assert same(found, plain_completion(twin(FakeRunner()), request, 0, 64))
    assert found.cached_tokens == 0


class Collected(FakeRunner):
    """Closes a stream in the middle of a step, as Python's collector may."""

    stream: Generator[Event] | None = None

    def logits(self, rows: Rows) -> Tensor:
        if self.stream is not None:
            self.stream.close()
        return super().logits(rows)


def test_a_stream_that_is_closed_in_the_middle_of_a_step_ends_behind_it() -> None:
    runner = Collected()
    engine = engine_of(runner, max_requests=1)
    left_open = engine.stream([Request(prompt=(1, 2, 3), max_tokens=1), Request(prompt=(4, 5, 6), max_tokens=1)])
    next(left_open)
    runner.stream = left_open  # the step that is next would answer its second request
    request = Request(prompt=tuple(range(1, 14)), max_tokens=5)
    (found,) = engine.generate([request])
    assert same(found, plain_completion(twin(runner), request, 0, 64))
    assert all_pages(engine) == 64
    assert not engine.busy


def test_fewer_rows_than_requests_are_refused() -> None:
    with pytest.raises(GenerateError, match="max_rows is 3, but must be at least max_requests, 4"):
        engine_of(FakeRunner(), max_rows=3)

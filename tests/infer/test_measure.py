"""Times of requests come from a clock that the tests move, so nothing here depends on the machine."""

import itertools
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from puna.config.recipe import ModelConfig
from puna.core.errors import GenerateError
from puna.infer import measure
from puna.infer.measure import Rates, Size, Sweep, fitting, random_requests, size_of, sweep, time_requests
from puna.infer.requests import Completion, Event, Request, Token
from puna.infer.runner import Rows
from puna.plan.count import flops_per_token, parameters

CONFIG = ModelConfig(dim=64, n_layers=2, n_heads=4, n_kv_heads=2, ffn_dim=96, vocab_size=512, context=64)
SIZE = Size(config=CONFIG, weight_bytes=1000, position_bytes=10)
RATES = Rates(read_bytes_per_second=1e4, flops=1e8)


class Clock:
    """Seconds that pass only when they are said to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(measure.time, "perf_counter", made)
    return made


class PromptThenToken:
    """Reads one prompt a step, in the order of their coming, while those that are read write a token each.

    A prompt takes 2 seconds, a step that only writes half of one.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock, self.numbers = clock, itertools.count(7)
        self.waiting: list[tuple[int, Request]] = []
        self.left: dict[int, int] = {}
        self.seen: list[Request] = []

    def add(self, request: Request) -> int:
        number = next(self.numbers)
        self.waiting.append((number, request))
        self.seen.append(request)
        return number

    def step(self) -> list[Event]:
        self.clock.now += 2.0 if self.waiting else 0.5
        if self.waiting:
            number, request = self.waiting.pop(0)
            self.left[number] = request.max_tokens
        events = []
        for number in list(self.left):
            self.left[number] -= 1
            done = None
            if not self.left[number]:
                del self.left[number]
                done = Completion(
                    request=number, sample=0, text="", tokens=(), prompt=(), finish="length", stop=None,
                    prompt_tokens=1, cached_tokens=0,
                )  # fmt: skip
            events.append(Event(request=number, sample=0, token=Token(id=5), text="", completion=done))
        return events


def test_only_steps_that_write_for_all_requests_count_as_the_time_of_a_token(clock: Clock) -> None:
    requests = random_requests(CONFIG, [3, 4, 5], [6, 6, 6], seed=0)
    timing = time_requests(PromptThenToken(clock), requests)
    assert timing.first_seconds == (2.0, 4.0, 6.0)
    assert timing.step_seconds == (2.0, 2.0, 2.0, 0.5, 0.5, 0.5, 0.5, 0.5)
    assert timing.written == (1, 2, 3, 3, 3, 3, 2, 1)
    assert timing.whole == range(3, 6)
    assert timing.token_seconds == 0.5
    assert timing.seconds == 8.5
    assert timing.tokens == 18


def test_what_happens_between_steps_is_not_counted(clock: Clock) -> None:
    def evict() -> None:
        clock.now += 1000

    timing = time_requests(PromptThenToken(clock), random_requests(CONFIG, [3], [4], seed=0), between=evict)
    assert timing.first_seconds == (2.0,)
    assert timing.step_seconds == (2.0, 0.5, 0.5, 0.5)


def test_there_is_no_time_of_a_token_where_no_step_writes_for_all(clock: Clock) -> None:
    timing = time_requests(PromptThenToken(clock), random_requests(CONFIG, [3, 3, 3], [1, 1, 1], seed=0))
    assert not timing.whole
    assert timing.token_seconds is None


def test_a_request_that_writes_two_tokens_a_step_has_half_the_time_for_each(clock: Clock) -> None:
    timing = time_requests(PromptThenToken(clock), random_requests(CONFIG, [3], [5], seed=0))
    doubled = replace(timing, written=tuple(2 * count for count in timing.written))
    assert timing.token_seconds == 0.5
    assert doubled.token_seconds == 0.25


def test_random_requests_are_the_same_for_a_seed_and_share_no_beginning() -> None:
    first, again = (random_requests(CONFIG, [9, 9, 4], [1, 2, 3], seed=1) for _ in range(2))
    assert first == again
    assert [len(request.prompt) for request in first] == [9, 9, 4]
    assert [request.max_tokens for request in first] == [1, 2, 3]
    assert len({request.prompt[:2] for request in first}) == 3
    assert all(request.sampling.temperature == 0 and not request.stop_ids for request in first)


def test_flops_of_a_prompt_are_those_of_its_tokens_one_by_one_without_their_output_layers() -> None:
    tokens, output = 17, 2 * CONFIG.vocab_size * CONFIG.dim
    one_by_one = sum(SIZE.step_flops(1, position + 1) for position in range(tokens))
    assert SIZE.prompt_flops(3, tokens) == pytest.approx(3 * (one_by_one - (tokens - 1) * output))


def test_flops_of_a_step_are_a_third_of_those_that_training_counts() -> None:
    assert SIZE.step_flops(1, CONFIG.context) == pytest.approx(flops_per_token(CONFIG, CONFIG.context)["full"] / 3)


def test_a_sweep_gives_a_point_for_every_pair_with_shares_of_what_the_machine_does(clock: Clock) -> None:
    engine = PromptThenToken(clock)
    points = list(sweep(engine, SIZE, RATES, [(1, 4), (2, 4), (1, 8), (2, 8)], 6))
    assert [(point.batch, point.context) for point in points] == [(1, 4), (2, 4), (1, 8), (2, 8)]
    last = points[-1]
    assert last.first_token_seconds == 4.0
    assert last.prompt_tokens_per_second == 4.0
    assert last.prompt_share_of_flops == pytest.approx(SIZE.prompt_flops(2, 8) / 4 / 1e8)
    assert last.token_seconds == 0.5
    assert last.tokens_per_second == 4.0
    assert last.share_of_bandwidth == pytest.approx((1000 + 2 * (8 + 3) * 10) / 0.5 / 1e4)
    assert last.share_of_flops == pytest.approx(SIZE.step_flops(2, 11) / 0.5 / 1e8)
    prompts = [request.prompt for request in engine.seen]
    assert len(set(prompts)) == len(prompts)


def test_the_record_has_every_figure_and_its_version(clock: Clock) -> None:
    found = Sweep(model="runs/x", runner="kernels", threads=2, tokens=6, size=SIZE, rates=RATES)
    found.points.extend(sweep(PromptThenToken(clock), SIZE, RATES, [(1, 4)], 6))
    record = found.as_dict()
    assert record["schema"] == 1
    assert record["parameters"] == parameters(CONFIG).total
    assert record["read_bytes_per_second"] == 1e4
    assert record["points"][0]["tokens_per_second"] == 2.0
    assert len(record["points"]) == 1


class Room:
    """Implements `Runner` as far as it is asked: 6 pages of 16 positions."""

    config, page_size, pages, exact, title, weight_bytes, position_bytes = CONFIG, 16, 6, True, "room", 1000, 10

    def logits(self, rows: Rows) -> Tensor:
        raise AssertionError("nothing is computed")


def test_the_size_of_a_runner_is_what_it_says() -> None:
    assert size_of(Room()) == SIZE


def test_pairs_for_which_the_cache_has_no_room_are_left_out_with_a_sentence() -> None:
    pairs, left_out = fitting(Room(), batches=(1, 3, 4), contexts=(12, 30), tokens=4)
    assert pairs == [(1, 12), (3, 12), (4, 12), (1, 30)]
    assert left_out == [
        "3 requests with prompts of 30 tokens are left out: they need 144 positions, and the cache has 96",
        "4 requests with prompts of 30 tokens are left out: they need 192 positions, and the cache has 96",
    ]


def test_where_no_length_is_given_it_is_the_longest_that_a_short_context_allows() -> None:
    assert fitting(Room(), batches=(1,), contexts=None, tokens=4) == ([(1, 60)], [])


@pytest.mark.parametrize(
    ("batches", "contexts", "tokens", "sentence"),
    [
        ((1,), (4,), 1, "tokens is 1, but must be at least 2"),
        ((), (4,), 2, "batch is empty, but must be at least 1"),
        ((1, 0), (4,), 2, "batch is 1,0, but must be at least 1"),
        ((1,), (0,), 2, "context is 0, but must be at least 1"),
        ((1,), (4, 60), 5, "context is 60, but with 5 tokens after it that is longer than the model's context of 64"),
        ((7, 8), (4,), 2, "7 requests with prompts of 4 tokens are left out: they need 112 positions, and the cache"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    batches: tuple[int, ...], contexts: tuple[int, ...], tokens: int, sentence: str
) -> None:
    with pytest.raises(GenerateError, match=sentence):
        fitting(Room(), batches=batches, contexts=contexts, tokens=tokens)


def test_rates_are_bytes_and_operations_over_the_best_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "_READ_BYTES", 1 << 22)
    monkeypatch.setattr(measure, "_SIDE", 8)
    monkeypatch.setattr(measure, "_best", lambda work: work() is None or 0.5)
    assert Rates.measure() == Rates(read_bytes_per_second=2 * (1 << 22), flops=2 * 2 * 8**3)


def test_the_best_of_a_few_runs_counts(clock: Clock) -> None:
    durations = iter([3.0, 2.0, 5.0, 1.0, 4.0])

    def work() -> None:
        clock.now += next(durations)

    assert measure._best(work) == 1.0


def test_large_pages_hold_numbers_as_any_memory_does() -> None:
    numbers = measure._large_pages(1 << 22)
    assert numbers.shape == (1 << 20,)
    assert numbers.fill_(1).sum() == 1 << 20
    assert numbers.dtype == torch.float32

import math
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from puna.infer import sampling
from puna.infer.requests import Sampling, Token
from puna.infer.sampling import NONE, Asked, Draw, answers, checked, choose, gumbel, log_probabilities

PROBABILITIES = torch.tensor([0.05, 0.4, 0.1, 0.3, 0.15])
DRAWS = 2000


def one(logits: Tensor | list[float], *, index: int = 0, **settings: Any) -> int:
    """The token of one row."""
    return int(choose(torch.as_tensor(logits)[None], [draw_of(index=index, **settings)]))


def draw_of(
    *, index: int = 0, prompt: tuple[int, ...] = (), counts: dict[int, int] | None = None, **settings: Any
) -> Draw:
    sampling = Sampling(**settings)
    return Draw(sampling, sampling.seed, index, prompt, counts or {})


def frequencies(logits_V: Tensor, **settings: Any) -> Tensor:
    """How often each token is drawn, half by other seeds and half at other places."""
    logits_WV = logits_V.expand(DRAWS, -1)
    half = DRAWS // 2
    draws = [draw_of(seed=seed, **settings) for seed in range(half)]
    draws += [draw_of(seed=7, index=index, **settings) for index in range(half)]
    counts = Counter(choose(logits_WV, draws).tolist())
    return torch.tensor([counts[token] / DRAWS for token in range(len(logits_V))])


def chi_square(found: Tensor, expected: Tensor) -> float:
    """Pearson's statistic over the tokens that may be drawn, divided by its mean; above 3 with 4 to 9 degrees of
    freedom once in about 100 to 1000 times."""
    some = expected > 0
    assert (found[~some] == 0).all()
    return float(DRAWS * ((found - expected)[some] ** 2 / expected[some]).sum() / max(1, int(some.sum()) - 1))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_are_the_softmax_of_logits_over_temperature(temperature: float) -> None:
    expected = PROBABILITIES ** (1 / temperature)
    found = frequencies(PROBABILITIES.log() + 3.0, temperature=temperature)
    assert chi_square(found, expected / expected.sum()) < 3
    assert chi_square(found, torch.full((5,), 0.2)) > 10


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [
        (0.0, [1]),
        (1e-6, [1]),
        (0.39, [1]),
        (0.41, [1, 3]),  # a token stays while the probability before it is at most top_p
        (0.69, [1, 3]),
        (0.71, [1, 3, 4]),
        (0.86, [1, 3, 4, 2]),
        (0.96, [1, 3, 4, 2, 0]),
        (1.0, [0, 1, 2, 3, 4]),
    ],
)
def test_nucleus_draws_exactly_the_kept_tokens_in_proportion(top_p: float, kept: list[int]) -> None:
    found = frequencies(PROBABILITIES.log(), top_p=top_p)
    assert set(found.nonzero().flatten().tolist()) == set(kept)
    assert chi_square(found, kept_only(kept)) < 3


def kept_only(kept: list[int]) -> Tensor:
    expected = torch.zeros(5)
    expected[kept] = PROBABILITIES[kept] / PROBABILITIES[kept].sum()
    return expected


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"top_k": 1}, [1]),
        ({"top_k": 3}, [1, 3, 4]),
        ({"top_k": 9}, [0, 1, 2, 3, 4]),
        ({"min_p": 0.3}, [1, 3, 4]),
        ({"min_p": 0.8}, [1]),
        ({"top_k": 3, "top_p": 0.5}, [1, 3]),  # of 0.85, 0.4 is 0.47 and 0.7 is 0.82
        ({"top_k": 3, "top_p": 0.84}, [1, 3, 4]),
        ({"top_k": 4, "min_p": 0.3}, [1, 3, 4]),
    ],
)
def test_top_k_and_min_p_draw_exactly_the_kept_tokens_in_proportion(settings: dict[str, Any], kept: list[int]) -> None:
    found = frequencies(PROBABILITIES.log(), **settings)
    assert set(found.nonzero().flatten().tolist()) == set(kept)
    assert chi_square(found, kept_only(kept)) < 3


def test_among_equals_the_lowest_ids_are_kept_and_the_one_at_exactly_top_p_too() -> None:
    assert set(frequencies(torch.zeros(4), top_p=0.5).nonzero().flatten().tolist()) == {0, 1, 2}
    assert set(frequencies(torch.zeros(4), top_k=2).nonzero().flatten().tolist()) == {0, 1}
    assert set(frequencies(torch.tensor([-0.0, 0.0, -0.0]), top_k=2).nonzero().flatten().tolist()) == {0, 1}


def test_nucleus_is_chosen_after_the_temperature() -> None:
    assert frequencies(PROBABILITIES.log(), temperature=0.1, top_p=0.9).nonzero().flatten().tolist() == [1]


def test_a_large_vocabulary_keeps_what_plain_sorting_keeps() -> None:
    torch.manual_seed(0)
    logits_V = torch.randn(9000).mul(2).bfloat16().float()  # with many equals
    for settings in ({"top_p": 0.2}, {"top_p": 0.9}, {"top_k": 300}, {"top_k": 300, "top_p": 0.99}, {"min_p": 0.001}):
        kept = plain_kept(logits_V, **settings)
        for index in range(20):
            noise_V = gumbel([draw_of(index=index)], torch.arange(9000))[0]
            expected = max(kept, key=lambda token: float((logits_V - logits_V.max())[token] + noise_V[token]))
            assert one(logits_V, index=index, **settings) == expected


def plain_kept(logits_V: Tensor, *, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0) -> list[int]:
    """The tokens that may be drawn, one after the other in float64."""
    order = sorted(range(len(logits_V)), key=lambda token: (-float(logits_V[token]), token))[: top_k or None]
    weights = [math.exp(float(logits_V[token] - logits_V.max())) for token in order]
    kept, before = [], 0.0
    for token, weight in zip(order, weights, strict=True):
        if before / sum(weights) <= top_p and weight >= min_p:
            kept.append(token)
        before += weight
    return kept


def test_temperature_zero_takes_the_largest_and_the_first_of_equals() -> None:
    for size in (3, 128, 129, 1000):
        torch.manual_seed(size)
        logits_WV = torch.randn(50, size).mul(2).round()
        ids = choose(logits_WV, [draw_of(temperature=0.0, top_p=0.5)] * 50).tolist()
        assert ids == [row.index(max(row)) for row in logits_WV.tolist()]


@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize("size", [2, 300])
@pytest.mark.parametrize("bad", [[0.0, math.nan], [math.inf, 0.0], [-math.inf, -math.inf], [math.inf, math.inf]])
def test_scores_that_are_not_finite_give_no_token_and_touch_no_other_row(
    bad: list[float], size: int, temperature: float
) -> None:
    logits_WV = torch.full((2, size), -math.inf)
    logits_WV[0, 0], logits_WV[1, -2:] = 1.0, torch.tensor(bad)
    asked = [Asked(draw_of(temperature=temperature, top_p=0.9), 0, None)] * 2
    assert [token.id for token in answers(logits_WV, asked)] == [0, NONE]


@pytest.mark.parametrize("best", [0, 2])
@pytest.mark.parametrize("bad", [[0.0, math.nan], [math.inf, 0.0], [-math.inf, -math.inf]])
def test_there_are_no_log_probabilities_of_scores_that_are_not_finite(bad: list[float], best: int) -> None:
    logits_WV = torch.tensor([[1.0, 2.0], bad])
    sound, damaged = answers(logits_WV, [Asked(None, 0, best)] * 2)
    assert (damaged, sound) == (Token(id=NONE), answers(logits_WV[:1], [Asked(None, 0, best)])[0])
    assert answers(logits_WV, [Asked(None, 0, best), Asked(None, 0, None)])[1].id == 0


def test_bias_then_penalties_change_the_logits_as_their_sources_say() -> None:
    logits = [1.0, 2.0, -1.0, 0.0]
    assert one(logits, temperature=0, logit_bias={3: 5.0}) == 3
    assert one(logits, temperature=0, logit_bias={1: -1.5}) == 0
    # Only what stands in the prompt or the text: 2 / 2.5 is below 1; -1 times 2.5 stays the lowest.
    assert one(logits, temperature=0, repetition_penalty=2.5, prompt=(1,)) == 0
    assert one(logits, temperature=0, repetition_penalty=2.5, counts={1: 1}) == 0
    assert one(logits, temperature=0, repetition_penalty=2.5, prompt=(2,)) == 1
    assert one([-1.0, -1.5], temperature=0, repetition_penalty=2.0, prompt=(0,)) == 1
    # Only what stands in the text.
    assert one(logits, temperature=0, presence_penalty=1.5, prompt=(1,)) == 1
    assert one(logits, temperature=0, presence_penalty=1.5, counts={1: 1}) == 0
    assert one(logits, temperature=0, frequency_penalty=0.4, counts={1: 2}) == 1
    assert one(logits, temperature=0, frequency_penalty=0.4, counts={1: 3}) == 0
    # The bias comes first, so the penalty multiplies its result: (1 + 3) / 2.5 is below 2.
    assert one(logits, temperature=0, logit_bias={0: 3.0}, repetition_penalty=2.5, counts={0: 1}) == 1


def test_logits_are_left_as_they_are() -> None:
    logits_WV = torch.randn(2, 300)
    before = logits_WV.clone()
    choose(logits_WV, [draw_of(logit_bias={1: 2.0}, counts={2: 1}, presence_penalty=1.0)] * 2)
    assert torch.equal(logits_WV, before)


def test_a_row_becomes_the_same_alone_and_in_any_company() -> None:
    torch.manual_seed(1)
    logits_WV = torch.randn(24, 1003) * 3
    kinds: list[dict[str, Any]] = [
        {"temperature": 0.0}, {}, {"top_p": 0.9}, {"top_k": 40}, {"min_p": 0.01}, {"temperature": 0.7, "top_p": 0.5},
        {"repetition_penalty": 1.3, "prompt": (1, 2)}, {"logit_bias": {5: 1.0}, "top_p": 0.99},
    ]  # fmt: skip
    asked = [Asked(draw_of(seed=row, index=row, **kinds[row % 8]), 0, row % 3) for row in range(24)]
    together = answers(logits_WV, asked)
    assert together == [answers(logits_WV[row : row + 1], asked[row : row + 1])[0] for row in range(24)]
    backwards = answers(logits_WV.flip(0), asked[::-1])
    assert together == backwards[::-1]
    threads = torch.get_num_threads()
    torch.set_num_threads(3 - min(threads, 2))
    try:
        assert together == answers(logits_WV, asked)
    finally:
        torch.set_num_threads(threads)


def test_noise_is_gumbels_and_differs_by_seed_place_and_token() -> None:
    ids = torch.arange(20_000)
    noise = gumbel([draw_of(seed=seed, index=index) for seed in (0, 1, 2**62) for index in (0, 1, 1000)], ids).double()
    assert noise.mean() == pytest.approx(0.5772156649, abs=0.015)  # Euler's constant, and pi^2 / 6; 5 standard errors
    assert noise.var() == pytest.approx(math.pi**2 / 6, abs=0.04)
    uniform = torch.exp(-torch.exp(-noise))
    counts = torch.histc(uniform, 100, 0, 1)
    assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 160  # 99 degrees of freedom; 4.3 standard deviations
    correlation = torch.corrcoef(noise).fill_diagonal_(0).abs().max()
    assert correlation < 5 / math.sqrt(20_000)


def test_noise_stays_as_it_is_so_that_a_seed_means_the_same_tomorrow() -> None:
    noise = gumbel([draw_of(seed=3, index=5)], torch.tensor([0, 1, 31_999]))
    assert noise[0].tolist() == pytest.approx(NOISE, abs=1e-6)


NOISE = [1.2047100067138672, 1.925864815711975, 1.1448495388031006]


@pytest.mark.parametrize("temperature", [1e-40, 1e-6, 1e6])
@pytest.mark.parametrize("scale", [1.0, 1e30])
def test_extreme_temperatures_and_logits_still_draw_a_token(temperature: float, scale: float) -> None:
    logits = torch.tensor([1.0, 3.0, -2.0]) * scale
    drawn = {one(logits, temperature=temperature, top_p=0.9, seed=seed) for seed in range(30)}
    even = temperature == 1e6 and scale == 1.0  # three tokens of nearly one probability; else one has all of it
    assert drawn == ({0, 1, 2} if even else {1})


def test_a_top_k_beyond_any_vocabulary_is_all_tokens() -> None:
    for seed in range(10):
        assert one([1.0, 2.0, 3.0], top_k=10**30, seed=seed) == one([1.0, 2.0, 3.0], seed=seed)


def test_bfloat16_logits_are_sampled_in_float32() -> None:
    logits_WV = torch.zeros(1, 3, dtype=torch.bfloat16)
    assert choose(logits_WV, [draw_of()]).dtype == torch.int64


def test_the_likeliest_alone_is_the_first_of_the_likeliest_and_the_lowest_of_equals() -> None:
    logits_WV = torch.randn(40, 70, generator=torch.Generator().manual_seed(0)).mul(2).round()  # with many equals
    logits_WV[logits_WV == 0] = -0.0
    logits_WV[::2, ::3] = 0.0
    ids_W = torch.zeros(40, dtype=torch.int64)
    one, three = log_probabilities(logits_WV, ids_W, 1), log_probabilities(logits_WV, ids_W, 3)
    assert torch.equal(one, three[:, [0, 1, 4]])


def test_log_probabilities_are_the_models_own_and_the_best_fall_with_the_lower_id_first() -> None:
    logits_WV = torch.tensor([[0.0, 2.0, 1.0, 2.0], [0.0, 0.0, 0.0, 0.0]])
    found = log_probabilities(logits_WV, torch.tensor([2, 0]), 3)
    expected = torch.log_softmax(logits_WV.double(), -1)
    assert found[:, 0].tolist() == pytest.approx([float(expected[0, 2]), math.log(0.25)])
    assert found[:, 1:4].tolist() == [[1, 3, 2], [0, 1, 2]]
    assert found[0, 4:].tolist() == pytest.approx(expected[0, [1, 3, 2]].tolist())


def test_a_known_token_is_told_and_not_drawn() -> None:
    logits_WV = torch.randn(3, 40)
    asked = [Asked(None, 7, 0), Asked(draw_of(temperature=0.0), 0, 1), Asked(None, 9, None)]
    first, second, third = answers(logits_WV, asked)
    assert (first.id, first.best, third.id, third.logprob) == (7, (), 9, None)
    assert second.best == ((second.id, second.logprob),)
    assert checked([second.id]) == [int(logits_WV[1].argmax())]


@pytest.mark.parametrize("settings", [{"top_p": 0.95}, {"top_p": 0.3, "min_p": 0.2}, {"min_p": 0.1}, {"top_p": 0.0}])
def test_many_candidates_draw_without_an_order_what_they_draw_in_order(settings: dict[str, float]) -> None:
    generator = torch.Generator().manual_seed(0)
    redrawn = 0
    for seed in range(60):
        sharpness = (0.05, 0.5, 1.5)[seed % 3]
        scaled_V = torch.randn(3000, generator=generator) * sharpness
        if seed % 2:  # many equals
            scaled_V = (scaled_V * 4).round() / 4
        scaled_V -= scaled_V.max()
        probabilities_V = scaled_V.softmax(0)
        draw = Draw(Sampling(**settings), seed, 5)
        ordered = sampling._order(scaled_V[None], 3000)
        expected, _ = sampling._of_candidates(scaled_V[None], probabilities_V[None], ordered, [draw])
        assert sampling._draw_wide(scaled_V, probabilities_V, draw) == expected.item()
        free = (scaled_V + sampling.gumbel([draw], torch.arange(3000))[0]).argmax()
        redrawn += int(free != expected.item())
    assert redrawn  # some winners were not kept


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("narrow", [{}, {"top_k": 2}, {"top_p": 0.5}, {"min_p": 0.3}])
def test_only_allowed_tokens_are_drawn_and_other_rows_do_not_change(temperature: float, narrow: dict[str, Any]) -> None:
    logits_WV = torch.randn(3, 300, generator=torch.Generator().manual_seed(1))
    allowed_V = np.arange(300) % 7 == 3
    sampling = Sampling(temperature=temperature, **narrow)
    plain = [Draw(sampling, seed, 0) for seed in range(3)]
    both = choose(logits_WV, [plain[0], replace(plain[1], allowed=allowed_V), plain[2]])
    assert both[[0, 2]].tolist() == choose(logits_WV, plain)[[0, 2]].tolist()
    left_out = logits_WV[1].masked_fill(~torch.from_numpy(allowed_V), -torch.inf)
    assert allowed_V[int(both[1])]
    assert int(both[1]) == int(choose(left_out[None], plain[1:2]))


def test_a_row_without_an_allowed_token_and_a_damaged_one_have_none() -> None:
    """Also where the damage is in a token that is not allowed."""
    logits_WV = torch.zeros(3, 300)
    logits_WV[1, 5] = torch.nan
    one_V = np.arange(300) == 7
    draws = [Draw(Sampling(), 0, 0, allowed=mask) for mask in (np.zeros(300, dtype=bool), one_V, one_V)]
    assert choose(logits_WV, draws).tolist() == [NONE, NONE, 7]

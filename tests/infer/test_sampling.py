import math
from collections import Counter

import pytest
import torch
from torch import Tensor

from puna.core.errors import GenerateError
from puna.infer.sampling import sample

PROBABILITIES = torch.tensor([0.05, 0.4, 0.1, 0.3, 0.15])
DRAWS = 20_000


def draw(temperature: float, top_p: float, seed: int = 0) -> Tensor:
    """Frequencies of each token in many draws."""
    logits_BV = PROBABILITIES.log().expand(DRAWS, -1) + 3.0
    ids_B = sample(logits_BV, temperature, top_p, torch.Generator().manual_seed(seed))
    counts = Counter(ids_B.tolist())
    return torch.tensor([counts[token] / DRAWS for token in range(5)])


def within_chance(frequencies: Tensor, expected: Tensor) -> bool:
    """Whether no frequency is more than five standard errors off."""
    return bool(((frequencies - expected).abs() <= 5 * (expected * (1 - expected) / DRAWS).sqrt()).all())


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_are_the_softmax_of_logits_over_temperature(temperature: float) -> None:
    expected = PROBABILITIES ** (1 / temperature)
    assert within_chance(draw(temperature, 1.0), expected / expected.sum())
    assert not within_chance(draw(temperature, 1.0), torch.full((5,), 0.2))


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [
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
    expected = torch.zeros(5)
    expected[kept] = PROBABILITIES[kept] / PROBABILITIES[kept].sum()
    frequencies = draw(1.0, top_p)
    assert set(frequencies.nonzero().flatten().tolist()) == set(kept)
    assert within_chance(frequencies, expected)


def test_token_stays_when_the_probability_before_it_is_exactly_top_p() -> None:
    logits_BV = torch.zeros(DRAWS, 4)  # a quarter each, exactly
    ids_B = sample(logits_BV, 1.0, 0.5, torch.Generator().manual_seed(0))
    assert set(ids_B.tolist()) == {0, 1, 2}


def test_nucleus_is_chosen_after_the_temperature() -> None:
    assert draw(0.1, 0.9).nonzero().flatten().tolist() == [1]


def test_temperature_zero_takes_the_largest_and_the_first_of_equals() -> None:
    logits_BV = torch.tensor([[1.0, 3.0, 2.0], [5.0, 4.0, 5.0]])
    assert sample(logits_BV, 0, 0.5, torch.Generator()).tolist() == [1, 0]


@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize("bad", [[0.0, math.nan], [math.inf, 0.0], [-math.inf, -math.inf], [math.inf, math.inf]])
def test_scores_that_are_not_finite_are_an_error_and_never_a_token(bad: list[float], temperature: float) -> None:
    with pytest.raises(GenerateError, match="not finite numbers"):
        sample(torch.tensor([bad]), temperature, 0.9, torch.Generator())
    masked = torch.tensor([[-math.inf, 1.0]])
    assert sample(masked, temperature, 0.9, torch.Generator()).tolist() == [1]


def test_rows_are_drawn_on_their_own() -> None:
    logits_BV = torch.full((3, 4), -math.inf)
    logits_BV[[0, 1, 2], [2, 0, 3]] = 0.0
    assert sample(logits_BV, 1.0, 1.0, torch.Generator().manual_seed(0)).tolist() == [2, 0, 3]


def test_equal_seeds_draw_equal_tokens() -> None:
    assert torch.equal(draw(1.0, 0.9, seed=4), draw(1.0, 0.9, seed=4))
    assert not torch.equal(draw(1.0, 0.9, seed=4), draw(1.0, 0.9, seed=5))


@pytest.mark.parametrize("temperature", [1e-40, 1e-6, 1e6])
@pytest.mark.parametrize("scale", [1.0, 1e30])
def test_extreme_temperatures_and_logits_still_draw_a_token(temperature: float, scale: float) -> None:
    logits_BV = torch.tensor([[1.0, 3.0, -2.0]]) * scale
    drawn = {int(sample(logits_BV, temperature, 0.9, torch.Generator().manual_seed(seed))) for seed in range(30)}
    even = temperature == 1e6 and scale == 1.0  # three tokens of nearly one probability; else one has all of it
    assert drawn == ({0, 1, 2} if even else {1})


def test_bfloat16_logits_are_sampled_in_float32() -> None:
    logits_BV = torch.zeros(1, 3, dtype=torch.bfloat16)
    assert sample(logits_BV, 1.0, 1.0, torch.Generator().manual_seed(0)).dtype == torch.int64

"""Sizes of a first run: by the text's tokens, by the machine, and within the recipe's own rules."""

import pytest

from puna.config.recipe import OptimConfig, Recipe, TrainConfig
from puna.plan.count import flops_per_token, parameters
from puna.plan.starter import EPOCHS, SHAPES, TOKENS_PER_PARAMETER, _shape, starter

AMOUNTS = [50_000, 10**6, 10**7, 10**9, 10**11, 10**13]
RATES = [5e10, 1e12, 1e15]


@pytest.mark.parametrize("flops", RATES)
@pytest.mark.parametrize("amount", AMOUNTS)
def test_every_first_run_is_a_valid_recipe_within_its_text_and_the_papers_ratio(amount: int, flops: float) -> None:
    start = starter(amount, flops, micro_batch_tokens=4096)
    train = TrainConfig(
        tokens=start.tokens, batch_tokens=start.batch_tokens, micro_batch_tokens=start.micro_batch_tokens
    )
    recipe = Recipe(name="x", model=start.model, train=train, optim=OptimConfig(warmup_steps=start.warmup_steps))
    assert (recipe.total_steps, recipe.total_tokens) == (start.steps, start.tokens)
    assert start.parameters == parameters(recipe.model).total
    assert start.epochs <= EPOCHS
    assert start.tokens <= TOKENS_PER_PARAMETER * start.parameters
    assert 3e-4 <= start.lr <= 3e-3


def test_more_text_and_faster_machines_never_give_smaller_models() -> None:
    for flops in RATES:
        sizes = [starter(amount, flops, micro_batch_tokens=4096).parameters for amount in AMOUNTS]
        assert sizes == sorted(sizes)
    for amount in AMOUNTS:
        sizes = [starter(amount, flops, micro_batch_tokens=4096).parameters for flops in RATES]
        assert sizes == sorted(sizes)


def test_tiny_text_still_gives_a_run_of_many_steps_and_room_for_the_estimate() -> None:
    start = starter(20_000, 1e11, micro_batch_tokens=4096)
    assert start.steps > 100
    assert start.batch_tokens % start.model.context == 0
    assert start.epochs <= 0.9 * EPOCHS


def test_size_says_what_it_follows_from() -> None:
    assert starter(10**7, 1e15, micro_batch_tokens=4096).bound == "text"
    assert starter(10**5, 1e15, micro_batch_tokens=4096).bound == "least"
    slow = starter(10**12, 5e10, micro_batch_tokens=4096)
    assert slow.bound == "machine"
    seconds = slow.tokens * flops_per_token(slow.model, slow.model.context)["param"] / (0.4 * 5e10)
    assert seconds < 2 * 3600


def test_shapes_are_ordered_by_their_size_and_hold_the_demos_and_llamas() -> None:
    sizes = [parameters(_shape(shape)).total for shape in SHAPES]
    assert sizes == sorted(sizes)
    assert sizes[3] == 3_344_064
    assert sizes[-1] == 6_738_415_616

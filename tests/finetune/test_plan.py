"""The packs of a whole run: every example in its turn, whichever batch is asked for first."""

import re
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from tuning import CONTEXT, recipe_of

from puna.config.recipe import Recipe, Stage
from puna.core.errors import ConfigError, DataError
from puna.finetune import plan as planning
from puna.finetune.plan import Plan, derived, few_steps
from puna.finetune.token_files import Examples

ROWS = 4


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several windows in a round."""
    monkeypatch.setattr(planning, "WINDOW", 25)


@pytest.mark.usefixtures("small_windows")
def test_each_epoch_reads_every_example_once_and_no_pack_is_too_long(recipe: Recipe, examples: Examples):
    plan = Plan(examples, recipe)
    ends = [plan.packs_of(epoch) for epoch in (0, 1, 2, 3)]
    for first, end in pairwise(ends):
        packs = plan.packs(first, end - first)
        assert Counter(int(number) for pack in packs for number in pack) == dict.fromkeys(range(120), 1)
        assert all(0 < examples.lengths[pack].sum() <= CONTEXT for pack in packs)
    assert ends[1] < plan.packs_of(1.5) < ends[2]


@pytest.mark.usefixtures("small_windows")
def test_any_pack_is_found_by_itself(recipe: Recipe, examples: Examples):
    whole = [pack.tolist() for pack in Plan(examples, recipe).packs(0, 300)]
    for number in (299, 3, 150):
        assert Plan(examples, recipe).packs(number, 1)[0].tolist() == whole[number]
    other = recipe.model_copy(update={"seed": 6})
    assert [pack.tolist() for pack in Plan(examples, other).packs(0, 300)] != whole


@pytest.mark.usefixtures("small_windows")
def test_what_is_read_is_counted(recipe: Recipe, examples: Examples):
    plan = Plan(examples, recipe)
    for count in (0, 1, 17, 100, 200):
        numbers = np.concatenate([*plan.packs(0, count), np.empty(0, np.int64)]).astype(np.int64)
        read, mine = plan.read(count), examples.source(numbers) == 0
        assert read.examples.tolist() == [int(mine.sum()), int((~mine).sum())]
        assert read.tokens.tolist() == [int(examples.lengths[numbers[m]].sum()) for m in (mine, ~mine)]
    assert plan.filled(200) == plan.read(200).tokens.sum() / (200 * CONTEXT)


def test_without_packing_each_example_has_a_sequence(examples: Examples):
    plan = Plan(examples, recipe_of({"talks": 70.0, "tasks": 50.0}, pack=False))
    assert plan.packs_of(1) == 120
    assert sorted(int(pack[0]) for pack in plan.packs(0, 120)) == list(range(120))


def test_a_cap_leaves_examples_of_large_tasks_for_later_epochs(examples: Examples):
    plan = Plan(examples, recipe_of({"talks": 70.0, "tasks": 50.0}, task_cap={"talks": 10}))
    assert plan.mixing.in_epoch == {"talks": 30, "tasks": 50}


def test_tokens_and_warm_up_follow_from_epochs_and_share(recipe: Recipe, examples: Examples):
    plan = Plan(examples, recipe)
    packs = plan.packs_of(2)
    assert recipe.finetune is not None
    asked = recipe.model_copy(update={"finetune": recipe.finetune.model_copy(update={"warmup_ratio": 0.1})})
    found = derived(asked, plan)
    assert found.total_steps == -(-packs // ROWS)
    assert found.train.tokens == found.total_steps * ROWS * CONTEXT
    assert found.optim.warmup_steps == round(0.1 * found.total_steps)
    read = plan.read(found.total_steps * ROWS).examples
    assert read.sum() >= 240


def test_without_epochs_and_share_the_recipe_stays(examples: Examples):
    recipe = recipe_of({"talks": 70.0, "tasks": 50.0}, epochs=None)
    assert derived(recipe, Plan(examples, recipe)) == recipe


def test_a_run_that_reads_a_source_too_often_is_refused(recipe: Recipe, examples: Examples):
    limited = recipe.model_copy(update={"max_epochs": {"tasks": 2.5}})
    assert (
        derived(limited, Plan(examples, limited)).train.tokens == derived(recipe, Plan(examples, recipe)).train.tokens
    )
    limited = recipe.model_copy(update={"max_epochs": {"tasks": 1.5}})
    with pytest.raises(DataError, match=r"source 'tasks': the run would read its 50 examples 2\.\d+ times"):
        derived(limited, Plan(examples, limited))


def test_stages_are_refused(recipe: Recipe, examples: Examples):
    staged = recipe.model_copy(update={"stages": [Stage(from_tokens=ROWS * CONTEXT, mixture={"talks": 1.0})]})
    with pytest.raises(ConfigError, match="stages are for pre-training"):
        derived(staged, Plan(examples, staged))


def test_a_run_that_is_shorter_than_its_warm_up_is_refused(recipe: Recipe, examples: Examples):
    long = recipe.model_copy(update={"optim": recipe.optim.model_copy(update={"warmup_steps": 1000})})
    with pytest.raises(ConfigError, match=r"not more than optim\.warmup_steps = 1000"):
        derived(long, Plan(examples, long))


def test_a_run_of_few_steps_is_remarked_with_batches_that_give_it_more(recipe: Recipe, examples: Examples):
    plan = Plan(examples, recipe)
    large = recipe.model_copy(update={"train": recipe.train.model_copy(update={"batch_tokens": 1024 * CONTEXT})})
    said = few_steps(derived(large, plan), plan, 1)
    assert said is not None
    batch, micro = re.fullmatch(
        r"a model hardly changes in 1 step; smaller batches give it more: train.batch_tokens=(\d+)"
        r"(?: train.micro_batch_tokens=(\d+))?", said,
    ).groups()  # fmt: skip
    sizes = {"batch_tokens": int(batch), "micro_batch_tokens": int(micro or recipe.train.micro_batch_tokens)}
    small = derived(recipe.model_copy(update={"train": recipe.train.model_copy(update=sizes)}), plan)
    assert small.total_steps > 10
    several = few_steps(derived(large, plan), plan, 2)
    assert several is not None
    assert several.endswith("finetune.epochs, train.batch_tokens")


def test_a_run_of_many_steps_is_not_remarked(recipe: Recipe, examples: Examples):
    plan = Plan(examples, recipe)
    long = recipe.model_copy(
        update={"train": recipe.train.model_copy(update={"tokens": 20 * recipe.train.batch_tokens})}
    )
    assert few_steps(long, plan, 1) is None

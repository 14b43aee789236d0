"""The recipe of a longer run: its length, its learning rates, and the rates of before."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.config.recipe import OptimConfig, Phase, Recipe, Schedule
from puna.core.errors import TrainError
from puna.train.lengthen import (
    active_part,
    describe_rates,
    parse_length,
    planned_longer,
    shared_rates,
    with_phase,
)
from puna.train.schedule import schedule_of

BATCH = 8


def recipe(steps: int, **optim: object) -> Recipe:
    values = {"lr": 1.0, "warmup_steps": 2, "final_lr_ratio": 0.1} | optim
    return Recipe.model_validate(
        {
            "name": "some",
            "model": {"dim": 8, "n_layers": 1, "n_heads": 1, "n_kv_heads": 1, "ffn_dim": 8, "context": BATCH},
            "train": {"tokens": steps * BATCH, "batch_tokens": BATCH, "micro_batch_tokens": BATCH},
            "optim": values,
        }
    )


def rates(of: Recipe) -> list[float]:
    return [schedule_of(of)(step) for step in range(of.total_steps)]


@pytest.mark.parametrize(
    ("amount", "tokens"),
    [("1.5x", 960), ("2x", 1280), ("1.01x", 648), ("700", 700), ("1k", 1000), ("+8", 648), ("+1.5k", 2140)],
)
def test_a_length_is_a_multiple_a_total_or_what_comes_on_top(amount: str, tokens: int):
    assert parse_length(amount, 640, BATCH) == tokens


@pytest.mark.parametrize("amount", ["", "x", "1,5x", "-1x", "half", "+", "1e9x", "1.5 x", "nan"])
def test_what_is_not_a_length_is_refused_with_those_that_are(amount: str):
    with pytest.raises(TrainError, match=r"expected the new length, such as 1\.5x or 300M, or what comes on top"):
        parse_length(amount, 640, BATCH)


def test_a_new_cosine_begins_at_the_end_of_the_old_one():
    longer = with_phase(recipe(10), 10, 30 * BATCH, None)
    found = rates(longer)
    assert found[:10] == rates(recipe(10))
    assert found[9] == pytest.approx(0.1)
    # 1 % of 20 steps is less than a step, so one step of warm-up; then the cosine of a run of 20 steps.
    assert found[10:] == rates(recipe(20, warmup_steps=1))
    assert describe_rates(longer, 10) == (
        "over these 20 steps the learning rate rises to 1 within 1 step and falls as half a cosine to 10% of it"
    )


def test_a_phase_warms_up_for_one_percent_of_its_steps_from_the_rate_that_was():
    longer = with_phase(recipe(10), 10, 510 * BATCH, "constant")
    found = rates(longer)
    assert found[9:16] == pytest.approx([0.1, 0.28, 0.46, 0.64, 0.82, 1.0, 1.0])
    assert set(found[15:]) == {1.0}
    assert "rises to 1 within 5 steps and stays" in describe_rates(longer, 10)


@pytest.mark.parametrize("schedule", [None, "linear", "constant"])
def test_a_warm_up_that_is_under_way_rises_no_faster(schedule: Schedule | None):
    planned = recipe(200, warmup_steps=50)
    longer = with_phase(planned, 10, 400 * BATCH, schedule)
    assert rates(longer)[:51] == pytest.approx(rates(planned)[:51])
    again = with_phase(longer, 20, 500 * BATCH, None)
    assert rates(again)[:51] == pytest.approx(rates(planned)[:51])


def test_a_line_to_zero_is_there_one_step_after_the_last():
    longer = with_phase(recipe(10, schedule="constant"), 10, 30 * BATCH, "linear")
    found = rates(longer)
    assert longer.optim.phases[0].warmup_steps == 0  # the rate is at its peak already
    assert found[10:] == pytest.approx([1 - step / 20 for step in range(20)])


def test_what_was_cut_short_keeps_the_rates_of_its_plan():
    cut = with_phase(recipe(10), 6, 15 * BATCH, None)
    assert rates(cut)[:6] == rates(recipe(10))[:6]
    assert cut.optim.until_tokens == 10 * BATCH
    again = with_phase(cut, 9, 20 * BATCH, "linear")
    assert rates(again)[:9] == rates(cut)[:9]
    assert [phase.until_tokens for phase in again.optim.phases] == [15 * BATCH, None]


def test_a_phase_takes_the_place_of_those_that_were_to_begin_later():
    planned = recipe(10, phases=[{"from_tokens": 8 * BATCH, "lr": 0.5}])
    longer = with_phase(planned, 6, 15 * BATCH, None)
    assert [phase.from_tokens for phase in longer.optim.phases] == [6 * BATCH]
    assert rates(longer)[:6] == rates(planned)[:6]


def test_the_present_part_is_that_of_the_step_before():
    two = recipe(10, phases=[{"from_tokens": 8 * BATCH, "lr": 0.5}])
    assert active_part(two, 8) is two.optim
    assert active_part(two, 9) is two.optim.phases[0]


def test_a_run_whose_rate_waits_for_the_cooldown_can_be_planned_longer_until_then():
    short, long = (recipe(steps, schedule="wsd", cooldown_ratio=0.2) for steps in (20, 40))
    assert planned_longer(short, 40 * BATCH) == long
    # The last step at the peak is the 16th, with index 15.
    assert [shared_rates(short, long, steps) for steps in (0, 16, 17, 20)] == [0, 16, 16, 16]
    assert describe_rates(long, 16) == "the learning rate stays until the new cooldown"


@st.composite
def parts(draw) -> dict[str, object]:
    return {
        "schedule": draw(st.sampled_from(["cosine", "linear", "wsd", "constant"])),
        "cooldown_ratio": draw(st.floats(0.01, 1)),
        "final_lr_ratio": draw(st.floats(1e-3, 1)),
        "warmup_steps": draw(st.integers(0, 9)),
        "lr": draw(st.floats(1e-6, 1)),
    }


@given(
    parts(), st.integers(10, 60), st.lists(st.tuples(st.floats(0.01, 1), st.integers(1, 200)), min_size=1, max_size=4),
    st.sampled_from([None, "cosine", "linear", "wsd", "constant"]),
)  # fmt: skip
def test_no_extension_changes_a_rate_of_before_and_all_rates_are_positive(optim, steps, extensions, schedule):
    run = recipe(steps, **optim)
    for share, more in extensions:
        at = max(1, round(share * run.total_steps))
        longer = with_phase(run, at, (run.total_steps + more) * BATCH, schedule)
        # What is saved and read again is the same, and holds together.
        longer = Recipe.model_validate(longer.model_dump(exclude_none=True))
        assert longer.total_steps == run.total_steps + more
        assert shared_rates(run, longer, at) == at
        assert all(0 < rate <= run.optim.lr * (1 + 1e-9) for rate in rates(longer))
        run = longer


@given(parts(), parts(), st.integers(10, 40), st.integers(10, 40))
def test_a_phase_is_a_run_of_its_own_that_begins_at_the_last_rate(first, second, steps, more):
    """The oracle: two schedules one after the other, the second's warm-up in a line from where the first ended."""
    both = recipe(steps, **first)
    phase = Phase(from_tokens=steps * BATCH, **second)
    both = both.model_copy(update={"optim": both.optim.model_copy(update={"phases": [phase]})})
    both = planned_longer(both, (steps + more) * BATCH)
    found, last = rates(both), rates(recipe(steps, **first))[-1]
    alone = rates(recipe(more, **second))
    warmup = phase.warmup_steps
    rising = [last + (phase.lr - last) * (step + 1) / warmup for step in range(warmup)]
    assert found == [*rates(recipe(steps, **first)), *rising, *alone[warmup:]]


def test_phases_that_do_not_fit_are_refused():
    for phases, words in [
        ([{"from_tokens": 3, "lr": 1.0}], "must be a multiple of train.batch_tokens = 8"),
        ([{"from_tokens": 10 * BATCH, "lr": 1.0}], "less than the 80 tokens of the run"),
        ([{"from_tokens": 5 * BATCH, "lr": 1.0}, {"from_tokens": 4 * BATCH, "lr": 1.0}], "more than 40"),
        ([{"from_tokens": 5 * BATCH, "lr": 1.0, "warmup_steps": 5}], "has 5 steps, not more than its 5 of warm-up"),
    ]:
        with pytest.raises(ValueError, match=words):
            recipe(10, phases=phases)
    assert OptimConfig().phases == []

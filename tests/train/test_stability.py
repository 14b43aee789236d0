"""Which steps count as spikes, what the monitor remembers, and when it gives up."""

import json
import math
import statistics
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puna.config.load import load_recipe
from puna.config.recipe import StabilityConfig
from puna.core.errors import TrainError
from puna.core.layout import RunDir
from puna.train.stability import FINE, Monitor, ways_on

SKIP = StabilityConfig(action="skip", window=8, deviations=6.0, most=3)
CALM = [[3.0 + 0.1 * (-1) ** step, 1.0 + 0.01 * step] for step in range(8)]

# What a float32 can be.
numbers = st.floats(min_value=0, width=32, allow_nan=False, allow_infinity=False)
steps = st.lists(st.tuples(numbers, numbers), max_size=40)
anything = st.lists(st.tuples(st.floats(width=32), st.floats(width=32)), max_size=40)


@pytest.mark.parametrize(
    ("loss", "norm", "kind", "words"),
    [
        (3.1, 1.0, "fine", ""),
        (0.0, 0.0, "fine", ""),
        (9.0, 1.0, "spike", "the loss is 9, above 3.64143, which is 6 standard deviations over the mean of 8 steps"),
        (3.0, 2.0, "spike", "the gradient's norm is 2, above 1.18197, which is 6 standard deviations"),
        (math.nan, 1.0, "not_finite", "the loss is nan and the gradient's norm 1"),
        (3.0, math.inf, "not_finite", "the loss is 3 and the gradient's norm inf"),
    ],
)
def test_a_step_is_judged_by_the_window(loss, norm, kind, words):
    verdict = Monitor(SKIP, CALM).judge(loss, norm)
    assert verdict.kind == kind
    assert verdict.fine == (kind == "fine")
    assert verdict.sentence.startswith(words)
    assert bool(verdict.sentence) == (kind != "fine")


@given(st.lists(st.floats(0, 100), min_size=8, max_size=8), st.floats(0.1, 10), st.floats(0, 2000))
def test_limit_is_the_mean_and_the_deviations_of_the_standard_library(losses, deviations, loss):
    limit = statistics.mean(losses) + deviations * statistics.stdev(losses)
    config = SKIP.model_copy(update={"deviations": deviations})
    for value, expected in ((loss, loss > limit), (limit * 1.001 + 1e-6, True), (limit * 0.999, False)):
        if not math.isclose(value, limit, rel_tol=1e-6):
            verdict = Monitor(config, [[each, 1.0] for each in losses]).judge(value, 1.0)
            assert verdict.kind == ("spike" if expected else "fine")


def test_no_spike_is_called_before_the_window_is_full():
    monitor = Monitor(SKIP)
    for loss in [3.0, 2.9, 3.1, 3.0, 2.9, 3.1, 3.0]:
        assert monitor.judge(loss, 1.0) == FINE
    assert Monitor(SKIP, monitor.history).judge(1e6, 1.0) == FINE
    monitor.judge(3.0, 1.0)
    assert monitor.judge(1e6, 1.0).kind == "spike"


def test_only_fine_steps_enter_the_window():
    monitor = Monitor(SKIP, CALM)
    monitor.judge(100.0, 1.0)
    monitor.judge(math.nan, 1.0)
    assert monitor.history == CALM
    monitor.judge(3.05, 1.02)
    assert monitor.history == [*CALM[1:], [3.05, 1.02]]


def test_too_many_bad_batches_among_the_last_end_the_run_and_a_fine_one_between_them_changes_nothing():
    monitor = Monitor(SKIP, CALM)
    for loss in (100.0, 3.0, 100.0, 3.05, 100.0, 2.95):
        monitor.judge(loss, 1.03)
    assert monitor.recent == [False, True] * 3
    expected = r"4 of the last 7 batches .* more than stability.most = 3; of the last one, the loss is nan"
    with pytest.raises(TrainError, match=expected):
        monitor.judge(math.nan, 1.0)


def test_bad_batches_are_forgotten_when_a_window_of_others_has_passed():
    monitor = Monitor(SKIP, CALM)
    for _ in range(20):
        assert not monitor.judge(100.0, 1.03).fine
        for loss in (3.0, 3.05, 2.95):
            assert monitor.judge(loss, 1.03).fine
        assert monitor.recent.count(False) <= 2


@pytest.mark.parametrize("window", [2, 3, 8])
def test_the_limit_is_reached_whatever_the_window(window: int):
    monitor = Monitor(StabilityConfig(action="skip", window=window, most=5))
    for _ in range(5):
        monitor.judge(math.nan, 1.0)
    with pytest.raises(TrainError, match="6 of the last 6 batches"):
        monitor.judge(math.nan, 1.0)


def test_returns_to_one_checkpoint_are_bounded():
    monitor = Monitor(SKIP)
    monitor.check_returns(3, 500)
    with pytest.raises(TrainError, match="step 500: the run went back to this checkpoint 3 times"):
        monitor.check_returns(4, 500)


def test_stop_looks_only_for_what_is_not_finite():
    monitor = Monitor(SKIP.model_copy(update={"action": "stop"}), CALM)
    assert monitor.judge(1e6, 1e6) == FINE
    assert monitor.judge(math.inf, 1.0).kind == "not_finite"


def test_history_that_is_longer_than_the_window_counts_by_its_end():
    assert Monitor(SKIP, [[9.0, 9.0], *CALM]).history == CALM


@given(steps, st.integers(0, 40), st.sampled_from(["stop", "skip", "rollback"]))
def test_restored_monitor_judges_as_the_one_that_went_on(sequence, cut, action):
    config = StabilityConfig(action=action, window=5, deviations=1.0, most=1000)
    straight, first = Monitor(config), Monitor(config)
    verdicts = [straight.judge(*step) for step in sequence]
    again = [first.judge(*step) for step in sequence[:cut]]
    resumed = Monitor(config, *json.loads(json.dumps([first.history, first.recent])))
    again += [resumed.judge(*step) for step in sequence[cut:]]
    assert again == verdicts
    assert resumed.history == straight.history
    assert resumed.recent == straight.recent


@given(anything)
def test_window_holds_the_last_fine_steps_whatever_comes(sequence):
    config = StabilityConfig(action="skip", window=4, deviations=0.5, most=1000)
    monitor, fine = Monitor(config), []
    for loss, norm in sequence:
        verdict = monitor.judge(loss, norm)
        assert (verdict.kind == "not_finite") == (not (math.isfinite(loss) and math.isfinite(norm)))
        fine += [[loss, norm]] if verdict.fine else []
        assert monitor.history == fine[-4:]
        assert monitor.recent[-1] == verdict.fine
    assert len(fine) >= min(4, sum(math.isfinite(loss) and math.isfinite(norm) for loss, norm in sequence))


@given(numbers, numbers, st.integers(1, 30))
def test_a_run_that_never_changes_has_no_spikes(loss, norm, further):
    monitor = Monitor(SKIP)
    assert all(monitor.judge(loss, norm).fine for _ in range(8 + further))


@given(steps)
def test_a_step_that_is_below_all_of_the_window_is_fine(sequence):
    monitor = Monitor(StabilityConfig(action="skip", window=5, most=1000))
    for step in sequence:
        monitor.judge(*step)
    losses, norms = zip(*[*monitor.history, [0.0, 0.0]], strict=True)
    assert monitor.judge(min(losses), min(norms)).fine


def test_ways_on_are_commands_with_the_users_own_words(tiny_toml: Path):
    begins = f"puna train {tiny_toml} optim.lr=0.5"
    recipe, run = load_recipe(str(tiny_toml), ["optim.lr=0.5"]).recipe, RunDir(Path("runs/a b"))
    hint = ways_on(recipe, run, None)
    assert hint.startswith(f"`{begins} --force optim.lr=0.25` starts again")
    assert "stability.action=skip" in hint
    checkpoint = run.checkpoints / "step-00000005"
    anew = f"--init-from '{checkpoint}' --run-dir 'runs/a b-2' optim.lr=0.25` begins a new run"
    hint = ways_on(recipe, run, checkpoint)
    assert hint.startswith(f"`{begins} --resume stability.action=skip` goes on from the newest checkpoint")
    assert f"; `{begins} {anew}" in hint
    skipping = load_recipe(str(tiny_toml), ["optim.lr=0.5", "stability.action=skip"]).recipe
    assert ways_on(skipping, run, checkpoint).startswith(f"`{begins} stability.action=skip {anew}")
    assert "stability" not in ways_on(skipping, None, None)

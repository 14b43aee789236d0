"""The advice helps, and says what it costs."""

from dataclasses import replace

import pytest

from puna.config.load import load_recipe
from puna.plan.changes import OTHER_ARITHMETIC, Remedy, advice, changes
from puna.plan.plan import Plan, plan
from puna.plan.target import find_target


def planned(name: str, *overrides: str, devices: int = 1, device: str = "a100") -> Plan:
    recipe = load_recipe(name, list(overrides)).recipe
    return plan(recipe, find_target(device, recipe, devices), devices)


def as_advised(found: Plan, way: Remedy, name: str, device: str) -> Plan:
    """The plan when one does what the way says."""
    overrides = [word for word in way.words.split() if word.startswith(("train.", "parallel."))]
    devices = int(way.words.partition("--devices ")[2].split()[0]) if "--devices" in way.words else found.share.devices
    return planned(name, *overrides, devices=devices, device=device)


@pytest.mark.parametrize(("devices", "device"), [(1, "h200"), (8, "a100")])
def test_every_change_that_is_advised_fits_at_the_utilisation_that_is_said(devices: int, device: str):
    found = planned("llama-7b", devices=devices, device=device)
    ways = changes(found)
    assert any(way.words == "train.recompute=full" for way in ways)
    assert any(way.words.startswith("train.precision=bf16-stochastic") for way in ways)
    for way in ways:
        again = as_advised(found, way, "llama-7b", device)
        assert (again.verdict, again.memory.peak.bytes, again.speed.mfu) == ("fits", way.bytes, way.mfu)


def test_7b_fits_on_no_single_a100():
    one = planned("llama-7b")
    assert one.verdict == "does not fit"
    # 18 bytes per parameter are there whatever the passes do; 8 in bfloat16 alone.
    ways = [way.words for way in changes(one)]
    assert all("--devices" in words or "bf16-stochastic" in words for words in ways)
    assert ways[-1].endswith("--devices 2")


def test_fastest_comes_first_and_more_devices_last():
    ways = changes(planned("llama-7b", device="h200"))
    rates = [way.mfu or 0.0 for way in ways if "--devices" not in way.words]
    assert rates == sorted(rates, reverse=True)
    assert ["--devices" in way.words for way in ways] == [False] * len(rates) + [True]


def test_training_in_bfloat16_alone_is_advised_with_what_it_changes_and_before_whole_blocks_are_computed_again():
    ways = changes(planned("llama-7b", device="h200"))
    words = [way.words for way in ways]
    assert words.index("train.precision=bf16-stochastic") < words.index("train.recompute=full")
    remarks = {way.words: way.remark for way in ways if way.remark}
    assert remarks == {
        "train.precision=bf16-stochastic": f"{OTHER_ARITHMETIC}; gradients of 256 passes are added up in bfloat16"
    }


@pytest.mark.parametrize("override", ["optim.name=muon", "train.precision=fp32", "train.precision=bf16-stochastic"])
def test_training_in_bfloat16_alone_is_for_bf16_and_adamw(override: str):
    ways = changes(planned("llama-13b", override, device="h200"))
    assert ways
    assert not any("precision" in way.words for way in ways)


def test_where_blocks_are_computed_again_already_bfloat16_alone_is_left():
    ways = changes(planned("llama-13b", "train.recompute=full", device="h200"))
    assert any(way.words.startswith("train.precision=bf16-stochastic") for way in ways)
    assert not any("recompute" in way.words for way in ways)


def test_without_an_estimate_of_speed_bfloat16_comes_after_llama_and_before_full():
    found = planned("llama-7b", device="h200")
    blind = replace(found, target=replace(found.target, rates=None, links=None))
    ways = changes(blind)
    assert all(way.mfu is None for way in ways)
    words = [way.words for way in ways]
    tries = ["train.recompute=llama train.micro", "train.precision", "train.recompute=full"]
    places = [next(at for at, word in enumerate(words) if word.startswith(start)) for start in tries]
    assert places == sorted(places)


def test_run_that_fits_needs_no_advice_and_unknown_memory_gives_none():
    assert changes(planned("llama-7b", "train.recompute=full", devices=8)) == []
    unknown = planned("llama-7b", device="1e15")
    assert (unknown.verdict, changes(unknown)) == ("", [])


def test_devices_that_a_recipe_fixes_are_freed_for_more_of_them():
    ways = changes(planned("llama-65b", "parallel.shard=8", "train.micro_batch_tokens=2048", devices=8))
    assert ways[-1].words.endswith("parallel.shard=0")


def test_advice_without_a_device_is_the_same_list_cheapest_first():
    found = advice(load_recipe("llama-7b").recipe)
    starts = [
        "train.micro_batch_tokens=8192 (", "train.loss_chunk_tokens=256", "train.recompute=llama",
        f"train.precision=bf16-stochastic ({OTHER_ARITHMETIC})", "train.recompute=full", "more devices", "`puna plan`",
    ]  # fmt: skip
    assert len(found) == len(starts)
    assert all(words.startswith(start) for words, start in zip(found, starts, strict=True))


def test_advice_is_about_what_is_not_done_yet():
    overrides = ["train.micro_batch_tokens=2048", "train.recompute=full", "train.loss_chunk_tokens=128"]
    words = " ".join(advice(load_recipe("llama-7b", overrides).recipe))
    assert "micro_batch_tokens" not in words
    assert "recompute" not in words
    assert "loss_chunk_tokens" not in words
    assert "parallel.shard" in words
    assert "bf16-stochastic" not in " ".join(advice(load_recipe("llama-7b", ["optim.name=muon"]).recipe))

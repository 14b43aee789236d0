"""The plan reproduces what the paper says of its own runs, and its advice helps."""

import json
from typing import Any

import pytest
from growth import calls

from puna.api.planned_model import with_model
from puna.config.load import load_recipe
from puna.config.recipe import Recipe
from puna.core.errors import TrainError
from puna.plan.changes import changes
from puna.plan.count import flops_per_token
from puna.plan.plan import Plan, plan
from puna.plan.target import GPU_UTILISATION, find_target


def planned(name: str, *overrides: str, devices: int = 1, device: str = "a100", mfu: float | None = None) -> Plan:
    recipe = load_recipe(name, list(overrides)).recipe
    return plan(recipe, find_target(device, recipe, devices), devices, mfu)


def llama_65b(**options: Any) -> Plan:
    return planned("llama-65b", "train.micro_batch_tokens=2048", devices=2048, **options)


def test_llama_65b_takes_about_21_days_on_2048_a100s_at_about_380_tokens_per_second_each():
    """Touvron et al. 2023, section 2.4; in the layout of its released files, eight devices to a product."""
    found = planned("llama-65b", "parallel.tensor=8", devices=2048)
    assert found.speed.tokens_per_second / 2048 == pytest.approx(380, rel=0.07)
    assert found.speed.seconds / 86400 == pytest.approx(21, rel=0.07)
    assert found.verdict == "tight"


def test_the_papers_utilisation_stands_for_gpus_of_which_only_the_peak_is_known():
    found = planned("llama-65b", "train.micro_batch_tokens=2048", devices=2048, device="312e12")
    assert found.speed.tokens_per_second / 2048 == pytest.approx(380, rel=0.002)
    assert found.speed.seconds / 86400 == pytest.approx(21, abs=0.25)
    assert found.speed.step is None


def test_utilisation_of_a_known_gpu_is_that_of_the_models_flops_in_the_time_of_a_step():
    found = planned("llama-7b", devices=64)
    step = found.speed.step
    assert step is not None
    flops = flops_per_token(found.recipe.model, 2048)["causal"] * 4_194_304
    assert found.speed.mfu == pytest.approx(flops / 64 / step.seconds / 312e12)
    assert found.speed.tokens_per_second == pytest.approx(4_194_304 / step.seconds)
    assert found.speed.seconds == pytest.approx(found.recipe.total_steps * step.seconds)


@pytest.mark.parametrize(
    ("name", "gpu_hours", "megawatt_hours", "tonnes"),
    # Touvron et al. 2023, table 15.
    [
        ("llama-7b", 82_432, 36, 14), ("llama-13b", 135_168, 59, 23), ("llama-33b", 530_432, 233, 90),
        ("llama-65b", 1_022_362, 449, 173),
    ],
)  # fmt: skip
def test_the_papers_gpu_hours_give_its_energy_and_carbon(
    name: str, gpu_hours: int, megawatt_hours: float, tonnes: float
):
    first = planned(name, "train.micro_batch_tokens=2048", devices=2048, mfu=0.4)
    hours = first.speed.seconds * 2048 / 3600
    found = planned(name, "train.micro_batch_tokens=2048", devices=2048, mfu=0.4 * hours / gpu_hours)
    assert found.speed.seconds * 2048 / 3600 == pytest.approx(gpu_hours)
    assert found.energy is not None
    assert found.energy[0] / 1000 == pytest.approx(megawatt_hours, abs=1.0)
    assert found.energy[1] / 1000 == pytest.approx(tonnes, abs=0.5)


def test_time_is_that_of_the_flops_at_the_utilisation_that_is_given():
    found = planned("llama-7b", device="1e15", mfu=0.5)
    matmul, attention = 6 * (6_738_415_616 - 32000 * 4096 - 65 * 4096), 6 * 32 * 4096 * 2048
    assert found.speed.seconds == pytest.approx(found.tokens * (matmul + attention) / 5e14)
    assert found.speed.mfu_source == "given"
    assert found.energy is None


def test_what_is_computed_again_slows_the_run_but_not_where_the_utilisation_is_given():
    none, full = (planned("llama-7b", f"train.recompute={policy}", device="1e15") for policy in ("none", "full"))
    assert none.speed.mfu == GPU_UTILISATION
    # A forward pass of all but the output layer is a third more, or nearly so.
    assert none.speed.mfu / full.speed.mfu == pytest.approx(4 / 3, abs=0.01)
    every, half = (
        planned("llama-7b", f"train.recompute={policy}", device="1e15") for policy in ("every-2", "budget=0.5")
    )
    assert none.speed.mfu / every.speed.mfu == pytest.approx(7 / 6, abs=0.005)
    assert half.speed.mfu == pytest.approx(every.speed.mfu)
    assert planned("llama-7b", "train.recompute=llama", device="1e15").speed.mfu == none.speed.mfu
    assert planned("llama-7b", "train.recompute=full", mfu=0.3).speed.mfu == 0.3


def test_disk_of_llama_7b():
    disk = planned("llama-7b").disk
    parameters = 6_738_415_616
    assert (disk.model, disk.checkpoint, disk.kept) == (4 * parameters, 12 * parameters, 2)
    assert disk.shards == 2 * 238_418 * 4_194_304
    assert disk.total == disk.model + 3 * disk.checkpoint + disk.shards
    assert planned("llama-7b", "model.vocab_size=128256").disk.shards == 2 * disk.shards
    narrow = planned("llama-7b", "train.precision=bf16-stochastic").disk
    assert (narrow.model, narrow.checkpoint) == (2 * parameters, 6 * parameters)
    # The disk does not grow with the layout.
    assert planned("llama-7b", "parallel.tensor=4", devices=8).disk == disk


@pytest.mark.parametrize(
    ("steps", "every", "keep", "keep_every"),
    [
        (10, 1, 2, 0),
        (10, 3, 2, 0),
        (10, 3, 2, 5),
        (10, 3, 1, 6),
        (12, 3, 2, 6),
        (100, 7, 3, 21),
        (5, 10, 2, 1),
        (9, 2, 9, 4),
    ],
)
def test_checkpoints_that_stay_are_those_of_a_run_played_through(steps: int, every: int, keep: int, keep_every: int):
    there: list[int] = []
    for step in range(1, steps + 1):
        if step % every == 0 or step == steps:
            there.append(step)
            there = [s for s in there[:-keep] if keep_every and s % keep_every == 0] + there[-keep:]
    overrides = [
        "train.batch_tokens=2048", f"train.tokens={2048 * steps}", "optim.warmup_steps=0",
        f"checkpoint.every_steps={every}", f"checkpoint.keep={keep}", f"checkpoint.keep_every={keep_every}",
    ]  # fmt: skip
    assert planned("demo", *overrides).disk.kept == len(there)


def test_memory_above_nine_tenths_is_called_tight():
    recipe = load_recipe("llama-7b").recipe
    found = planned("llama-7b", devices=8)
    needed = found.memory.peak.bytes

    def verdict(there: int) -> str:
        target = find_target("a100", recipe, 8)
        return plan(recipe, type(target)(**vars(target) | {"memory_bytes": there}), 8).verdict

    assert [verdict(int(needed * share)) for share in (0.99, 1.01, 1.12)] == ["does not fit", "tight", "fits"]


def tuned(*overrides: str, devices: int = 1, device: str = "h100") -> Plan:
    """LLaMA 7B's shape under the recipe that is the first of the overrides."""
    recipe = with_model(load_recipe(overrides[0], list(overrides[1:])).recipe, "llama-7b")[0]
    return plan(recipe, find_target(device, recipe, devices), devices)


def test_tuning_keeps_checkpoints_of_what_learns_and_leaves_adapter_and_merged_model():
    plain, packed = (
        tuned("chat-lora", "finetune.template=plain", f"finetune.base={base}") for base in ("as-it-is", "int4")
    )
    parameters, learned = 6_738_415_616, 16 * 32 * (4 * 2 * 4096 + 3 * (4096 + 11008))
    assert plain.share.learning.size == learned
    assert (plain.disk.model, plain.disk.checkpoint) == (4 * (parameters + learned), 12 * learned)
    assert (packed.disk.model, packed.disk.checkpoint) == (4 * learned, 12 * learned)
    assert plain.disk.shards == 0
    assert tuned("chat", "train.tokens=65536").disk.shards == 4 * 65536 // 2


def test_length_of_a_run_follows_from_its_examples_unless_it_is_given():
    unknown, given = tuned("chat"), tuned("chat", "train.tokens=3276800")
    assert (unknown.tokens, unknown.speed.seconds, unknown.energy) == (None, None, None)
    assert given.tokens == 3_276_800
    assert given.speed.seconds == pytest.approx(3_276_800 / unknown.speed.tokens_per_second)
    assert tuned("llama-i", devices=8).tokens == 2_621_440_000


def test_reference_model_takes_a_forward_pass_of_every_pair():
    """A third of an epoch's time, or nearly: its passes wait for nobody and go forward only."""
    found = tuned("dpo", "train.tokens=6553600", "finetune.epochs=2")
    step, reference = found.speed.step, found.speed.reference_seconds
    assert step is not None
    assert reference == pytest.approx(50 * step.seconds / 3, rel=0.2)
    assert tuned("dpo").speed.reference_seconds is None
    assert tuned("chat", "train.tokens=6553600").speed.reference_seconds is None


def test_updates_are_smaller_than_moving_all_weights_and_faster_where_no_inputs_are_dropped():
    full, lora = (tuned(name, "finetune.template=plain") for name in ("chat", "chat-lora"))
    quantized = tuned("chat-lora", "finetune.template=plain", "finetune.base=int4")
    undropped = tuned("chat-lora", "finetune.template=plain", "finetune.lora.dropout=0")
    assert lora.memory.peak.bytes < 0.6 * full.memory.peak.bytes
    assert lora.memory.peak.bytes - quantized.memory.peak.bytes > 8 * 2**30
    assert undropped.speed.tokens_per_second > full.speed.tokens_per_second > lora.speed.tokens_per_second
    # FLOPs are those of what is computed, of which updates spare nearly a third.
    ratio = lora.share.flops_per_token["causal"] / full.share.flops_per_token["causal"]
    assert 2 / 3 < ratio < 0.72


def test_changes_keep_what_learns():
    found = tuned("chat-lora", "train.micro_batch_tokens=32768", device="rtx-4090")
    assert found.verdict == "does not fit"
    assert all(way.bytes < found.memory.peak.bytes for way in changes(found))


def test_layout_that_does_not_fit_the_devices_is_a_sentence():
    with pytest.raises(TrainError, match="but the number of processes is 3"):
        planned("llama-7b", "parallel.tensor=2", devices=3)


def test_json_has_every_figure_and_adds_up():
    found = llama_65b()
    values = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    counts = dict(values["parameters"])
    assert counts.pop("total") == sum(counts.values()) == 65_285_660_672
    assert values["memory"]["bytes"] == sum(term["bytes"] for term in values["memory"]["terms"])
    assert values["memory"]["bytes"] == max(values["memory"]["moments"].values())
    assert values["flops"]["run"]["param"] == pytest.approx(values["flops"]["per_token"]["param"] * values["tokens"])
    assert values["layout"] == {"replicate": 1, "shard": 2048, "context": 1, "tensor": 1}
    step = values["speed"]["step"]
    spent = sum(part["seconds"] for part in step["parts"])
    assert step["seconds"] == pytest.approx(spent + step["exposed_seconds"])
    assert step["exposed_seconds"] == pytest.approx(sum(kind["exposed_seconds"] for kind in step["traffic"]))
    assert values["energy"]["kgco2eq"] == pytest.approx(values["energy"]["kwh"] * 0.385)


def test_a_plan_takes_no_more_work_for_a_run_with_many_checkpoints():
    def work(*overrides: str) -> int:
        recipe: Recipe = load_recipe("llama-65b", list(overrides)).recipe
        return calls(lambda: changes(plan(recipe, find_target("a100", recipe, 8), 8)))

    few = work("checkpoint.keep_every=7000", "checkpoint.every_steps=1000")
    assert work("checkpoint.keep_every=7", "checkpoint.every_steps=1") < 1.1 * few

"""Names that people give, and what they stand for."""

from pathlib import Path

import pytest

from puna.config.load import load_recipe
from puna.config.recipe import Recipe
from puna.core.errors import ConfigError
from puna.plan import target as plan_target
from puna.plan.hardware import HDR, NDR, NVLINK_3
from puna.plan.kernels import Rates
from puna.plan.links import Links
from puna.plan.plan import plan
from puna.plan.target import find_target, sgemm_rate

RECORD = Path(__file__).parents[2] / "bench" / "results" / "train_cpu_amd-epyc-avx2_2026-11-21.json"


@pytest.fixture
def llama() -> Recipe:
    return load_recipe("llama-7b").recipe


@pytest.mark.parametrize(
    ("name", "full", "flops"),
    [("a100", "A100-SXM4-80GB", 312e12), ("H100", "H100 80GB HBM3", 989e12), ("H100 PCIe", "H100 PCIe", 756e12)],
)
def test_gpu_is_known_by_its_short_name_and_by_its_drivers(llama: Recipe, name: str, full: str, flops: float):
    target = find_target(name, llama, 8)
    assert (target.name, target.kind, target.peak_flops, target.peak_source) == (full, "gpu", flops, "datasheet")
    assert target.memory_bytes == 80 * 2**30


def test_rates_and_links_of_a_known_gpu_are_shares_of_its_datasheets(llama: Recipe):
    target = find_target("a100", llama, 8)
    assert target.rates == Rates(products=0.869 * 312e12, attention=0.5 * 312e12, memory=0.9 * 2039e9)
    assert target.links == Links(NVLINK_3, HDR, 8)
    fp32 = find_target("a100", load_recipe("llama-7b", ["train.precision=fp32"]).recipe, 8)
    assert fp32.rates == Rates(products=0.869 * 19.5e12, attention=0.5 * 19.5e12, memory=0.9 * 2039e9)


def test_float8_has_a_rate_where_the_gpu_has_the_units_and_is_refused_elsewhere():
    narrow = load_recipe("llama-7b", ["train.float8=true"]).recipe
    rates = find_target("h200", narrow, 1).rates
    assert rates is not None
    assert 1300e12 < rates.float8 < 1450e12
    for name in ("a100", "A100 80GB PCIe", "cpu"):
        with pytest.raises(ConfigError, match=rf"train.float8 = true needs a GPU of compute .*--device is {name}"):
            find_target(name, narrow, 1)
    speed = plan(narrow, find_target("4e14", narrow, 1), 1).speed
    assert speed.mfu_source.endswith("what float8 gains on this device is not known")


def test_network_and_size_of_machines_can_be_given(llama: Recipe):
    links = find_target("h100", llama, 8, node_devices=4, network_gbps=100).links
    assert links is not None
    assert (links.node_devices, links.network.bytes_per_s, links.network.hop_s) == (4, 12.5e9, NDR.hop_s)


@pytest.mark.parametrize("name", ["cpu", "4e14", "b100"])
def test_network_of_a_device_of_which_little_is_known_is_refused(llama: Recipe, name: str):
    with pytest.raises(ConfigError, match=f"--network-gbps needs a known GPU, and --device is {name}\n.*H100 NVL"):
        find_target(name, llama, 8, network_gbps=100)
    with pytest.raises(ConfigError, match="--devices-per-node needs a known GPU"):
        find_target(name, llama, 8, node_devices=4)


def test_rate_of_arithmetic_is_a_gpu_of_unknown_memory_and_power(llama: Recipe):
    target = find_target("4e14", llama, 1)
    assert (target.peak_flops, target.memory_bytes, target.watts) == (4e14, None, None)
    assert (target.rates, target.links) == (None, None)


@pytest.mark.parametrize("name", ["b100", "", "nan", "inf", "-1e12", "0", "rtx"])
def test_other_names_are_refused_with_those_that_are_known(llama: Recipe, name: str):
    with pytest.raises(
        ConfigError, match=r"--device .*: expected a known GPU, .*cpu, or FLOP/s such as 4e14\n.*H100 NVL"
    ):
        find_target(name, llama, 1)


def test_a_number_that_is_the_name_of_a_card_is_not_a_rate(llama: Recipe):
    assert find_target("4090", llama, 1).name == "GeForce RTX 4090"


def test_gpu_that_cannot_multiply_in_bfloat16_is_planned_in_float32_alone(llama: Recipe):
    with pytest.raises(ConfigError, match=r"train\.precision = bf16: Tesla T4 cannot multiply in bfloat16\n.*fp32"):
        find_target("t4", llama, 1)
    target = find_target("t4", load_recipe("llama-7b", ["train.precision=fp32"]).recipe, 1)
    assert (target.peak_flops, target.watts, target.memory_bytes) == (8.1e12, 70.0, 16 * 2**30)


@pytest.mark.parametrize("name", ["v100", "mi300x", "rtx-3090", "l4", "b200"])
def test_every_known_gpu_has_a_whole_plan(name: str):
    recipe = load_recipe("open_lm_160m", ["train.precision=fp32"]).recipe
    speed = plan(recipe, find_target(name, recipe, 8), 8).speed
    assert speed.step is not None
    assert 0.05 < speed.mfu < 0.9


def test_watts_of_the_recipe_win():
    recipe = load_recipe("llama-7b", ["energy.device_watts=350"]).recipe
    for name in ("a100", "1e14"):
        target = find_target(name, recipe, 1)
        assert (target.watts, target.watts_source) == (350.0, "energy.device_watts")


def test_processes_share_a_cpu(llama: Recipe, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(plan_target, "sgemm_rate", lambda: 1e11)
    monkeypatch.setattr(plan_target, "machine", lambda: {"processor": "A CPU", "cores": 8, "memory_bytes": 2**35})
    one, four = (find_target("cpu", llama, processes) for processes in (1, 4))
    assert (one.peak_flops, one.memory_bytes, one.watts) == (1e11, 2**35, 28.0)
    assert (four.peak_flops, four.memory_bytes, four.watts) == (2.5e10, 2**33, 7.0)
    assert four.name == "A CPU, 8 cores, shared by 4 processes"


def test_sgemm_rate_is_what_a_product_takes(monkeypatch: pytest.MonkeyPatch):
    ticks = iter(range(100))
    monkeypatch.setattr(plan_target.time, "perf_counter", lambda: next(ticks) * 0.25)
    assert sgemm_rate() == pytest.approx(2 * 2048**3 / 0.25)


def test_utilisation_of_a_cpu_is_the_records():
    import json

    rows = json.loads(RECORD.read_text(encoding="utf-8"))["rows"]
    measured = {row["mode"] == "compiled": row["share_of_sgemm"] for row in rows if row["system"] == "puna"}
    assert measured == pytest.approx(plan_target.CPU_UTILISATION, abs=0.006)

"""The simulation of a cluster runs, with few processes, and counts what real ones open."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).parents[1] / "bench" / "cluster.py"
SMALL = ["model.dim=64", "model.n_heads=4", "model.n_kv_heads=4", "model.ffn_dim=128", "model.n_layers=2"]


@pytest.fixture(scope="module")
def cluster() -> ModuleType:
    spec = importlib.util.spec_from_file_location("cluster", BENCH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_one_process_of_sixteen_holds_its_part(cluster: ModuleType):
    found = cluster.simulate("llama-65b", 16, [*SMALL, "parallel.tensor=4"])
    assert sorted(found["groups"]) == [4, 4, 16, 16]
    assert found["sockets_connected_to_all"] == 40
    # Three numbers of four bytes for each of its sixteenth of the matrices, and the norms' quarters of shards.
    matrices = 2 * 32_000 * 64 + 2 * (4 * 64 * 64 + 3 * 64 * 128)
    assert found["state_bytes"] == pytest.approx(12 * matrices / 16, rel=0.01)


def test_plan_of_the_library_covers_every_tensor(cluster: ModuleType):
    """It raises otherwise."""
    found = cluster.library_plan("llama-65b", 8, SMALL)
    assert found["gathered_bytes"] > 8 * 20 * 100


def test_real_processes_open_as_many_sockets_as_it_says(cluster: ModuleType):
    """One of them leads to the key-value store, which the launcher keeps."""
    processes = 3
    assert cluster.count(processes, "to all")["sockets"] == 1 + 2 * processes
    assert cluster.count(processes, "on demand")["sockets"] <= 1 + 2 * cluster.on_demand(processes)

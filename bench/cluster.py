"""One process of 2,048, on this machine: its start, its memory, its sockets and its part of a checkpoint's plan.

    python bench/cluster.py

LLaMA 65B is laid out as in a run on 2,048 processes by one of them; the others are not there (PyTorch's fake process
group), so nothing that travels is timed. Files and sockets are counted in groups of 2, 4 and 8 real processes, which
shows what they grow with. The library's plan of a checkpoint, through the main process, is made for 128 processes with
the entries of 65B, and its time and bytes multiplied.
"""

import argparse
import dataclasses
import json
import math
import os
import pickle
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, MetadataIndex
from torch.distributed.checkpoint.planner import WriteItem
from torch.distributed.fsdp import fully_shard
from torch.testing._internal.distributed.fake_pg import FakeStore

from puna.config.load import load_recipe
from puna.config.recipe import ParallelConfig
from puna.core.files import write_json
from puna.core.records import commit, machine
from puna.model.llama import Llama
from puna.parallel.apply import build_model
from puna.parallel.mesh import build_mesh
from puna.parallel.world import World, joined
from puna.train.checkpoint import tensors
from puna.train.optimizer import build_optimizer, ensure_state
from puna.train.shard_plan import OwnPlan

HERE = Path(__file__).parent
LAYOUTS = {"2,048 shards": [], "256 shards x 8 tensor": ["parallel.tensor=8"]}
SAMPLE = 128
"""Processes of the library's plan; every axis of 65B is a multiple of it."""


@contextmanager
def seen_from_one(size: int) -> Iterator[World]:
    """A group of processes; only the first one exists."""
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=size)
    try:
        yield World(0, size, torch.device("cpu"), None)
    finally:
        dist.destroy_process_group()


def timed(action: Callable[[], Any]) -> tuple[Any, float]:
    """What it gives, and its seconds."""
    started = time.perf_counter()
    return action(), time.perf_counter() - started


def simulate(name: str, size: int, overrides: list[str]) -> dict[str, Any]:
    """The start of one process of `size`, and its own plan of a checkpoint."""
    recipe = load_recipe(name, overrides).recipe
    with seen_from_one(size) as world:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        mesh, mesh_seconds = timed(lambda: build_mesh(recipe.parallel, world))
        model, model_seconds = timed(lambda: build_model(recipe, mesh, torch.device("cpu")))
        optimizer = build_optimizer(model, recipe.optim, recipe.train.precision, recipe.seed)
        _, state_seconds = timed(lambda: ensure_state(model, optimizer))
        state = tensors(model, optimizer)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        local = [getattr(tensor, "_local_tensor", tensor) for tensor in state.values()]
        planner = OwnPlan(0, size)
        planner.set_up_planner(state, is_coordinator=True)
        plan, plan_seconds = timed(planner.create_local_plan)
        # The default group is there already; that of checkpoints comes on top.
        groups = [group.size() for group in dist.distributed_c10d._world.pg_map] + [size]
        return {
            "processes": size,
            "mesh_seconds": mesh_seconds,
            "model_seconds": model_seconds,
            "optimizer_seconds": state_seconds,
            "imports_bytes": before,
            "peak_memory_bytes": memory,
            "state_bytes": sum(tensor.numel() * tensor.element_size() for tensor in local),
            "groups": groups,
            "sockets_connected_to_all": sum(groups),
            "sockets_on_demand_at_most": sum(on_demand(group) for group in groups),
            "own_plan_seconds": plan_seconds,
            "entries": len(plan.items),
            "hashes_bytes": size * len(pickle.dumps(({"shard-00001-model-00001-of-00001.safetensors": "0" * 64}, ""))),
        }


def on_demand(size: int) -> int:
    """The most sockets of a gloo group that connects on demand: one listens, the others go to neighbours."""
    return 1 + 2 * math.ceil(math.log2(size))


def library_plan(name: str, size: int, overrides: list[str]) -> dict[str, Any]:
    """What the library's plan through the main process costs it: lists in, one plan, lists out; seconds and bytes."""
    recipe = load_recipe(name, overrides).recipe
    with seen_from_one(size) as world:
        with torch.device("meta"):
            model = Llama(recipe.model)
        fully_shard(model, mesh=build_mesh(recipe.parallel, world).fsdp_mesh)
        optimizer = build_optimizer(model, recipe.optim, recipe.train.precision, recipe.seed)
        ensure_state(model, optimizer)
        planner = DefaultSavePlanner()
        planner.set_up_planner(tensors(model, optimizer), is_coordinator=True)
        first = planner.create_local_plan()
        plans = [dataclasses.replace(first, items=[_of(item, rank) for item in first.items]) for rank in range(size)]
        sent = [pickle.dumps(plan) for plan in plans]
        del plans
        received, in_seconds = timed(lambda: [pickle.loads(one) for one in sent])
        (planned, _), plan_seconds = timed(lambda: planner.create_global_plan(received))
        answers, out_seconds = timed(lambda: [pickle.dumps(plan) for plan in planned])
        return {
            "processes": size,
            "gathered_bytes": size * max(map(len, sent)),
            "sent_bytes": size * max(map(len, answers)),
            "unpickle_seconds": in_seconds,
            "plan_seconds": plan_seconds,
            "pickle_seconds": out_seconds,
            "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }


def _of(item: WriteItem, rank: int) -> WriteItem:
    """The first process's entry as another has it, where tensors are sharded evenly over their rows."""
    data = item.tensor_data
    if data is None or data.chunk.sizes == data.size:
        return dataclasses.replace(item)
    offsets = torch.Size((rank * data.chunk.sizes[0], *data.chunk.offsets[1:]))
    chunk = ChunkStorageMetadata(offsets, data.chunk.sizes)
    index = MetadataIndex(item.index.fqn, offsets)
    return dataclasses.replace(item, index=index, tensor_data=dataclasses.replace(data, chunk=chunk))


def count_here(how: str) -> dict[str, int]:
    """Sockets and all files that two groups over all processes open in a process, started by torchrun; the most."""
    before = _open()
    if how == "on demand":
        with joined() as world:
            build_mesh(ParallelConfig(), world)
            world.first(lambda: None)
            world.each(None)
            world.told("")
            world.largest(0)
            dist.all_reduce(torch.zeros(1), group=world.checkpoint_group)
            return _most(world, before)
    os.environ["TORCH_GLOO_LAZY_INIT"] = "0"
    dist.init_process_group("gloo")
    try:
        group = dist.new_group(backend="gloo")
        return _most(World(dist.get_rank(), dist.get_world_size(), torch.device("cpu"), group), before)
    finally:
        dist.destroy_process_group()


def _open() -> tuple[int, int]:
    """Sockets and all files that this process has open."""
    kinds = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            kinds.append(descriptor.readlink().name.split(":")[0])
        except OSError:
            continue  # that of the listing
    return kinds.count("socket"), len(kinds)


def _most(world: World, before: tuple[int, int]) -> dict[str, int]:
    after = world.each(tuple(now - then for now, then in zip(_open(), before, strict=True)))
    sockets, files = (max(counts) for counts in zip(*after, strict=True))
    return {"processes": world.size, "sockets": sockets, "files": files}


def count(size: int, how: str) -> dict[str, Any]:
    """The most files that any of these real processes has open, including the key-value store's socket."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(size)]
    command = [sys.executable, *launcher, __file__, "--count", how]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    # Not through a pipe, which would be counted.
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    )
    return {"connected": how} | json.loads(done.stdout.splitlines()[-1])


def part(*arguments: str) -> dict[str, Any]:
    """What a process of its own measures."""
    done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="llama-65b")
    parser.add_argument("--processes", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", choices=["to all", "on demand"], help="what a process of a small group counts")
    parser.add_argument("--layout", choices=LAYOUTS, help="what one simulated process measures")
    parser.add_argument("--library-plan", action="store_true", help="what the plan's process measures")
    arguments = parser.parse_args()
    if arguments.count:
        found = count_here(arguments.count)
        if os.environ["RANK"] == "0":
            print(json.dumps(found))
    elif arguments.layout:
        print(json.dumps(simulate(arguments.recipe, arguments.processes, LAYOUTS[arguments.layout])))
    elif arguments.library_plan:
        print(json.dumps(library_plan(arguments.recipe, SAMPLE, [])))
    else:
        write_record(arguments.recipe, arguments.processes, arguments.rounds)


def write_record(recipe: str, size: int, rounds: int) -> None:
    """Rounds of all parts in turn, best times."""
    simulated: dict[str, list[dict[str, Any]]] = {name: [] for name in LAYOUTS}
    plans = []
    for number in range(rounds):
        for name in LAYOUTS:
            simulated[name].append(part("--recipe", recipe, "--processes", str(size), "--layout", name))
        plans.append(part("--recipe", recipe, "--library-plan"))
        print(f"round {number + 1} of {rounds} done", flush=True)
    now = datetime.now(UTC)
    record = {
        "schema": 1,
        "benchmark": "cluster",
        "what": f"{recipe} on {size:,} processes, seen from one of them; nothing travels",
        "command": f"python bench/cluster.py --rounds {rounds}",
        "commit": commit(),
        "date": now.isoformat(timespec="seconds"),
        "machine": machine(),
        "statistic": "the round whose times add up to least; rounds has all",
        "layouts": {name: min(found, key=_seconds) for name, found in simulated.items()},
        "library_plan": min(plans, key=_seconds),
        "counted": [count(processes, how) for how in ("to all", "on demand") for processes in (2, 4, 8)],
        "rounds": {"layouts": simulated, "library_plan": plans},
    }
    path = HERE / "results" / f"cluster_{now:%Y-%m-%d}.json"
    write_json(path, record)
    print(json.dumps({key: record[key] for key in ("layouts", "library_plan", "counted")}, indent=1))
    print(f"record: bench/results/{path.name}")


def _seconds(found: dict[str, Any]) -> float:
    return sum(value for key, value in found.items() if key.endswith("_seconds"))


if __name__ == "__main__":
    main()

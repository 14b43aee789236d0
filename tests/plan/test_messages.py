"""What devices send, against the collectives that a pass of the real code asks for."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from puna.config.recipe import Recipe
from puna.parallel.apply import build_model, set_last_pass
from puna.parallel.mesh import build_mesh
from puna.parallel.objective import Objective, Passed
from puna.parallel.world import World
from puna.plan.hardware import Link
from puna.plan.kernels import Rates
from puna.plan.layout import GPU, share_of
from puna.plan.links import Links, Sent
from puna.plan.messages import end_messages, loss_messages, muon_messages, muon_workers, weight_messages
from puna.plan.step_time import step_time

LINKS = Links(Link("inside", 1e9, 0.0), Link("outside", 1e9, 0.0), node_devices=64)
CHUNK = 64


def recipe(devices: int, train: dict[str, Any], parallel: dict[str, int], **tables: dict[str, Any]) -> Recipe:
    """One pass in a step; every size is a multiple of the devices, so that nothing is padded."""
    return Recipe.model_validate(
        {
            "name": "small",
            "model": {
                "dim": 64, "n_layers": 3, "n_heads": 8, "n_kv_heads": 8, "ffn_dim": 128, "vocab_size": 512,
                "context": 64,
            },
            "train": {
                "tokens": 2**20, "micro_batch_tokens": 128, "compile": False, "loss_chunk_tokens": CHUNK,
                "batch_tokens": 128 * devices // (parallel.get("context", 1) * parallel.get("tensor", 1)),
            } | train,
            "optim": {"warmup_steps": 0}, "parallel": parallel,
        }
        | tables
    )  # fmt: skip


class _Asked(TorchDispatchMode):
    """Bytes that a device sends for the collectives that it is asked for, by kind, if they go round in rings."""

    def __init__(self, replicas: int, tensor: int) -> None:
        super().__init__()
        self.replicas, self.tensor = replicas, tensor
        self.sent: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function._schema.name
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        match name:
            case "c10d::_allgather_base_":
                self._round("weights gathered", *tensors)
            case "c10d::_reduce_scatter_base_":
                self._round("gradients scattered to their weights", tensors[1], tensors[0])
            case "c10d::allreduce_" if tensors[0].ndim == 1:
                self.sent["gradients of replicas"] += 2 * tensors[0].nbytes * (self.replicas - 1) / self.replicas
            case "c10d::allreduce_":
                self.sent["loss"] += 2 * tensors[0].nbytes * (self.tensor - 1) / self.tensor
            case "_c10d_functional::all_reduce":
                self.sent["tensor parallelism"] += 2 * tensors[0].nbytes * (self.tensor - 1) / self.tensor
            case "_c10d_functional::all_gather_into_tensor":
                self.sent[self._kind(tensors[0])] += tensors[0].nbytes * (args[1] - 1)
            case "_c10d_functional::reduce_scatter_tensor":
                self.sent[self._kind(tensors[0])] += tensors[0].nbytes * (args[2] - 1) / args[2]
        return function(*args, **(kwargs or {}))

    def _round(self, kind: str, whole: Tensor, part: Tensor) -> None:
        self.sent[kind] += whole.nbytes - part.nbytes

    def _kind(self, tensor: Tensor) -> str:
        return "keys and values" if tensor.ndim == 6 else "tensor parallelism"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Eight processes: this is the first, and the others are pretended, take what is sent and answer nothing.

    One group for all layouts: DTensor remembers how it has redistributed, beyond the end of a group.
    """
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=8)
    yield World(0, 8, torch.device("cpu"), None)
    dist.destroy_process_group()


LAYOUTS: list[dict[str, int]] = [
    {}, {"replicate": 2}, {"tensor": 2}, {"context": 2}, {"tensor": 8}, {"replicate": 2, "tensor": 2},
    {"tensor": 2, "context": 2}, {"replicate": 8},
]  # fmt: skip


@pytest.mark.parametrize("parallel", LAYOUTS, ids=str)
@pytest.mark.parametrize(
    ("precision", "policy"), [("bf16", "none"), ("bf16", "full"), ("fp32", "llama"), ("bf16-stochastic", "every-2")]
)
def test_bytes_are_those_of_the_collectives_that_a_pass_asks_for(
    world: World, parallel: dict[str, int], precision: str, policy: str
):
    config = recipe(8, {"precision": precision, "recompute": policy}, parallel)
    mesh = build_mesh(config.parallel, world)
    model = build_model(config, mesh, world.device)
    set_last_pass(model, mesh, True)
    tokens_BT = torch.randint(0, 512, (2, 64))
    with _Asked(mesh.replicate, mesh.tensor) as asked:
        loss, _ = Objective(model, mesh, CHUNK).train(Passed(inputs_BT=tokens_BT, targets_BT=tokens_BT))
        loss.backward()
    share = share_of(config, 8, GPU)
    assert share.passes == 1
    step = step_time(share, Rates(1e12, 1e12, 1e12), LINKS)
    planned = {kind.name: kind.node_bytes for kind in step.traffic}
    assert planned == pytest.approx({kind: sent for kind, sent in asked.sent.items() if sent})


TUNINGS: list[tuple[dict[str, Any], dict[str, int], str]] = [
    # what learns, layout, precision
    ({"method": "lora"}, {}, "bf16"), ({"method": "lora"}, {"replicate": 2, "context": 2}, "fp32"),
    ({"method": "lora", "base": "int8"}, {"replicate": 2}, "bf16"),
    ({"method": "lora", "lora": {"targets": ["wq", "w2"], "dora": True}}, {}, "bf16"),
    ({"freeze": ["tok_embeddings.*", "layers.0.*"]}, {"replicate": 2}, "bf16"),
    ({"freeze": ["output.*", "*norm*"]}, {"tensor": 2}, "fp32"),
    ({"method": "lora"}, {"tensor": 2}, "bf16"), ({"method": "lora"}, {"tensor": 8}, "fp32"),
    ({"method": "lora", "lora": {"targets": ["wo", "w1"], "dora": True}}, {"tensor": 2}, "fp32"),
]  # fmt: skip


@pytest.mark.parametrize(("finetune", "parallel", "precision"), TUNINGS, ids=str)
def test_bytes_of_tuning_are_those_of_the_collectives_that_a_pass_asks_for(
    world: World, finetune: dict[str, Any], parallel: dict[str, int], precision: str
):
    config = recipe(8, {"precision": precision}, parallel, finetune=finetune)
    mesh = build_mesh(config.parallel, world)
    model = build_model(config, mesh, world.device)
    set_last_pass(model, mesh, True)
    tokens_BT = torch.randint(0, 512, (2, 64))
    with _Asked(mesh.replicate, mesh.tensor) as asked:
        loss, _ = Objective(model, mesh, CHUNK).train(Passed(inputs_BT=tokens_BT, targets_BT=tokens_BT))
        loss.backward()
    step = step_time(share_of(config, 8, GPU), Rates(1e12, 1e12, 1e12), LINKS)
    planned = {kind.name: kind.node_bytes for kind in step.traffic}
    assert planned == pytest.approx({kind: sent for kind, sent in asked.sent.items() if sent})


def test_replicas_add_up_the_part_of_a_gradient_that_each_holds():
    share = share_of(recipe(8, {}, {"replicate": 2}), 8, GPU)
    messages = weight_messages(share, LINKS, 4000)
    # Four devices share the weights: bfloat16 forward, float32 back, and two hold the same quarter.
    assert messages.gather.node_bytes == 2 * 4000 * 3 / 4
    assert messages.reduce.node_bytes == 4 * 4000 * 3 / 4
    assert messages.replicas.node_bytes == 2 * 4 * 1000 * 1 / 2


def test_embedding_and_output_layer_have_a_message_each_unless_they_are_one():
    slow = Links(Link("inside", 1e9, 1e-3), Link("outside", 1e9, 1e-3), node_devices=64)
    own = share_of(recipe(8, {}, {}), 8, GPU)
    both = end_messages(own, slow).gather
    assert own.end_groups == [512 * 64, 512 * 64 + 64]
    assert both.node_bytes == pytest.approx(weight_messages(own, slow, own.ends).gather.node_bytes)
    assert both.seconds == pytest.approx(weight_messages(own, slow, own.ends).gather.seconds + 7e-3)
    tables = recipe(8, {}, {}).model_dump()
    tied = share_of(Recipe.model_validate(tables | {"model": tables["model"] | {"tie_embeddings": True}}), 8, GPU)
    assert tied.end_groups == [512 * 64 + 64]
    assert end_messages(tied, slow) == weight_messages(tied, slow, tied.ends)


def test_last_chunk_of_the_loss_counts_for_the_part_that_it_is():
    whole, less = (
        loss_messages(share_of(recipe(2, {"loss_chunk_tokens": chunk}, {"tensor": 2}), 2, GPU), LINKS)
        for chunk in (64, 48)
    )
    assert whole.node_bytes == less.node_bytes == 12 * 128


def test_muon_gathers_matrices_and_sends_them_around():
    matrices = 3 * (4 * 64 * 64 + 3 * 64 * 128)
    muon = {"optim": {"warmup_steps": 0, "name": "muon"}}
    sharded = share_of(recipe(4, {}, {}, **muon), 4, GPU)
    assert muon_messages(sharded, LINKS).node_bytes == pytest.approx(2 * 2 * matrices * 3 / 4)
    # If a product is shared, no device has a whole matrix to send: each makes all orthogonal.
    split = share_of(recipe(4, {}, {"tensor": 2}, **muon), 4, GPU)
    assert muon_messages(split, LINKS).node_bytes == pytest.approx(2 * (matrices / 2 + matrices) / 2)
    assert (muon_workers(sharded), muon_workers(split)) == (4, 1)
    assert muon_messages(share_of(recipe(1, {}, {}, **muon), 1, GPU), LINKS) == Sent()
    assert muon_messages(share_of(recipe(4, {}, {}), 4, GPU), LINKS) == Sent()

"""Nothing in an optimizer step makes the host wait for the device: proven without one.

Whole steps of one process run on meta tensors, which have no numbers: what would look at one (`.item()`, a tensor in an
`if`, `nonzero`) raises. Every copy between devices is listed, and must be one that the host does not wait for; a tensor
that is made of Python's numbers on the device is refused, since that is such a copy below what can be listed. Graph
breaks and compilations after the first step are counted on a CPU. Outside of this proof are branches for CUDA alone
(`puna.ops.transfer`, `puna.train.staging`) and what several processes tell each other.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch._dynamo.utils
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import puna.train.feed as feed_module
from puna.config.recipe import Recipe
from puna.ops import cross_entropy
from puna.ops.flex import block_mask
from puna.parallel.world import World
from puna.train.device import Device
from puna.train.synthetic import on_random_tokens, synthetic_session

MODEL = {"dim": 32, "n_layers": 2, "n_heads": 2, "n_kv_heads": 1, "ffn_dim": 48, "vocab_size": 300, "context": 32}
LOOKS = {"aten::_local_scalar_dense", "aten::is_nonzero", "aten::nonzero", "aten::equal", "aten::masked_select"}
"""Operators whose result the host needs before it can go on."""


class Waits(TorchDispatchMode):
    """Lists copies between devices, and refuses what the host would wait for."""

    def __init__(self) -> None:
        super().__init__()
        self.copies: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name
        tensors = [x for x in torch.utils._pytree.tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        if name in LOOKS and any(x.device.type == "meta" for x in tensors):
            raise AssertionError(f"the host waits: {name}")
        if name == "aten::_to_copy" and "device" in kwargs:
            self._copied(tensors[0].device, torch.device(kwargs["device"]), bool(kwargs.get("non_blocking")))
        elif name == "aten::copy_":
            without_waiting = args[2] if len(args) > 2 else kwargs.get("non_blocking", False)
            self._copied(tensors[1].device, tensors[0].device, without_waiting)
        elif name in ("aten::index", "aten::index_put_") and tensors[0].device.type == "meta":
            if any(x.dtype == torch.bool for x in tensors[1:]):
                raise AssertionError("the host waits: how many elements a mask chooses")
            if any(x.device.type == "cpu" and x.ndim for x in tensors[1:]):
                raise AssertionError("the host waits: places from the host")
        return func(*args, **kwargs)

    def _copied(self, source: torch.device, target: torch.device, without_waiting: bool) -> None:
        if source.type != target.type:
            self.copies[f"{source.type} to {target.type}"] += 1
            if not without_waiting:
                raise AssertionError(f"the host waits: a copy from {source.type} to {target.type}")


class Makes(TorchFunctionMode):
    """Refuses tensors on the device that are made of numbers of the host."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        on = kwargs.get("device") or (args[0].device if name == "new_tensor" else "cpu")
        if name in ("tensor", "as_tensor", "new_tensor") and torch.device(on).type != "cpu":
            raise AssertionError(f"the host waits: torch.{name} on {on}")
        return func(*args, **kwargs)


def recipe_of(**changes: dict[str, Any]) -> Recipe:
    train = {"tokens": 6400, "batch_tokens": 128, "micro_batch_tokens": 64, "compile": False, "loss_chunk_tokens": 40}
    return Recipe.model_validate(
        {
            "name": "waits",
            "model": MODEL | changes.get("model", {}),
            "train": train | changes.get("train", {}),
            "optim": {"warmup_steps": 0} | changes.get("optim", {}),
            "stability": changes.get("stability", {}),
        }
    )


def steps_on_meta(recipe: Recipe, steps: int = 2) -> Counter[str]:
    """The copies of some steps of two passes each."""
    world = World(0, 1, torch.device("meta"), None)
    device = Device(world.device, "none", 1.0, "none", 1.0, "none")
    session = synthetic_session(recipe, world, device)
    batches = on_random_tokens(session)
    with Makes(), Waits() as waits:
        for _ in range(steps):
            session.step(batches)
    assert session.state.step == steps
    return waits.copies


CASES: dict[str, dict[str, Any]] = {
    "fp32": {"train": {"precision": "fp32"}},
    "bf16": {"train": {"precision": "bf16"}},
    "bf16-stochastic": {"train": {"precision": "bf16-stochastic"}},
    "documents": {"train": {"precision": "bf16", "document_mask": True}},
    "z-loss": {"train": {"precision": "bf16", "z_loss": 1e-4}},
    "tied": {"train": {"precision": "bf16"}, "model": {"tie_embeddings": True}},
    "layer norms": {"train": {"precision": "bf16"}, "model": {"norm": "layer-bias", "qk_norm": True}},
    "llama": {"train": {"precision": "bf16", "recompute": "llama"}},
    "full": {"train": {"precision": "bf16", "recompute": "full"}},
    "muon": {"train": {"precision": "bf16"}, "optim": {"name": "muon"}},
}


@pytest.mark.parametrize("case", CASES)
def test_a_step_never_waits_and_sends_three_arrays_per_pass_ahead(case: str) -> None:
    copies = steps_on_meta(recipe_of(**CASES[case]))
    # Inputs, targets and sources of each pass; stochastic rounding sends the constants and keys of its two groups.
    sent = 2 * (2 * 3 + (4 if case == "bf16-stochastic" else 0))
    assert copies == {"cpu to meta": sent}


@pytest.mark.parametrize("action", ["skip", "rollback"])
def test_where_spikes_are_acted_upon_the_step_looks_at_its_loss_once_before_it_moves_the_weights(action: str) -> None:
    with pytest.raises(AssertionError, match=r"the host waits: (a copy from meta to cpu|aten::_local_scalar_dense)"):
        steps_on_meta(recipe_of(train={"precision": "bf16"}, stability={"action": action}))


def _any_in_an_if(logits_CV: Tensor, *rest: Any) -> Any:
    if (logits_CV > 1e30).any():
        raise ValueError
    return _exact(logits_CV, *rest)


def _item(logits_CV: Tensor, *rest: Any) -> Any:
    logits_CV.sum().item()
    return _exact(logits_CV, *rest)


def _nonzero(logits_CV: Tensor, *rest: Any) -> Any:
    logits_CV[logits_CV > 1e30].sum()
    return _exact(logits_CV, *rest)


def _made_of_a_number(logits_CV: Tensor, *rest: Any) -> Any:
    return _exact(logits_CV * torch.tensor(1.0, device=logits_CV.device), *rest)


def _indexed_by_a_list(logits_CV: Tensor, *rest: Any) -> Any:
    logits_CV[torch.tensor([0, 1])].sum()
    return _exact(logits_CV, *rest)


_exact = cross_entropy.softmax_gradient


@pytest.mark.parametrize("kernel", [_any_in_an_if, _item, _nonzero, _made_of_a_number, _indexed_by_a_list])
def test_a_look_at_the_device_that_is_put_back_into_the_loss_is_found(
    kernel: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cross_entropy, "_kernel", lambda compiled: kernel)
    with pytest.raises((AssertionError, RuntimeError, NotImplementedError), match=r"waits|meta"):
        steps_on_meta(recipe_of(train={"precision": "bf16"}))


def test_a_copy_that_the_host_waits_for_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "sent", lambda array, device: torch.from_numpy(array).to(device))
    with pytest.raises(AssertionError, match="the host waits: a copy from cpu to meta"):
        steps_on_meta(recipe_of(train={"precision": "bf16"}))


def test_the_blocks_of_a_document_mask_are_found_without_a_look_at_the_documents() -> None:
    documents_BT = torch.zeros(2, 300, dtype=torch.int64, device="meta")
    with Waits() as waits:
        blocks = block_mask(documents_BT, documents_BT)
    assert not waits.copies
    assert blocks.kv_indices.device.type == "meta"


@pytest.mark.parametrize("case", ["fp32", "bf16", "documents", "llama"])
def test_compiled_blocks_have_no_graph_break_and_are_compiled_in_the_first_step_only(case: str) -> None:
    changes = CASES[case]
    recipe = recipe_of(**(changes | {"train": changes["train"] | {"compile": True}}))
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    world = World(0, 1, torch.device("cpu"), None)
    session = synthetic_session(recipe, world, Device(world.device, "cpu", 1.0, "none", 1.0, "none"))
    batches = on_random_tokens(session)
    session.step(batches)
    counters = torch._dynamo.utils.counters
    compiled = counters["stats"]["unique_graphs"]
    assert compiled >= 1
    with torch._dynamo.config.patch(error_on_recompile=True):
        for _ in range(3):
            session.step(batches)
    assert counters["stats"]["unique_graphs"] == compiled
    assert not counters["graph_break"]

"""Adapters with random updates, and PEFT's model of ours."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from memory import MemoryCheckpoint

from puna.formats.hf.write import write_hf
from puna.formats.table import weights
from puna.model.adapter import Adapter, LowRank

LINEAR = ("attention.wq", "attention.wk", "attention.wv", "attention.wo", "feed_forward.w1", "feed_forward.w2",
          "feed_forward.w3")  # fmt: skip


def random_adapter(source: MemoryCheckpoint, *, dora: bool = False, **changes: Any) -> Adapter:
    """Updates of all linear layers of a decoder, large enough to be seen in its logits."""
    generator = torch.Generator().manual_seed(7)
    updates = {}
    for weight in weights(source.config):
        layer = weight.name.removesuffix(".weight")
        if layer.endswith(LINEAR):
            (outputs, inputs), rank = weight.shape, 3 if layer.endswith("wo") else 4
            a_RI = torch.randn(rank, inputs, generator=generator) * 0.1
            b_OR = torch.randn(outputs, rank, generator=generator) * 0.1
            magnitude_O = torch.rand(outputs, generator=generator) + 0.5 if dora else None
            scale = 0.3 if layer.endswith("w1") else 2.0
            updates[layer] = LowRank(a_RI=a_RI, b_OR=b_OR, scale=scale, magnitude_O=magnitude_O)
    return Adapter(updates=updates, **changes)


@pytest.fixture(scope="session")
def adapter() -> Callable[..., Adapter]:
    """Makes an adapter of a decoder: `adapter(source, dora=True)`."""
    return random_adapter


@pytest.fixture
def huggingface(tmp_path: Path) -> Callable[[MemoryCheckpoint], Any]:
    """Makes transformers' model of a checkpoint."""
    transformers = pytest.importorskip("transformers")

    def make(source: MemoryCheckpoint) -> Any:
        (tmp_path / "hf").mkdir()
        write_hf(source, None, tmp_path / "hf")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "hf", dtype=torch.float32).eval()

    return make


def merged(source: MemoryCheckpoint, adapter: Adapter) -> MemoryCheckpoint:
    """The weights with the adapter in them, by the formula."""
    tensors = dict(source.tensors) | adapter.whole
    for layer, update in adapter.updates.items():
        tensors[f"{layer}.weight"] = update.merged(tensors[f"{layer}.weight"])
    return MemoryCheckpoint(source.config, tensors)


@pytest.fixture(scope="session")
def merge() -> Callable[[MemoryCheckpoint, Adapter], MemoryCheckpoint]:
    """Makes the weights with an adapter in them."""
    return merged

"""Low-rank updates that learn beside frozen matrices, put into a decoder from outside (LoRA, Hu et al. 2022).

A layer with an update computes W x + scale B A x. W is frozen. A begins uniform within 1 / sqrt(inputs), as PEFT draws
it, B with zeros, so that the first step sees the model as it was, to the bit. The scale is alpha / rank, or
alpha / sqrt(rank), with which the size of an update does not fall with the rank (rsLoRA, Kalajdzievski 2023).

With magnitudes, each output is scaled to a norm of its own, m (W + scale B A) x / |W + scale B A|, and m begins as |W|
(DoRA, Liu et al. 2024). The norm below the line counts as a constant in the gradient, as section 4.3 there proposes.

`attach` changes the structure, on the device `meta` too and after tensor parallelism; `start` gives first values, in
any layout; `apply` does both for a model in memory.

Shapes in names: R rank   I inputs   O outputs
"""

import hashlib
import math
from collections.abc import Iterator
from functools import partial
from typing import Protocol, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, Placement, Replicate, Shard, distribute_tensor

from puna.config.finetune import FinetuneConfig, LoraConfig
from puna.core.errors import TrainError
from puna.model.adapter import Adapter, LowRank, scale_of
from puna.model.files import InMemory, Rectangles
from puna.model.frozen import freeze, is_frozen
from puna.model.llama import Llama
from puna.model.packed import fill_packed, keep_packed, kept, packed_layers, product, weight_of
from puna.model.parts import UPDATE, Part, is_update, own_parts, whole
from puna.ops.quantized import WeightKind


class Drops(Protocol):
    """Drops inputs of A while training; `puna.finetune.noise.Noise` does."""

    def dropped_input(self, x_BPD: Tensor, site: Tensor) -> Tensor:
        """The values after dropout at the place of the model with this key, an int32 scalar."""
        ...


class Update(nn.Module):
    """The update of one linear layer; its parameters lie over the devices as the layer's weight does.

    Args:
        layer: The layer, in its layout.
        config: Rank, scale and form.
    """

    in_float32 = ("magnitude",)
    """Parameters that passes in bfloat16 take as they are, where no sharding rounds them: a step of the optimizer is
    smaller than what bfloat16 tells apart."""

    def __init__(self, layer: nn.Linear, config: LoraConfig) -> None:
        super().__init__()
        self.noise: Drops | None = None
        """What drops inputs of A, and at which place of the model this is; None drops nothing."""
        self.site: Tensor | None = None
        self.scale = scale_of(config)
        weight = layer.weight
        self.a = _beside(weight, (config.rank, layer.in_features), axis=1)
        self.b = _beside(weight, (layer.out_features, config.rank), axis=0)
        self.magnitude = _beside(weight, (layer.out_features,), axis=0) if config.dora else None

    def forward(self, x_BTI: Tensor, layer: nn.Linear) -> Tensor:
        """The output of the layer, which has the frozen weight, with the update."""
        product_BTO = product(layer, x_BTI)
        if self.noise is not None and self.site is not None:
            x_BTI = self.noise.dropped_input(x_BTI, self.site)
        low_BTR = F.linear(x_BTI, self.a)
        if isinstance(product_BTO, DTensor) and isinstance(low_BTR, DTensor) and product_BTO.placements[0].is_partial():
            # Inputs are split: both sums over devices end where the layer's output is wanted, split over the sequence.
            product_BTO, low_BTR = (each.redistribute(placements=[Shard(1)]) for each in (product_BTO, low_BTR))
        out_BTO = product_BTO + F.linear(low_BTR, self.b) * self.scale
        if self.magnitude is None:
            return out_BTO
        # In float32: rounded to bfloat16, a factor near 1 would move all weights of a row alike, or none.
        return (out_BTO * (self.magnitude.float() / self._norms(layer))).to(out_BTO.dtype)

    @torch.no_grad()
    def _norms(self, layer: nn.Linear) -> Tensor:
        """Norms of the rows of the updated weight, in float32."""
        return row_norms(weight_of(layer).float() + self.scale * (self.b.float() @ self.a.float()))

    def low_rank(self) -> LowRank:
        """A copy of the update, whole and on the CPU; every device asks for it at the same time."""
        magnitude_O = None if self.magnitude is None else _copy(self.magnitude)
        return LowRank(a_RI=_copy(self.a), b_OR=_copy(self.b), scale=self.scale, magnitude_O=magnitude_O)


def row_norms(weight_OI: Tensor) -> Tensor:
    """The Euclidean norm of every row, (O,)."""
    return torch.linalg.vector_norm(weight_OI, dim=1)


def attach(model: Llama, config: FinetuneConfig, *, frozen_dtype: torch.dtype | None = None) -> None:
    """Freeze the model and give the linear layers that the configuration names updates without values, in place.

    Args:
        model: On any device, in its layout.
        config: Which layers, and how.
        frozen_dtype: What the frozen matrices of blocks become, that of the passes; None leaves them.

    Raises:
        TrainError: A pattern of what is frozen names nothing, or all layers.
    """
    frozen = freeze(model, config.freeze)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for number, block in enumerate(model.blocks()):
        for target in config.lora.targets:
            half = "attention" if target in ("wq", "wk", "wv", "wo") else "feed_forward"
            layer: nn.Linear = getattr(getattr(block, half), target)
            if f"layers.{number}.{half}.{target}.weight" not in frozen:
                layer.add_module(UPDATE, Update(layer, config.lora))
                layer.forward = partial(_forward, layer)
        for layer in [module for module in block.modules() if isinstance(module, nn.Linear)]:
            _keep(layer, config.base, frozen_dtype)


@torch.no_grad()
def start(model: Llama, seed: int, stored: Rectangles) -> None:
    """Give every update its first values, this device's part of them; equal seeds give equal ones in every layout.

    Matrices that are kept in fewer bits get their values, too.

    Args:
        model: With its own weights.
        seed: The recipe's.
        stored: The model's weights, of which whole rows can be read.
    """
    layers = dict(updated(model))
    fill_packed(model, stored)
    for part in own_parts(model):
        layer, _, role = part.name.partition(f".{UPDATE}.")
        if role == "a":
            part.tensor.copy_(_uniform(part, seed))
        elif role == "b":
            part.tensor.zero_()
        elif role == "magnitude" and part.tensor.numel():
            shape = (part.tensor.shape[0], layers[layer].in_features)
            weight_OI = stored.rectangle(f"{layer}.weight", (part.offset[0], 0), shape)
            part.tensor.copy_(row_norms(kept(weight_OI, layers[layer], layer)))


def apply(model: Llama, config: FinetuneConfig, seed: int = 0) -> None:
    """Freeze a model in memory and give it updates that change nothing yet, in place; `adapter_of` reads them.

    Raises:
        TrainError: A pattern of what is frozen names nothing, or all layers.
        CheckpointError: The frozen matrices are to be kept in fewer bits, and one cannot be.
    """
    weights = dict(model.named_parameters())
    attach(model, config)
    start(model, seed, InMemory(weights))


def updated(model: Llama) -> Iterator[tuple[str, nn.Linear]]:
    """The layers that have an update, by name, in the order of the model."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and hasattr(module, UPDATE):
            yield name, module


def adapter_of(model: Llama) -> Adapter:
    """All that the model has learned beside its frozen weights; every process asks for it at the same time."""
    learned = {
        name: _copy(parameter)
        for name, parameter in model.named_parameters()
        if not (is_update(name) or is_frozen(parameter))
    }
    return Adapter(updates={name: update_of(layer).low_rank() for name, layer in updated(model)}, whole=learned)


@torch.no_grad()
def merge_(model: Llama) -> None:
    """Make one weight of each frozen one and its update, in place, in float32, as all weights of the model become.

    Every process does it at the same time. Where weights are sharded, the model can then be saved, not run.

    Raises:
        TrainError: The frozen matrices are kept in fewer bits: the sum would be another model than was trained, or
            lose the update when it is rounded again.
    """
    if next(packed_layers(model), None) is not None:
        raise TrainError(
            "an adapter is not merged into a base of int8 or int4", hint="load both, or merge it into the original"
        )
    for _, layer in list(updated(model)):
        merged_OI = update_of(layer).low_rank().merged(whole(layer.weight).cpu())
        _give(layer, "weight", _part(merged_OI.to(layer.weight.device), layer.weight))
        delattr(layer, UPDATE)
        del layer.forward
    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter.dtype != torch.float32:
                _give(module, name, parameter.float())
    model.tie()


def _forward(layer: nn.Linear, x_BTI: Tensor) -> Tensor:
    return update_of(layer)(x_BTI, layer)


def _keep(layer: nn.Linear, base: str, dtype: torch.dtype | None) -> None:
    """Keep a frozen matrix as the recipe says."""
    if base != "as-it-is":
        keep_packed(layer, WeightKind(base))
        if not hasattr(layer, UPDATE):
            layer.forward = partial(product, layer)
    elif dtype is not None:
        _give(layer, "weight", layer.weight.to(dtype))


def update_of(layer: nn.Linear) -> Update:
    """The update of a layer that has one."""
    return cast(Update, getattr(layer, UPDATE))


def _beside(weight: Tensor, shape: tuple[int, ...], *, axis: int) -> nn.Parameter:
    """A parameter without values that is split over devices as an axis of the weight is."""
    if not isinstance(weight, DTensor):
        return nn.Parameter(weight.new_empty(shape))
    own = axis if len(shape) > 1 else 0
    placements: list[Placement] = [Shard(own) if each.is_shard(axis) else Replicate() for each in weight.placements]
    empty = torch.empty(shape, dtype=weight.dtype, device=weight.device)
    return nn.Parameter(distribute_tensor(empty, weight.device_mesh, placements, src_data_rank=None))


def _uniform(part: Part, seed: int) -> Tensor:
    """This device's part of the first A of a layer, which depends on the seed and the layer's name alone."""
    key = hashlib.sha256(f"{seed} {part.name}".encode()).digest()
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(key)))
    bound = 1 / math.sqrt(part.shape[1])
    values_RI = (generator.random(part.shape, dtype=np.float32) * 2 - 1) * np.float32(bound)
    region = tuple(slice(first, first + size) for first, size in zip(part.offset, part.tensor.shape, strict=True))
    return torch.from_numpy(values_RI[region])


def _copy(tensor: Tensor) -> Tensor:
    return whole(tensor).detach().cpu().clone()


def _part(tensor: Tensor, like: Tensor) -> Tensor:
    """This device's part of a tensor that all devices have whole, in the layout of another one."""
    if not isinstance(like, DTensor):
        return tensor
    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)


def _give(module: nn.Module, name: str, value: Tensor) -> None:
    """Put a frozen parameter in the place of another."""
    setattr(module, name, nn.Parameter(value, requires_grad=False))

"""Linear layers whose frozen matrix is kept in 8 or 4 bits (`puna.ops.packed`), put into a decoder from outside.

Such a layer has no parameter `weight`, but two buffers, which every device has whole.

Shapes in names: I inputs   O outputs
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from puna.core.errors import CheckpointError, GenerateError
from puna.model.files import Rectangles
from puna.model.llama import Llama
from puna.ops.packed import pack, packed_linear, row_bytes, unpack
from puna.ops.quantized import GROUP, Blocks, WeightKind, dequantize, quantize


def keep_packed(layer: nn.Linear, kind: WeightKind) -> None:
    """Take the layer's weight away and make room for its integers and scales, in place, without values.

    Args:
        layer: On any device, `meta` too.
        kind: INT8 or INT4.
    """
    rows, device = layer.out_features, layer.weight.device
    layer.weight = None  # pyrefly: ignore[bad-assignment] a layer without a parameter of this name
    empty = torch.empty(rows, row_bytes(layer.in_features, kind), dtype=torch.uint8, device=device)
    layer.register_buffer("packed", empty, persistent=False)
    scales = torch.empty(rows, -(-layer.in_features // GROUP), dtype=torch.float16, device=device)
    layer.register_buffer("scales", scales, persistent=False)


def kind_of(layer: nn.Linear) -> WeightKind | None:
    """How the layer's matrix is kept; None where it has a weight in floats."""
    if layer.weight is not None:
        return None
    return WeightKind.INT8 if _buffer(layer, "packed").shape[1] == layer.in_features else WeightKind.INT4


def weight_of(layer: nn.Linear) -> Tensor:
    """The layer's weight, (O, I); in float32 where its integers stand for it."""
    if layer.weight is not None:
        return layer.weight
    return unpack(_buffer(layer, "packed"), _buffer(layer, "scales"), layer.in_features, torch.float32)


def product(layer: nn.Linear, x_BTI: Tensor) -> Tensor:
    """What the layer's frozen matrix makes of its input, (B, T, O)."""
    if layer.weight is not None:
        return F.linear(x_BTI, layer.weight)
    return packed_linear(x_BTI, _buffer(layer, "packed"), _buffer(layer, "scales"))


def kept(weight_OI: Tensor, layer: nn.Linear, name: str) -> Tensor:
    """Rows of a weight as the layer keeps them, in float32: rounded to its dtype, or what its integers stand for.

    Raises:
        CheckpointError: The layer keeps integers, and the weight cannot be quantized; `name` is its name.
    """
    kind = kind_of(layer)
    if kind is None:
        return weight_OI.to(layer.weight.dtype).float()
    return dequantize(_quantized(weight_OI, kind, name))


@torch.no_grad()
def fill_packed(model: Llama, stored: Rectangles) -> None:
    """Quantize the stored weight of every packed layer, one after the other.

    Raises:
        CheckpointError: A weight cannot be quantized.
    """
    for name, layer in packed_layers(model):
        kind = kind_of(layer)
        assert kind is not None  # noqa: S101 - it is packed
        weight_OI = stored.rectangle(f"{name}.weight", (0, 0), (layer.out_features, layer.in_features))
        blocks = _quantized(weight_OI, kind, name)
        _buffer(layer, "packed").copy_(pack(blocks))
        _buffer(layer, "scales").copy_(blocks.scales_NG)


def packed_layers(model: Llama) -> Iterator[tuple[str, nn.Linear]]:
    """The layers whose matrix is packed, by name, in the order of the model."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and module.weight is None:
            yield name, module


def _quantized(weight_OI: Tensor, kind: WeightKind, name: str) -> Blocks:
    try:
        return quantize(weight_OI, kind, name=f"{name}.weight")
    except GenerateError as error:
        raise CheckpointError(error.message) from None


def _buffer(layer: nn.Linear, name: str) -> Tensor:
    return layer.get_buffer(name)

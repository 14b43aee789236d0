"""Layers with a matrix of 8 or 4 bits."""

import pytest
import torch
from torch import nn

from puna.config.model import ModelConfig
from puna.core.errors import CheckpointError
from puna.model.files import InMemory
from puna.model.init import init_weights
from puna.model.llama import Llama
from puna.model.packed import fill_packed, keep_packed, kept, kind_of, packed_layers, product, weight_of
from puna.ops.bits import same_bits
from puna.ops.quantized import WeightKind, dequantize, quantize


def decoder() -> Llama:
    model = Llama(ModelConfig(dim=64, n_layers=2, n_heads=4, ffn_dim=88, vocab_size=300, context=16))
    init_weights(model, 0)
    return model


@pytest.mark.parametrize("kind", [WeightKind.INT8, WeightKind.INT4])
def test_a_packed_layer_is_that_of_the_integers(kind: WeightKind) -> None:
    model = decoder()
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    layer: nn.Linear = model.blocks()[1].feed_forward.w2
    assert kind_of(layer) is None
    keep_packed(layer, kind)
    assert kind_of(layer) == kind
    assert [name for name, _ in packed_layers(model)] == ["layers.1.feed_forward.w2"]
    fill_packed(model, InMemory(before))
    original_OI = before["layers.1.feed_forward.w2.weight"]
    expected_OI = dequantize(quantize(original_OI, kind))
    assert same_bits(weight_of(layer), expected_OI)
    assert same_bits(kept(original_OI[3:7], layer, "it"), expected_OI[3:7])
    x_NI = torch.randn(5, 88)
    assert same_bits(product(layer, x_NI), torch.nn.functional.linear(x_NI, expected_OI))


def test_a_weight_that_is_not_finite_is_named() -> None:
    model = decoder()
    layer: nn.Linear = model.blocks()[0].attention.wq
    weights = {name: weight.detach() for name, weight in model.named_parameters()}
    weights["layers.0.attention.wq.weight"][3, 4] = torch.nan
    keep_packed(layer, WeightKind.INT8)
    with pytest.raises(CheckpointError, match=r"layers\.0\.attention\.wq\.weight: holds a weight that is not"):
        fill_packed(model, InMemory(weights))

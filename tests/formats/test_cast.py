from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from puna.core.errors import FormatError
from puna.formats.cast import CastCheckpoint, common_dtype
from puna.formats.checkpoint import Stored

WQ = "layers.0.attention.wq.weight"


def test_values_are_rounded_to_nearest_even(source: Callable[..., Any]) -> None:
    model = source()
    cast = CastCheckpoint(model, "bfloat16")
    bits = model.tensor(WQ).numpy().view(np.uint32)
    nearest = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    assert np.array_equal(cast.tensor(WQ).view(torch.uint16).numpy(), nearest.astype(np.uint16))
    assert cast.stored[WQ] == Stored("bfloat16", 2 * model.tensor(WQ).numel())
    assert cast.config == model.config


def test_a_value_beyond_float16_is_refused_and_named(source: Callable[..., Any]) -> None:
    model = source()
    model.tensors[WQ][3, 5] = 70_000
    with pytest.raises(FormatError, match=rf"{WQ} holds 7e\+04, and float16 ends at 65504"):
        CastCheckpoint(model, "float16").tensor(WQ)
    assert CastCheckpoint(model, "bfloat16").tensor(WQ)[3, 5] == 70_144


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_one_dtype_stays(source: Callable[..., Any], dtype: str) -> None:
    assert common_dtype(source(dtype=getattr(torch, dtype))) == dtype


def test_gains_in_float32_that_16_bits_hold_do_not_widen_the_model(source: Callable[..., Any]) -> None:
    model = source(dtype=torch.bfloat16)
    for name in [name for name in model.tensors if "norm" in name]:
        model.tensors[name] = model.tensors[name].float()
    again = type(model)(model.config, model.tensors)
    assert common_dtype(again) == "bfloat16"
    again.tensors["norm.weight"][7] = 1 + 2.0**-20
    assert common_dtype(again) == "float32"


def test_quantized_weights_and_two_kinds_of_16_bits_become_float32(source: Callable[..., Any]) -> None:
    model = source()
    model.stored = {**model.stored, WQ: Stored("Q4_0", 100)}
    assert common_dtype(model) == "float32"
    model.stored = {name: Stored("float16", 2) for name in model.stored} | {WQ: Stored("bfloat16", 2)}
    assert common_dtype(model) == "float32"

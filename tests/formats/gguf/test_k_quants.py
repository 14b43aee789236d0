import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puna.formats.gguf.k_quants import QUANTIZERS, Floats

gguf = pytest.importorskip("gguf")

KINDS = sorted(QUANTIZERS)
STEP = {"Q4_K": 1 / 15, "Q5_K": 1 / 31, "Q6_K": 1 / 31}
"""A step of q as a share of a sub-block's range, or of its largest value."""


def back(values: Floats, kind: str) -> Floats:
    return gguf.quants.dequantize(QUANTIZERS[kind](values), gguf.GGMLQuantizationType[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_zeros_stay_zeros_beside_others(kind: str) -> None:
    values = np.random.default_rng(0).standard_normal((3, 512), np.float32)
    values[1] = 0
    values[2, 64:96] = 0
    found = back(values, kind)
    assert (found[1] == 0).all()
    assert (found[2, 64:96] == 0).all()
    assert np.abs(found[0]).max() > 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("constant", [0.3, -0.3, 0.05])
def test_constants_come_back_within_half_precision(kind: str, constant: float) -> None:
    values = np.full((1, 256), constant, np.float32)
    np.testing.assert_allclose(back(values, kind), values, rtol=3e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_values_whose_scales_float16_cannot_hold_become_zeros(kind: str) -> None:
    assert (back(np.full((1, 256), 1e-12, np.float32), kind) == 0).all()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(1e-3, 1e3), shift=st.floats(-2, 2), heavy=st.booleans())
def test_no_value_is_off_by_more_than_two_steps(kind: str, seed: int, scale: float, shift: float, heavy: bool) -> None:
    rng = np.random.default_rng(seed)
    drawn = rng.standard_t(3, (2, 512)) if heavy else rng.standard_normal((2, 512))
    values = ((drawn + shift) * scale).astype(np.float32)
    size = 16 if kind == "Q6_K" else 32
    blocks, found = values.reshape(-1, 256), back(values, kind).reshape(-1, 256)
    width = np.abs(blocks).max(1, keepdims=True) if kind == "Q6_K" else (
        np.maximum(blocks.reshape(-1, 256 // size, size).max(2), 0)
        - np.minimum(blocks.reshape(-1, 256 // size, size).min(2), 0)
    ).max(1, keepdims=True)  # fmt: skip
    assert (np.abs(found - blocks) <= 2.5 * STEP[kind] * width).all()


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_is_quantized_for_itself(kind: str) -> None:
    values = np.random.default_rng(1).standard_normal((6, 768), np.float32)
    whole = QUANTIZERS[kind](values)
    rows = [QUANTIZERS[kind](values[row : row + 1])[0] for row in range(6)]
    np.testing.assert_array_equal(whole, np.stack(rows))

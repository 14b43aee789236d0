"""Quantization to llama.cpp's K-quants Q4_K, Q5_K and Q6_K by a search of the scale of every sub-block.

A super-block has 256 values. Q4_K and Q5_K: 8 sub-blocks of 32, value = d s q - m z with q of 4 or 5 bits, s and z of
6 bits per sub-block, d and m float16 per super-block. Q6_K: 16 sub-blocks of 16, value = d s (q - 32) with q of 6 bits
and s of 8 signed. The layouts are ggml's (ggml-common.h).

Large weights count more, as in llama.cpp. For a few trial scales the values are rounded, and weighted least squares
give the scale and minimum that fit best; the best pair is rounded and fitted once more. The minimum is fitted again
after the scale has been rounded to its few bits, which llama.cpp does not do. Arrays are (place in the sub-block,
sub-blocks), so that sums over a sub-block add whole rows.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

_VALUES = 256
_TWO, _FOUR, _SIX = np.uint8(2), np.uint8(4), np.uint8(6)

# Trial scales map the range of a sub-block to the largest q plus this: a negative number widens the steps, a positive
# one cuts off the largest value. The ranges were chosen by the error on normal and heavy-tailed weights.
_TRIALS = np.linspace(-2.0, 0.8, 8, dtype=np.float32)
_TRIALS_SYMMETRIC = np.linspace(-2.0, 1.0, 9, dtype=np.float32)


def quantize_q4_k(values: Floats) -> Bytes:
    """Super-blocks of rows: (rows, columns) -> (rows, columns / 256 x 144)."""
    head, q = _with_minima(values, 15)
    low = q.reshape(len(head), 4, 2, 32)
    return _join(values, head, _halves(low[:, :, 0], low[:, :, 1]))


def quantize_q5_k(values: Floats) -> Bytes:
    """Super-blocks of rows: (rows, columns) -> (rows, columns / 256 x 176)."""
    head, q = _with_minima(values, 31)
    fifth = np.packbits(q >> _FOUR, axis=1, bitorder="little")[:, 0]
    low = (q & np.uint8(15)).reshape(len(head), 4, 2, 32)
    return _join(values, head, fifth, _halves(low[:, :, 0], low[:, :, 1]))


def quantize_q6_k(values: Floats) -> Bytes:
    """Super-blocks of rows: (rows, columns) -> (rows, columns / 256 x 210)."""
    with np.errstate(all="ignore"):  # sub-blocks of zeros divide by zero
        x = _columns(values, 16)
        scales = _finite(_search_symmetric(x)).reshape(-1, 16)
        largest = np.take_along_axis(scales, np.abs(scales).argmax(axis=1)[:, None], axis=1)
        d = (largest / np.float32(-128)).astype(np.float16)
        s = np.clip(np.rint(_finite(scales / d)), -128, 127)
        x *= 1 / (d * s).astype(np.float32).reshape(-1)
        q = (np.clip(np.rint(_finite(x)), -32, 31) + np.float32(32)).astype(np.uint8)
    # Rows of 128 values: four quarters of 32; two quarters share the bytes of low bits, all four the bytes of high
    # bits.
    q = q.reshape(16, -1, 2, 4, 2).transpose(1, 2, 3, 4, 0).reshape(-1, 2, 4, 32)
    low, high = q & np.uint8(15), q >> _FOUR
    high = high[:, :, 0] | high[:, :, 1] << _TWO | high[:, :, 2] << _FOUR | high[:, :, 3] << _SIX
    return _join(values, _halves(low[:, :, :2], low[:, :, 2:]), high, s.astype(np.int8).view(np.uint8), _bytes(d))


QUANTIZERS: dict[str, Callable[[Floats], Bytes]] = {
    "Q4_K": quantize_q4_k,
    "Q5_K": quantize_q5_k,
    "Q6_K": quantize_q6_k,
}
"""The quantizer of each type, by ggml's name."""


def _with_minima(values: Floats, top: int) -> tuple[Bytes, Bytes]:
    """The 16 bytes of d, m and all s and z, (super-blocks, 16), and q up to `top`, (super-blocks, 8, 32)."""
    with np.errstate(all="ignore"):  # sub-blocks of zeros divide by zero
        x = _columns(values, 32)
        weight = np.abs(x) + np.sqrt(_total(x * x) / np.float32(32))
        scale, minimum = _search(x, weight, top)
        d, s = _six_bits(scale.reshape(-1, 8))
        step = (d * s).reshape(-1)
        q = np.clip(np.rint((x - minimum) / step), 0, top)
        refitted = (step * _total(weight * q) - _total(weight * x)) / _total(weight)
        m, z = _six_bits(np.maximum(_finite(refitted), 0).reshape(-1, 8))
        x += (m * z).reshape(-1)
        x *= 1 / step
        q = np.clip(np.rint(_finite(x)), 0, top).astype(np.uint8)
    s, z = s.astype(np.uint8), z.astype(np.uint8)
    head = np.concatenate(
        (
            _bytes(d.astype(np.float16)),
            _bytes(m.astype(np.float16)),
            s[:, :4] | s[:, 4:] >> _FOUR << _SIX,
            z[:, :4] | z[:, 4:] >> _FOUR << _SIX,
            _halves(s[:, 4:] & np.uint8(15), z[:, 4:] & np.uint8(15)),
        ),
        axis=1,
    )
    return head, q.reshape(32, -1, 8).transpose(1, 2, 0)


def _search(x: Floats, weight: Floats, top: int) -> tuple[Floats, Floats]:
    """Scale and minimum, at most zero, of every sub-block: x is about scale q + minimum with q from 0 to `top`."""
    low, high = np.minimum(x.min(axis=0), 0), np.maximum(x.max(axis=0), 0)
    scale, minimum, error = (high - low) / np.float32(top), low, np.full_like(low, np.inf)
    relative = (x - low) / (high - low)
    weighted = weight * x
    sums = _total(weight), _total(weighted), _total(weighted * x)
    q = np.empty_like(x)
    for trial in (*_TRIALS, None):
        if trial is None:
            np.subtract(x, minimum, out=q)
            np.multiply(q, 1 / scale, out=q)
        else:
            np.multiply(relative, np.float32(top) + trial, out=q)
        np.rint(q, out=q)
        np.clip(q, 0, top, out=q)
        found = _least_squares(x, weight, q, sums)
        better = found[2] < error
        scale, minimum, error = (
            np.where(better, new, old) for new, old in zip(found, (scale, minimum, error), strict=True)
        )
    return _finite(scale), minimum


def _least_squares(
    x: Floats, weight: Floats, q: Floats, sums: tuple[Floats, Floats, Floats]
) -> tuple[Floats, Floats, Floats]:
    """The scale and minimum that fit best for these q, and the weighted square error."""
    w, wx, wxx = sums
    product: Floats = weight * q
    wq, wqx, wqq = _total(product), _total(product * x), _total(product * q)
    determinant = w * wqq - wq * wq
    scale = (w * wqx - wx * wq) / determinant
    minimum = (wqq * wx - wq * wqx) / determinant
    above = minimum > 0
    scale, minimum = np.where(above, wqx / wqq, scale), np.where(above, 0, minimum)
    return scale, minimum, wxx - scale * wqx - minimum * wx


def _search_symmetric(x: Floats) -> Floats:
    """The scale of every sub-block, of either sign: x is about scale q with q from -32 to 31; weighted by squares."""
    low, high = x.min(axis=0), x.max(axis=0)
    extreme = np.where(high > -low, high, low)
    scale, gain = extreme / np.float32(-32), np.zeros_like(extreme)
    weight = x * x
    weighted = weight * x
    q, product = np.empty_like(x), np.empty_like(x)
    for trial in (*_TRIALS_SYMMETRIC, None):
        np.multiply(x, 1 / scale if trial is None else (np.float32(-32) - trial) / extreme, out=q)
        np.rint(q, out=q)
        np.clip(q, -32, 31, out=q)
        wqx = _total(np.multiply(weighted, q, out=product))
        np.multiply(weight, q, out=product)
        wqq = _total(np.multiply(product, q, out=product))
        found = wqx / wqq
        better = found * wqx > gain
        scale, gain = np.where(better, found, scale), np.where(better, found * wqx, gain)
    return scale


def _six_bits(numbers: Floats) -> tuple[Floats, Floats]:
    """A float16 per row, (rows, 1), and its multiples from 0 to 63 next to the row's numbers; both as float32."""
    unit = (numbers.max(axis=1, keepdims=True) / np.float32(63)).astype(np.float16).astype(np.float32)
    return unit, np.clip(np.rint(_finite(numbers / unit)), 0, 63)


def _columns(values: Floats, size: int) -> Floats:
    return np.ascontiguousarray(values.reshape(-1, size).T)


def _total(array: Floats) -> Floats:
    return np.add.reduce(array, axis=0)


def _finite(array: Floats) -> Floats:
    return np.nan_to_num(array, copy=False, nan=0.0, posinf=0.0, neginf=0.0)


def _bytes(halves: npt.NDArray[np.float16]) -> Bytes:
    return np.ascontiguousarray(halves).view(np.uint8)


def _halves(low: Bytes, high: Bytes) -> Bytes:
    """Numbers of four bits, two to a byte."""
    return low | high << _FOUR


def _join(values: Floats, *fields: Bytes) -> Bytes:
    n_blocks = values.size // _VALUES
    blocks = np.concatenate([field.reshape(n_blocks, -1) for field in fields], axis=1)
    return blocks.reshape(len(values), -1)

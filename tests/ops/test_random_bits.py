"""Bits that are a function of numbers."""

import numpy as np
import pytest
import torch

from puna.ops.random_bits import STRIDE, key_of, mixed, streams


def finalizer(value: int) -> int:
    """MurmurHash3's fmix32 in unbounded integers, from its definition."""
    value ^= value >> 16
    value = value * 0x85EBCA6B & 0xFFFFFFFF
    value ^= value >> 13
    value = value * 0xC2B2AE35 & 0xFFFFFFFF
    return value ^ value >> 16


def test_mixed_is_murmurhash3s_finalizer() -> None:
    numbers = torch.cat((torch.arange(-300, 300), torch.tensor([2**31 - 1, -(2**31), 0x12345678]))).int()
    expected = [finalizer(number & 0xFFFFFFFF) for number in numbers.tolist()]
    assert [number & 0xFFFFFFFF for number in mixed(numbers).tolist()] == expected


def test_mixed_of_multiples_of_the_stride_sets_every_bit_half_of_the_time() -> None:
    bits = mixed(torch.arange(100_000, dtype=torch.int32) * STRIDE).numpy().astype(np.uint32)
    shares = [(bits >> bit & 1).mean() for bit in range(32)]
    assert np.abs(np.array(shares) - 0.5).max() < 5 * 0.5 / np.sqrt(100_000)


def test_a_stream_is_splitmix_from_its_start() -> None:
    starts = torch.tensor([[5, -7], [2**31 - 1, 0]], dtype=torch.int32)
    found = streams(starts, 9).tolist()
    for row in range(2):
        for place in range(2):
            state = finalizer(int(starts[row, place]) & 0xFFFFFFFF)
            expected = [finalizer((state + number * (STRIDE & 0xFFFFFFFF)) & 0xFFFFFFFF) for number in range(9)]
            assert [number & 0xFFFFFFFF for number in found[row][place]] == expected


def test_numbers_computed_in_several_tiles_are_those_of_each_stream_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    starts = torch.arange(-5, 6, dtype=torch.int32)[None, :].expand(3, 11)
    whole = streams(starts, 7)
    monkeypatch.setattr("puna.ops.random_bits._TILE", 4 * 7 + 3)
    assert torch.equal(streams(starts, 7), whole)
    monkeypatch.setattr("puna.ops.random_bits._TILE", 1)
    assert torch.equal(streams(starts, 7), whole)
    assert streams(starts[:0], 7).shape == (0, 11, 7)
    assert streams(starts, 0).shape == (3, 11, 0)


def test_a_key_depends_on_every_number_and_on_their_order() -> None:
    keys = [key_of(), key_of(1), key_of(1, 2), key_of(2, 1), key_of(12), key_of("1", 2), key_of(1, 2, 0)]
    assert len(set(keys)) == len(keys)
    assert key_of(1, 2) == key_of(1, 2)

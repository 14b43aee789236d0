"""Random bits that are a function of numbers: no generator, no state, the same on every device and when computed again.

The multipliers are those of MurmurHash3's 32-bit finalizer (Appleby 2011) and 2^32 over the golden ratio (Knuth 1998,
section 6.4). All arithmetic is that of int32, which every backend has.
"""

import hashlib

import numpy as np
import torch
from torch import Tensor

STRIDE = -1640531535
"""2^32 over the golden ratio, odd and as a signed number: consecutive multiples of it are far apart."""
_MULTIPLIERS = (-2048144789, -1028477387)


_TILE = 1 << 17
"""Numbers that a CPU computes together, few enough for its cache: a pass of 2,048 tokens takes a fifth of the time."""


def mixed(bits: Tensor) -> Tensor:
    """int32 of which each bit depends on all bits that come in: MurmurHash3's finalizer."""
    bits = (bits ^ ((bits >> 16) & 0xFFFF)) * _MULTIPLIERS[0]
    bits = (bits ^ ((bits >> 13) & 0x7FFFF)) * _MULTIPLIERS[1]
    return bits ^ ((bits >> 16) & 0xFFFF)


def _mix(bits: Tensor, spare: Tensor) -> None:
    """`mixed` in place, for code that is not compiled; `spare` is a tensor of the same shape to compute in."""
    for shift, multiplier in zip((16, 13, 16), (*_MULTIPLIERS, 1), strict=True):
        # The shift of signed numbers brings in copies of the sign, which the mask takes away.
        torch.bitwise_right_shift(bits, shift, out=spare).bitwise_and_((1 << (32 - shift)) - 1)
        bits.bitwise_xor_(spare).mul_(multiplier)


@torch.library.custom_op("puna::streams", mutates_args=())
def streams(starts_BP: Tensor, length: int) -> Tensor:
    """int32 of random bits, (B, P, length): a stream of SplitMix (Steele et al. 2014) begins at every start.

    An operator of its own, which the compiler leaves alone: without that, sharded and compiled blocks on CPUs crashed
    with a violation of memory (torch 2.13.0). The cause was not found.

    Args:
        starts_BP: int32, random.
        length: Numbers of each stream.
    """
    places = torch.arange(length, dtype=torch.int32, device=starts_BP.device) * STRIDE
    starts_R1 = mixed(starts_BP).reshape(-1, 1)
    rows = starts_R1.shape[0]
    tile = max(1, _TILE // max(1, length)) if starts_BP.device.type == "cpu" else max(1, rows)
    bits_RL, spare_RL = starts_BP.new_empty((rows, length)), starts_BP.new_empty((min(tile, rows), length))
    for begin in range(0, rows, tile):
        part_RL = bits_RL[begin : begin + tile]
        torch.add(starts_R1[begin : begin + tile], places, out=part_RL)
        _mix(part_RL, spare_RL[: part_RL.shape[0]])
    return bits_RL.reshape(*starts_BP.shape, length)


@streams.register_fake
def _(starts_BP: Tensor, length: int) -> Tensor:
    return starts_BP.new_empty((*starts_BP.shape, length))


def key_of(*numbers: int | str) -> tuple[int, int]:
    """Two int32 that are a function of numbers and names alone."""
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    first, second = np.frombuffer(digest, dtype="<i4").tolist()
    return first, second
